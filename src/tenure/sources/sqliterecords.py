"""Turns row text into the cells of SQLite's leaf pages, a column at a time: the way back from `sqlitecells`.

A cell is a payload length, a rowid and a record (SQLite documentation, "Database File Format", 1.6 and 2.1); a record
is a header of serial types and the values. All parts of all cells are listed as places in one buffer, and laid end
to end by a single native copy. What does not fit that way (`UnbuildableError`) is left to SQLite itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tenure.sources.assembling import gathered
from tenure.sources.base import RowBatch
from tenure.sources.rowtext import CellTable, unescape_column

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
Which = Places | slice
"""Rows of a batch, or all of them."""

_BINARY, _STRING = pa.large_binary(), pa.large_string()
_LONGEST_HEADER = 127  # bytes; its length is then one byte
_MOST_COLUMNS = 60
_SEVEN = 7  # bits of a byte of a variable-length integer
_LARGEST_ROWID = 1 << 55
_NULL, _INTEGER, _REAL, _TEXT, _BLOB = b"\\irtb"
_SIZE_BOUNDS = np.array([1 << 7, 1 << 15, 1 << 23, 1 << 31, 1 << 47], np.uint64)
_SIZES = np.array([1, 2, 3, 4, 6, 8], np.int64)
_ZERO, _ONE, _FLOAT, _FIRST_BLOB, _FIRST_TEXT = 8, 9, 7, 12, 13  # serial types


class UnbuildableError(Exception):
    """Rows that only SQLite itself can store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPlan:
    """Where the values of a record stand in a line of `cells` cells.

    `rowid`: the cell that is the rowid; `columns`: the cell of each column, -1 where the column is the rowid under
    another name; `required`: columns that may not be null.
    """

    cells: int
    rowid: int
    columns: tuple[int, ...]
    required: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafCells:
    """n cells end to end: cell i is ``text[offsets[i]:offsets[i + 1]]``."""

    rowids: Places
    offsets: Places
    text: Any

    def __len__(self) -> int:
        return len(self.rowids)

    def part(self, start: int, stop: int) -> "LeafCells":
        """Return some that lie together."""
        offsets = self.offsets[start : stop + 1]
        text = self.text[int(offsets[0]) : int(offsets[-1])]
        return LeafCells(rowids=self.rowids[start:stop], offsets=offsets - offsets[0], text=text)

    def take(self, order: Places) -> "LeafCells":
        """Return some of them, in the order wanted."""
        starts, sizes = self.offsets[:-1][order], np.diff(self.offsets)[order]
        text = _end_to_end(np.frombuffer(self.text, np.uint8), starts, sizes)
        return LeafCells(rowids=self.rowids[order], offsets=_offsets(sizes), text=text)


def joined(parts: Sequence[LeafCells]) -> LeafCells:
    """Return all cells of all parts, in order."""
    if len(parts) == 1:
        return parts[0]
    return LeafCells(
        rowids=np.concatenate([np.empty(0, np.int64), *(p.rowids for p in parts)]),
        offsets=_offsets(np.concatenate([np.empty(0, np.int64), *(np.diff(p.offsets) for p in parts)])),
        text=memoryview(b"".join(p.text for p in parts)),
    )


def cells_of_children(pages: Places, bounds: Places) -> LeafCells:
    """Return the cells of an interior page: a child each, and the highest rowid in it."""
    sizes = 4 + _varint_sizes(bounds)
    heads = np.zeros((len(pages), 4 + 9), np.uint8)
    heads[:, :4] = pages.astype(">u4").view(np.uint8).reshape(-1, 4)
    starts = np.arange(len(pages)) * heads.shape[1]
    _put_varints(heads.reshape(-1), starts + 4, bounds)
    text = _end_to_end(heads.reshape(-1), starts, sizes)
    return LeafCells(rowids=bounds, offsets=_offsets(sizes), text=text)


def lines_at(batch: RowBatch, which: Places) -> RowBatch:
    """Return some lines of a batch."""
    starts, sizes = batch.offsets[:-1][which], np.diff(batch.offsets)[which]
    text = _end_to_end(np.frombuffer(batch.text, np.uint8), starts, sizes)
    return RowBatch(text=text, offsets=_offsets(sizes))


