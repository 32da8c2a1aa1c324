"""Settings, the clock, and the wiring that builds every object; the only room that does."""
