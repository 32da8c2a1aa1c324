"""Hash-chained audit log, certificates and reports."""
