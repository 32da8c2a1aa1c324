"""The only room with cryptographic primitives."""
