"""Hashes, derived keys and random bytes.

BLAKE3 names things (https://github.com/BLAKE3-team/BLAKE3-specs), HKDF-SHA256 (RFC 5869) derives keys from keys.
"""

import os
import struct

from blake3 import blake3
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Buffer = bytes | bytearray | memoryview

KEY_BYTES = 32


def keyed_hash(key: bytes, *parts: Buffer, length: int = 16) -> bytes:
    """Hash with a key, so that who lacks the key can neither make nor guess the result (keyed BLAKE3).

    Every part but the last is a header, written with its length; the last follows raw and may be large. The
    number of parts is hashed too, so no two calls with different parts feed the same bytes.

    Args:
        key: 32 bytes.
        parts: At least one; contiguous.
        length: Bytes to return; 16 resist guessing and chance, 32 resist collisions made on purpose.

    Raises:
        ValueError: No part, or a key that is not 32 bytes.
    """
    if not parts:
        raise ValueError("nothing to hash")
    header = bytearray(struct.pack("<I", len(parts)))
    for part in parts[:-1]:
        header += struct.pack("<Q", memoryview(part).nbytes)
        header += part
    return blake3(header, key=key).update(parts[-1]).digest(length)


def content_hash(*parts: Buffer) -> bytes:
    """Return the plain BLAKE3 of all parts, end to end, 32 bytes: a name that anyone can check without keys."""
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def hkdf(key: bytes, *, salt: bytes | None, info: bytes, length: int) -> bytes:
    """Return `length` bytes of HKDF-SHA256 (RFC 5869), as the standard has it; `derive` is the one to call.

    Raises:
        ValueError: `length` is over 8,160 bytes.
    """
    return HKDF(SHA256(), length, salt, info).derive(key)


def derive(key: bytes, label: str, context: bytes = b"", length: int = 32) -> bytes:
    """Derive a key for one purpose from a long-lived key (HKDF-SHA256).

    Args:
        key: At least 32 uniformly random bytes.
        label: What the derived key is for; ASCII.
        context: What it is bound to: the unique name of the object it seals.
        length: Bytes to return.

    Raises:
        ValueError: A key under 32 bytes: HKDF does not make a weak secret strong (that is Argon2id's work).
    """
    if len(key) < KEY_BYTES:
        raise ValueError(f"a key to derive from has at least {KEY_BYTES} bytes")
    name = label.encode("ascii")
    # Both parts carry their length, so ("ab", b"c") and ("a", b"bc") derive different keys.
    info = b"tenure/derive\0" + struct.pack("<II", len(name), len(context)) + name + context
    return hkdf(key, salt=None, info=info, length=length)


def random_bytes(count: int) -> bytes:
    """Return `count` unpredictable bytes from the operating system: the one source of randomness."""
    return os.urandom(count)
