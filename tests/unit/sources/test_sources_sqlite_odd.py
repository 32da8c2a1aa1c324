"""What a SQLite database may hold though no application should: it is restored as it is, or reported."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.clock import FixedClock
from tenure.domain.catalogue import Source, SourceKind
from tenure.domain.progress import SilentProgress
from tenure.sources.base import Finding
from tenure.sources.sqlite import SqliteSource
from tenure.sources.sqlitecompare import compare_sqlite

HISTOGRAM = (
    "CREATE TABLE h (tbl, idx, neq, nlt, ndlt, sample); INSERT INTO h VALUES ('t', 'i', '1', '0', '0', x'0102');"
    "PRAGMA writable_schema = ON;"
    "UPDATE sqlite_schema SET name = 'sqlite_stat4', tbl_name = 'sqlite_stat4',"
    " sql = 'CREATE TABLE sqlite_stat4 (tbl, idx, neq, nlt, ndlt, sample)' WHERE name = 'h';"
)


def made(path: Path, *scripts: str) -> Path:
    for script in scripts:
        with closing(sqlite3.connect(path)) as database:
            database.executescript(script)
    return path


def restored(path: Path) -> tuple[Path, list[Finding]]:
    """Take a database through row text into a new one; return that, and what the view found."""
    source = Source(name="crm", kind=SourceKind.SQLITE, path=str(path))
    adapter = SqliteSource(source, scratch=path.parent / "scratch", clock=FixedClock())
    view, to = adapter.begin(), path.with_name("restored.db")
    try:
        loader = adapter.loader()
        loader.begin(view.structure(), to, SilentProgress())
        for name in view.data_sets():
            assert loader.rows(name, view.layout(name), view.rows(name)) == view.count(name)
        loader.end()
        assert loader.findings == []
        return to, view.findings
    finally:
        view.close()


def read(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE t (a, b); CREATE INDEX i ON t (a); ANALYZE;",
        "CREATE TABLE t (a, b); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1, 2), (1, 3); ANALYZE;",
    ],
    ids=["none", "some"],
)
def test_statistics_of_indexes_come_back(tmp_path: Path, script: str) -> None:
    path = made(tmp_path / "a.db", script)
    to, findings = restored(path)
    assert findings == []
    assert compare_sqlite(path, to) == []
    if kept := read(path, "SELECT * FROM sqlite_stat1"):
        assert read(to, "SELECT * FROM sqlite_stat1") == kept


def test_histograms_which_hold_values_no_rule_reaches_are_left_behind_and_reported(tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", "CREATE TABLE t (a); CREATE INDEX i ON t (a); ANALYZE;" + HISTOGRAM)
    to, findings = restored(path)
    assert [(f.where, "ANALYZE" in f.reason) for f in findings] == [(b"sqlite_stat4", True)]
    assert read(to, "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat4'") == []
    assert compare_sqlite(path, to) == []


def test_rows_that_break_a_check_come_back_as_they_are(tmp_path: Path) -> None:
    path = made(
        tmp_path / "a.db",
        "PRAGMA ignore_check_constraints = ON;"
        "CREATE TABLE t (a INTEGER CHECK (a > 0), b TEXT CHECK (length(b) < 3) DEFAULT 'x');"
        "INSERT INTO t VALUES (-5, 'long enough'), (1, 'ok');",
    )
    to, findings = restored(path)
    assert findings == []
    assert compare_sqlite(path, to) == []
    assert read(to, "SELECT * FROM t") == [(-5, "long enough"), (1, "ok")]
    with closing(sqlite3.connect(to)) as database, pytest.raises(sqlite3.IntegrityError):
        database.execute("INSERT INTO t VALUES (-6, 'x')")


UNITS_OF = "CAST(substr(?, 1) AS TEXT)"  # a bound blob itself would be taken for UTF-8
# UTF-16 code units: lone halves of a pair, alone, before another character, at the end, in the wrong order; a sound pair.
UNITS = [
    "d800",
    "dc00",
    "d8000041",
    "0041d800",
    "dc00d800",
    "d83ddca9",
    "0041",
    "",
    "d800dbffdfff",
    "feff0041",
    "0000d800",
]


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
@pytest.mark.parametrize("key", ["", " PRIMARY KEY"])
def test_halves_of_surrogate_pairs_are_kept_by_their_bytes(tmp_path: Path, encoding: str, key: str) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA encoding = '{encoding}'")
        database.execute(f"CREATE TABLE t (k TEXT{key}, v, w)")
        for i, units in enumerate(UNITS):
            raw = bytes.fromhex(units)
            if encoding == "UTF-16le":
                raw = b"".join(raw[j + 1 : j + 2] + raw[j : j + 1] for j in range(0, len(raw), 2))
            database.execute(f"INSERT INTO t VALUES ({UNITS_OF}, {UNITS_OF}, ?)", (raw, raw, raw or i))
        database.commit()
    to, _ = restored(path)
    hexes = (
        "SELECT typeof(k), hex(CAST(k AS BLOB)), typeof(v), hex(CAST(v AS BLOB)), hex(w) FROM t ORDER BY w, k"
    )
    assert read(to, hexes) == read(path, hexes)
    assert {row[3] for row in read(to, hexes)} == {row[4] for row in read(path, hexes) if row[3]} | {""}
    assert compare_sqlite(path, to) == []


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-8"])
def test_keys_that_are_no_sound_text_lose_no_row_where_a_table_is_read_in_parts(
    tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA encoding = '{encoding}'")
        database.execute("CREATE TABLE t (k TEXT PRIMARY KEY, v) WITHOUT ROWID")
        odd = "\ud800".encode("utf-16-le", "surrogatepass") if encoding == "UTF-16le" else b"\xff"
        codec = "utf-16-le" if encoding == "UTF-16le" else "utf-8"
        keys = [odd + f"{i:05}".encode(codec) + (odd if i % 2 else b"") for i in range(4000)]
        kept = UNITS_OF if encoding == "UTF-16le" else "CAST(? AS TEXT)"
        database.executemany(f"INSERT INTO t VALUES ({kept}, ?)", ((k, "x" * 2000) for k in keys))
        database.commit()
    to, _ = restored(path)
    assert compare_sqlite(path, to) == []


@pytest.mark.parametrize("key", ["id INTEGER PRIMARY KEY", "id TEXT PRIMARY KEY"])
@pytest.mark.parametrize("value", ["randomblob(300000)", "replace(hex(zeroblob(100000)), '00', 'é\\')"])
def test_long_cells_that_follow_short_ones_are_read_a_few_at_a_time(
    tmp_path: Path, key: str, value: str
) -> None:
    path = made(
        tmp_path / "crm.db",
        f"CREATE TABLE t ({key}, a);"
        "WITH RECURSIVE n(i) AS (SELECT 10000 UNION ALL SELECT i + 1 FROM n WHERE i < 13000)"
        " INSERT INTO t SELECT i, 'short' FROM n;"
        "WITH RECURSIVE n(i) AS (SELECT 20000 UNION ALL SELECT i + 1 FROM n WHERE i < 20199)"
        f" INSERT INTO t SELECT i, {value} FROM n;",
    )
    source = Source(name="crm", kind=SourceKind.SQLITE, path=str(path))
    view = SqliteSource(source, scratch=tmp_path / "scratch", clock=FixedClock()).begin()
    try:
        batches = [(len(batch), len(batch.text)) for batch in view.rows("t")]
    finally:
        view.close()

    assert sum(rows for rows, _ in batches) == 3201
    assert max(size for _, size in batches) < 40_000_000
    to, _ = restored(path)
    assert read(to, "SELECT id, typeof(a), hex(a) FROM t ORDER BY id") == read(
        path, "SELECT id, typeof(a), hex(a) FROM t ORDER BY id"
    )
