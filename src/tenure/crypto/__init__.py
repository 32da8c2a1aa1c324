"""The only room with cryptographic primitives.

Boring on purpose: AES-256-GCM seals (`aead`), HPKE wraps keys (`hpke`), Ed25519 signs (`signing`), BLAKE3 names
and HKDF-SHA256 derives (`hashing`), Argon2id stretches passphrases (`passphrase`). Everything that opens verifies
by raising, binds its context, and says nothing about why it failed.
"""
