"""Sealing: AES-256-GCM (NIST SP 800-38D), one message for each key.

Two kinds of keys seal. A DEK is drawn fresh for one chunk (`seal_fresh_into`) or is a page key drawn for one page
(`seal`). A long-lived key never seals itself: `seal_under` derives a key from it for one uniquely named object.
Either way no key ever sees two messages, which is what makes the fixed nonce safe.
"""

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenure.crypto.hashing import KEY_BYTES, Buffer, derive, random_bytes
from tenure.domain.errors import TamperedError, TruncatedError

__all__ = [
    "FORMAT",
    "KEY_BYTES",
    "OVERHEAD",
    "context",
    "open_into",
    "open_sealed",
    "open_under",
    "seal",
    "seal_fresh_into",
    "seal_under",
]

OVERHEAD = 16  # bytes of the GCM tag, at the end of what is sealed
FORMAT = "tenure 1-draft"  # first part of every context; what one format sealed opens as no other

# GCM breaks when a key meets a nonce twice with different messages. Here no key seals two messages, so the nonce
# has nothing to tell apart and may be the same for all (age does the same for the file keys it wraps). Whoever
# calls `seal` twice with one key and different plaintexts gives both away.
_NONCE = bytes(12)


def seal(key: bytes, plain: Buffer, *, aad: bytes) -> bytes:
    """Seal the one message that `key` ever seals; returns ciphertext and 16-byte tag.

    Args:
        key: 32 bytes, random, used for no other message.
        plain: Under 2 GiB, contiguous.
        aad: What the message is and where it belongs, see `context`; needed again to open it.

    Raises:
        ValueError: The key is not 32 bytes.
    """
    return _cipher(key).encrypt(_NONCE, plain, aad)


def open_sealed(key: bytes, sealed: Buffer, *, aad: bytes) -> bytes:
    """Open what `seal` returned.

    Raises:
        TamperedError: Another key, another context, or changed bytes; which of them is not told.
        TruncatedError: Too short to hold a tag.
        ValueError: The key is not 32 bytes.
    """
    _plain_size(sealed)
    try:
        return _cipher(key).decrypt(_NONCE, sealed, aad)
    except InvalidTag as e:
        raise _tampered() from e


def seal_fresh_into(plain: Buffer, out: memoryview, *, aad: bytes) -> tuple[bytes, int]:
    """Seal under a DEK drawn here, into a buffer that is used again and again; copies nothing.

    The key is drawn inside so that no caller can seal two chunks under one.

    Args:
        plain: Under 2 GiB, contiguous; may not overlap `out`.
        out: At least `OVERHEAD` bytes longer than `plain`, writable.
        aad: See `seal`.

    Returns:
        The 32-byte DEK, and how many bytes of `out` were written.

    Raises:
        ValueError: `out` is too small.
    """
    size = memoryview(plain).nbytes + OVERHEAD
    if out.nbytes < size:
        raise ValueError(f"the buffer has {out.nbytes} bytes, {size} are needed")
    dek = random_bytes(KEY_BYTES)
    return dek, AESGCM(dek).encrypt_into(_NONCE, plain, aad, out[:size])


def open_into(key: bytes, sealed: Buffer, out: memoryview, *, aad: bytes) -> int:
    """Open into a buffer; returns how many bytes of it were written.

    Raises:
        TamperedError: As `open_sealed`; the plaintext's place in `out` is then zeros.
        TruncatedError: Too short to hold a tag.
        ValueError: `out` is too small, or the key is not 32 bytes.
    """
    size = _plain_size(sealed)
    if out.nbytes < size:
        raise ValueError(f"the buffer has {out.nbytes} bytes, {size} are needed")
    try:
        return _cipher(key).decrypt_into(_NONCE, sealed, aad, out[:size])
    except InvalidTag as e:
        out[:size] = bytes(size)  # GCM decrypts before it knows: nobody may read what was not verified
        raise _tampered() from e


def seal_under(key: bytes, kind: str, name: bytes, plain: Buffer, *, aad: bytes) -> bytes:
    """Seal one object under a long-lived key, by way of a key derived for this object alone.

    `name` is used for one plaintext only: a retry seals the same bytes again or takes a new name.

    Args:
        key: 32 bytes.
        kind: What the object is, ASCII.
        name: Unique among objects of this kind under this key.
        plain: See `seal`.
        aad: See `seal`.
    """
    return seal(derive(key, kind, name), plain, aad=aad)


def open_under(key: bytes, kind: str, name: bytes, sealed: Buffer, *, aad: bytes) -> bytes:
    """Open what `seal_under` returned.

    Raises:
        TamperedError: Another key, kind, name or context, or changed bytes.
        TruncatedError: Too short to hold a tag.
    """
    return open_sealed(derive(key, kind, name), sealed, aad=aad)


def context(*parts: bytes | str | int) -> bytes:
    """Encode what a seal is bound to; different parts never encode alike.

    The format's name is put first. Each part is a type letter, its length (4 bytes, little-endian) and its bytes;
    text is UTF-8, numbers are 8 bytes, little-endian, unsigned.

    Raises:
        ValueError: A number is negative or over 64 bits.
    """
    out = bytearray()
    for part in (FORMAT, *parts):
        if isinstance(part, str):
            letter, encoded = b"s", part.encode()
        elif isinstance(part, int):
            if not 0 <= part < 1 << 64:
                raise ValueError("numbers in a context are unsigned and fit 64 bits")
            letter, encoded = b"n", struct.pack("<Q", part)
        else:
            letter, encoded = b"b", part
        out += letter + struct.pack("<I", len(encoded)) + encoded
    return bytes(out)


def _cipher(key: bytes) -> AESGCM:
    # AESGCM takes 16- and 24-byte keys too; a short key here is a mistake, not a choice.
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes")
    return AESGCM(key)


def _plain_size(sealed: Buffer) -> int:
    size = memoryview(sealed).nbytes - OVERHEAD
    if size < 0:
        raise TruncatedError("sealed bytes are cut short: not even their tag is whole")
    return size


def _tampered() -> TamperedError:
    return TamperedError("sealed bytes do not verify")
