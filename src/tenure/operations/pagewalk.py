"""Walks a source's key pages, cohort by cohort: every version of every record, in whatever snapshot it lies."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tenure.repository import companion, layouts, mediacompanion, rows
from tenure.repository.chunkreader import ChunkReader, Place
from tenure.repository.chunkwriter import NONE
from tenure.repository.companion import Companion
from tenure.repository.layouts import Expressions
from tenure.repository.mediacompanion import RecordingMeta
from tenure.repository.model import ChunkKind, Cohort
from tenure.repository.page import open_index
from tenure.repository.repository import Repository
from tenure.repository.rows import Bytes
from tenure.repository.secrets import SourceKeys
from tenure.repository.state import PageState
from tenure.sources.base import RowBatch

Wanted = Mapping[bytes, Mapping[str, Bytes]]
"""Identities looked for, by writer and data set (uint8, n x 16, sorted)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """One cohort as one writer's pages have it."""

    cohort: Cohort
    keys: SourceKeys
    reader: ChunkReader
    states: tuple[PageState, ...]

    @property
    def places(self) -> list[Place]:
        """Return every chunk."""
        return list(self.reader.index(self.cohort).places.values())

    def rows(self, place: Place, about: Expressions) -> RowBatch | None:
        """Return a chunk's rows, None where they are forgotten; `about`: from its companion."""
        plain = self.reader.fetch(self.cohort, place.ref)
        return None if plain is None or not about.layout.key_cells else rows.batch_of(plain)

    def companion(self, place: Place) -> Companion | None:
        """Return what is beside a chunk of rows or deletes."""
        raw = None if place.companion == NONE else self.reader.fetch(self.cohort, place.companion)
        return None if raw is None else companion.decode(raw)

    def recordings(self) -> Iterator[RecordingMeta]:
        """Yield the recordings that the cohort's companions describe."""
        for place in self.places:
            if place.kind is ChunkKind.COMPANION:
                raw = self.reader.fetch(self.cohort, place.ref)
                yield from (m for m in (mediacompanion.decode(raw) if raw else ()) if m is not None)


def walk(
    repository: Repository, source: str, data_sets: Collection[str], *, written_after: int = 0
) -> Iterator[Pages]:
    """Yield the cohorts of these data sets.

    `written_after`: pages of snapshots that were committed after this ledger number are passed over: what they hold
    was live then.

    Raises:
        IntegrityError: A page is whole in no key store.
    """
    state = repository.refresh()
    late = {n for n in state.snapshots if written_after and n > written_after}
    groups: dict[tuple[bytes, bytes], list[PageState]] = {}
    for page in state.live_pages(state.writers_of(source)):
        if page.number not in late:
            groups.setdefault((page.ref.writer, page.ref.tag), []).append(page)
    readers: dict[bytes, ChunkReader] = {}
    for (writer, _), states in sorted(groups.items()):
        keys = repository.keys_of(writer)
        cohort, _, _ = open_index(repository.place.key_stores.get(states[0].ref), keys)
        if cohort.data_set not in data_sets:
            continue
        reader = readers.setdefault(writer, repository.chunk_reader(keys))
        yield Pages(cohort=cohort, keys=keys, reader=reader, states=tuple(states))
        reader.drop(cohort)


def rows_with(pages: Pages, wanted: Bytes, found: Callable[[RowBatch, Expressions, Bytes], None]) -> None:
    """Hand over the rows of a cohort whose identity is wanted, with their layout and identities."""
    for place in pages.places:
        if place.kind is not ChunkKind.ROWS:
            continue
        about = pages.companion(place)
        if about is None or not about.may_hold_keys(wanted).any():
            continue
        expressions = layouts.decode(about.expressions)
        batch = pages.rows(place, expressions)
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
    paths = [m.recording.path for m in pages.recordings()] if _is_media(pages) else []
    known = [rows.identity_of(p, pages.keys.identity) for p in paths]
    if known:
        ids = np.frombuffer(b"".join(known), np.uint8).reshape(-1, rows.IDENTITY_BYTES)
        total += int(rows.contains(wanted, ids).sum())
    return total


def _is_media(pages: Pages) -> bool:
    kinds = {p.kind for p in pages.places}
    return ChunkKind.MEDIA in kinds or kinds == {ChunkKind.COMPANION}
