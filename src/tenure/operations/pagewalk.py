"""Walks a source's key pages, cohort by cohort: every version of every record, in whatever snapshot it lies."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tenure.repository import layouts, mediacompanion, rows
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.cohortnames import of_cohorts
from tenure.repository.companion import Companion
from tenure.repository.layouts import Expressions
from tenure.repository.mediacompanion import RecordingMeta
from tenure.repository.model import ChunkKind, ChunkRef, Cohort, holds_recordings
from tenure.repository.page import open_index
from tenure.repository.pagesahead import PagesAhead
from tenure.repository.places import Place
from tenure.repository.reach import Reach
from tenure.repository.repository import Repository
from tenure.repository.rows import Bytes
from tenure.repository.secrets import SourceKeys
from tenure.repository.state import ForgetState, PageState, SnapshotState
from tenure.repository.suspects import Companions, Looked, Question, of_records
from tenure.sources.base import RowBatch

Wanted = Mapping[bytes, Mapping[str, Bytes]]
"""Identities looked for, by writer and data set (uint8, n x 16, sorted)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """One cohort as one writer's pages have it.

    `view`: of the snapshot that put them, see `walk`. `refs`: the chunks in them, where the cohort has other pages too.
    """

    cohort: Cohort
    keys: SourceKeys
    reader: ChunkReader
    companions: Companions
    states: tuple[PageState, ...]
    view: int = 0
    refs: frozenset[ChunkRef] | None = None

    @property
    def places(self) -> Iterator[Place]:
        """Return every chunk of these pages."""
        return self.of_kinds(tuple(ChunkKind))

    def of_kinds(self, kinds: Collection[ChunkKind]) -> Iterator[Place]:
        """Return the chunks of some kinds."""
        found = self.reader.index(self.cohort).places.of_kinds(kinds)
        return (p for p in found if self.refs is None or p.ref in self.refs)

    @property
    def holds_recordings(self) -> bool:
        """Whether that is a cohort of recordings."""
        places = self.reader.index(self.cohort).places
        return holds_recordings(places.kinds if self.refs is None else {p.kind for p in self.places})

    def rows(self, place: Place, about: Expressions) -> RowBatch | None:
        """Return a chunk's rows, None where they are forgotten; `about`: from its companion."""
        plain = self.reader.fetch(self.cohort, place.ref)
        return None if plain is None or not about.layout.key_cells else rows.batch_of(plain)

    def companion(self, place: Place) -> Companion | None:
        """Return what is beside a chunk of rows or deletes."""
        return self.companions.of(self.cohort, place)

    def look(self, question: Question) -> Looked:
        """Ask the companions of all chunks of rows.

        Raises:
            IntegrityError: One cannot be read.
        """
        return self.companions.look(self.cohort, self.of_kinds((ChunkKind.ROWS,)), question)

    def recordings(self) -> Iterator[RecordingMeta]:
        """Yield the recordings that the cohort's companions describe."""
        for place in self.of_kinds((ChunkKind.COMPANION,)):
            raw = self.companions.raw(self.cohort, place.ref)
            yield from (m for m in (mediacompanion.decode(raw) if raw else ()) if m is not None)


def walk(
    repository: Repository,
    source: str,
    data_sets: Collection[str] | None,
    *,
    written_after: int = 0,
    forget: ForgetState | None = None,
) -> Iterator[Pages]:
    """Yield the cohorts of these data sets; None: every cohort, that of structure and those of scopes included.

    `written_after`: pages of snapshots that were committed after this ledger number are passed over: what they hold
    was live then. `forget`: what is reached by snapshots begun since its intent comes by itself, with their view; they
    build on nothing, so no other snapshot reaches it, and it may have been put into other pages since.

    Raises:
        IntegrityError: A page is whole in no key store.
    """
    state = repository.refresh()
    late = {n for n in state.snapshots if written_after and n > written_after}
    groups: dict[tuple[bytes, bytes], list[PageState]] = {}
    total: Counter[tuple[bytes, bytes]] = Counter()
    for page in state.live_pages(state.writers_of(source)):
        total[page.ref.writer, page.ref.tag] += 1
        if page.number not in late:
            groups.setdefault((page.ref.writer, page.ref.tag), []).append(page)
    younger = [] if forget is None else list(_younger(repository, source, forget))
    # Who looks again afterwards looks at what the stores have now.
    place, kept = repository.place, None if written_after else repository.kept
    ahead = PagesAhead(place.key_stores, place.readers, kept)
    found = sorted(groups.items())
    if data_sets is not None:
        found = of_cohorts(repository, ahead, found, lambda cohort: cohort.data_set in data_sets)
    wanted = [((key, states), [s.ref for s in states]) for key, states in found]
    desk = _Desk(repository, ahead)
    for batch in ahead.batches(wanted):
        for pages in [desk.pages(writer, states) for (writer, _), states in batch]:
            whole = len(pages.states) == total[pages.keys.writer, pages.states[0].ref.tag] and not younger
            yield from [pages] if whole else _parts(pages, _refs(ahead, pages), younger)
            pages.reader.drop(pages.cohort)
        desk.clear()


