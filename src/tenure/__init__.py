"""Tenure: encrypted backups that keep what you must and forget what you must."""

__version__ = "0.1.0"
