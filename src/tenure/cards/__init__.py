"""Card data in text: find and redact.

`detect.find` looks at one text, `prefilter.scan` at batches of rows, `rows.redact_rows` cuts while they flow by.
"""
