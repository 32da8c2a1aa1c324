"""What one operation has read and will ask for again: pages, indexes, companions, and which chunks deny what it looks for.

An erasure goes through the same pages five times: to plan, to prove, to cut, to look again. Pages and packs are
written once under names of their own, so what was read stays true; what is live, only the ledger says. Pages and
chunks are sealed as they were stored, indexes and companions are open; all of it is within bounds, in memory alone,
and gone with the operation.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from tenure.repository.cohortindex import CohortIndex
from tenure.repository.model import ChunkKind, ChunkRef, Cohort
from tenure.repository.page import PageBytes

IndexKey = tuple[bool | bytes, ...]
"""Names pages of one cohort by their hashes; first, whether their keys are open too."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MIB = 1024 * 1024
PAGES_BYTES = 32 * MIB
INDEXES_BYTES = 128 * MIB
COMPANIONS_BYTES = 64 * MIB
CHUNKS_BYTES = 64 * MIB
MOST_DENIALS = 500_000
"""Chunks of which a denial is remembered, some 100 bytes each; of others it is asked again."""


class Placed(Protocol):
    """Where a chunk lies (`chunkreader.Place`)."""

    @property
    def pack(self) -> bytes:
        """Return the pack's id."""
        ...

    @property
    def offset(self) -> int:
        """Return where in the pack it begins."""
        ...

    @property
    def kind(self) -> ChunkKind:
        """Return what it holds."""
        ...


class _Newest(Generic[K, V]):
    """Values up to so many bytes; the one used longest ago goes first. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        with self._lock:
            self._drop(key)
            self._values[key] = (value, size)
            self._held += size
            while self._held > self._most:
                self._held -= self._values.popitem(last=False)[1][1]

    def drop(self, key: K) -> None:
        with self._lock:
            self._drop(key)

    def _drop(self, key: K) -> None:
        old = self._values.pop(key, None)
        self._held -= 0 if old is None else old[1]


class Kept:
    """Belongs to one opened repository. Thread-safe.

    `cohorts`: which ones tags stand for, (writer, tag) -> cohort.
    """

    def __init__(
        self,
        *,
        pages: int = PAGES_BYTES,
        indexes: int = INDEXES_BYTES,
        companions: int = COMPANIONS_BYTES,
        chunks: int = CHUNKS_BYTES,
    ) -> None:
        """Begin with nothing; how many bytes of each may be kept."""
        self._indexes: _Newest[IndexKey, CohortIndex] = _Newest(indexes)
        self._pages: _Newest[bytes, PageBytes] = _Newest(pages)
        self._companions: _Newest[tuple[bytes, int], bytes] = _Newest(companions)
        self._chunks: _Newest[tuple[bytes, int], bytes] = _Newest(chunks)
        self._opened: _Newest[ChunkRef, bytes] = _Newest(companions)
        self.cohorts: dict[tuple[bytes, bytes], Cohort] = {}
        self._denials: dict[bytes, set[bytes]] = {}

    def page(self, page: bytes) -> PageBytes | None:
        """Return a page by its id."""
        return self._pages.get(page)

    def keep_page(self, page: PageBytes) -> None:
        """Keep a page."""
        self._pages.put(page.header.page, page, page.size)

    def index(self, pages: IndexKey) -> CohortIndex | None:
        """Return what these pages say together."""
        return self._indexes.get(pages)

    def keep_index(self, pages: IndexKey, index: CohortIndex) -> None:
        """Keep what pages say together."""
        self._indexes.put(pages, index, index.places.held)

    def sealed(self, place: Placed) -> bytes | None:
        """Return a chunk's sealed bytes."""
        return self._of(place).get((place.pack, place.offset))

    def keep(self, place: Placed, sealed: bytes) -> None:
        """Keep a chunk's sealed bytes."""
        self._of(place).put((place.pack, place.offset), sealed, len(sealed))

    def drop(self, place: Placed) -> None:
        """Forget what was read there: it does not open."""
        self._of(place).drop((place.pack, place.offset))

    def opened(self, ref: ChunkRef) -> bytes | None:
        """Return what stands in a companion."""
        return self._opened.get(ref)

    def keep_opened(self, place: Placed, ref: ChunkRef, plain: bytes) -> None:
        """Keep what stands in a companion, in place of its sealed bytes."""
        self.drop(place)
        self._opened.put(ref, plain, len(plain))

    def denies(self, question: bytes, ref: ChunkRef) -> bool:
        """Whether a chunk was asked this before and denied it."""
        found = self._denials.get(question)
        return found is not None and ref.id + ref.incarnation in found

    def denied(self, question: bytes, ref: ChunkRef) -> None:
        """Remember a denial."""
        found = self._denials.setdefault(question, set())
        if len(found) < MOST_DENIALS // max(len(self._denials), 4):
            found.add(ref.id + ref.incarnation)

    def _of(self, place: Placed) -> _Newest[tuple[bytes, int], bytes]:
        return self._companions if place.kind is ChunkKind.COMPANION else self._chunks
