"""Tables read from pages and built as pages: the same as through SQLite, and through SQLite where that is not so."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.clock import FixedClock
from tenure.domain.catalogue import DataSet, DataSetKind, Link, Source, SourceKind
from tenure.domain.errors import IncompleteSnapshotError, SourceError
from tenure.domain.progress import SilentProgress
from tenure.sources import sqlite as adapter_module
from tenure.sources import sqliteload
from tenure.sources.base import RowBatch, RowLayout
from tenure.sources.rowtext import encode_columns
from tenure.sources.sqlite import SqliteSource, SqliteView
from tenure.sources.sqlitebulk import build, bulk_of
from tenure.sources.sqlitecompare import compare_sqlite
from tenure.sources.sqlitedirect import direct_of, read_pages
from tenure.sources.sqliteload import SqliteLoader
from tenure.sources.sqliteschema import read_tables

SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, country TEXT, since TEXT);
CREATE TABLE calls (id INTEGER PRIMARY KEY, customer INTEGER, ended TEXT, note TEXT, price REAL, UNIQUE (note));
"""
CALLS = DataSet(
    name="calls",
    source="crm",
    kind=DataSetKind.TABLE,
    table="calls",
    subjects={"customer": "customer"},
    starting_points={"ended": "ended"},
    attributes={"country": "customers.country"},
    links=(Link(to="customers", by=("customer",), columns=()),),
)
CUSTOMERS = DataSet(name="customers", source="crm", kind=DataSetKind.TABLE, table="customers")
COUNT = 60_000


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("direct") / "a.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript(SCHEMA)
        made.executemany(
            "INSERT INTO customers VALUES (?, ?, '2026')",
            ((i, ["DE", "é\t\\"][i % 2]) for i in range(0, 500, 2)),
        )
        made.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?)", map(call, range(COUNT)))
        made.commit()
    return path


def call(i: int) -> tuple[Any, ...]:
    ended = None if i % 7 == 0 else f"2026-0{1 + i % 9}-01 10:00:00"
    note = f"note {i} " + "x" * (9_000 if i % 5_000 == 17 else i % 150) + ("\n\0" if i % 11 == 0 else "")
    return i * 3, i % 500, ended, note, i if i % 2 else i / 3


def view_of(path: Path, threads: ThreadPoolExecutor | None = None) -> SqliteView:
    source = Source(
        name="crm",
        kind=SourceKind.SQLITE,
        path=str(path),
        data_sets={"calls": CALLS, "customers": CUSTOMERS},
    )
    return SqliteSource(source, scratch=path.parent / "scratch", clock=FixedClock(), threads=threads).begin()


def everything(batches: Iterator[RowBatch]) -> tuple[bytes, list[Any]]:
    text = b""
    facts: list[Any] = []
    for batch in batches:
        text += bytes(batch.text)
        assert batch.facts is not None
        facts += zip(
            batch.facts.keys.to_pylist(),
            batch.facts.subjects["customer"].to_pylist(),
            batch.facts.starting["ended"].astype(np.int64).tolist(),
            batch.facts.attributes["country"].to_pylist(),
            strict=True,
        )
    return text, facts


