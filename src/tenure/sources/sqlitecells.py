"""Turns rows read from pages (`sqlitepages`) into row text and facts, a column at a time; never a loop over rows.

Texts are copied once, from their page to their line. Only where the finished text shows that one holds a character
which row text escapes are they taken out and escaped first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tenure.rules.facts import Facts
from tenure.sources import decimals
from tenure.sources.assembling import Assembly, gathered
from tenure.sources.base import RowBatch
from tenure.sources.rowtext import FactPlan, escape_column, facts_of_cells, real_texts
from tenure.sources.sqlitepages import REAL, Bytes, Cells, Places, Rows

_BINARY = pa.large_binary()
_NULLS, _INTEGERS, _REALS, _BLOBS, _TEXTS = range(5)
_LETTERS = np.frombuffer(b"\\irbt", np.uint8)  # what a cell of each storage class begins with
_CLASS_OF = np.array(
    [_NULLS, *[_INTEGERS] * 6, _REALS, *[_INTEGERS] * 2, _NULLS, _NULLS, *[_BLOBS, _TEXTS] * 58], np.uint8
)
"""Storage classes by serial type, of those below 128; blobs and texts go on in turns."""
_NOWHERE = np.empty(0, np.int64)
_TAB, _NEWLINE, _BACKSLASH = b"\t\n\\"
_FRONT = 2  # bytes: what separates a cell from the one before it, and the letter of its class
_CONTROLS = (
    0x20  # bytes below are what row text separates cells and lines with, what it escapes, and what is rare
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Which value a cell of a line has. `column`: place in the record, -1 for the rowid.

    `real`: the column has REAL affinity, where SQLite keeps a whole number as an integer and gives it back as a real
    (SQLite documentation, "Datatypes In SQLite", 3.1).
    """

    column: int
    real: bool = False


@dataclass(slots=True, kw_only=True)
class _Column:
    """n cells of a line. `cells`: their values, None for rowids; `found`: the storage classes among them, ascending.

    `classes`: of each (n). `starts`, `ends`: where they stand in the assembly, without their letter.
    """

    cells: Cells | None
    classes: NDArray[np.uint8]
    found: tuple[int, ...]
    starts: Places = field(default_factory=lambda: _NOWHERE)
    ends: Places = field(default_factory=lambda: _NOWHERE)

    def places_of(self, kind: int) -> Any:
        """Return which cells are of one storage class."""
        return slice(None) if len(self.found) == 1 else np.flatnonzero(self.classes == kind)


def batch_of_rows(rows: Rows, picked: Sequence[Picked], linked: Sequence[Any], plan: FactPlan) -> RowBatch:
    """Return n >= 1 rows as row text with their facts.

    Args:
        rows: The rows.
        picked: Which value each cell of a line has.
        linked: Cells behind those, from other tables (n each, large_binary, null where they are).
        plan: Where facts stand among both.
    """
    lines = _Lines(rows, [_column(rows, pick) for pick in picked], linked)
    text, bounds = lines.together()
    if not lines.are_plain(text):
        lines.escape()
        text, bounds = lines.together()
    each = len(picked) + len(linked)
    # The newline in front of the first line is none of its own, so offsets are those of the newlines.
    offsets = np.ascontiguousarray(bounds[::each])
    return RowBatch(text=text.data[1:], offsets=offsets, facts=_facts(text, bounds, each, plan))


def _column(rows: Rows, pick: Picked) -> _Column:
    if pick.column < 0:
        return _Column(cells=None, classes=np.full(len(rows), _INTEGERS, np.uint8), found=(_INTEGERS,))
    cells = rows.columns[pick.column]
    kinds = cells.kinds
    if kinds.dtype != np.uint8:
        kinds = np.where(kinds < len(_CLASS_OF), kinds, len(_CLASS_OF) - 2 + (kinds & 1))
    classes = _CLASS_OF[kinds]
    if pick.real:
        classes = np.where(classes == _INTEGERS, _REALS, classes).astype(np.uint8)
    found = np.flatnonzero(np.bincount(classes, minlength=len(_LETTERS)))
    return _Column(cells=cells, classes=classes, found=tuple(found.tolist()))


