"""Reads one snapshot: its manifest, its trees, its rows and recordings, less what was forgotten."""

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field

from tenure.domain.errors import IntegrityError
from tenure.repository import mediacompanion
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.manifest import Manifest
from tenure.repository.mediacompanion import RecordingMeta
from tenure.repository.model import ChunkKind, ChunkRef, Cohort, Tree
from tenure.repository.nodes import MediaEntry, ref_of
from tenure.repository.places import Place
from tenure.repository.readahead import InOrder, ReadAhead
from tenure.repository.state import SnapshotState
from tenure.repository.structure import (
    Root,
    read_media_tree,
    read_root,
    read_tree,
)
from tenure.repository.tablereader import order_of
from tenure.repository.tablereader import read_tree as read_rows
from tenure.sources.base import RowBatch, RowLayout


@dataclass(slots=True, kw_only=True)
class Balance:
    """What of a data set was read, and what was not because it was forgotten."""

    records: int = 0
    forgotten: int = 0
    by_entry: dict[int, int] = field(default_factory=dict)


class SnapshotReader:
    """One snapshot. Its keys stay in memory only for the cohorts at hand."""

    def __init__(
        self,
        snapshot: SnapshotState,
        manifest: Manifest,
        chunks: ChunkReader,
        executor: Executor,
        readers: Executor | None = None,
    ) -> None:
        """Take what was opened. `executor`: opens chunks beside this thread; `readers`: see `ReadAhead`."""
        self.snapshot = snapshot
        self.manifest = manifest
        self.chunks = chunks
        self.ahead = ReadAhead(chunks, readers)
        self._executor = executor

    def structure(self) -> bytes:
        """Return the source's own schema and settings, as its loader wants them."""
        return self.chunks.structure(ref_of(self.manifest.structure)) if self.manifest.structure else b""

    def root(self, data_set: str) -> Root:
        """Return a data set's root."""
        return read_root(self.chunks.structure(ref_of(self.manifest.data_sets[data_set].root)))

    def layout(self, data_set: str) -> RowLayout:
        """Return the cells of a table's lines."""
        return self.root(data_set).layout

    def trees(self, data_set: str) -> Iterator[Tree]:
        """Yield a table's trees, one cohort at a time."""
        for cohort, wire in self.root(data_set).cohorts():
            yield read_tree(cohort, wire, self.chunks.structure)

    def rows(self, data_set: str, balance: Balance) -> Iterator[RowBatch]:
        """Yield a table's rows, cohort by cohort, each in key order; `balance` is added up as they pass.

        Raises:
            IntegrityError: Something is missing or damaged that nobody ordered forgotten.
        """
        layout = self.layout(data_set)
        for tree in self.trees(data_set):
            read = 0  # not what the balance gained: whoever reads takes records out of it, too
            for batch in self._tree_rows(tree, layout.key_cells):
                read += len(batch)
                balance.records += len(batch)
                yield batch
            missing = tree.rows - read
            if missing:
                number = self._taken_by(tree)
                if missing < 0 or not number:
                    raise IntegrityError(
                        f"snapshot {self.snapshot.number} has {tree.rows - missing} records in a cohort of {tree.rows},"
                        " and no forgetting explains it"
                    )
                balance.forgotten += missing
                balance.by_entry[number] = balance.by_entry.get(number, 0) + missing
            self.chunks.drop(tree.cohort)

    def recordings(self, data_set: str, balance: Balance) -> Iterator[tuple[Cohort, RecordingMeta]]:
        """Yield the recordings that can still be read, cohort by cohort."""
        for cohort, wire in self.root(data_set).cohorts():
            companions: dict[ChunkRef, tuple[RecordingMeta | None, ...]] = {}
            entries = read_media_tree(cohort, wire, self.chunks.structure).entries
            fetch = InOrder(self.ahead, cohort, (e.companion for e in entries), self._executor)
            for entry in entries:
                meta = _meta(entry, fetch, companions)
                if meta is None:
                    balance.forgotten += 1
                    lacks = self.chunks.lacks(cohort, entry.companion)[1]
                    number = lacks or self.chunks.forgotten_at(cohort)
                    if not number:
                        raise IntegrityError(
                            f"snapshot {self.snapshot.number} lacks a recording, and no forgetting explains it"
                        )
                    balance.by_entry[number] = balance.by_entry.get(number, 0) + 1
                    continue
                balance.records += 1
                yield cohort, meta
            self.chunks.drop(cohort)

    def pieces(self, cohort: Cohort, meta: RecordingMeta) -> Iterator[memoryview]:
        """Yield a recording's bytes; each piece is good until the next is asked for.

        Raises:
            IntegrityError: Missing or damaged.
        """
        return self.ahead.pieces(cohort, meta.chunks, self.places(cohort, meta))

    def places(self, cohort: Cohort, meta: RecordingMeta) -> list[Place | None]:
        """Return where a recording's chunks lie; None for one that was forgotten."""
        return [self.chunks.locate(cohort, ref) for ref in meta.chunks]

    def _tree_rows(self, tree: Tree, key_cells: int) -> Iterator[RowBatch]:
        fetch = InOrder(self.ahead, tree.cohort, order_of(tree), self._executor)
        yield from read_rows(tree, fetch, key_cells, self.chunks.keys.identity)

    def _taken_by(self, tree: Tree) -> int:
        numbers = [self.chunks.lacks(tree.cohort, e.chunk)[1] for layer in tree.layers for e in layer.entries]
        return max(numbers, default=0) or self.chunks.forgotten_at(tree.cohort)


def _meta(
    entry: MediaEntry, fetch: InOrder, companions: dict[ChunkRef, tuple[RecordingMeta | None, ...]]
) -> RecordingMeta | None:
    if entry.companion not in companions:
        raw = fetch(entry.companion, ChunkKind.COMPANION)
        companions[entry.companion] = () if raw is None else mediacompanion.decode(raw)
    found = companions[entry.companion]
    return found[entry.place] if entry.place < len(found) else None
