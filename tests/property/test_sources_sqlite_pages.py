"""Law: rows read from pages are those that SQLite reads, and pages built from row text hold what the text says."""

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.domain.errors import IntegrityError
from tenure.sources.base import RowBatch, RowLayout
from tenure.sources.rowtext import FactPlan, OddText, encode_cell, encode_columns
from tenure.sources.sqlitebulk import Left, build, bulk_of, rebuild_indexes
from tenure.sources.sqlitecells import batch_of_rows
from tenure.sources.sqlitecompare import compare_sqlite
from tenure.sources.sqlitedirect import is_real, picked
from tenure.sources.sqlitepages import PageFile, UnreadablePagesError, leaves, read_rows
from tenure.sources.sqliterecords import LeafCells
from tenure.sources.sqliteschema import read_tables

TYPES = ("", "INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", "DOUBLE PRECISION", "FLOATING POINT", "VARCHAR(9)")
EDGES = [edge + by for bits in (7, 15, 23, 31, 47) for edge in (1 << bits, -(1 << bits)) for by in (-1, 0, 1)]
ODD = st.binary(max_size=12).map(lambda b: OddText(b + b"\xff\\\t"))  # never valid UTF-8
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["\\N", "\\", "a\tb\n\r\0", "", "x" * 57, "x" * 58, "x" * 700, "\\0" * 3000]
)
VALUES = st.one_of(
    st.none(),
    st.sampled_from([0, 1, -1, 2, *EDGES, 2**63 - 1, -(2**63)]),
    st.floats(allow_nan=False),
    st.integers(-1000, 1000).map(float),
    TEXTS,
    ODD,
    st.binary(max_size=6),
    st.sampled_from([b"\0" * 900, b"\xff" * 20_000]),
)
ROWIDS = st.one_of(
    st.integers(0, 300), st.integers(0, 1 << 40), st.sampled_from([(1 << 55) + 1, 2**63 - 1, -1, -(2**63)])
)
Rows = dict[int, tuple[Any, ...]]


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, Rows]:
    """Draw a CREATE TABLE statement with its page size, and rows by rowid."""
    types = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=4))
    alias = draw(st.sampled_from(["k INTEGER PRIMARY KEY, ", ""]))
    size = draw(st.sampled_from([512, 1024, 4096, 65_536]))
    values = st.tuples(*(VALUES for _ in types))
    rows = draw(st.dictionaries(ROWIDS, values, max_size=25))
    columns = ", ".join(f"c{i} {t}" for i, t in enumerate(types))
    return f"PRAGMA page_size = {size}; CREATE TABLE t ({alias}{columns})", rows


def fill(path: Path, ddl: str, rows: Rows) -> None:
    with closing(sqlite3.connect(path)) as made:
        made.executescript(ddl)
        for rowid, row in rows.items():
            marks = ", ".join("CAST(? AS TEXT)" if isinstance(v, OddText) else "?" for v in row)
            names = ", ".join(["rowid", *(f"c{i}" for i in range(len(row)))])
            made.execute(f"INSERT INTO t ({names}) VALUES (?, {marks})", (rowid, *row))
        made.commit()


def columns_of(path: Path) -> tuple[str, ...]:
    with closing(sqlite3.connect(path)) as made:
        table = read_tables(made)["t"]
        return (table.rowid or "", *(n for n in table.stored if n != table.rowid))


def by_sqlite(path: Path) -> bytes:
    """Return the rows as row text, each value asked of SQLite and encoded by itself."""
    names = ", ".join(f'"{n}"' for n in columns_of(path))
    with closing(sqlite3.connect(path)) as made:
        made.text_factory = bytearray
        rows = made.execute(f"SELECT {names} FROM t ORDER BY rowid").fetchall()
    return b"".join(b"\t".join(map(encode_cell, row)) + b"\n" for row in rows)


@contextmanager
def page_file(path: Path) -> Iterator[PageFile]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield PageFile.of(fd)
    finally:
        os.close(fd)


def by_pages(path: Path, step: int = 1) -> bytes:
    """Return the same, read from `step` leaf pages at a time."""
    with closing(sqlite3.connect(path)) as made:
        root = made.execute("SELECT rootpage FROM sqlite_schema WHERE name = 't'").fetchone()[0]
        table = read_tables(made)["t"]
    places = picked(table)
    cells = [places[name] for name in columns_of(path)]
    plan = FactPlan(
        data_set="t", key_cells=1, cells=len(cells), zone="UTC", subjects=(), starting=(), attributes=()
    )
    text = b""
    with page_file(path) as file:
        found = leaves(file, root)
        for start in range(0, len(found.pages), step):
            rows = read_rows(file, found.pages[start : start + step], len(table.columns), 1 << 30)
            if len(rows.rowids):
                text += bytes(batch_of_rows(rows, cells, [], plan).text)
    return text


