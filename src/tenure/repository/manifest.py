"""The manifest: what one snapshot consists of. Sealed under the source's manifest key, signed by its writer. It stands in a frame (`frames`)."""

from dataclasses import dataclass

from tenure.crypto.aead import context, open_under, seal_under
from tenure.crypto.hashing import content_hash, random_bytes
from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import TamperedError
from tenure.repository import frames, wire
from tenure.repository.frames import Frame
from tenure.repository.nodes import REF_BYTES
from tenure.repository.secrets import SourceKeys
from tenure.repository.wire import Wire, is_time

KIND = frames.Kind(magic=b"TNRM", domain=b"tenure manifest\0", noun="a manifest")


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


class CutLine(Wire, frozen=True, kw_only=True):
    """How much card data was cut in one column before anything was stored."""

    numbers: int = 0
    codes: int = 0
    tracks: int = 0

    @property
    def total(self) -> int:
        """Return how much that is together."""
        return self.numbers + self.codes + self.tracks


class Manifest(Wire, frozen=True, kw_only=True):
    """What a snapshot says of itself.

    `taken_at`: the source's instant, seconds since the epoch, UTC; `view`: ledger number at the view;
    `structure`: 24 bytes, the chunk that holds the source's own schema, empty for none; `redacted`: what was cut,
    by data set and column; `quarantined`: rows in quarantine, by data set; `not_scanned`: what card detection could
    not read, in words; `unreadable`: binary cells that it could not read, by data set and column; `left_out`: how
    many records changed or vanished while they were read; `catalogue`, `settings`: JSON.
    """

    session: bytes
    group: bytes
    source: str
    taken_at: float
    view: int
    tool: str
    structure: bytes
    data_sets: dict[str, DataSetLine]
    redacted: dict[str, dict[str, CutLine]]
    quarantined: dict[str, int]
    not_scanned: tuple[str, ...]
    unreadable: dict[str, dict[str, int]]
    left_out: int
    catalogue: bytes
    settings: bytes
    detector: str
    rules: bytes


def cut_in(manifest: Manifest, data_set: str) -> CutLine:
    """Return what was cut in all columns of a data set."""
    lines = manifest.redacted.get(data_set, {}).values()
    return CutLine(
        numbers=sum(line.numbers for line in lines),
        codes=sum(line.codes for line in lines),
        tracks=sum(line.tracks for line in lines),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestBytes:
    """A manifest taken apart; only its form is checked."""

    header: ManifestHeader
    frame: Frame

    def open(self, keys: SourceKeys, writer: VerifyKey) -> Manifest:
        """Check the writer's signature and open the body.

        Raises:
            TamperedError: Forged or changed, or of values that cannot be.
            UnsupportedFormatError: Of a form that this version does not know.
        """
        self.frame.verify(writer)
        aad = context("manifest", content_hash(self.frame.header))
        unique = self.header.session + self.header.salt
        plain = open_under(keys.manifest, "tenure manifest", unique, self.frame.sealed, aad=aad)
        name = f"the manifest of session {self.header.session.hex()}"
        found = wire.decode(plain, Manifest, what=name)
        if not _is_possible(found):
            raise TamperedError(f"{name} holds values that no manifest has")
        return found


def _is_possible(found: Manifest) -> bool:
    lines = found.data_sets.values()
    return (
        is_time(found.taken_at)
        and min(found.left_out, found.view) >= 0
        and len(found.structure) in {0, REF_BYTES}
        and all(len(line.root) == REF_BYTES and min(line.records, line.plain) >= 0 for line in lines)
    )


def seal_manifest(manifest: Manifest, *, keys: SourceKeys, repository: bytes, key: SigningKey) -> bytes:
    """Return the bytes of a manifest; session id and a random salt name the derived key, used once."""
    salt = random_bytes(16)
    header = ManifestHeader(repository=repository, writer=keys.writer, session=manifest.session, salt=salt)
    head = wire.encode(header)
    aad = context("manifest", content_hash(head))
    sealed = seal_under(
        keys.manifest, "tenure manifest", manifest.session + salt, wire.encode(manifest), aad=aad
    )
    return frames.framed(KIND, head, sealed, key)


def parse_manifest(raw: bytes, *, name: str) -> ManifestBytes:
    """Take a manifest apart.

    Raises:
        TruncatedError: Bytes are missing.
        TamperedError: It is no manifest.
        UnsupportedFormatError: Of a newer format.
    """
    frame = frames.parse(KIND, raw, what=name)
    return ManifestBytes(header=wire.decode(frame.header, ManifestHeader, what=name), frame=frame)
