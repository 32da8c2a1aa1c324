"""What a drill checks of a restored database, each with a result of its own; recordings have `drillrecordings`.

The restored file is read back through the source's own adapter, as if it were live, so that what is compared is what
an application would find in it, and not what the loader believes it wrote.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tenure.cards.rows import Cells, RowsPlan, redact_rows
from tenure.domain.catalogue import Source
from tenure.evidence.drill_record import CheckOutcome, CheckResult
from tenure.operations.installation import Installation
from tenure.operations.restore import Restored
from tenure.operations.unfinished import Unfinished
from tenure.operations.world import prints_of
from tenure.repository import companion, rows
from tenure.repository.model import Tree
from tenure.repository.repository import Repository
from tenure.repository.scopes import open_fingerprints
from tenure.repository.snapshotreader import Balance, SnapshotReader
from tenure.sources.base import RowBatch, RowLayout
from tenure.sources.rowtext import CellTable
from tenure.sources.sqlite import SqliteSource
from tenure.sources.sqliteread import connect

Content = tuple[int, int]
"""An order-free hash of rows: two sums modulo 2^64 (`rows.content_hash`)."""

NOTHING: Content = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the checks look at. `source`: as its snapshot describes it; `scratch`: a directory of the drill's own."""

    installation: Installation
    repository: Repository
    reader: SnapshotReader
    source: Source
    restored: Restored
    scratch: Path

    @property
    def target(self) -> Path:
        """Return where the snapshot was restored to."""
        return self.restored.target

    @property
    def forgotten(self) -> int:
        """Return how many records of the snapshot were forgotten."""
        return self.restored.forgotten


@dataclass(slots=True, kw_only=True)
class Seen:
    """What was found in one restored data set.

    `whole`: content hash of its lines; `own`: of the same without linked cells. `cards`: sure card data.
    `returned`: records that the ledger says are gone.
    """

    records: int = 0
    whole: Content = NOTHING
    own: Content = NOTHING
    cards: int = 0
    returned: int = 0


def passed(name: str, expected: object = "", found: object = "", note: str = "") -> CheckResult:
    """Return a check that passed."""
    return _result(name, CheckOutcome.PASSED, expected, found, note)


def failed(name: str, expected: object = "", found: object = "", note: str = "") -> CheckResult:
    """Return a check that failed."""
    return _result(name, CheckOutcome.FAILED, expected, found, note)


def skipped(name: str, note: str) -> CheckResult:
    """Return a check that was not made, and why."""
    return _result(name, CheckOutcome.SKIPPED, "", "", note)


def judged(
    name: str, expected: object, found: object, problems: Iterable[str], note: str = ""
) -> CheckResult:
    """Return a check that failed where there are problems, and passed where there are none."""
    told = "; ".join(problems)
    return failed(name, expected, found, told) if told else passed(name, expected, found, note)


def _result(name: str, outcome: CheckOutcome, expected: object, found: object, note: str) -> CheckResult:
    return CheckResult(name=name, outcome=outcome, expected=str(expected), found=str(found), note=note)


def read_back(ground: Ground) -> Mapping[str, Seen]:
    """Read every table of the restored database once; return by data set what was found.

    Raises:
        SourceError: The restored file cannot be read as its source was.
    """
    installation = ground.installation
    source = replace(ground.source, path=str(ground.target))
    adapter = SqliteSource(source, scratch=ground.scratch / "view", clock=installation.clock)
    view = adapter.begin()
    try:
        found: dict[str, Seen] = {}
        for name in ground.reader.manifest.data_sets:
            seen = found[name] = Seen()
            if name not in view.data_sets():
                continue
            layout = view.layout(name)
            gone = gone_prints(ground, name)
            task = installation.progress.begin(f"Checking {name}", total=None, unit="rows")
            for batch in view.rows(name):
                _look(ground, _Wanted(data_set=name, layout=layout, gone=gone), batch, seen)
                task.advance(len(batch))
            task.end()
        return found
    finally:
        view.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A table, and the fingerprints of what must not be in it."""

    data_set: str
    layout: RowLayout
    gone: rows.Bytes


def _look(ground: Ground, table: _Wanted, batch: RowBatch, seen: Seen) -> None:
    keys, layout = ground.reader.chunks.keys, table.layout
    seen.records += len(batch)
    hashes = rows.row_hashes(batch, keys.row_seed)
    seen.whole = rows.add_content(seen.whole, rows.content_hash(hashes))
    if layout.linked:
        hashes = rows.row_hashes(own_cells(batch, layout), keys.row_seed)
    seen.own = rows.add_content(seen.own, rows.content_hash(hashes))
    seen.cards += card_data(batch, layout)
    if len(table.gone):
        ids = rows.identities(batch, layout.key_cells, keys.identity)
        prints = prints_of(ground.repository.secrets.fingerprint, table.data_set, ids)
        seen.returned += int(rows.contains(table.gone, prints).sum())


def own_cells(batch: RowBatch, layout: RowLayout) -> RowBatch:
    """Return a batch's lines without their linked cells."""
    if not layout.linked or not len(batch):
        return batch
    table = CellTable(batch.text, batch.offsets, len(layout.columns) + len(layout.linked))
    ends = (pa.scalar(b"\n", pa.large_binary()), pa.scalar(b"", pa.large_binary()))
    lines = pc.binary_join_element_wise(table.prefixes(len(layout.columns)), *ends)
    _, offsets, text = lines.buffers()
    bounds = np.frombuffer(offsets, np.int64)[: len(lines) + 1]
    return RowBatch(text=memoryview(text)[: int(bounds[-1])], offsets=bounds)