def test_rows_and_facts_are_those_that_sqlite_reads_links_included(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(2) as threads, closing(view_of(database, threads)) as view:
        direct = everything(view.rows("calls"))
        monkeypatch.setattr(adapter_module, "direct_of", lambda *_: None)
        assert everything(view.rows("calls")) == direct
        assert len(direct[1]) == COUNT
        assert direct[1][4] == (b"i12", "4", 1_777_629_600, "DE")


def test_no_statement_reads_what_stands_in_pages(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(view_of(database)) as view:
        wanted = b"".join(bytes(b.text) for b in view.rows("customers"))
        monkeypatch.setattr("tenure.sources.sqliteread.connect", None)
        assert b"".join(bytes(b.text) for b in view.rows("customers")) == wanted
        assert wanted.count(b"\n") == 250


def test_rows_from_before_a_column_was_added_are_read_by_sqlite(database: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(database.read_bytes())
    with closing(sqlite3.connect(path)) as made:
        made.execute("ALTER TABLE customers ADD COLUMN kind TEXT DEFAULT 'private'")
        made.execute("INSERT INTO customers VALUES (9001, 'FR', '2026', 'firm')")
        made.commit()
    with closing(view_of(path)) as view:
        text = b"".join(bytes(b.text) for b in view.rows("customers"))
    assert text.count(b"\ttprivate\n") == 250
    assert text.endswith(b"i9001\ttFR\tt2026\ttfirm\n")


@pytest.mark.parametrize(
    ("ddl", "readable"),
    [
        ("CREATE TABLE t (a, b)", True),
        ("CREATE TABLE t (a INTEGER PRIMARY KEY, b)", True),
        ("CREATE TABLE t (a TEXT PRIMARY KEY, b)", False),
        ("CREATE TABLE t (a INTEGER PRIMARY KEY, b) WITHOUT ROWID", False),
        ("CREATE TABLE t (a INTEGER PRIMARY KEY, b, c AS (b))", False),
    ],
)
def test_only_tables_in_the_order_of_their_rowids_are_read_from_pages(
    tmp_path: Path, ddl: str, *, readable: bool
) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript(ddl)
    source = Source(name="crm", kind=SourceKind.SQLITE, path=str(path))
    with closing(SqliteSource(source, scratch=tmp_path / "s", clock=FixedClock()).begin()) as view:
        found = view._queries.of("t")  # how a data set is bound is the view's own affair
        with closing(sqlite3.connect(path)) as made:
            assert (direct_of(made, found) is not None) == readable


def test_a_damaged_copy_is_an_error_and_never_fewer_rows(database: Path) -> None:
    with closing(view_of(database)) as view:
        (place,) = (database.parent / "scratch").iterdir()
        raw = bytearray((place / "copy.db").read_bytes())
        leaf = next(p for p in range(len(raw) // 4096 // 2, len(raw) // 4096) if raw[p * 4096] == 0x0D)
        raw[leaf * 4096 : leaf * 4096 + 8] = bytes(8)
        (place / "copy.db").write_bytes(raw)
        with pytest.raises(IncompleteSnapshotError, match="could not be read"):
            for _ in view.rows("calls"):
                pass


def test_rows_outside_their_range_are_not_taken(database: Path) -> None:
    with closing(view_of(database)) as view, closing(sqlite3.connect(database)) as made:
        direct = direct_of(made, view._queries.of("customers"))
        assert direct is not None
        (place,) = (database.parent / "scratch").iterdir()
        assert read_pages(place / "copy.db", direct, [direct.root], (b"i-1", b"i498")) is not None
        assert read_pages(place / "copy.db", direct, [direct.root], (b"i0", b"i498")) is None
        assert read_pages(place / "copy.db", direct, [direct.root], (None, b"i497")) is None


def loaded(view: SqliteView, to: Path, executor: ThreadPoolExecutor | None) -> None:
    loader = SqliteLoader(executor=executor)
    loader.begin(view.structure(), to, SilentProgress())
    for name in view.data_sets():
        assert loader.rows(name, view.layout(name), shuffled(view.rows(name))) == view.count(name)
    loader.end()


def shuffled(batches: Iterator[RowBatch]) -> Iterator[RowBatch]:
    """Yield batches the last one first, as cohorts may come."""
    yield from reversed(list(batches))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_table_that_comes_out_of_order_is_whole_all_the_same(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(sqliteload, "build", _with(build, held_bytes=200_000))
    with ThreadPoolExecutor(2) as threads, closing(view_of(database)) as view:
        loaded(view, tmp_path / "b.db", threads if workers else None)
    assert compare_sqlite(database, tmp_path / "b.db") == []
    with closing(sqlite3.connect(tmp_path / "b.db")) as made:
        assert made.execute("SELECT id FROM calls WHERE note = ?", (call(20)[3],)).fetchall() == [(60,)]


def _with(made: Any, **more: Any) -> Any:
    return lambda *args, **kwargs: made(*args, **{**kwargs, **more})


def test_a_constraint_that_rows_do_not_keep_ends_the_restore(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript("CREATE TABLE t (k INTEGER PRIMARY KEY, v UNIQUE, w NOT NULL)")
    source = Source(name="crm", kind=SourceKind.SQLITE, path=str(path))
    with closing(SqliteSource(source, scratch=tmp_path / "s", clock=FixedClock()).begin()) as view:
        tries: list[tuple[list[list[Any]], str]] = [
            ([[1, 2], [5, 5], [0, 0]], "UNIQUE"),
            ([[1, 2], [5, 6], [0, None]], "NOT NULL"),
        ]
        for rows, named in tries:
            loader = SqliteLoader()
            loader.begin(view.structure(), tmp_path / "b.db", SilentProgress())
            with pytest.raises(SourceError, match=f"{named} constraint failed"):
                loader.rows("t", view.layout("t"), iter([encode_columns(rows)]))
            loader.abandon()
    assert not (tmp_path / "b.db").exists()


def test_a_disk_that_is_full_ends_the_restore_with_what_to_do(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sqliteload, "build", refuse)
    with closing(view_of(database)) as view:
        loader = SqliteLoader()
        loader.begin(view.structure(), tmp_path / "b.db", SilentProgress())
        with pytest.raises(SourceError, match="No space left") as caught:
            loader.rows("calls", view.layout("calls"), view.rows("calls"))
        loader.abandon()
    assert "free space" in str(caught.value.hint)
    assert not [p.name for p in tmp_path.iterdir() if "restoring" in p.name]


def test_a_table_is_built_in_the_order_of_its_own_columns(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as made:
        made.executescript("CREATE TABLE t (a, k INTEGER PRIMARY KEY NOT NULL, b NOT NULL)")
        layout = RowLayout(columns=("k", "b", "a"), key_cells=1, linked=("p.x",))
        bulk = bulk_of(made, read_tables(made)["t"], layout)
    assert bulk is not None
    assert (bulk.plan.cells, bulk.plan.rowid, bulk.plan.columns) == (4, 0, (2, -1, 1))
    assert bulk.plan.required == {2}