def _offsets(sizes: Places) -> Places:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))


@dataclass(slots=True)
class _Values:
    """One column: serial types, and where the values lie in the buffers that `_Buffers` joins."""

    kinds: Places
    at: Places
    sizes: Places


class _Buffers:
    """Grows by the values that do not stand in the row text as they are."""

    def __init__(self, text: Bytes) -> None:
        self._parts = [text]
        self._end = text.size

    def add(self, part: Bytes) -> int:
        start = self._end
        self._parts.append(part)
        self._end += part.size
        return start

    def joined(self) -> Bytes:
        return np.concatenate(self._parts)


def leaf_cells(batch: RowBatch, plan: RecordPlan) -> tuple[LeafCells, Places]:
    """Return the cells of n >= 1 rows, in their order, and the size of each one's record in bytes.

    Raises:
        UnbuildableError: SQLite has to store them.
        IntegrityError: A line has another number of cells.
    """
    if len(plan.columns) > _MOST_COLUMNS:
        raise UnbuildableError
    table = CellTable(batch.text, batch.offsets, plan.cells)
    buffers = _Buffers(np.frombuffer(batch.text, np.uint8))
    try:
        rowids = _integers(table, plan.rowid, slice(None))
        columns = [_values(table, cell, buffers, len(batch)) for cell in plan.columns]
    except (pa.ArrowInvalid, ValueError) as e:
        raise UnbuildableError from e
    if rowids.min() < 0 or rowids.max() > _LARGEST_ROWID:
        raise UnbuildableError
    if any((columns[i].kinds == 0).any() for i in plan.required):
        raise UnbuildableError  # SQLite names the constraint
    heads, head_sizes, records = _heads(rowids, columns)
    at = np.column_stack(
        [buffers.add(heads.reshape(-1)) + np.arange(len(batch)) * heads.shape[1]] + [c.at for c in columns]
    )
    sizes = np.column_stack([head_sizes, *(c.sizes for c in columns)])
    text = _end_to_end(buffers.joined(), at.reshape(-1), sizes.reshape(-1))
    return LeafCells(rowids=rowids, offsets=_offsets(sizes.sum(axis=1)), text=text), records


def _integers(table: CellTable, cell: int, which: Which) -> Places:
    starts, ends = table.spans(cell)
    if not (table.raw[starts[which]] == _INTEGER).all():
        raise UnbuildableError
    bodies = gathered(table.raw, starts[which] + 1, ends[which])
    found: Places = pc.cast(pc.cast(bodies, _STRING), pa.int64()).to_numpy()
    return found


def _values(table: CellTable, cell: int, buffers: _Buffers, count: int) -> _Values:
    found = _Values(*(np.zeros(count, np.int64) for _ in range(3)))
    if cell < 0:
        return found
    starts, ends = table.spans(cell)
    letters = table.raw[starts]
    for letter in np.flatnonzero(np.bincount(letters, minlength=256)).tolist():
        here = letters == letter
        which = slice(None) if here.all() else np.flatnonzero(here)
        if letter == _NULL:
            _check_nulls(table, starts[which], ends[which])
            continue
        if letter not in _MAKERS:
            raise UnbuildableError
        made = _MAKERS[letter](table, cell, which, buffers)
        found.kinds[which], found.at[which], found.sizes[which] = made.kinds, made.at, made.sizes
    return found


def _check_nulls(table: CellTable, starts: Places, ends: Places) -> None:
    if not ((ends - starts == 2) & (table.raw[starts + 1] == ord("N"))).all():
        raise UnbuildableError


def _of_integers(table: CellTable, cell: int, which: Which, buffers: _Buffers) -> _Values:
    values = _integers(table, cell, which)
    start = buffers.add(values.astype(">i8").view(np.uint8))
    magnitude = np.where(values < 0, ~values, values).astype(np.uint64)
    kinds = np.searchsorted(_SIZE_BOUNDS, magnitude, side="right").astype(np.int64)
    sizes = _SIZES[kinds]
    at = start + 8 * np.arange(len(values)) + 8 - sizes
    constant = (values == 0) | (values == 1)  # 0 and 1 need no bytes at all
    kinds = np.where(constant, _ZERO + values, kinds + 1)
    return _Values(kinds, at, np.where(constant, 0, sizes))


