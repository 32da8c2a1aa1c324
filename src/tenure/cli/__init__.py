"""Entry point: parse, call one operation, print."""
