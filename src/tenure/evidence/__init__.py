"""Proof of what was done: a hash-chained audit log, signed certificates, and pages a person can read.

Rules that hold here: nothing is overwritten or removed, only added; everything is signed; what is written never
holds personal data, card digits or keys (subjects appear as keyed hashes). A reader needs the public key only.
"""
