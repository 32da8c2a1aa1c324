"""The frame that ledger entries and manifests share: a clear header, a sealed body, a signature over both.

::

    magic(4) version(1)   length(4) header   length(4) body   signature(64)

The signature covers everything before it, after the domain of its kind, so that no signed entry passes for a manifest.
"""

import struct
from dataclasses import dataclass

from tenure.crypto.hashing import content_hash
from tenure.crypto.signing import SIGNATURE_BYTES, SigningKey, VerifyKey
from tenure.domain.errors import TamperedError, TruncatedError, UnsupportedFormatError

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is framed. `magic`: its first 4 bytes; `domain`: what its signatures begin with; `noun`: for messages."""

    magic: bytes
    domain: bytes
    noun: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame taken apart, its form checked and nothing else. `hash`: BLAKE3 of all its bytes."""

    kind: Kind
    header: bytes
    sealed: bytes
    signed: bytes
    signature: bytes
    hash: bytes

    def verify(self, key: VerifyKey) -> None:
        """Check the signature.

        Raises:
            TamperedError: Not signed by this key.
        """
        key.verify(self.kind.domain + self.signed, self.signature)


def framed(kind: Kind, header: bytes, sealed: bytes, key: SigningKey) -> bytes:
    """Return the bytes of a frame, signed."""
    lengths = (struct.pack("<I", len(header)), struct.pack("<I", len(sealed)))
    signed = b"".join((kind.magic, bytes([VERSION]), lengths[0], header, lengths[1], sealed))
    return signed + key.sign(kind.domain + signed)


def parse(kind: Kind, raw: bytes, *, what: str) -> Frame:
    """Take a frame apart. `what` names the object in an error.

    Raises:
        TruncatedError: Bytes are missing.
        TamperedError: It is no frame of this kind.
        UnsupportedFormatError: Of a newer format.
    """
    if len(raw) < 9 or raw[:4] != kind.magic:
        raise (TruncatedError if len(raw) < 9 else TamperedError)(f"{what} is not {kind.noun}")
    if raw[4] != VERSION:
        raise UnsupportedFormatError(f"{what} has version {raw[4]}; this version of Tenure knows {VERSION}")
    header, at = _part(raw, 5, what)
    sealed, at = _part(raw, at, what)
    if len(raw) != at + SIGNATURE_BYTES:
        raise TruncatedError(f"{what} has {len(raw)} bytes instead of {at + SIGNATURE_BYTES}")
    return Frame(
        kind=kind, header=header, sealed=sealed, signed=raw[:at], signature=raw[at:], hash=content_hash(raw)
    )


def _part(raw: bytes, at: int, what: str) -> tuple[bytes, int]:
    if len(raw) < at + 4:
        raise TruncatedError(f"{what} is cut short")
    end = at + 4 + int(struct.unpack_from("<I", raw, at)[0])
    if len(raw) < end:
        raise TruncatedError(f"{what} is cut short")
    return raw[at + 4 : end], end
