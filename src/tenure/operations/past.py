"""Records that only snapshots still hold: each by the facts of the newest snapshot that has it.

Trees that two snapshots share are read once. Cohorts in which nothing can be due yet are not read, but searched by
key before anything is judged due by an older version: a reopened account may lie there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from tenure.domain.catalogue import DataSet
from tenure.operations.world import World, identities_under, is_recordings
from tenure.repository import companion, mediacompanion, rows, structure, tablereader
from tenure.repository.mediacompanion import RecordingMeta
from tenure.repository.model import ChunkKind, ChunkRef, Cohort, Tree
from tenure.repository.rows import Bits, Bytes
from tenure.repository.snapshotreader import SnapshotReader
from tenure.rules.classes import class_of
from tenure.rules.facts import Facts
from tenure.rules.model import Rule, Start
from tenure.rules.periods import due_day, zone
from tenure.rules.ruleset import RuleSet
from tenure.sources.rowtext import facts_from_rows

_EMPTY = np.empty((0, rows.IDENTITY_BYTES), np.uint8)


@dataclass(slots=True)
class PastRecords:
    """Reads one data set's records of all snapshots that are not live any more."""

    world: World
    data_set: DataSet
    rules: RuleSet
    at: datetime
    snapshots: set[int] = field(default_factory=set)
    _skipped: list[tuple[SnapshotReader, Tree]] = field(default_factory=list)

    def facts(self, live: Bytes) -> Iterator[Facts]:
        """Yield facts of records whose identity (`World.identities`) is not among `live`; each record once."""
        seen = rows.sorted_unique(live) if len(live) else _EMPTY
        source = self.world.source_of(self.data_set.name)
        done: set[tuple[bytes, Cohort, object]] = set()
        for snapshot in reversed(self.world.repository.state.snapshots_of(source.name)):
            reader = self.world.repository.read(snapshot.number, self.world.installation.executor)
            if self.data_set.name not in reader.manifest.data_sets:
                continue
            for cohort, wire in reader.root(self.data_set.name).cohorts():
                mark = (snapshot.entry.writer, cohort, wire.layers)
                if mark in done:
                    continue
                done.add(mark)
                for found in self._tree(reader, cohort, wire):
                    ids = self.world.identities(found.keys)
                    new = ~rows.contains(seen, ids)
                    if new.any():
                        self.snapshots.add(snapshot.number)
                        seen = rows.sorted_unique(np.concatenate((seen, ids[new])))
                        yield take(found, new)
                reader.chunks.drop(cohort)

    def elsewhere(self, keys: Any) -> Bits:
        """Say of each key (pyarrow large_binary) whether a cohort that was not read holds a version of it too."""
        found = np.zeros(len(keys), np.bool_)
        for reader, tree in self._skipped:
            ids = identities_under(keys, reader.chunks.keys.identity)
            for layer in tree.layers:
                for entry in layer.entries:
                    if entry.kind == ChunkKind.ROWS and not found.all():
                        found |= self._in_chunk(reader, tree.cohort, entry, ids)
            reader.chunks.drop(tree.cohort)
        return found

    def _in_chunk(self, reader: SnapshotReader, cohort: Cohort, entry: Any, ids: Bytes) -> Bits:
        about = reader.chunks.fetch(cohort, entry.companion) if entry.companion is not None else None
        if about is None or not companion.decode(about).may_hold_keys(ids).any():
            return np.zeros(len(ids), np.bool_)
        plain = reader.chunks.fetch(cohort, entry.chunk)
        if plain is None:
            return np.zeros(len(ids), np.bool_)
        cells = reader.layout(self.data_set.name).key_cells
        there = rows.identities(rows.batch_of(plain), cells, reader.chunks.keys.identity)
        return rows.contains(rows.sorted_unique(there), ids)

    def _tree(self, reader: SnapshotReader, cohort: Cohort, wire: Any) -> Iterator[Facts]:
        if is_recordings(self.data_set):
            yield from self._recordings(reader, cohort, wire)
            return
        tree = structure.read_tree(cohort, wire, reader.chunks.structure)
        if not may_be_due(cohort, self.data_set, self.rules, self.at):
            self._skipped.append((reader, tree))
            return
        layout = reader.layout(self.data_set.name)
        zone_name = self.world.source_of(self.data_set.name).time_zone

        def fetch(ref: ChunkRef, kind: ChunkKind) -> bytes | None:  # noqa: ARG001 - the port's names
            return reader.chunks.fetch(cohort, ref)

        for batch in tablereader.read_tree(tree, fetch, layout.key_cells, reader.chunks.keys.identity):
            yield facts_from_rows(layout, self.data_set, batch, zone_name)

    def _recordings(self, reader: SnapshotReader, cohort: Cohort, wire: Any) -> Iterator[Facts]:
        entries = structure.read_media_tree(cohort, wire, reader.chunks.structure).entries
        wanted: dict[ChunkRef, list[int]] = {}
        for entry in entries:
            wanted.setdefault(entry.companion, []).append(entry.place)
        for ref, places in wanted.items():
            raw = reader.chunks.fetch(cohort, ref)
            metas = mediacompanion.decode(raw) if raw is not None else ()
            found = [m for i in places if i < len(metas) for m in [metas[i]] if m is not None]
            if found:
                yield facts_of_recordings(self.data_set, found)


