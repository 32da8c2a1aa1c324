"""A ledger entry as bytes: a frame (`frames`) of clear header, sealed body, signature.

The header (repository, number, hash of the entry before, salt, signer, the clear part of an admission or an
epoch) is authenticated by the signature and by the body's associated data. The body's key is derived from the
ledger secret, the number *and a random salt*: two writers race for one number, and a hostile store sees both tries.
"""

import struct
from dataclasses import dataclass

from tenure.crypto.aead import context, open_under, seal_under
from tenure.crypto.hashing import content_hash, random_bytes
from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.repository import frames, wire
from tenure.repository.entries import Body, Clear
from tenure.repository.frames import Frame
from tenure.repository.wire import Wire

KIND = frames.Kind(magic=b"TNRL", domain=b"tenure ledger entry\0", noun="a ledger entry")


class Header(Wire, frozen=True, kw_only=True):
    """What of an entry can be read without keys.

    `checkpoint`: number of the newest checkpoint before it, 0 for none. `at`: the store's clock when it was made, in
    seconds since the epoch; times that decide are read here, for the times of objects change when they are copied.
    """

    repository: bytes
    number: int
    previous: bytes
    checkpoint: int
    at: float
    salt: bytes
    signer: bytes
    clear: Clear = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An entry taken apart, its form checked and nothing else."""

    header: Header
    frame: Frame

    @property
    def header_bytes(self) -> bytes:
        """Return the header as it stands in the entry."""
        return self.frame.header

    @property
    def hash(self) -> bytes:
        """Return the BLAKE3 of all its bytes."""
        return self.frame.hash

    def verify(self, key: VerifyKey) -> None:
        """Check the signature.

        Raises:
            TamperedError: Not signed by this key.
        """
        try:
            self.frame.verify(key)
        except TamperedError as e:
            raise TamperedError(
                f"ledger entry {self.header.number} carries a signature that does not verify"
            ) from e

    def open(self, ledger_secret: bytes) -> Body:
        """Open the body.

        Raises:
            TamperedError: Changed bytes, or another repository's secret.
            UnsupportedFormatError: An entry of a newer version.
        """
        aad = context("ledger entry", content_hash(self.header_bytes))
        plain = open_under(ledger_secret, "tenure ledger", _name(self.header), self.frame.sealed, aad=aad)
        return wire.decode(plain, Body, what=f"ledger entry {self.header.number}")  # type: ignore[arg-type]


def make(
    body: Body,
    *,
    repository: bytes,
    number: int,
    previous: bytes,
    checkpoint: int,
    at: float,
    ledger_secret: bytes,
    key: SigningKey,
    clear: Clear = None,
) -> bytes:
    """Return the bytes of an entry."""
    header = Header(
        repository=repository,
        number=number,
        previous=previous,
        checkpoint=checkpoint,
        at=at,
        salt=random_bytes(16),
        signer=key.key_id,
        clear=clear,
    )
    head = wire.encode(header)
    aad = context("ledger entry", content_hash(head))
    sealed = seal_under(ledger_secret, "tenure ledger", _name(header), wire.encode(body), aad=aad)
    return frames.framed(KIND, head, sealed, key)


def parse(raw: bytes, *, number: int) -> Envelope:
    """Take an entry apart.

    Raises:
        TruncatedError: Bytes are missing.
        TamperedError: It is no ledger entry, or stands under another number.
        UnsupportedFormatError: Of a newer format.
    """
    what = f"ledger entry {number}"
    frame = frames.parse(KIND, raw, what=what)
    try:
        header = wire.decode(frame.header, Header, what=what)
    except UnsupportedFormatError as e:
        raise TamperedError(f"{what} is damaged: its header cannot be read") from e
    if header.number != number:
        raise TamperedError(f"{what} was swapped: it says of itself that it is number {header.number}")
    return Envelope(header=header, frame=frame)


def _name(header: Header) -> bytes:
    return struct.pack("<Q", header.number) + header.salt