def card_data(batch: RowBatch, layout: RowLayout) -> int:
    """Count what the detector is sure of in the cells that a snapshot cuts: all but those of the key."""
    cells = tuple(range(layout.key_cells, len(layout.columns) + len(layout.linked)))
    found = redact_rows(batch.text, batch.offsets, RowsPlan(cells=cells, written=Cells.CLASSED))
    counts = found.counts
    return counts.numbers + counts.codes + counts.tracks + len(found.refused_cells)


def gone_prints(ground: Ground, data_set: str) -> rows.Bytes:
    """Return the fingerprints of records that a forgetting took out of this snapshot (uint8, n x 16, sorted).

    Raises:
        TamperedError: The ledger's fingerprints cannot be read.
    """
    key, manifest = ground.repository.secrets.fingerprint, ground.reader.manifest
    prints: set[bytes] = set()
    for forget in ground.repository.state.forgets_touching(manifest.source):
        # A record that came after the live deletion is a new one, whatever its number.
        if forget.judged and manifest.view < forget.judged:
            found = open_fingerprints(forget.fingerprints, key, manifest.source, view=manifest.view)
            prints |= found.get(data_set, frozenset())
    joined = np.frombuffer(b"".join(prints), np.uint8).reshape(-1, rows.IDENTITY_BYTES)
    return rows.sorted_unique(joined) if prints else joined


def counts(ground: Ground, seen: Mapping[str, Seen]) -> CheckResult:
    """Check that the manifest's records are those restored and those forgotten, and that the ledger explains these."""
    known = {n for f in ground.repository.state.forgets.values() for n in (f.number, f.judged) if n}
    problems = []
    for name, line in ground.reader.manifest.data_sets.items():
        balance = ground.restored.balances.get(name, Balance())
        there = seen[name].records if name in seen else 0
        if there + balance.forgotten != line.records:
            problems.append(
                f"{name}: {line.records} in the manifest, {there} restored, {balance.forgotten} forgotten"
            )
        if sum(balance.by_entry.values()) != balance.forgotten or not set(balance.by_entry) <= known:
            problems.append(f"{name}: the ledger does not explain all that is said to be forgotten")
    total = sum(line.records for line in ground.reader.manifest.data_sets.values())
    found = sum(s.records for s in seen.values())
    note = f"{ground.forgotten} were forgotten since" if ground.forgotten else ""
    return judged("row counts", f"{total} records", f"{found} records", problems, note)


def content(ground: Ground, seen: Mapping[str, Seen]) -> CheckResult:
    """Check that the restored rows are those that were snapshotted, whatever their order.

    Where nothing was forgotten and no layer hides rows, the companions say what the rows hash to. Elsewhere, the rows
    are read from the repository a second time.
    """
    problems, by_companions = [], 0
    for name, found in seen.items():
        trees = list(ground.reader.trees(name))
        if not ground.forgotten and all(len(t.layers) <= 1 for t in trees):
            by_companions += 1
            same = found.whole == _by_companions(ground, trees)
        else:
            same = found.own == _read_again(ground, name)
        if not same:
            problems.append(f"{name}: the restored rows are not those of the snapshot")
    note = f"{by_companions} of {len(seen)} data sets against what stands beside their chunks"
    return judged("content", f"{len(seen)} data sets", f"{len(seen) - len(problems)} equal", problems, note)


