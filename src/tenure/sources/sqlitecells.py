"""Turns rows read from pages (`sqlitepages`) into row text and facts, a column at a time; never a loop over rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tenure.rules.facts import Facts
from tenure.sources.base import RowBatch
from tenure.sources.rowtext import FactPlan, escape_column, facts_of_cells, real_texts
from tenure.sources.sqlitepages import REAL, Bytes, Cells, Places, Rows

_BINARY = pa.large_binary()
_NULLS, _INTEGERS, _REALS, _BLOBS, _TEXTS = range(5)
_LETTERS = {_INTEGERS: b"i", _REALS: b"r", _BLOBS: b"b", _TEXTS: b"t"}
_CLASS_OF = np.array(
    [_NULLS, *[_INTEGERS] * 6, _REALS, *[_INTEGERS] * 2, _NULLS, _NULLS, _BLOBS, _TEXTS], np.uint8
)
_FIRST_SIZED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Which value a cell of a line has. `column`: place in the record, -1 for the rowid.

    `real`: the column has REAL affinity, where SQLite keeps a whole number as an integer and gives it back as a real
    (SQLite documentation, "Datatypes In SQLite", 3.1).
    """

    column: int
    real: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """n cells. `letter`: their storage class where all have the same and none is null; `bodies`: cells without it.

    Where `letter` is empty, `bodies` are whole cells, null where they are.
    """

    letter: bytes
    bodies: Any

    def cells(self) -> Any:
        """Return whole cells, null where they are."""
        if not self.letter:
            return self.bodies
        return pc.binary_join_element_wise(_scalar(self.letter), self.bodies, _scalar(b""))

    def parts(self, before: bytes) -> list[Any]:
        """Return what to join for this column of a line."""
        if self.letter:
            return [_scalar(before + self.letter), self.bodies]
        return [_scalar(before), pc.fill_null(self.bodies, _scalar(b"\\N"))]


def _scalar(value: bytes) -> Any:
    return pa.scalar(value, _BINARY)


def batch_of_rows(rows: Rows, picked: Sequence[Picked], linked: Sequence[Any], plan: FactPlan) -> RowBatch:
    """Return n >= 1 rows as row text with their facts.

    Args:
        rows: The rows.
        picked: Which value each cell of a line has.
        linked: Cells behind those, from other tables (n each, large_binary, null where they are).
        plan: Where facts stand among both.
    """
    columns = [_column(rows, pick) for pick in picked]
    columns += [_Column(letter=b"", bodies=cells) for cells in linked]
    parts = [part for i, column in enumerate(columns) for part in column.parts(b"\t" if i else b"")]
    lines = pc.binary_join_element_wise(*parts, _scalar(b"\n"), _scalar(b""))
    offsets = np.frombuffer(lines.buffers()[1], np.int64)[: len(lines) + 1]
    text = memoryview(lines.buffers()[2])[: int(offsets[-1])]
    return RowBatch(text=text, offsets=offsets, facts=_facts(columns, plan))


def _facts(columns: Sequence[_Column], plan: FactPlan) -> Facts:
    asked = {i for _, i in (*plan.subjects, *plan.starting, *plan.attributes) if i >= 0}
    cells: Mapping[int, Any] = {i: columns[i].cells() for i in asked | {0}}
    return facts_of_cells(plan, cells[0], cells)


def _column(rows: Rows, pick: Picked) -> _Column:
    if pick.column < 0:
        return _Column(letter=b"i", bodies=_decimal(rows.rowids))
    cells = rows.columns[pick.column]
    classes = _CLASS_OF[np.where(cells.kinds < _FIRST_SIZED, cells.kinds, _FIRST_SIZED + (cells.kinds & 1))]
    if pick.real:
        classes = np.where(classes == _INTEGERS, _REALS, classes).astype(np.uint8)
    found = np.flatnonzero(np.bincount(classes, minlength=len(_LETTERS) + 1)).tolist()
    if len(found) == 1 and found[0] != _NULLS:
        return _Column(letter=_LETTERS[found[0]], bodies=_bodies(cells, found[0]))
    return _Column(letter=b"", bodies=_mixed(cells, classes, found))


def _mixed(cells: Cells, classes: NDArray[np.uint8], found: Sequence[int]) -> Any:
    """Return the cells of a column that holds several storage classes, or nulls."""
    parts, order = [], np.empty(len(cells), np.int64)
    done = 0
    for kind in found:
        which = np.flatnonzero(classes == kind)
        order[which] = np.arange(done, done + len(which))
        done += len(which)
        if kind == _NULLS:
            parts.append(pa.nulls(len(which), _BINARY))
        else:
            parts.append(_Column(letter=_LETTERS[kind], bodies=_bodies(cells.take(which), kind)).cells())
    return pa.concat_arrays(parts).take(pa.array(order))


def _bodies(cells: Cells, kind: int) -> Any:
    """Return cells of one storage class without its letter."""
    if kind == _INTEGERS:
        return _decimal(cells.integers())
    if kind == _REALS:
        whole = cells.kinds != REAL
        values = np.where(whole, 0.0, cells.reals())
        if whole.any():
            values[whole] = cells.take(whole).integers()
        return real_texts(values)
    raw = gathered(cells.text, cells.at, cells.at + cells.sizes)
    return escape_column(raw) if kind == _TEXTS else _hex(raw)


def _decimal(values: Places) -> Any:
    return pc.cast(pc.cast(pa.array(values), pa.large_string()), _BINARY)


def gathered(text: Bytes, starts: Places, ends: Places) -> Any:
    """Return the bytes from `starts` to `ends`, wherever they lie, as a large_binary column of its own memory."""
    bounds = np.empty(2 * len(starts) + 1, np.int64)
    bounds[0:-1:2], bounds[1::2] = starts, ends
    bounds[-1] = text.size
    # Every second slot is one of the values; those between them, which may run backwards, are never looked at.
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(text)]
    slots = pa.LargeBinaryArray.from_buffers(_BINARY, 2 * len(starts), buffers)
    return slots.take(pa.array(np.arange(0, 2 * len(starts), 2)))


def _hex(raw: Any) -> Any:
    """Return lower-case hex of a fresh (offset 0) large_binary column."""
    _, offsets, text = raw.buffers()
    digits = (b"" if text is None else text.to_pybytes()).hex().encode()
    bounds = np.frombuffer(offsets, np.int64)[: len(raw) + 1] * 2
    return pa.LargeBinaryArray.from_buffers(
        _BINARY, len(raw), [None, pa.py_buffer(bounds), pa.py_buffer(digits)]
    )
