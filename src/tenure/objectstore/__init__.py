"""The ObjectStore port and its implementations."""
