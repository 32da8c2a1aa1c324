"""The manifest: what one snapshot consists of. Sealed under the source's manifest key, signed by its writer.

::

    "TNRM" version(1)  length(4) header   length(4) body   signature(64)
"""

import struct
from dataclasses import dataclass

from tenure.crypto.aead import context, open_under, seal_under
from tenure.crypto.hashing import content_hash, random_bytes
from tenure.crypto.signing import SIGNATURE_BYTES, SigningKey, VerifyKey
from tenure.domain.errors import TamperedError, TruncatedError, UnsupportedFormatError
from tenure.repository import wire
from tenure.repository.secrets import SourceKeys
from tenure.repository.wire import Wire

MAGIC = b"TNRM"
VERSION = 1
_DOMAIN = b"tenure manifest\0"


class ManifestHeader(Wire, frozen=True, kw_only=True):
    """What of a manifest can be read without keys."""

    repository: bytes
    writer: bytes
    session: bytes
    salt: bytes


class DataSetLine(Wire, frozen=True, kw_only=True):
    """A data set in the manifest. `root`: 24 bytes; `plain`: bytes before compression."""

    root: bytes
    kind: str
    records: int
    plain: int


class Manifest(Wire, frozen=True, kw_only=True):
    """What a snapshot says of itself.

    `taken_at`: the source's instant, seconds since the epoch, UTC; `view`: ledger number at the view;
    `structure`: 24 bytes, the chunk that holds the source's own schema, empty for none; `redacted`,
    `quarantined`: counts by data set; `not_scanned`: what card detection could not read, in words;
    `left_out`: how many records changed or vanished while they were read; `catalogue`, `settings`: JSON.
    """

    session: bytes
    group: bytes
    source: str
    taken_at: float
    view: int
    tool: str
    structure: bytes
    data_sets: dict[str, DataSetLine]
    redacted: dict[str, int]
    quarantined: dict[str, int]
    not_scanned: tuple[str, ...]
    left_out: int
    catalogue: bytes
    settings: bytes
    detector: str
    rules: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestBytes:
    """A manifest taken apart; only its form is checked."""

    header: ManifestHeader
    header_bytes: bytes
    sealed: bytes
    signed: bytes
    signature: bytes
    hash: bytes

    def open(self, keys: SourceKeys, writer: VerifyKey) -> Manifest:
        """Check the writer's signature and open the body.

        Raises:
            TamperedError: Forged or changed.
        """
        writer.verify(_DOMAIN + self.signed, self.signature)
        aad = context("manifest", content_hash(self.header_bytes))
        plain = open_under(
            keys.manifest, "tenure manifest", self.header.session + self.header.salt, self.sealed, aad=aad
        )
        return wire.decode(plain, Manifest, what="a manifest")


def seal_manifest(manifest: Manifest, *, keys: SourceKeys, repository: bytes, key: SigningKey) -> bytes:
    """Return the bytes of a manifest; session id and a random salt name the derived key, used once."""
    salt = random_bytes(16)
    header = ManifestHeader(repository=repository, writer=keys.writer, session=manifest.session, salt=salt)
    head = wire.encode(header)
    aad = context("manifest", content_hash(head))
    sealed = seal_under(
        keys.manifest, "tenure manifest", manifest.session + salt, wire.encode(manifest), aad=aad
    )
    signed = (
        MAGIC
        + bytes([VERSION])
        + struct.pack("<I", len(head))
        + head
        + struct.pack("<I", len(sealed))
        + sealed
    )
    return signed + key.sign(_DOMAIN + signed)


def parse_manifest(raw: bytes, *, name: str) -> ManifestBytes:
    """Take a manifest apart.

    Raises:
        TruncatedError: Bytes are missing.
        TamperedError: It is no manifest.
        UnsupportedFormatError: Of a newer format.
    """
    if len(raw) < 9 or raw[:4] != MAGIC:
        raise (TruncatedError if len(raw) < 9 else TamperedError)(f"{name} is not a manifest")
    if raw[4] != VERSION:
        raise UnsupportedFormatError(f"{name} has version {raw[4]}; this version of Tenure knows {VERSION}")
    (head_size,) = struct.unpack_from("<I", raw, 5)
    body_at = 9 + head_size
    if len(raw) < body_at + 4:
        raise TruncatedError(f"{name} is cut short")
    (body_size,) = struct.unpack_from("<I", raw, body_at)
    end = body_at + 4 + body_size
    if len(raw) != end + SIGNATURE_BYTES:
        raise TruncatedError(f"{name} has {len(raw)} bytes instead of {end + SIGNATURE_BYTES}")
    head = raw[9:body_at]
    return ManifestBytes(
        header=wire.decode(head, ManifestHeader, what=name),
        header_bytes=head,
        sealed=raw[body_at + 4 : end],
        signed=raw[:end],
        signature=raw[end:],
        hash=content_hash(raw),
    )
