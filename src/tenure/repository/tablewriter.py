"""Writes one table of a snapshot: what is new or changed goes into layers, everything else stays where it is.

For each cohort there are three ways. Nothing known of it (no cache, or another tree): its rows are a new base. Known:
only new and changed rows go into a layer of tier 0, and keys that vanished or moved away go into its deletes. Known,
but its layers have more than a quarter of its base's bytes: a new base. When a tier would get its eighth layer, all
eight become one of the next tier: rows last written in them are emitted again as they pass by, and their deletes
are carried over, because an older layer may still hold the key. All that is decided before the first row, from
trees and cache, because rows pass only once; only a merge waits until something in its cohort did change, so that an
unchanged cohort keeps the very tree it had. The cut bits of a tree (see `chunker`) stand in its base's `tier`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.domain.errors import SchemaDriftError
from tenure.repository import companion, rows
from tenure.repository.cachecontents import STEP
from tenure.repository.cachemerge import MergedRows
from tenure.repository.chunker import Carried, CohortChunker, Piece, groups
from tenure.repository.freshrows import FreshRows, Scratch
from tenure.repository.layering import Changes, TableResult, TableSettings, kept_bits, next_layer
from tenure.repository.model import ChunkKind, ChunkSink, Cohort, Layer, Tree, TreeEntry
from tenure.repository.openspans import Looked, stay
from tenure.repository.rowcache import (
    UNUSABLE,
    CacheContents,
    Deleted,
    KnownCohort,
    Places,
    RowCache,
    tree_token,
)
from tenure.repository.rows import Bits, Bytes, Words
from tenure.sources.base import RowBatch

DELETES_IN_CHUNK = 1 << 16
"""Identities of a chunk of deletes: 1 MiB."""

_VANISHED, _KEPT, _REPLACED = 0, 1, 2


@dataclass(slots=True)
class _CohortState:
    """A cohort while it is written. `start`: index of the layer it gets, 0 a new base; `known`: the cache knows it."""

    cohort: Cohort
    old: Tree | None
    start: int
    tier: int
    known: bool
    judged: bool
    rows: int = 0
    entries: list[TreeEntry] = field(default_factory=list)


class TableWriter:
    """Takes a table's rows in key order and writes what its trees lack."""

    def __init__(
        self,
        sink: ChunkSink,
        cache: RowCache | None,
        base: Mapping[Cohort, Tree],
        settings: TableSettings,
        *,
        homes: Mapping[str, Cohort] | None = None,
        scratch: Scratch | None = None,
    ) -> None:
        """Decide for each cohort how it is written.

        Args:
            sink: Takes chunks.
            cache: What the base snapshot holds, or None; stays in use until the result's cache is written.
            base: The table's trees in the base snapshot.
            settings: See there.
            homes: Where rows without a starting point go of which the cache cannot say where they lay, by class;
                see `openspans`.
            scratch: Takes what the next cache has to learn, until that is written; None: it stays in memory, 38
                bytes a row.
        """
        self._sink = sink
        self._cache = cache
        self._base = base
        self._settings = settings
        self._homes = homes or {}
        self._chunker = CohortChunker(
            settings.target_bytes, settings.open_target_bytes, settings.budget_bytes, cut_key=settings.cut_key
        )
        self._numbers: dict[Cohort, int] = {}
        self._states: list[_CohortState] = []
        self._fresh = FreshRows(scratch)
        self._marks = np.zeros(0 if cache is None else len(cache), np.uint8)
        self._bytes, self._content = 0, (0, 0)
        self._in_place = self._new = self._unknown = self._changed = self._moved = 0
        if cache is not None:
            for number, known in enumerate(cache.known):
                tree = base.get(known.cohort)
                if tree is None or tree_token(tree) != known.token:
                    cache.invalidate([known.cohort])
                self._add(known.cohort, known=cache.usable[number])

    def _add(self, cohort: Cohort, *, known: bool) -> int:
        """Give a cohort its number and its way of being written."""
        number = self._numbers[cohort] = len(self._states)
        old = self._base.get(cohort)
        start, tier = next_layer(old) if old is not None and known else (0, 0)
        judged = known or (self._cache is not None and old is None)
        self._states.append(_CohortState(cohort, old, start, tier, known, judged))
        merges = start > 0 and old is not None and start < len(old.layers)
        bits = None if old is None else kept_bits(old, self._target(cohort))
        self._chunker.open(number, is_open=cohort.is_open, bits=bits, held=merges)
        return number

    def _target(self, cohort: Cohort) -> int:
        return self._settings.open_target_bytes if cohort.is_open else self._settings.target_bytes

    def feed(self, batch: RowBatch, cohort_codes: NDArray[np.int32], cohorts: Sequence[Cohort]) -> None:
        """Take n rows, in key order from batch to batch.

        Args:
            batch: The rows, with facts where the settings name subjects.
            cohort_codes: The cohort of each row (n), as a place in `cohorts`; rows of an open one stay in the open
                one that they are in.
            cohorts: Cohorts of this batch; may differ from batch to batch.

        Raises:
            ValueError: Facts are missing, or n differs.
        """
        if len(cohort_codes) != len(batch):
            raise ValueError("every row needs a cohort")
        if not len(batch):
            return
        numbers = np.array([self._number(c) for c in cohorts], np.int32)[cohort_codes]
        ids = rows.identities(batch, self._settings.key_cells, self._settings.identity_key)
        hashes = rows.row_hashes(batch, self._settings.row_seed)
        mixed = rows.mix(ids, self._settings.mix_key)
        looked = Looked.up(self._cache, ids, mixed, hashes[:, 0])
        numbers = stay(numbers, looked, list(self._numbers), self._number, self._homes)
        self._count(batch, numbers, hashes)
        fresh, emit = self._judge(numbers, looked)
        # A merge begins with the first row that is really new to its cohort; before it, held rows are let go.
        for number in np.unique(numbers[fresh]).tolist():
            self._put_all(self._chunker.release(number))
        which = np.flatnonzero(emit)
        subjects = self._subjects(batch, which)
        carried = Carried(identities=ids[which], hashes=hashes[which], subjects=subjects)
        bare = rows.take(RowBatch(text=batch.text, offsets=batch.offsets), emit)
        self._put_all(self._chunker.feed(bare, numbers[which], carried))

    def _number(self, cohort: Cohort) -> int:
        return self._numbers[cohort] if cohort in self._numbers else self._add(cohort, known=False)

    def _count(self, batch: RowBatch, numbers: NDArray[np.int32], hashes: Words) -> None:
        counts = np.bincount(numbers, minlength=len(self._states))
        for number in np.flatnonzero(counts).tolist():
            self._states[number].rows += int(counts[number])
        self._bytes += len(batch.text)
        self._content = rows.add_content(self._content, rows.content_hash(hashes))

    def _judge(self, numbers: NDArray[np.int32], looked: Looked) -> tuple[Bits, Bits]:
        """Compare rows with the cache; return which are fresh, and which have to be emitted."""
        starts = np.array([state.start for state in self._states], np.int64)[numbers]
        fresh = np.ones(len(numbers), np.bool_)
        carried = np.zeros(len(numbers), np.bool_)
        if self._cache is not None and len(self._cache):
            places, before = looked.places, looked.before
            in_place = before == numbers
            same = in_place & (self._cache.hashes[places] == looked.hashes)
            carried = same & (self._cache.layers[places] >= starts)
            fresh = ~same
            self._marks[places[same]] = _KEPT
            self._marks[places[in_place & fresh]] = _REPLACED
            self._in_place += int(in_place.sum())
            self._moved += int(((before != UNUSABLE) & ~in_place).sum())
            self._changed += int(((before != UNUSABLE) & fresh).sum())
            unseen = before == UNUSABLE
        else:
            unseen = fresh
        judged = np.array([state.judged for state in self._states], np.bool_)[numbers]
        self._new += int((unseen & judged).sum())
        self._unknown += int((unseen & ~judged).sum())
        self._fresh.add(
            looked.ids[fresh], looked.mixed[fresh], looked.hashes[fresh], numbers[fresh], starts[fresh]
        )
        return fresh, fresh | carried

    def _subjects(self, batch: RowBatch, which: NDArray[np.intp]) -> dict[str, Words]:
        if not self._settings.subjects:
            return {}
        if batch.facts is None or not set(self._settings.subjects) <= set(batch.facts.subjects):
            raise ValueError(f"rows of {self._settings.table} came without the facts that companions need")
        columns = batch.facts.subjects
        places: Any = which
        return {
            kind: companion.subject_hash(columns[kind].take(places), self._settings.identity_key)
            for kind in self._settings.subjects
        }

    def _put_all(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self._put(piece)

    def _put(self, piece: Piece) -> None:
        state, settings = self._states[piece.cohort], self._settings

        def about() -> bytes:
            made = companion.of_rows(
                piece.batch,
                key_cells=settings.key_cells,
                identities=piece.carried.identities,
                hashes=piece.carried.hashes,
                subjects=piece.carried.subjects,
                expressions=settings.expressions,
                detector=settings.detector,
            )
            return companion.encode(made)

        text = piece.batch.text
        chunk, beside = self._sink.put(state.cohort, ChunkKind.ROWS, text, about)
        state.entries.append(
            TreeEntry(
                chunk=chunk, kind=ChunkKind.ROWS, records=len(piece.batch), plain=len(text), companion=beside
            )
        )

    def end(self) -> TableResult:
        """Write what is left and return the table's trees and its next cache.

        Raises:
            SchemaDriftError: Two rows have the same key.
        """
        gone, vanished = self._gone()
        for number, state in enumerate(self._states):
            if self._chunker.is_held(number) and number not in gone and state.old is not None:
                self._chunker.discard(
                    number
                )  # nothing changed in this cohort: the merge waits for a later snapshot
                state.start = len(state.old.layers)
        self._put_all(self._chunker.finish())
        deleted = self._delete(gone)
        trees = {n: self._tree(n, state) for n, state in enumerate(self._states) if state.rows}
        ordered = sorted(trees, key=lambda number: self._states[number].cohort)
        return TableResult(
            trees=tuple(trees[number] for number in ordered),
            rows=sum(state.rows for state in self._states),
            bytes=self._bytes,
            content=self._content,
            changes=Changes(
                new=self._new, changed=self._changed, deleted=vanished - self._moved, unknown=self._unknown
            ),
            cache=self._contents(ordered, trees, deleted),
        )

    def _gone(self) -> tuple[dict[int, Places], int]:
        """Return the places of keys that left a cohort whose tree goes on, and how many left any."""
        if self._cache is None:
            return {}, 0
        cache, parts = self._cache, [np.empty(0, np.int64)]
        for start in range(0, len(cache), STEP):  # in steps, so that no mask of the whole table is made
            window = slice(start, start + STEP)
            left = (self._marks[window] == _VANISHED) & (cache.cohorts[window] != UNUSABLE)
            parts.append(start + np.flatnonzero(left))
        places = np.concatenate(parts)
        by_cohort = groups(cache.cohorts[places])
        going_on = (number for number, state in enumerate(self._states) if state.start and state.rows)
        wanted = set(going_on)
        return {number: places[which] for number, which in by_cohort if number in wanted}, len(places)

    def _delete(self, gone: Mapping[int, Places]) -> Deleted:
        """Write every cohort's deletes; return all that the next cache has to know."""
        known = Deleted.none() if self._cache is None else self._cache.deleted
        # Known deletes of layers that stay; those of merged layers are carried, those of replaced bases end.
        starts = np.array([state.start if state.rows else 0 for state in self._states], np.int64)
        staying = known.layers < starts[known.cohorts]
        parts = [known.take(staying)]
        merged = known.take(~staying & (starts[known.cohorts] > 0))
        carried = {number: merged.identities[which] for number, which in groups(merged.cohorts)}
        for number in sorted({*gone, *carried}):
            ids = carried.get(number, np.empty((0, rows.IDENTITY_BYTES), np.uint8))
            if self._cache is not None and number in gone:
                ids = np.concatenate((ids, self._cache.identities_at(gone[number])))
            ids = rows.sorted_unique(ids)
            for start in range(0, len(ids), DELETES_IN_CHUNK):
                self._put_deletes(self._states[number], ids[start : start + DELETES_IN_CHUNK])
            parts.append(Deleted.of(ids, number, self._states[number].start))
        return Deleted.join(parts)

    def _put_deletes(self, state: _CohortState, ids: Bytes) -> None:
        settings = self._settings

        def about() -> bytes:
            made = companion.of_deletes(ids, expressions=settings.expressions, detector=settings.detector)
            return companion.encode(made)

        plain = ids.tobytes()
        chunk, beside = self._sink.put(state.cohort, ChunkKind.DELETES, plain, about)
        state.entries.append(
            TreeEntry(
                chunk=chunk, kind=ChunkKind.DELETES, records=len(ids), plain=len(plain), companion=beside
            )
        )

    def _tree(self, number: int, state: _CohortState) -> Tree:
        """Return a cohort's tree: the very one it had where nothing was written."""
        old = state.old
        if old is not None and not state.entries:
            return old if old.rows == state.rows else replace(old, rows=state.rows)
        tier = state.tier if state.start else self._chunker.bits(number)
        layer = Layer(tier=tier, entries=tuple(state.entries))
        below = old.layers[: state.start] if old is not None else ()
        return Tree(cohort=state.cohort, layers=(*below, layer), rows=state.rows)

    def _contents(self, ordered: Sequence[int], trees: Mapping[int, Tree], deleted: Deleted) -> CacheContents:
        """Return what stays of the last cache together with this table's fresh rows."""
        numbers = np.full(len(self._states), UNUSABLE, np.int32)
        numbers[list(ordered)] = np.arange(len(ordered))
        self._fresh.end()
        merged = MergedRows(
            fresh=self._fresh,
            base=self._cache,
            marks=self._marks,
            kept=_KEPT,
            numbers=numbers,
            starts=np.array([state.start for state in self._states], np.uint16),
        )
        if merged.have_twins() or self._in_place > np.count_nonzero(self._marks):
            raise SchemaDriftError(
                f"data set {self._settings.table}: two records have the same key",
                hint="name a key in the catalogue that is unique",
            )
        known = (KnownCohort(cohort=self._states[n].cohort, token=tree_token(trees[n])) for n in ordered)
        return CacheContents(
            known=tuple(known),
            rows=merged,
            deleted=replace(deleted, cohorts=numbers[deleted.cohorts]),
        )
