"""A CRM database in one SQLite file: the first snapshot, one with 0.1 % of the rows changed, the restore.

The peer copies the file; nobody writes to it meanwhile, so its copy is sound. Ours reads the rows, which it must in
order to forget some of them later.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from benchmarks.pairs import Bench, Side
from benchmarks.processes import Run, warm
from benchmarks.restore import restored_file

ROW_BYTES = 170  # about, in the file
BATCH = 100_000  # rows
CHANGED_SHARE = 0.001
SCHEMA = """CREATE TABLE interactions (
  id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, agent_id INTEGER NOT NULL, channel TEXT NOT NULL,
  queue TEXT NOT NULL, country TEXT NOT NULL, started_at TEXT NOT NULL, duration_s INTEGER NOT NULL, note TEXT)"""
PROSE = (
    "customer asked about the bill of last month and a call back was agreed for tuesday line fault reported engineer "
    "booked address changed confirmation sent by mail tariff offer stands until end complaint taken passed on to team "
    "lead identity checked contract extended credit refund order parcel missing password reset invoice"
)
WORDS = np.array(PROSE.split())
DECLARATION: dict[str, object] = {
    "kind": "sqlite",
    "time_zone": "Europe/Berlin",
    "data_sets": {
        "interactions": {
            "table": "interactions",
            "subjects": {"customer": "customer_id"},
            "starting_points": {"call ended": "started_at"},
        }
    },
}


def _rows(rng: np.random.Generator, first: int, count: int, total: int) -> Iterator[tuple[object, ...]]:
    """Yield `count` rows, spread over six years in the order of their ids."""
    share = np.arange(first, first + count) / total
    started = (np.datetime64("2020-03-01", "s") + (share * 6 * 365 * 86_400).astype("timedelta64[s]")).astype(
        str
    )
    picked = WORDS[rng.integers(0, len(WORDS), (count, 14))].tolist()
    return zip(
        range(first + 1, first + count + 1),
        rng.integers(1, 2_000_000, count).tolist(),
        rng.integers(1, 900, count).tolist(),
        np.array(["phone", "chat", "email"])[rng.integers(0, 3, count)].tolist(),
        np.array(["service", "billing", "sales"])[rng.integers(0, 3, count)].tolist(),
        np.array(["DE", "FR", "GB", "ES"])[rng.integers(0, 4, count)].tolist(),
        [text.replace("T", " ") for text in started.tolist()],
        rng.integers(5, 2_000, count).tolist(),
        [
            f"{' '.join(words)} {number:x}"
            for words, number in zip(picked, rng.integers(0, 1 << 48, count).tolist(), strict=True)
        ],
        strict=True,
    )


def make(path: Path, *, megabytes: int) -> None:
    """Write a database of about `megabytes` to `path`, the same each time."""
    rng = np.random.default_rng(20260302)
    total = megabytes * 1_000_000 // ROW_BYTES
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute(SCHEMA)
        for first in range(0, total, BATCH):
            count = min(BATCH, total - first)
            database.executemany(
                "INSERT INTO interactions VALUES (?,?,?,?,?,?,?,?,?)", _rows(rng, first, count, total)
            )
        database.commit()


def _change(path: Path, pair: int) -> None:
    """Change the note and the queue of 0.1 % of the rows, picked at random."""
    with closing(sqlite3.connect(path)) as database, database:
        total = database.execute("SELECT max(id) FROM interactions").fetchone()[0]
        rows = np.random.default_rng(pair).integers(1, total + 1, int(total * CHANGED_SHARE)).tolist()
        changed = [(f"changed in round {pair}, row {row}", row) for row in rows]
        database.executemany("UPDATE interactions SET queue = 'complaints', note = ? WHERE id = ?", changed)


def _fingerprint(path: Path) -> object:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return database.execute(
            "SELECT count(*), sum(id * (customer_id % 997 + duration_s)), sum(length(note) * agent_id),"
            " sum(unicode(queue) * (id % 101)), max(started_at) FROM interactions"
        ).fetchone()


def prepare(bench: Bench) -> Path:
    """Return a working copy of the database, made where it is missing, its pages warm."""
    kept = bench.folder / f"crm-{bench.megabytes}.sqlite"
    if not kept.exists():
        draft = kept.with_suffix(".part")
        draft.unlink(missing_ok=True)
        make(draft, megabytes=bench.megabytes)
        draft.rename(kept)
    folder = bench.folder / "crm"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copyfile(kept, folder / "crm.sqlite")
    warm(folder)
    return folder / "crm.sqlite"


def measure(bench: Bench) -> None:
    """Time the first snapshot, five with changes between them, and the restore of the last, compared with the file."""
    source = prepare(bench)
    sides = bench.sides(source, DECLARATION)
    target = bench.folder / "restored"
    bench.compare("sqlite-first", sides, lambda side: side.snapshot(), before_run=lambda side: side.begin())
    bench.compare(
        "sqlite-changed", sides, lambda side: side.snapshot(), before_pair=lambda pair: _change(source, pair)
    )

    def empty(_: Side) -> None:
        shutil.rmtree(target, ignore_errors=True)

    def restore(side: Side) -> Run:
        return side.restore(target)

    bench.compare("sqlite-restore", sides, restore, before_run=empty)
    for side in sides:
        empty(side)
        side.restore(target)
        if _fingerprint(restored_file(target, "crm.sqlite")) != _fingerprint(source):
            raise SystemExit(
                f"the database that came back from {side.scratch.name} differs; its speed does not count"
            )
    shutil.rmtree(target, ignore_errors=True)
