"""Compares a sample of live records with their restored twins: equal, or newer, or gone for a reason.

The sample is drawn from a seed that stands in the evidence, so that an auditor can draw it again.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tenure.cards.quarantine import Answers
from tenure.domain.errors import IncompleteSnapshotError, TenureError
from tenure.evidence.drill_record import CheckResult
from tenure.operations.answers import answers_of
from tenure.operations.drillchecks import Ground, judged, skipped
from tenure.operations.inforce import rules_in_force
from tenure.operations.redaction import Redactor
from tenure.repository import rows
from tenure.sources.base import RowBatch, RowLayout
from tenure.sources.rowtext import OddText, encode_cell
from tenure.sources.sqlitequery import ROW, Queries, matches, parameter
from tenure.sources.sqliteread import connect, fetch_tolerant
from tenure.sources.sqliteschema import quoted, read_tables

SAMPLE = 50
"""Records drawn of each data set."""

NAME = "live twins"


@dataclass(slots=True)
class Twins:
    """How many of the sampled live records are what beside their twins.

    `damaged`: they differ, although the file says that nobody changed it.
    """

    equal: int = 0
    differ: int = 0
    absent: int = 0
    damaged: int = 0

    @property
    def sampled(self) -> int:
        """Return how many were looked at."""
        return self.equal + self.differ + self.absent + self.damaged


def live_twins(ground: Ground, seed: int) -> CheckResult:
    """Compare sampled live records with the restored ones; `seed` draws the sample."""
    drawn = np.random.default_rng(seed)
    live = Path(ground.source.path)
    try:
        found = _of_files(ground, live, drawn) if live.is_dir() else _of_rows(ground, live, drawn)
    except (TenureError, sqlite3.Error, OSError):
        return skipped(NAME, "the live store cannot be read now")
    moved = _moved_on(ground, live)
    problems = []
    if found.damaged:
        problems.append(
            f"{found.damaged} live recordings differ from their twins, and have the same time of change"
        )
    if not moved and found.differ:
        problems.append(
            f"{found.differ} live records differ from their twins, and the live store did not change since"
        )
    if not moved and found.absent:
        problems.append(f"{found.absent} live records have no twin, and the live store did not change since")
    if moved and found.sampled and not found.equal:
        problems.append("not one of the sampled live records equals its twin")
    note = f"seed {seed}; {found.differ} differ, {found.absent} have no twin: the live store changed since"
    note = note if found.differ or found.absent else f"seed {seed}"
    return judged(NAME, f"{found.sampled} sampled", f"{found.equal} equal", problems, note)


def _moved_on(ground: Ground, live: Path) -> bool:
    """Whether the live store may have changed since the snapshot was taken."""
    manifest, state = ground.reader.manifest, ground.repository.state
    if state.snapshots_of(manifest.source)[-1].number != ground.reader.snapshot.number:
        return True
    if any(f.judged > manifest.view for f in state.forgets_touching(manifest.source)):
        return True
    parts = (live, live.with_name(live.name + "-wal"))
    return any(p.exists() and p.stat().st_mtime > manifest.taken_at for p in parts) or live.is_dir()


def _of_rows(ground: Ground, live: Path, drawn: np.random.Generator) -> Twins:
    twins = Twins()
    rules, _ = rules_in_force(ground.repository)
    redactor = Redactor(rules, ground.installation.catalogue, _answers(ground))
    with (
        closing(connect(live, options="mode=ro", timeout=30.0)) as one,
        closing(connect(ground.target, options="mode=ro")) as two,
    ):
        here = Queries(one, ground.source, read_tables(one))
        there = Queries(two, ground.source, read_tables(two))
        for name in ground.reader.manifest.data_sets:
            if name not in here.sets or here.of(name).layout.columns != there.of(name).layout.columns:
                continue  # a table that was dropped or changed since has no twins
            columns = here.of(name).layout.columns
            layout = RowLayout(columns=columns, key_cells=len(here.of(name).key))
            sampled = _draw(one, here, name, drawn)
            cut = redactor.for_table(name, layout)
            try:
                lines = _lines(cut(_batch(sampled)))
            except IncompleteSnapshotError:
                continue  # a card number in a numeric cell, since the snapshot; `cards scan` tells
            for values, line in zip(sampled, lines, strict=True):
                # What was answered since the snapshot is not cut in it yet; then both are compared without it.
                twin = _twin(two, there, name, values[: layout.key_cells])
                _compare(None if twin is None else _lines(cut(rows.batch_of(twin + b"\n")))[0], line, twins)
    return twins


def _answers(ground: Ground) -> Answers:
    """Return what is known of likely card data now."""
    repository, snapshot = ground.repository, ground.reader.snapshot.entry
    key = repository.keys_of(snapshot.writer).finding
    return answers_of(repository.state, snapshot.source, key, repository.place.objects.now())


def _draw(
    live: sqlite3.Connection, queries: Queries, name: str, drawn: np.random.Generator
) -> list[tuple[Any, ...]]:
    """Return sampled rows of a live table, own columns only; of one without rowids its first."""
    bound = queries.of(name)
    select = f"SELECT {', '.join(queries.columns(name, bound.layout.columns))} {queries.origin(name)}"
    if bound.table.rowid is None:
        return _all(live, f"{select} LIMIT {SAMPLE}")
    rowid = f"{ROW}.{quoted(bound.table.rowid)}"
    low, high = live.execute(f"SELECT min({rowid}), max({rowid}) {queries.origin(name)}").fetchone()
    if low is None:
        return []
    picks = sorted(set(drawn.integers(low, high, size=SAMPLE, endpoint=True).tolist()))
    found: list[tuple[Any, ...]] = []
    for pick in picks:
        found += _all(live, f"{select} WHERE {rowid} >= ? ORDER BY {rowid} LIMIT 1", (pick,))
    return list(dict.fromkeys(found))


def _all(database: sqlite3.Connection, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = fetch_tolerant(lambda: database.execute(sql, values).fetchall(), database)
    # Text that is not UTF-8 comes as bytearray; as `OddText` it can be told apart, and bound again.
    return [tuple(OddText(v) if isinstance(v, bytearray) else v for v in row) for row in found]


def _twin(restored: sqlite3.Connection, queries: Queries, name: str, key: Sequence[Any]) -> bytes | None:
    bound = queries.of(name)
    where = matches(queries.key(name), [parameter(k) for k in key])
    sql = f"SELECT {', '.join(queries.columns(name, bound.layout.columns))} {queries.origin(name)} WHERE {where}"
    found = _all(restored, sql, key)
    return b"\t".join(map(encode_cell, found[0])) if found else None


def _batch(found: Sequence[Sequence[Any]]) -> RowBatch:
    return rows.batch_of(b"".join(b"\t".join(map(encode_cell, row)) + b"\n" for row in found))


def _lines(batch: RowBatch) -> list[bytes]:
    return bytes(batch.text).split(b"\n")[:-1]


def _compare(twin: bytes | None, line: bytes, twins: Twins) -> None:
    if twin is None:
        twins.absent += 1
    elif twin == line:
        twins.equal += 1
    else:
        twins.differ += 1


def _of_files(ground: Ground, live: Path, drawn: np.random.Generator) -> Twins:
    """Compare sampled restored files with the live ones of the same path; a file changed since has another time."""
    twins = Twins()
    files = sorted(p for p in ground.target.rglob("*") if p.is_file())
    count = min(SAMPLE, len(files))
    for at in sorted(drawn.choice(len(files), count, replace=False).tolist()) if count else ():
        restored = files[at]
        other = live / restored.relative_to(ground.target)
        if not other.is_file():
            twins.absent += 1
        elif restored.stat().st_mtime_ns == other.stat().st_mtime_ns:
            same = restored.read_bytes() == other.read_bytes()
            twins.equal += same
            twins.damaged += not same
        else:
            twins.differ += 1
    return twins