class _Desk:
    """Opens pages that are at hand, with one reader for each writer."""

    def __init__(self, repository: Repository, ahead: PagesAhead) -> None:
        self._repository = repository
        self._ahead = ahead
        self._opened: dict[bytes, tuple[ChunkReader, Companions]] = {}

    def pages(self, writer: bytes, states: Sequence[PageState]) -> Pages:
        """Return a cohort's pages; its companions will come with others'."""
        keys = self._repository.keys_of(writer)
        cohort, _, _ = open_index(self._ahead.get(states[0].ref), keys)
        reader, companions = self._of(writer, keys)
        companions.offer(cohort, reader.index(cohort).places)
        return Pages(cohort=cohort, keys=keys, reader=reader, companions=companions, states=tuple(states))

    def clear(self) -> None:
        """Let go of what no later batch asks for."""
        for _, companions in self._opened.values():
            companions.clear()

    def _of(self, writer: bytes, keys: SourceKeys) -> tuple[ChunkReader, Companions]:
        if writer not in self._opened:
            repository = self._repository
            reader = repository.chunk_reader(keys, pages=self._ahead, keeps=True)
            self._opened[writer] = (reader, Companions(reader, repository.place.readers))
        return self._opened[writer]


def _younger(
    repository: Repository, source: str, forget: ForgetState
) -> Iterator[tuple[SnapshotState, Reach]]:
    """Yield the snapshots begun since a forgetting was ordered and committed before it was judged."""
    for snapshot in repository.state.snapshots_of(source):
        if snapshot.entry.view > forget.number and not 0 < forget.judged < snapshot.number:
            yield snapshot, Reach(repository, snapshot.entry.writer).add([snapshot])


def _parts(
    pages: Pages, refs: frozenset[ChunkRef], younger: Sequence[tuple[SnapshotState, Reach]]
) -> Iterator[Pages]:
    """Yield what each of the younger snapshots reaches, and the rest."""
    for snapshot, reach in younger:
        if snapshot.entry.writer == pages.keys.writer:
            mine = refs & reach.closed(pages.cohort, pages.reader.index(pages.cohort))
            refs -= mine
            yield replace(pages, view=snapshot.entry.view, refs=mine)
    yield replace(pages, refs=refs)


def _refs(ahead: PagesAhead, pages: Pages) -> frozenset[ChunkRef]:
    found: set[ChunkRef] = set()
    for state in pages.states:
        _, entries, _ = open_index(ahead.get(state.ref), pages.keys)
        found.update(map(ChunkRef, entries["id"].tolist(), entries["inc"].tolist()))
    return frozenset(found)


def rows_with(pages: Pages, wanted: Bytes, found: Callable[[RowBatch, Expressions, Bytes], None]) -> None:
    """Hand over the rows of a cohort whose identity is wanted, with their layout and identities."""
    for suspect in pages.look(of_records(wanted)).suspects:
        expressions = layouts.decode(suspect.about.expressions)
        batch = pages.rows(suspect.place, expressions)
        if batch is None:
            continue
        ids = rows.identities(batch, expressions.layout.key_cells, pages.keys.identity)
        there = rows.contains(wanted, ids)
        if there.any():
            found(rows.take(batch, there), expressions, ids[there])


def count_of(pages: Pages, wanted: Bytes) -> int:
    """Return how many records of a cohort are wanted ones, deletes of later layers included."""
    if not len(wanted):
        return 0
    total = 0

    def add(batch: RowBatch, _: Expressions, __: Bytes) -> None:
        nonlocal total
        total += len(batch)

    rows_with(pages, wanted, add)
    paths = [m.recording.path for m in pages.recordings()] if pages.holds_recordings else []
    known = [rows.identity_of(p, pages.keys.identity) for p in paths]
    if known:
        ids = np.frombuffer(b"".join(known), np.uint8).reshape(-1, rows.IDENTITY_BYTES)
        total += int(rows.contains(wanted, ids).sum())
    return total