@settings(max_examples=150, deadline=None)
@given(drawn=tables(), step=st.integers(1, 5))
def test_rows_read_from_pages_are_those_that_sqlite_reads(drawn: tuple[str, Rows], step: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.db"
        fill(path, *drawn)
        assert by_pages(path, step) == by_sqlite(path)


def many(path: Path, *, rows: int = 9_000, size: int = 512) -> Path:
    """Make a table whose tree is several levels deep and has gaps where rows were deleted."""
    with closing(sqlite3.connect(path)) as made:
        made.executescript(
            f"PRAGMA page_size = {size}; CREATE TABLE t (k INTEGER PRIMARY KEY, c0 TEXT, c1 REAL)"
        )
        made.executemany(
            "INSERT INTO t VALUES (?, ?, ?)", ((i * 7 % rows, "x" * (i % 90), i / 2) for i in range(rows))
        )
        made.execute("DELETE FROM t WHERE k % 11 = 3 OR k BETWEEN 1000 AND 1500")
        made.execute("UPDATE t SET c0 = c0 || 'longer than it was' WHERE k % 5 = 0")
        made.commit()
    return path


@pytest.mark.parametrize("step", [1, 64, 100_000])
def test_a_deep_tree_with_gaps_is_read_whole(tmp_path: Path, step: int) -> None:
    path = many(tmp_path / "a.db")
    assert by_pages(path, step) == by_sqlite(path)


def test_bounds_of_leaves_are_those_that_a_range_query_needs(tmp_path: Path) -> None:
    path = many(tmp_path / "a.db")
    with closing(sqlite3.connect(path)) as made, page_file(path) as file:
        root = made.execute("SELECT rootpage FROM sqlite_schema WHERE name = 't'").fetchone()[0]
        found = leaves(file, root)
        after = -1
        for page, until in zip(found.pages.tolist(), found.last.tolist(), strict=True):
            rowids = read_rows(file, np.array([page]), 3, 1 << 30).rowids.tolist()
            last = bool(page == found.pages[-1])
            asked = made.execute(
                "SELECT k FROM t WHERE k > ? AND (k <= ? OR ?) ORDER BY k", (after, until, last)
            )
            assert rowids == [k for (k,) in asked]
            after = until


def test_pages_that_are_not_as_expected_are_left_to_sqlite(tmp_path: Path) -> None:
    path = many(tmp_path / "a.db", rows=500)
    with closing(sqlite3.connect(path)) as made:
        made.execute("ALTER TABLE t ADD COLUMN later TEXT DEFAULT 'd'")
        root = made.execute("SELECT rootpage FROM sqlite_schema WHERE name = 't'").fetchone()[0]
    with page_file(path) as file:
        pages = leaves(file, root).pages
        with pytest.raises(UnreadablePagesError):  # records lack the new column
            read_rows(file, pages, 4, 1 << 30)
        with pytest.raises(UnreadablePagesError):  # more bytes than were allowed
            read_rows(file, pages, 3, 1000)
        with pytest.raises(UnreadablePagesError):  # not in order
            read_rows(file, pages[::-1], 3, 1 << 30)
        with pytest.raises(UnreadablePagesError):  # an interior page, not a leaf
            read_rows(file, np.array([root]), 3, 1 << 30)
        with pytest.raises(UnreadablePagesError):
            read_rows(file, np.array([file.count + 1]), 3, 1 << 30)
        with pytest.raises(UnreadablePagesError):
            leaves(file, file.count + 1)
    wide = tmp_path / "wide.db"
    with closing(sqlite3.connect(wide)) as made:
        made.executescript("PRAGMA encoding = 'UTF-16'; CREATE TABLE t (x)")
    with pytest.raises(UnreadablePagesError), page_file(wide):
        pass
    (tmp_path / "text").write_bytes(b"no database" * 100)
    with pytest.raises(UnreadablePagesError), page_file(tmp_path / "text"):
        pass


@settings(max_examples=150, deadline=None)
@given(where=st.integers(0, 511), to=st.integers(0, 255), page=st.integers(0, 200))
def test_a_damaged_page_is_refused_or_read_but_never_breaks_the_reader(
    where: int, to: int, page: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = many(Path(name) / "a.db", rows=400)
        raw = bytearray(path.read_bytes())
        raw[(512 * (1 + page % (len(raw) // 512 - 1))) + where] = to
        path.write_bytes(raw)
        try:
            by_pages(path, 20)
        except UnreadablePagesError:
            return


def test_affinity_follows_the_order_of_sqlites_rules() -> None:
    names = {
        "REAL": True,
        "DOUBLE PRECISION": True,
        "FLOAT": True,
        "FLOATING POINT": False,
        "CHARREAL": False,
    }
    assert {n: is_real(n) for n in names} == names
    with closing(sqlite3.connect(":memory:")) as made:
        for name, real in names.items():
            made.executescript(
                f'DROP TABLE IF EXISTS t; CREATE TABLE t (x "{name}"); INSERT INTO t VALUES (5)'
            )
            assert (made.execute("SELECT typeof(x) FROM t").fetchone()[0] == "real") == real


def lines(rows: Rows) -> RowBatch:
    """Return rows as row text: the rowid, then their values."""
    return encode_columns(
        list(
            zip(
                *(
                    (rowid, *(bytearray(v) if isinstance(v, OddText) else v for v in row))
                    for rowid, row in rows.items()
                ),
                strict=True,
            )
        )
    )


def built(path: Path, ddl: str, batches: Iterable[RowBatch], held: int = 1 << 24) -> Left:
    """Make an empty table and build its pages; rows set aside are left out."""
    with closing(sqlite3.connect(path)) as made:
        made.executescript(ddl)
    names = columns_of(path)
    with closing(sqlite3.connect(path)) as made:
        bulk = bulk_of(made, read_tables(made)["t"], RowLayout(columns=names, key_cells=1))
    assert bulk is not None
    left = build(path, bulk, iter(batches), held_bytes=held)
    with closing(sqlite3.connect(path)) as made:
        rebuild_indexes(made, "t")
        assert made.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return left


@settings(max_examples=150, deadline=None)
@given(drawn=tables(), order=st.randoms(use_true_random=False), held=st.sampled_from([0, 500, 1 << 24]))
def test_built_pages_hold_what_sqlite_would_have_stored(
    drawn: tuple[str, Rows], order: Any, held: int
) -> None:
    ddl, rows = drawn
    with tempfile.TemporaryDirectory() as name:
        one, other = Path(name) / "a.db", Path(name) / "b.db"
        fill(one, ddl, rows)
        text = by_sqlite(one)
        all_lines = text.splitlines(keepends=True)
        order.shuffle(all_lines)
        parts = [all_lines[i : i + 3] for i in range(0, len(all_lines), 3)]
        batches = [RowBatch(text=b"".join(p), offsets=np.cumsum([0, *map(len, p)])) for p in parts]
        given_up = iter(batches)
        left = built(other, ddl, given_up, held)
        rest = b"".join(bytes(b.text) for b in (*left.aside, *given_up))
        assert left.built + rest.count(b"\n") == len(rows)
        with closing(sqlite3.connect(one)) as made:
            for line in rest.splitlines():
                made.execute("DELETE FROM t WHERE rowid = ?", (int(line.split(b"\t")[0][1:]),))
            made.commit()
        assert compare_sqlite(one, other) == []


def test_a_table_in_order_is_built_whole_and_as_densely_as_sqlite_would(tmp_path: Path) -> None:
    one = many(tmp_path / "a.db")
    text = by_sqlite(one)
    all_lines = text.splitlines(keepends=True)
    parts = [all_lines[i : i + 700] for i in range(0, len(all_lines), 700)]
    batches = [RowBatch(text=b"".join(p), offsets=np.cumsum([0, *map(len, p)])) for p in parts]
    ddl = "PRAGMA page_size = 512; CREATE TABLE t (k INTEGER PRIMARY KEY, c0 TEXT, c1 REAL)"
    left = built(tmp_path / "b.db", ddl, batches, held=20_000)
    assert (left.aside, left.built) == ([], len(all_lines))
    assert compare_sqlite(one, tmp_path / "b.db") == []
    with closing(sqlite3.connect(one)) as made:
        made.execute("VACUUM")
    assert (tmp_path / "b.db").stat().st_size <= one.stat().st_size * 1.1


def test_rows_of_layers_before_their_base_are_sorted_in(tmp_path: Path) -> None:
    newest = lines(dict.fromkeys(range(0, 5000, 50), ("new", 1)))
    base = [lines({k: ("old", 2) for k in range(s, s + 500) if k % 50}) for s in range(0, 5000, 500)]
    left = built(tmp_path / "a.db", "CREATE TABLE t (c0, c1)", [newest, *base], held=40_000)
    assert (left.aside, left.built) == ([], 5000)


def test_late_and_long_rows_are_set_aside_and_too_many_end_the_building(tmp_path: Path) -> None:
    first = lines(dict.fromkeys(range(1000, 2000), ("x" * 50, None)))
    late = lines(dict.fromkeys(range(5), ("late", None)) | {5000: ("y" * 10_000, None)})
    left = built(tmp_path / "a.db", "CREATE TABLE t (c0, c1)", [first, late], held=1000)
    assert left.built == 1000
    assert b"".join(bytes(b.text) for b in left.aside) == bytes(late.text)
    long = [lines(dict.fromkeys(range(s, s + 40), ("y" * 100000, None))) for s in range(0, 400, 40)]
    given_up = iter(long)
    left = built(tmp_path / "b.db", "CREATE TABLE t (c0, c1)", given_up)
    assert left.built == 0
    assert next(given_up, None) is not None


@pytest.mark.parametrize(
    "cells",
    [
        b"i1\tx5\tt",
        b"i1\tNULL\tt",
        b"i1\tiseven\tt",
        b"i1\tb0\tt",
        b"i1\tbzz\tt",
        b"i1\t\\X\tt",
        b"t1\ti1\tt",
    ],
)
def test_lines_that_are_no_cells_are_left_to_who_can_say_so(tmp_path: Path, cells: bytes) -> None:
    text = cells + b"\n"
    batch = RowBatch(text=text, offsets=np.array([0, len(text)]))
    left = built(tmp_path / "a.db", "CREATE TABLE t (c0, c1)", [batch])
    assert (left.built, [bytes(b.text) for b in left.aside]) == (0, [text])


def test_a_null_where_none_may_be_is_left_to_sqlite_which_names_the_constraint(tmp_path: Path) -> None:
    left = built(tmp_path / "a.db", "CREATE TABLE t (c0 NOT NULL, c1)", [lines({1: (None, 1)})])
    assert (left.built, len(left.aside)) == (0, 1)


def test_two_rows_with_one_rowid_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="same rowid"):
        built(tmp_path / "a.db", "CREATE TABLE t (c0, c1)", [lines({1: (1, 1)}), lines({1: (2, 2)})])


@pytest.mark.parametrize(
    "ddl",
    [
        "CREATE TABLE t (k INTEGER PRIMARY KEY, c0) WITHOUT ROWID",
        "CREATE TABLE t (k INTEGER PRIMARY KEY, c0, c1 AS (c0))",
        "PRAGMA encoding = 'UTF-16'; CREATE TABLE t (k INTEGER PRIMARY KEY, c0)",
        "PRAGMA auto_vacuum = 1; CREATE TABLE t (k INTEGER PRIMARY KEY, c0)",
        "CREATE TABLE t (k INTEGER PRIMARY KEY, c0, missing)",
    ],
)
def test_tables_that_only_sqlite_can_fill_are_not_built(tmp_path: Path, ddl: str) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as made:
        made.executescript(ddl)
        layout = RowLayout(columns=("k", "c0"), key_cells=1)
        assert bulk_of(made, read_tables(made)["t"], layout) is None


def test_the_page_that_holds_the_lock_byte_is_left_out(tmp_path: Path) -> None:
    path, size = tmp_path / "a.db", 65_536
    with closing(sqlite3.connect(path)) as made:
        made.executescript(f"PRAGMA page_size = {size}; CREATE TABLE t (c0, c1)")
    lock = (1 << 30) // size + 1
    os.truncate(path, (lock - 3) * size)  # a hole, as if the pages before it were another table's
    rows = lines({k: ("z" * 1000, k) for k in range(600)})
    with closing(sqlite3.connect(path)) as made:
        bulk = bulk_of(made, read_tables(made)["t"], RowLayout(columns=columns_of(path), key_cells=1))
    assert bulk is not None
    build(path, bulk, iter([rows]))
    assert path.stat().st_size > lock * size
    with closing(sqlite3.connect(path)) as made:
        assert made.execute("SELECT count(*), sum(c1), sum(length(c0)) FROM t").fetchone() == (
            600,
            sum(range(600)),
            600_000,
        )
    with path.open("rb") as file:
        file.seek((lock - 1) * size)
        assert not any(file.read(size))


def test_cells_keep_together_what_belongs_together() -> None:
    cells = LeafCells(rowids=np.array([5, 7]), offsets=np.array([0, 2, 5]), text=memoryview(b"aabbb"))
    assert bytes(cells.part(1, 2).text) == b"bbb"
    taken = cells.take(np.array([1, 0]))
    assert (taken.rowids.tolist(), bytes(taken.text), taken.offsets.tolist()) == ([7, 5], b"bbbaa", [0, 3, 5])
