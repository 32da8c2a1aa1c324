"""Who knows what: the ledger secret, a writer's secret, the readers' secret, and the keys derived from them.

A writer holds its own writer secret, the cohort-tag secret of its source and the ledger secret; so it can take
snapshots and see which chunks are known, and can open no chunk and no companion. Readers and purgers hold all of
them, and the fingerprint key, which no writer has: with it ten million customer numbers are guessed in seconds.
"""

from dataclasses import dataclass, field, replace

from tenure.crypto.hashing import derive, keyed_hash, random_bytes
from tenure.repository.model import ChunkRef, Cohort

SECRET_BYTES = 32
STRUCTURE = Cohort(data_set="", rule_class="", span="structure")
"""The cohort of tree nodes, roots and schemas; nothing in it is personal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSecrets:
    """One generation of one source's writer.

    `writer`: 8 random bytes that name the generation. `secret` and `tags`: 32 bytes each; `tags` stays the same
    across generations, so that a cohort keeps its tag.
    """

    writer: bytes
    source: str
    secret: bytes = field(repr=False)
    tags: bytes = field(repr=False)

    @classmethod
    def generate(cls, source: str) -> "WriterSecrets":
        """Draw the secrets of a new source."""
        return cls(
            writer=random_bytes(8),
            source=source,
            secret=random_bytes(SECRET_BYTES),
            tags=random_bytes(SECRET_BYTES),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderSecrets:
    """What the open epoch hands to its readers: the ledger secret, the fingerprint key, every writer's secrets."""

    ledger: bytes = field(repr=False)
    fingerprint: bytes = field(repr=False)
    writers: tuple[WriterSecrets, ...] = ()

    def generation_of(self, source: str) -> WriterSecrets:
        """Draw a writer's secrets; a source that had a writer keeps its cohort tags."""
        fresh = WriterSecrets.generate(source)
        before = [w for w in self.writers if w.source == source]
        return replace(fresh, tags=before[-1].tags) if before else fresh


class SourceKeys:
    """The keys derived from one writer's secrets, each for one purpose (HKDF, label "tenure <purpose>")."""

    __slots__ = (
        "_tag_key",
        "_tags",
        "chunk_id",
        "cut",
        "finding",
        "identity",
        "index",
        "manifest",
        "mix",
        "path",
        "row_seed",
        "source",
        "writer",
    )

    def __init__(self, secrets: WriterSecrets) -> None:
        self.writer = secrets.writer
        self.source = secrets.source
        self.chunk_id = derive(secrets.secret, "tenure chunk id")
        self.index = derive(secrets.secret, "tenure index")
        self.manifest = derive(secrets.secret, "tenure manifest")
        self.identity = derive(secrets.secret, "tenure record identity")
        self.path = derive(secrets.secret, "tenure path")
        numbers = derive(secrets.secret, "tenure 64-bit seeds", length=24)
        self.mix, self.row_seed, self.cut = (int.from_bytes(numbers[i : i + 8], "little") for i in (0, 8, 16))
        self._tags: dict[Cohort, bytes] = {}
        self._tag_key = derive(secrets.tags, "tenure cohort tag")
        self.finding = derive(secrets.tags, "tenure card finding")

    def tag(self, cohort: Cohort) -> bytes:
        """Return the 16 bytes that stand for a cohort in object names."""
        found = self._tags.get(cohort)
        if found is not None:
            return found
        parts = (cohort.data_set, cohort.rule_class, cohort.span)
        self._tags[cohort] = keyed_hash(self._tag_key, *(p.encode() for p in parts), b"", length=16)
        return self._tags[cohort]

    def media_id(
        self, tag: bytes, record: bytes, position: int, plain: bytes | bytearray | memoryview
    ) -> bytes:
        """Return a media chunk's id: bound to its recording, so two equal recordings share nothing."""
        return keyed_hash(self.chunk_id, tag, record, position.to_bytes(8, "little"), plain, length=16)

    def row_id(self, tag: bytes, kind: int, plain: bytes | bytearray | memoryview) -> bytes:
        """Return the id of a chunk of rows, deletes, companions or structure."""
        return keyed_hash(self.chunk_id, tag, bytes([kind]), plain, length=16)

    def path_hash(self, path: bytes, *facts: int) -> bytes:
        """Return what stands in a tree for a recording, so that a writer knows what is unchanged.

        8 bytes say which path it is, 8 more which size, times and so on it has.
        """
        known = keyed_hash(self.path, *(f.to_bytes(16, "little", signed=True) for f in facts), path, length=8)
        return keyed_hash(self.path, path, length=8) + known

    def structure_key(self, ref: ChunkRef) -> bytes:
        """Return the single-use key of a structure chunk; writers may open these."""
        return derive(self.index, "tenure structure", ref.id + ref.incarnation)


def fingerprint(key: bytes, data_set: str, identity: bytes) -> bytes:
    """Return the 16 bytes that stand for a record in the ledger; only readers and purgers can make them."""
    return keyed_hash(derive(key, "tenure fingerprint"), data_set.encode(), identity, length=16)