def _of_reals(table: CellTable, cell: int, which: Which, buffers: _Buffers) -> _Values:
    starts, ends = table.spans(cell)
    bodies = gathered(table.raw, starts[which] + 1, ends[which])
    values = pc.cast(pc.cast(bodies, _STRING), pa.float64()).to_numpy()
    start = buffers.add(values.astype(">f8").view(np.uint8))
    count = len(values)
    return _Values(np.full(count, _FLOAT), start + 8 * np.arange(count), np.full(count, 8))


def _of_texts(table: CellTable, cell: int, which: Which, buffers: _Buffers) -> _Values:
    starts, ends = table.spans(cell)
    at, sizes = starts[which] + 1, ends[which] - starts[which] - 1
    if table.has_escapes:
        plain = unescape_column(gathered(table.raw, at, ends[which]))
        at, sizes = _placed(plain, buffers)
    return _Values(_FIRST_TEXT + 2 * sizes, at, sizes)


def _of_blobs(table: CellTable, cell: int, which: Which, buffers: _Buffers) -> _Values:
    starts, ends = table.spans(cell)
    lengths = ends[which] - starts[which] - 1
    digits = bytes(_end_to_end(table.raw, starts[which] + 1, lengths))
    plain = bytes.fromhex(digits.decode("ascii"))
    if (lengths % 2).any() or 2 * len(plain) != len(digits):
        raise UnbuildableError
    start, sizes = buffers.add(np.frombuffer(plain, np.uint8)), lengths // 2
    return _Values(_FIRST_BLOB + 2 * sizes, start + np.cumsum(sizes) - sizes, sizes)


_MAKERS = {_INTEGER: _of_integers, _REAL: _of_reals, _TEXT: _of_texts, _BLOB: _of_blobs}


def _placed(column: Any, buffers: _Buffers) -> tuple[Places, Places]:
    """Put a large_binary column into the buffers; return where its values lie and their sizes."""
    _, offsets, text = column.buffers()
    bounds = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    start = buffers.add(np.frombuffer(text or b"", np.uint8))
    return start + bounds[:-1], np.diff(bounds)


def _heads(rowids: Places, columns: Sequence[_Values]) -> tuple[Bytes, Places, Places]:
    """Return what stands before the values of each row (n x width, unused bytes behind), its sizes, and record sizes."""
    header: Places = np.sum([_varint_sizes(c.kinds) for c in columns], axis=0) + 1
    if int(header.max()) > _LONGEST_HEADER:
        raise UnbuildableError
    records: Places = header + np.sum([c.sizes for c in columns], axis=0)
    lengths, ids = _varint_sizes(records), _varint_sizes(rowids)
    sizes = lengths + ids + header
    heads = np.zeros((len(rowids), int(sizes.max())), np.uint8)
    place = np.arange(len(rowids)) * heads.shape[1]
    flat = heads.reshape(-1)
    for values in (records, rowids, header, *(c.kinds for c in columns)):
        place = place + _put_varints(flat, place, values)
    return heads, sizes, records


def _varint_sizes(values: Places) -> Places:
    sizes = np.ones(len(values), np.int64)
    largest, bits = int(values.max(initial=0)), _SEVEN
    while largest >> bits:
        sizes += values >= 1 << bits
        bits += _SEVEN
    return sizes


def _put_varints(flat: Bytes, place: Places, values: Places) -> Places:
    """Write each value as a variable-length integer at its place; return their sizes."""
    sizes = _varint_sizes(values)
    for i in range(int(sizes.max())):
        shift = _SEVEN * (sizes - 1 - i)
        byte = (values >> np.maximum(shift, 0) & 0x7F) | np.where(shift > 0, 0x80, 0)
        if i:
            which = np.flatnonzero(shift >= 0)
            flat[place[which] + i] = byte[which]
        else:
            flat[place] = byte
    return sizes


def _end_to_end(text: Bytes, at: Places, sizes: Places) -> memoryview:
    """Return the bytes at some places, one after the other."""
    column = gathered(text, at, at + sizes)
    raw = column.buffers()[2]
    return memoryview(b"" if raw is None else raw)[: int(sizes.sum())]
