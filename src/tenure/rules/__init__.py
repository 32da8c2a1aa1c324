"""The rule language: parse, explain, examples, decide."""