class _Lines:
    """The cells of n lines on their way into one text.

    Each is taken with the two bytes in front of it, whatever they are; what separates it and the letter of its class
    are then put over them. So a cell is one piece, and it is pieces that take time. A null is a letter and an ``N``.
    """

    def __init__(self, rows: Rows, columns: Sequence[_Column], linked: Sequence[Any]) -> None:
        self._assembly = Assembly(rows.columns[0].text)
        self._assembly.constant(bytes(_FRONT))  # so that there is something in front of whatever comes next
        self._null = self._assembly.constant(b"N")
        self._rowids, self._columns = rows.rowids, columns
        self._letters = np.empty((len(rows), len(columns) + len(linked)), np.uint8)
        for place, column in enumerate(columns):
            self._fill(column)
            one = len(column.found) == 1
            self._letters[:, place] = _LETTERS[column.found[0]] if one else _LETTERS[column.classes]
        self._linked = [self._link(place, cells) for place, cells in enumerate(linked, len(columns))]
        self._backslashes = int(np.count_nonzero(self._letters == _BACKSLASH))
        self._backslashes += sum(_backslashes_in(cells) for cells in linked)

    def _fill(self, column: _Column) -> None:
        """Say where the cells of a column stand."""
        if len(column.found) == 1 and column.found[0] != _NULLS:
            column.starts, column.ends = self._bodies(column.cells, column.found[0])
            return
        column.starts, column.ends = np.empty((2, len(column.classes)), np.int64)
        for kind in column.found:
            which = column.places_of(kind)
            if kind == _NULLS or column.cells is None:
                column.starts[which], column.ends[which] = self._null
            else:
                column.starts[which], column.ends[which] = self._bodies(column.cells.take(which), kind)

    def _link(self, place: int, cells: Any) -> tuple[Places, Places]:
        """Add whole cells, null where they are; return where they stand without their letter."""
        column = pa.concat_arrays([pc.fill_null(cells, pa.scalar(b"\\N", _BINARY))])
        starts, ends = self._assembly.column(column)
        self._letters[:, place] = np.frombuffer(column.buffers()[2], np.uint8)[starts - starts[0]]
        return starts + 1, ends

    def _bodies(self, cells: Cells | None, kind: int) -> tuple[Places, Places]:
        """Return where cells of one storage class, rowids for None, stand without their letter."""
        if cells is None or kind == _INTEGERS:
            return self._integers(self._rowids if cells is None else cells.integers())
        if kind == _REALS:
            return self._assembly.column(_reals(cells))
        if kind == _BLOBS:
            return self._assembly.column(_hex(gathered(cells.text, cells.at, cells.at + cells.sizes)))
        return cells.at, cells.at + cells.sizes

    def _integers(self, values: Places) -> tuple[Places, Places]:
        made = decimals.written(values)
        if made is None:
            return self._assembly.column(_decimal(values))
        text, starts, ends = made
        base = self._assembly.add(text)
        return base + starts, base + ends

    def escape(self) -> None:
        """Put texts with characters that row text escapes in place of those that stand in pages."""
        for column in self._columns:
            if _TEXTS not in column.found or column.cells is None:
                continue
            which = column.places_of(_TEXTS)
            cells = column.cells.take(which)
            plain = gathered(cells.text, cells.at, cells.at + cells.sizes)
            escaped = escape_column(plain)
            if escaped is not plain:
                column.starts, column.ends = column.starts.copy(), column.ends.copy()
                column.starts[which], column.ends[which] = self._assembly.column(escaped)

    def together(self) -> tuple[Bytes, Places]:
        """Return a newline and the lines end to end, and the places of what separates cells, the last newline too."""
        pieces = [(column.starts, column.ends) for column in self._columns]
        text, offsets = self._assembly.together([*pieces, *self._linked], before=_FRONT, after=1)
        bounds = offsets.copy()
        bounds[-1] -= 1
        text[bounds] = _TAB
        text[bounds[:: self._letters.shape[1]]] = _NEWLINE
        text[bounds[:-1] + 1] = self._letters.reshape(-1)
        return text, bounds

    def are_plain(self, text: Bytes) -> bool:
        """Whether the finished text shows that no text in it has a character that row text escapes."""
        if not any(_TEXTS in column.found for column in self._columns):
            return True
        if int(np.count_nonzero(text < _CONTROLS)) != self._letters.size + 1:
            return False
        return int(np.count_nonzero(text == _BACKSLASH)) == self._backslashes


def _facts(text: Bytes, bounds: Places, each: int, plan: FactPlan) -> Facts:
    """Return the facts of lines of `each` cells; `bounds`: see `_Lines.together`."""
    asked = {i for _, i in (*plan.subjects, *plan.starting, *plan.attributes) if i >= 0}

    def cells(place: int) -> Any:
        starts = bounds[place:-1:each] + 1
        found = gathered(text, starts, bounds[place + 1 :: each])
        null = text[starts] == _BACKSLASH  # text starts with its class, never with an escape
        return pc.if_else(pa.array(null), pa.scalar(None, _BINARY), found) if null.any() else found

    made = {place: cells(place) for place in asked | {0}}
    return facts_of_cells(plan, made[0], made)


def _backslashes_in(column: Any) -> int:
    found = pc.sum(pc.count_substring(column, b"\\")).as_py()
    return 0 if found is None else int(found)


def _reals(cells: Cells) -> Any:
    whole = cells.kinds != REAL
    values = np.where(whole, 0.0, cells.reals())
    if whole.any():
        values[whole] = cells.take(whole).integers()
    return real_texts(values)


def _decimal(values: Places) -> Any:
    return pc.cast(pc.cast(pa.array(values), pa.large_string()), _BINARY)


def _hex(raw: Any) -> Any:
    """Return lower-case hex of a fresh (offset 0) large_binary column."""
    _, offsets, text = raw.buffers()
    digits = (b"" if text is None else text.to_pybytes()).hex().encode()
    bounds = np.frombuffer(offsets, np.int64)[: len(raw) + 1] * 2
    return pa.LargeBinaryArray.from_buffers(
        _BINARY, len(raw), [None, pa.py_buffer(bounds), pa.py_buffer(digits)]
    )
