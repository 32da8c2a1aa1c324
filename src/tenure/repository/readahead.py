"""Reads ranges of packs ahead of whoever opens them: many requests in flight where a store is across a network."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from threading import Lock

from tenure.domain.errors import IntegrityError
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.model import ChunkKind, ChunkRef, Cohort
from tenure.repository.places import Place
from tenure.repository.spans import SPAN_BYTES, in_spans

REQUESTS = 16
"""Requests in flight. A request takes some 20-100 ms before its first byte on AWS; with ranges of 8 MiB, 16 of them keep
a line of 5 Gbit/s full. More only wait for each other on few cores, and hold memory."""

NETWORK_SPAN_BYTES = 8 * 1024 * 1024
"""The most that one request reads across a network: many shorter ones share a line, and a lost one costs less."""

AHEAD_BYTES = 64 * 1024 * 1024
"""How much plaintext is asked for and not taken yet: what 16 such ranges hold where chunks are stored as they are."""

Sealed = list[tuple[Place, memoryview]]


class Pending:
    """A range that was asked for. Any number of threads may wait for it."""

    def __init__(self, read: Callable[[], Sealed]) -> None:
        """Take what waits for it; called once it was, unless it failed."""
        self._read = read
        self._lock = Lock()
        self._sealed: dict[int, memoryview] | None = None

    def of(self, place: Place) -> memoryview:
        """Return a place's sealed bytes.

        Raises:
            IntegrityError: The pack is not there: damage, or it was emptied since.
        """
        with self._lock:
            if self._sealed is None:
                self._sealed = {found.offset: sealed for found, sealed in self._read()}
            return self._sealed[place.offset]


class ReadAhead:
    """Asks for ranges of packs. `readers`: ask beside their caller; None: each is read when it is waited for."""

    def __init__(self, chunks: ChunkReader, readers: Executor | None) -> None:
        self.chunks = chunks
        self._readers = readers

    def groups(self, places: Iterable[Place]) -> Iterator[list[Place]]:
        """Group places into ranges worth one request each, in the order of packs and offsets."""
        return in_spans(places, most=SPAN_BYTES if self._readers is None else NETWORK_SPAN_BYTES)

    def begin(self, group: Sequence[Place]) -> Pending:
        """Ask for a range."""
        if self._readers is None:
            return Pending(lambda: self.chunks.read_span(group))
        return Pending(self._readers.submit(self.chunks.read_span, group).result)

    def pieces(
        self, cohort: Cohort, refs: Sequence[ChunkRef], places: Sequence[Place | None]
    ) -> Iterator[memoryview]:
        """Yield plaintexts in order, less what was forgotten; each is good until the next is asked for.

        Args:
            cohort: Of the chunks.
            refs: The chunks.
            places: Where they lie; None for one that was forgotten.

        Raises:
            IntegrityError: Missing or damaged.
        """
        window = _Window(self, len(refs), places.__getitem__)
        for at, ref in enumerate(refs):
            window.ask(at)
            found = window.take(at)
            if found is None:
                continue
            plain: memoryview | None
            try:
                plain = self.chunks.view(cohort, found[0], found[1].of(found[0]))
            except IntegrityError:  # a prune may have moved it since; what is lost says so here
                plain = self.chunks.fetch_view(cohort, ref)
            if plain is not None:
                yield plain


class InOrder:
    """Fetches chunks in an order known before, each opened beside the caller (`model.ChunkFetch`)."""

    def __init__(
        self, ahead: ReadAhead, cohort: Cohort, refs: Iterable[ChunkRef], executor: Executor
    ) -> None:
        """Take the order; what is not in it, or comes a second time, can be asked for all the same."""
        self._refs = order = list(dict.fromkeys(refs))
        self._chunks = ahead.chunks
        self._cohort = cohort
        self._executor = executor
        self._order = {ref: at for at, ref in enumerate(order)}
        self._window = _Window(ahead, len(order), lambda at: ahead.chunks.locate(cohort, order[at]))
        self._jobs: dict[int, Future[bytes | None]] = {}

    def __call__(self, ref: ChunkRef, kind: ChunkKind = ChunkKind.ROWS) -> bytes | None:  # noqa: ARG002 - the port's names
        """Return a chunk's plaintext; None where it was forgotten.

        Raises:
            IntegrityError: Missing or damaged.
        """
        at = self._order.pop(ref, None)
        if at is None:
            return self._chunks.fetch(self._cohort, ref)
        for new in self._window.ask(at):
            self._jobs[new] = self._executor.submit(self._opened, self._refs[new], self._window.found(new))
        self._window.take(at)
        return self._jobs.pop(at).result()

    def _opened(self, ref: ChunkRef, found: "_Found") -> bytes | None:
        if found is None:
            return None
        place, pending = found
        try:
            return self._chunks.open(self._cohort, place, pending.of(place))
        except IntegrityError:  # a prune may have moved it since; what is lost says so here
            return self._chunks.fetch(self._cohort, ref)


_Found = tuple[Place, Pending] | None
"""Where a chunk lies and the read that brings it; None where it was forgotten."""


class _Window:
    """The part of an order that is asked for and not taken yet."""

    def __init__(self, ahead: ReadAhead, length: int, locate: Callable[[int], Place | None]) -> None:
        """Take the length of the order, and what finds a chunk by its place in it."""
        self._ahead = ahead
        self._length = length
        self._locate = locate
        self._next = 0
        self._flying = 0
        self._found: dict[int, _Found] = {}

    def ask(self, at: int) -> range:
        """Ask for what comes from `at` on, as far as there is room; return which places of the order are new.

        Only when half of the room is free: chunks that are asked for together share ranges.
        """
        if at < self._next and self._flying > AHEAD_BYTES // 2:
            return range(0)
        begun = self._next
        places: dict[int, Place] = {}
        while self._next < self._length and (self._next <= at or self._flying < AHEAD_BYTES):
            place = self._locate(self._next)
            if place is not None:
                places[self._next] = place
                self._flying += place.plain
            self._next += 1
        groups = list(self._ahead.groups(places.values()))
        pending = {(p.pack, p.offset): read for g in groups for read in (self._ahead.begin(g),) for p in g}
        for new in range(begun, self._next):
            found = places.get(new)
            self._found[new] = None if found is None else (found, pending[found.pack, found.offset])
        return range(begun, self._next)

    def found(self, at: int) -> _Found:
        """Return what was found at a place of the order."""
        return self._found[at]

    def take(self, at: int) -> _Found:
        """Return it for the last time, and so make room for more."""
        found = self._found.pop(at)
        if found is not None:
            self._flying -= found[0].plain
        return found