def facts_of_recordings(data_set: DataSet, metas: Sequence[RecordingMeta]) -> Facts:
    """Return the facts of recordings as their companions keep them; what is not there is unknown."""

    def texts(of: Callable[[RecordingMeta], Any], name: str) -> Any:
        return pa.array([of(m).get(name) for m in metas], pa.large_string())

    def times(name: str) -> Any:
        return np.array([m.starting.get(name) or "NaT" for m in metas], "datetime64[s]")

    return Facts(
        data_set=data_set.name,
        keys=pa.array([m.recording.path for m in metas], pa.large_binary()),
        subjects={name: texts(lambda m: m.subjects, name) for name in data_set.subjects},
        starting={name: times(name) for name in data_set.starting_points},
        attributes={name: texts(lambda m: m.attributes, name) for name in data_set.attributes},
    )


def take(facts: Facts, which: Bits) -> Facts:
    """Return the facts of some records."""
    places = pa.array(np.flatnonzero(which))
    return Facts(
        data_set=facts.data_set,
        keys=facts.keys.take(places),
        subjects={n: c.take(places) for n, c in facts.subjects.items()},
        starting={n: c[which] for n, c in facts.starting.items()},
        attributes={n: c.take(places) for n, c in facts.attributes.items()},
    )


def may_be_due(cohort: Cohort, data_set: DataSet, rules: RuleSet, at: datetime) -> bool:
    """Whether a record in a cohort can be due under these rules; True where that cannot be told from its name.

    It can be told where every limit counts from the starting point that the cohort's span counts from.
    """
    own = [rule for _, rule in rules.rules_of(data_set.name)]
    limits = [rule for rule in own if rule.delete_after is not None]
    if not limits:
        return False
    start = limits[0].starting_from
    if cohort.is_open:  # its start was missing in that snapshot, and a missing one keeps
        return any(rule.starting_from != start for rule in limits) or not _spans_by(cohort, own, start)
    if any(rule.starting_from != start for rule in limits) or not _spans_by(cohort, own, start):
        return True
    month = date.fromisoformat(f"{cohort.span}-01")
    today = at.astimezone(zone(rules.time_zone_of(data_set.name))).date()
    periods = [rule.delete_after for rule in limits if rule.delete_after is not None]
    return any(p.unit == "hours" or due_day(month, p) <= today for p in periods)


def _spans_by(cohort: Cohort, own: Sequence[Rule], start: Start | None) -> bool:
    """Whether the span of a cohort counts from `start`: it is of the class of a rule that does."""
    if not cohort.is_open and len(cohort.span) != len("2026-03"):
        return False
    return any(rule.starting_from == start and cohort.rule_class in classes_of(rule) for rule in own)


def classes_of(rule: Rule) -> set[str]:
    """Return every class that records of a rule can have, one for each set of exceptions that may apply together."""
    count = len(rule.unless)
    return {
        class_of(rule, tuple(b for b in range(count) if mask >> b & 1)) for mask in range(1 << min(count, 10))
    }
