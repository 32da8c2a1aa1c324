"""SQLite writes the lines that Python would write, or none: byte for byte, whatever the cells hold."""

import random
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import FixedClock
from tenure.domain.catalogue import DataSet, DataSetKind, Source, SourceKind
from tenure.sources.base import RowBatch
from tenure.sources.rowtext import encode_columns
from tenure.sources.sqlite import SqliteSource
from tenure.sources.sqlitelines import NUL, REAL, TEXT, LineWriter, join, shape_of, writable

VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=6),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(["\\N", "\\", "a\tb", "a\nb", "a\rb", "a\0b", "%s", "'", "", "\\n", "é"]),
)
ROWS = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6)


def written(rows: list[tuple[Any, ...]], shape: tuple[int, ...]) -> RowBatch | None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a, b)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
    writer = LineWriter(shape)
    sql = writer.sql(["r0.a", "r0.b"], "FROM t AS r0 ORDER BY r0.rowid LIMIT 100)")
    count, text = connection.execute(sql).fetchone()
    connection.close()
    return writer.batch(count, text) if text is not None else None


@given(ROWS)
def test_lines_of_their_own_shape_are_those_that_python_writes(rows: list[tuple[Any, ...]]) -> None:
    columns = list(zip(*rows, strict=True))
    shape = shape_of(columns)
    if not writable(shape):
        assert any(flags & (REAL | NUL) for flags in shape)
        return
    made, wanted = written(rows, shape), encode_columns(columns)
    assert made is not None
    assert bytes(made.text) == bytes(wanted.text)
    assert made.offsets.tolist() == wanted.offsets.tolist()


@given(ROWS, ROWS)
def test_rows_of_another_shape_make_the_same_lines_or_none(
    known: list[tuple[Any, ...]], rows: list[tuple[Any, ...]]
) -> None:
    shape = shape_of(list(zip(*known, strict=True)))
    if not writable(shape):
        return
    made = written(rows, shape)
    if made is not None:
        assert bytes(made.text) == bytes(encode_columns(list(zip(*rows, strict=True))).text)


@pytest.mark.parametrize("text", ["\\", "\t", "\n", "\r", "a\0b"])
def test_a_special_byte_that_the_shape_does_not_know_makes_no_lines(text: str) -> None:
    assert written([("plain", "x"), (text, "x")], (TEXT, TEXT)) is None


def test_shapes_join_to_what_fits_both() -> None:
    one, other = shape_of([["a"], [1]]), shape_of([[None], [b"x"]])
    assert join(one, other) == shape_of([["a", None], [1, b"x"]])
    assert join((), one) == one == join(one, ())


def text_of(batches: Iterator[RowBatch]) -> bytes:
    return b"".join(bytes(batch.text) for batch in batches)


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
def test_a_table_that_changes_its_shape_is_read_as_python_reads_it(tmp_path: Path, encoding: str) -> None:
    drawn = random.Random(7)
    odd = ["a\tb", "back\\slash", None, 3.5, b"\0blob", 2**62, "nul\0", "line\nbreak", ""]
    rows = [(i, drawn.choice(odd) if i > 4000 and i % 997 == 0 else f"plain {i}") for i in range(9000)]
    with sqlite3.connect(tmp_path / "a.db") as made:
        made.execute(f"PRAGMA encoding = '{encoding}'")
        made.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v) WITHOUT ROWID")
        made.executemany("INSERT INTO t VALUES (?, ?)", rows)
        if encoding == "UTF-8":
            made.execute("INSERT INTO t VALUES (9000, CAST(x'ff' AS TEXT))")
    made.close()
    sets = {"t": DataSet(name="t", source="crm", kind=DataSetKind.TABLE, table="t")}
    source = Source(name="crm", kind=SourceKind.SQLITE, path=str(tmp_path / "a.db"), data_sets=sets)
    with ThreadPoolExecutor(2) as threads:
        adapter = SqliteSource(source, scratch=tmp_path / "s", clock=FixedClock(), threads=threads)
        view = adapter.begin()
        wanted = bytes(encode_columns(list(zip(*rows, strict=True))).text)
        found = text_of(view.rows("t"))
        view.close()
    assert found == wanted + (b"i9000\tt\xff\n" if encoding == "UTF-8" else b"")
