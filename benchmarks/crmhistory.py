"""A year of daily snapshots of a CRM in one SQLite file, of which 0.1 % of the rows change a day.

The first snapshot is a real one (`operations.snapshot.take`). A real one of every further day would read the whole
table each time to find the few rows that changed, which takes hours for a year of a gigabyte. Here it is known which
rows change, so only they are read, and a session writes what such a snapshot writes: for each month's cohort a layer
of the changed rows, merged in tiers and replaced by a new base when `layering.next_layer` says so, cut, described and
sealed by the same `TableWriter`; the trees of all cohorts; key pages into every key store; a signed manifest; and the
ledger's entries. Once a week `operations.pruning.pruned` merges small key pages, as a weekly `tenure prune` does; the
policy keeps every snapshot.
"""

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml

from benchmarks import sqlite
from benchmarks.pairs import Bench
from benchmarks.tenure import SOURCE, Tenure
from tenure.bootstrap.clock import SystemClock
from tenure.bootstrap.wiring import Machine, build
from tenure.cards.findings import DETECTOR_VERSION
from tenure.domain.progress import SilentProgress
from tenure.operations import pruning, snapshot
from tenure.operations.cohorts import cohorts_of
from tenure.operations.inforce import rules_in_force
from tenure.operations.installation import Installation
from tenure.repository import layouts
from tenure.repository.layering import TableSettings, next_layer
from tenure.repository.layouts import Expressions
from tenure.repository.model import Cohort, Layer, Tree
from tenure.repository.repository import Repository
from tenure.repository.session import Outcome, Session
from tenure.repository.tablewriter import TableWriter
from tenure.sources.base import RowBatch, RowLayout
from tenure.sources.rowtext import encode_columns, facts_from_rows

TABLE = "interactions"
CHANGED_SHARE = 0.001
PRUNED_EVERY = 7  # days
CUSTOMERS = 20  # there to be erased, one in each run
ROWS_OF_ONE = 24  # records of each, all over the six years
FIRST_CUSTOMER = 3_000_000  # above all others
STEP = 100_000  # rows in memory at once


def customer(number: int) -> int:
    """Return the id of one of the customers that can be erased."""
    return FIRST_CUSTOMER + number


@dataclass(slots=True, kw_only=True)
class History:
    """The installation with its year, in a folder that later runs use again."""

    side: Tenure
    database: Path
    days: int
    structure: bytes = b""
    trees: dict[Cohort, Tree] = field(default_factory=dict)
    spans: dict[Cohort, tuple[int, int]] = field(default_factory=dict)  # first and last row id
    layers: dict[Cohort, list[set[int]]] = field(default_factory=dict)  # row ids of the layers above the base

    def build(self, megabytes: int) -> None:
        """Make the database, the first snapshot, and a snapshot of each further day."""
        self.database.parent.mkdir(parents=True, exist_ok=True)
        sqlite.make(self.database, megabytes=megabytes)
        self._place_customers()
        self.side.begin()
        keep_all(self.side.scratch / "tenure.yaml")
        installation = opened(self.side.scratch)
        begun = time.perf_counter()
        try:
            snapshot.take(installation, [SOURCE])
            repository = installation.open_reading()
            self.structure = repository.read(
                max(repository.state.snapshots), installation.executor
            ).structure()
            print(f"  first snapshot: {time.perf_counter() - begun:.0f} s")
            self._days(installation)
        finally:
            installation.close()
        print(f"  {self.days} snapshots made in {time.perf_counter() - begun:.0f} s")

    def _place_customers(self) -> None:
        """Give some customers rows all over the years, and the table the index that a CRM has."""
        rng = np.random.default_rng(20260304)
        with closing(sqlite3.connect(self.database)) as database, database:
            total = database.execute(f"SELECT max(id) FROM {TABLE}").fetchone()[0]
            picked = rng.choice(total, (CUSTOMERS, ROWS_OF_ONE), replace=False) + 1
            pairs = [(customer(n), int(row)) for n, mine in enumerate(picked) for row in mine]
            database.executemany(f"UPDATE {TABLE} SET customer_id = ? WHERE id = ?", pairs)
            database.execute(f"CREATE INDEX by_customer ON {TABLE} (customer_id)")

    def _days(self, installation: Installation) -> None:
        repository = installation.open_writing()
        with closing(sqlite3.connect(self.database)) as database:
            database.execute("PRAGMA synchronous = OFF")
            for day in range(1, self.days):
                _Day(self, installation, repository, database).take(day)
                if day % PRUNED_EVERY == 0 or day == self.days - 1:
                    pruning.pruned(installation)


