"""Law: a database restored from its row text equals the original, cell by cell, and facts follow from text alone."""

import math
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import FixedClock
from tenure.domain.catalogue import DataSet, DataSetKind, Source, SourceKind
from tenure.domain.progress import SilentProgress
from tenure.sources.base import RowBatch
from tenure.sources.rowtext import (
    OddText,
    decode_cell,
    decode_columns,
    encode_cell,
    encode_columns,
    facts_from_rows,
)
from tenure.sources.sqlite import SqliteSource
from tenure.sources.sqlitecompare import compare_sqlite

TEXTS = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\\\t\n\r\0N,ti"))
) | st.sampled_from(["\\N", "\\\\n", "2026-03-01", "2026-07-01T12:00:00+02:00", "4111", "\\0\\t"])
RAW = st.binary(max_size=12).map(lambda b: b + b"\xff\\\t")  # never valid UTF-8
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    TEXTS,
    st.binary(max_size=20),
    st.sampled_from([-0.0, math.inf, -math.inf, 5e-324, 1e16, 1.0]),
)
TYPES = st.sampled_from(
    ["", "INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", "DATETIME", "VARCHAR(9) COLLATE NOCASE"]
)


@st.composite
def databases(draw: st.DrawFn) -> tuple[str, list[list[Any]]]:
    """Draw a CREATE TABLE and rows for it."""
    types = draw(st.lists(TYPES, min_size=1, max_size=5))
    columns = [f'"c {i}" {t}' for i, t in enumerate(types)]
    shape = draw(st.sampled_from(["rowid", "alias", "text key", "composite", "without rowid"]))
    n = draw(st.integers(0, 12))
    rows = [[draw(VALUES | RAW.map(OddText)) for _ in types] for _ in range(n)]
    keys = draw(st.lists(st.integers(-(2**40), 2**40), min_size=n, max_size=n, unique=True))
    if shape == "rowid":
        return f"CREATE TABLE t ({', '.join(columns)})", rows
    if shape == "alias":
        return f"CREATE TABLE t (k INTEGER PRIMARY KEY, {', '.join(columns)})", [
            [k, *r] for k, r in zip(keys, rows, strict=True)
        ]
    if shape == "text key":
        return f"CREATE TABLE t ({', '.join(columns)}, k TEXT PRIMARY KEY)", [
            [*r, f"k\t{k}"] for k, r in zip(keys, rows, strict=True)
        ]
    tail = " WITHOUT ROWID" if shape == "without rowid" else ""
    ddl = f"CREATE TABLE t (a TEXT NOT NULL, {', '.join(columns)}, b NOT NULL, PRIMARY KEY (b, a)){tail}"
    return ddl, [["x" if k % 2 else "y\n", *r, k] for k, r in zip(keys, rows, strict=True)]


def restore(source: Source, place: Path, to: Path) -> None:
    adapter = SqliteSource(source, scratch=place / "scratch", clock=FixedClock())
    view = adapter.begin()
    try:
        loader = adapter.loader()
        loader.begin(view.structure(), to, SilentProgress())
        for name in view.data_sets():
            assert loader.rows(name, view.layout(name), view.rows(name)) == view.count(name)
        loader.end()
    finally:
        view.close()


@settings(max_examples=120, deadline=None)
@given(drawn=databases(), encoding=st.sampled_from(["UTF-8", "UTF-8", "UTF-16le", "UTF-16be"]))
def test_a_restored_database_equals_the_original(drawn: tuple[str, list[list[Any]]], encoding: str) -> None:
    ddl, rows = drawn
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        with closing(sqlite3.connect(place / "a.db")) as made:
            made.execute(f"PRAGMA encoding = '{encoding}'")
            made.execute(ddl)
            for row in rows:
                marks = ", ".join("CAST(? AS TEXT)" if isinstance(v, OddText) else "?" for v in row)
                made.execute(f"INSERT INTO t VALUES ({marks})", row)
            made.commit()
        source = Source(name="crm", kind=SourceKind.SQLITE, path=str(place / "a.db"))
        restore(source, place, place / "b.db")
        assert compare_sqlite(place / "a.db", place / "b.db") == []


@given(st.lists(VALUES | RAW.map(OddText), min_size=1))
def test_a_column_encodes_as_its_cells_do_one_by_one(values: list[Any]) -> None:
    text = bytes(encode_columns([values]).text)
    assert text == b"".join(encode_cell(v) + b"\n" for v in values)


@given(VALUES | RAW.map(OddText))
def test_a_cell_reads_back_as_the_same_value_of_the_same_type(value: Any) -> None:
    back = decode_cell(encode_cell(value))
    assert type(back) is type(value)
    assert back == value
    if isinstance(value, float):
        assert math.copysign(1, back) == math.copysign(1, value)


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=20))
def test_row_text_reads_back_column_by_column(rows: list[tuple[Any, ...]]) -> None:
    columns = [list(c) for c in zip(*rows, strict=True)]
    back = decode_columns(encode_columns(columns), 3)
    assert [[(type(v), v) for v in c] for c in back] == [[(type(v), v) for v in c] for c in columns]


STARTS = st.one_of(
    st.none(),
    st.datetimes().map(lambda d: d.isoformat(sep=" ")),
    st.datetimes().map(lambda d: d.isoformat() + "Z"),
    st.integers(0, 2**40),
    TEXTS,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(STARTS, VALUES), min_size=1, max_size=15))
def test_facts_derived_from_text_alone_are_those_of_the_snapshot(rows: list[tuple[Any, Any]]) -> None:
    data_set = DataSet(
        name="calls", source="crm", kind=DataSetKind.TABLE, table="calls",
        subjects={"customer": "customer"}, starting_points={"ended": "ended"}, attributes={"queue": "customer"},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.db"
        with closing(sqlite3.connect(path)) as made:
            made.execute("CREATE TABLE calls (ended, customer)")
            made.executemany("INSERT INTO calls VALUES (?, ?)", rows)
            made.commit()
        source = Source(
            name="crm",
            kind=SourceKind.SQLITE,
            path=str(path),
            time_zone="Europe/Berlin",
            data_sets={"calls": data_set},
        )
        view = SqliteSource(source, scratch=Path(name) / "s", clock=FixedClock()).begin()
        try:
            for batch in view.rows("calls"):
                bare = RowBatch(text=bytes(batch.text), offsets=batch.offsets)
                again = facts_from_rows(view.layout("calls"), data_set, bare, "Europe/Berlin")
                assert batch.facts is not None
                assert again.keys == batch.facts.keys
                assert again.subjects == batch.facts.subjects
                assert again.attributes == batch.facts.attributes
                assert np.array_equal(again.starting["ended"], batch.facts.starting["ended"], equal_nan=True)
        finally:
            view.close()
