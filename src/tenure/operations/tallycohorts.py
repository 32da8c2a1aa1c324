"""How many records of which month are held, and how many were removed: from trees and indexes, no data is unsealed."""

from dataclasses import dataclass

from tenure.operations.installation import Installation
from tenure.repository import structure
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.model import ChunkKind, Cohort
from tenure.repository.repository import Repository
from tenure.repository.snapshotreader import SnapshotReader
from tenure.repository.structure import Root, TreeWire


@dataclass(slots=True, kw_only=True)
class Held:
    """Records of one data set and month: in the newest snapshot, and gone from any."""

    held: int = 0
    removed: int = 0


Counts = dict[tuple[str, str], Held]
"""By data set and month (``2026-03``; empty without a starting point)."""


def cohort_counts(installation: Installation, repository: Repository) -> Counts:
    """Count over every source; a tree that snapshots share is looked at once.

    Raises:
        IntegrityError: A manifest, a tree or a key page cannot be read.
    """
    gone: dict[Cohort, int] = {}
    kept: dict[Cohort, int] = {}
    for source in {s.entry.source for s in repository.state.snapshots.values()}:
        done: dict[tuple[bytes, Cohort, object], int] = {}
        readers: dict[bytes, ChunkReader] = {}
        for age, snapshot in enumerate(reversed(repository.state.snapshots_of(source))):
            writer = snapshot.entry.writer
            if writer not in readers:
                readers[writer] = repository.structure_reader(repository.keys_of(writer))
            readers[writer].read_as_of(snapshot.number)
            reader = SnapshotReader(
                snapshot, repository.manifest(snapshot), readers[writer], installation.executor
            )
            for name in reader.manifest.data_sets:
                root = reader.root(name)
                for cohort, wire in root.cohorts():
                    mark = (writer, cohort, wire.layers)
                    if mark not in done:
                        done[mark] = _missing(readers[writer], root, cohort, wire)
                    gone[cohort] = max(gone.get(cohort, 0), done[mark])
                    if age == 0:
                        kept[cohort] = wire.records - done[mark]
    return _by_month(kept, gone)


def _missing(reader: ChunkReader, root: Root, cohort: Cohort, wire: TreeWire) -> int:
    """Return how many records of a tree were forgotten."""
    if reader.forgotten_at(cohort):
        return wire.records
    if root.wire.kind == "recordings":
        entries = structure.read_media_tree(cohort, wire, reader.structure).entries
        return sum(bool(e.chunks) and reader.locate(cohort, e.chunks[0]) is None for e in entries)
    tree = structure.read_tree(cohort, wire, reader.structure)
    lacking = sum(
        reader.lacks(cohort, e.chunk)[0]
        for layer in tree.layers
        for e in layer.entries
        if e.kind == ChunkKind.ROWS
    )
    return min(
        lacking, wire.records
    )  # an older version of a row, hidden by a later layer, counts once at most


def _by_month(kept: dict[Cohort, int], gone: dict[Cohort, int]) -> Counts:
    found: Counts = {}
    for cohort in {*kept, *gone}:
        month = "" if cohort.is_open or cohort.is_quarantine else cohort.span[: len("2026-03")]
        counts = found.setdefault((cohort.data_set, month), Held())
        counts.held += kept.get(cohort, 0)
        counts.removed += gone.get(cohort, 0)
    return found