@dataclass(slots=True)
class _Day:
    """One day: rows change, and a session writes what a snapshot of them writes."""

    history: History
    installation: Installation
    repository: Repository
    database: sqlite3.Connection

    def take(self, day: int) -> None:
        session = self.repository.begin(SOURCE, self.installation.executor, expires=3600, alone=True)
        layout = session.base.layout(TABLE)
        if layout is None:
            raise SystemExit("the first snapshot has no table")
        if not self.history.trees:
            self._learn(session, layout)
        changed = self._change(day)
        written = self._write(session, layout, changed)
        trees = self._trees(written)
        session.add_table(TABLE, layout, trees, plain=sum(x.plain for t in trees for x in t.layers))
        session.commit(self._outcome(session))

    def _learn(self, session: Session, layout: RowLayout) -> None:
        """Find out which rows each cohort of the first snapshot has: ids follow the time of the call."""
        history = self.history
        history.trees = session.base.trees(TABLE)
        last = self.database.execute(f"SELECT max(id) FROM {TABLE}").fetchone()[0]
        for first in range(1, last + 1, STEP):
            batch = self._rows(layout, "id BETWEEN ? AND ?", (first, first + STEP - 1))
            codes, cohorts = self._sorted(batch)
            for code, cohort in enumerate(cohorts):
                mine = np.flatnonzero(codes == code)
                low, high = history.spans.get(cohort, (last, 0))
                history.spans[cohort] = (min(low, first + int(mine[0])), max(high, first + int(mine[-1])))
        history.layers = {cohort: [] for cohort in history.trees}

    def _sorted(self, batch: RowBatch) -> tuple[Any, list[Cohort]]:
        return cohorts_of(batch, TABLE, rules_in_force(self.repository)[0], "")

    def _change(self, day: int) -> set[int]:
        """Change the note and the queue of 0.1 % of the rows, picked at random; return which."""
        total = self.database.execute(f"SELECT max(id) FROM {TABLE}").fetchone()[0]
        rows = np.unique(
            np.random.default_rng(day).integers(1, total + 1, int(total * CHANGED_SHARE))
        ).tolist()
        with self.database:
            self.database.executemany(
                f"UPDATE {TABLE} SET queue = 'complaints', note = ? WHERE id = ?",
                [(f"changed on day {day}, row {row}", row) for row in rows],
            )
        return set(rows)

    def _write(self, session: Session, layout: RowLayout, changed: set[int]) -> dict[Cohort, Tree]:
        """Write each cohort's changed rows with those of the layers they are merged with; a whole cohort: a new base."""
        history, settings = self.history, self._settings(session, layout)
        writer = TableWriter(session.chunks, None, {}, settings)
        for cohort, (low, high) in sorted(history.spans.items(), key=lambda item: item[1]):
            mine = {row for row in changed if low <= row <= high}
            if not mine:
                continue
            start, _ = next_layer(history.trees[cohort])
            if start == 0:
                history.layers[cohort] = []
                for first in range(low, high + 1, STEP):
                    until = min(first + STEP - 1, high)
                    self._feed(writer, self._rows(layout, "id BETWEEN ? AND ?", (first, until)), cohort)
                continue
            above = history.layers[cohort]
            ids = mine.union(*above[start - 1 :])
            history.layers[cohort] = [*above[: start - 1], ids]
            self._feed(writer, self._picked(layout, sorted(ids)), cohort)
        return {tree.cohort: tree for tree in writer.end().trees}

    def _feed(self, writer: TableWriter, batch: RowBatch, cohort: Cohort) -> None:
        writer.feed(batch, np.zeros(len(batch), np.int32), [cohort])

    def _trees(self, written: dict[Cohort, Tree]) -> tuple[Tree, ...]:
        """Put the new layers onto the trees; a cohort of which nothing changed keeps the tree it has."""
        history = self.history
        for cohort, new in written.items():
            old = history.trees[cohort]
            start, tier = next_layer(old)
            layer = Layer(tier=tier, entries=new.layers[0].entries)
            layers = (*old.layers[:start], layer) if start else new.layers
            history.trees[cohort] = Tree(cohort=cohort, layers=layers, rows=old.rows)
        return tuple(history.trees[cohort] for cohort in sorted(history.trees))

    def _picked(self, layout: RowLayout, ids: Iterable[int]) -> RowBatch:
        self.database.execute("CREATE TEMP TABLE IF NOT EXISTS picked (id INTEGER PRIMARY KEY)")
        self.database.execute("DELETE FROM picked")
        self.database.executemany("INSERT INTO picked VALUES (?)", ((i,) for i in ids))
        return self._rows(layout, "id IN (SELECT id FROM temp.picked)", ())

    def _rows(self, layout: RowLayout, which: str, values: tuple[int, ...]) -> RowBatch:
        names = ", ".join(layout.columns)
        found = self.database.execute(
            f"SELECT {names} FROM {TABLE} WHERE {which} ORDER BY id", values
        ).fetchall()
        batch = encode_columns(list(zip(*found, strict=True)))
        source = self.installation.catalogue.sources[SOURCE]
        facts = facts_from_rows(layout, source.data_sets[TABLE], batch, source.time_zone)
        return RowBatch(text=batch.text, offsets=batch.offsets, facts=facts)

    def _settings(self, session: Session, layout: RowLayout) -> TableSettings:
        keys = self.repository.keys_of(session.begin.writer)
        source = self.installation.catalogue.sources[SOURCE]
        subjects = dict(source.data_sets[TABLE].subjects)
        expressions = Expressions(layout=layout, subjects=subjects, zone=source.time_zone)
        return TableSettings(
            table=TABLE,
            key_cells=layout.key_cells,
            identity_key=keys.identity,
            mix_key=keys.mix,
            row_seed=keys.row_seed,
            cut_key=keys.cut,
            subjects=tuple(sorted(subjects)),
            expressions=layouts.encode(expressions),
            detector=DETECTOR_VERSION,
        )

    def _outcome(self, session: Session) -> Outcome:
        return Outcome(
            group=bytes(16),
            taken_at=self.installation.clock.now().timestamp(),
            tool="benchmark",
            catalogue=msgspec.json.encode(self.installation.catalogue.sources[SOURCE]),
            settings=self.installation.settings_text,
            detector=DETECTOR_VERSION,
            rules=b"",
            structure=session.add_structure(self.history.structure),
        )


def keep_all(config: Path) -> None:
    """Have every snapshot kept: they are all of one day."""
    said = yaml.safe_load(config.read_text(encoding="utf-8"))
    said["keep"] = {"last": 100_000, "verified": 0}
    config.write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")


def opened(folder: Path) -> Installation:
    """Return the installation in a folder, as a command opens it."""
    return build(folder / "tenure.yaml", Machine(clock=SystemClock(), progress=SilentProgress()))


def prepare(bench: Bench) -> History:
    """Return the history, made where it is missing."""
    folder = bench.folder / f"crm-{bench.megabytes}-{bench.snapshots}"
    database = folder / "live" / "crm.sqlite"
    side = Tenure(scratch=folder / "ours", source=database, declaration=sqlite.DECLARATION)
    history = History(side=side, database=database, days=bench.snapshots)
    whole = folder / "whole"
    if not whole.exists():
        if folder.exists():
            raise SystemExit(f"{folder} is half made; remove it and run this again")
        history.build(bench.megabytes)
        whole.touch()
    print(
        f"  {folder.name}: live {database.stat().st_size / 1e6:.0f} MB, stored {side.stored() / 1e6:.0f} MB"
    )
    return history
