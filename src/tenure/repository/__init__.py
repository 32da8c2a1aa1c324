"""The repository format."""