def _by_companions(ground: Ground, trees: Iterable[Tree]) -> Content:
    total = NOTHING
    chunks, executor = ground.reader.chunks, ground.installation.executor
    for tree in trees:
        wanted = [
            (tree.cohort, e.companion)
            for layer in tree.layers
            for e in layer.entries
            if e.companion is not None
        ]
        for raw in chunks.fetch_many(wanted, executor):
            if raw is not None:
                total = rows.add_content(total, companion.decode(raw).content)
        chunks.drop(tree.cohort)
    return total


def _read_again(ground: Ground, name: str) -> Content:
    layout, total = ground.reader.layout(name), NOTHING
    unfinished = Unfinished.of(ground.repository, ground.reader)
    balance = Balance()
    for read in ground.reader.rows(name, balance):
        batch = own_cells(unfinished.filter(name, read, layout.key_cells, balance), layout)
        hashes = rows.row_hashes(batch, ground.reader.chunks.keys.row_seed)
        total = rows.add_content(total, rows.content_hash(hashes)) if len(batch) else total
    return total


def soundness(ground: Ground) -> CheckResult:
    """Run SQLite's own checks: pages, indexes, constraints, and references between tables."""
    try:
        with closing(connect(ground.target, options="mode=ro")) as restored:
            found = [str(r[0]) for r in restored.execute("PRAGMA integrity_check(10)")]
            problems = [] if found == ["ok"] else ["PRAGMA integrity_check does not say ok"]
            orphans = _orphans(restored)
    except sqlite3.Error:
        return failed("database", "ok", "unreadable", "SQLite cannot read the restored file")
    explained = _explained(ground, orphans)
    problems += [
        f"{orphans[pair]} rows of {pair[0]} refer to rows of {pair[1]} that are not there"
        for pair in sorted(set(orphans) - set(explained))
    ]
    note = "; ".join(
        f"{orphans[p]} rows of {p[0]} refer to {p[1]}: {why}" for p, why in sorted(explained.items())
    )
    return judged("database", "ok", "not ok" if problems else "ok", problems, note)


def _orphans(database: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Return how many rows of which table refer to rows of which that are not there."""
    counted: dict[tuple[str, str], int] = {}
    for table, _, parent, _ in database.execute("PRAGMA foreign_key_check"):
        counted[str(table), str(parent)] = counted.get((str(table), str(parent)), 0) + 1
    return counted


def _explained(ground: Ground, orphans: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], str]:
    """Say of references that lead nowhere why that is no fault of the restore, where it is none."""
    if not orphans:
        return {}
    tables = {d.table or d.name: d.name for d in ground.source.data_sets.values()}
    found = {}
    live = _live_orphans(Path(ground.source.path))
    for pair, count in orphans.items():
        balance = ground.restored.balances.get(tables.get(pair[1], pair[1]), Balance())
        if balance.forgotten:
            found[pair] = "their parents were forgotten"
        elif live.get(pair, 0) >= count:
            found[pair] = "the live store has the same"
    return found


def _live_orphans(live: Path) -> dict[tuple[str, str], int]:
    try:
        with closing(connect(live, options="mode=ro", timeout=30.0)) as database:
            return _orphans(database)
    except sqlite3.Error:
        return {}


def _card_data(ground: Ground, seen: Mapping[str, Seen]) -> CheckResult:
    if all(line.kind == "recordings" for line in ground.reader.manifest.data_sets.values()):
        return skipped("card data", "sound is not looked into")
    cards = [f"{name}: {s.cards}" for name, s in seen.items() if s.cards]
    return judged(
        "card data", "0", sum(s.cards for s in seen.values()), [f"sure findings in {c}" for c in cards]
    )


def summed(ground: Ground, seen: Mapping[str, Seen]) -> Iterator[CheckResult]:
    """Yield the checks that count what must not be there at all."""
    yield _card_data(ground, seen)
    back = [
        f"{name}: {s.returned} records that the ledger says are gone"
        for name, s in seen.items()
        if s.returned
    ]
    names = ground.reader.manifest.data_sets
    asked = sum(len(gone_prints(ground, name)) for name in names)
    note = f"{asked} forgotten records were looked for" if asked else "nothing of this snapshot was forgotten"
    yield judged("forgotten stays forgotten", "0", sum(s.returned for s in seen.values()), back, note)
    records = sum(s.records for s in seen.values())
    words = [] if records else ["a drill that finds nothing to check proves nothing"]
    yield judged("something to check", "1 record or more", f"{records} records", words)
