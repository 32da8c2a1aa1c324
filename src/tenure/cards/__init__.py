"""Card data in text: find and redact."""
