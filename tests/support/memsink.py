"""An in-memory place for chunks: takes them as a session does, brings them back as a reader does."""

from collections.abc import Callable
from hashlib import blake2b

from tenure.domain.errors import IntegrityError
from tenure.repository.model import ChunkKind, ChunkRef, Cohort


class MemorySink:
    """A ChunkSink and a ChunkFetch. Equal chunks of a cohort are stored once."""

    def __init__(self) -> None:
        self.chunks: dict[ChunkRef, tuple[ChunkKind, bytes]] = {}
        self.forgotten: set[ChunkRef] = set()
        self.puts = 0
        self._known: dict[tuple[Cohort, ChunkKind, bytes], tuple[ChunkRef, ChunkRef | None]] = {}

    def put(
        self,
        cohort: Cohort,
        kind: ChunkKind,
        plain: bytes | bytearray | memoryview,
        companion: Callable[[], bytes] | None,
    ) -> tuple[ChunkRef, ChunkRef | None]:
        self.puts += 1
        text = bytes(plain)
        name = (cohort, kind, blake2b(text, digest_size=16).digest())
        if name not in self._known:
            beside = None if companion is None else self._store(ChunkKind.COMPANION, companion())
            self._known[name] = (self._store(kind, text), beside)
        return self._known[name]

    def _store(self, kind: ChunkKind, text: bytes) -> ChunkRef:
        ref = ChunkRef(blake2b(text, digest_size=16).digest(), len(self.chunks).to_bytes(8, "little"))
        self.chunks[ref] = (kind, text)
        return ref

    def __call__(self, ref: ChunkRef, kind: ChunkKind) -> bytes | None:
        if ref in self.forgotten:
            return None
        if ref not in self.chunks:
            raise IntegrityError("no such chunk")
        stored, text = self.chunks[ref]
        if stored != kind:
            raise IntegrityError("a chunk of another kind")
        return text

    def replace(self, ref: ChunkRef, text: bytes) -> None:
        """Bring these bytes from now on, as after a forgetting."""
        self.chunks[ref] = (self.chunks[ref][0], text)
