r"""SQLite values to row text and back, a column at a time.

A cell is a storage-class byte and the value: ``i`` decimal integer, ``r`` shortest decimal that reads back to the
same 64 bits, ``t`` text with backslash escapes (``\\ \t \n \r \0``), ``b`` lower-case hex; ``\N`` alone is null.
Text is kept as the bytes the database holds, valid UTF-8 or not. The same value always makes the same cell,
whatever stands beside it, so that equal rows make equal chunks.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tenure.domain.catalogue import DataSet
from tenure.domain.errors import IntegrityError
from tenure.rules.facts import Facts
from tenure.sources.base import RowBatch, RowLayout
from tenure.sources.startingpoints import starting_points

_BINARY = pa.large_binary()
_STRING = pa.large_string()
_NONE_TYPE = type(None)
_NULL = b"\\N"
_LONGEST = 1 << 33  # bytes of a cell: a blob of 1 GiB in hex, and some; without it `binary_slice` overflows
_ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\0", b"\\0"))
_ESCAPE = {plain[0]: escaped for plain, escaped in _ESCAPES}
_UNESCAPE = {escaped: plain for plain, escaped in _ESCAPES}
_SPECIAL = re.compile(rb"[\\\t\n\r\0]")
_ESCAPED = re.compile(rb"\\[\\tnr0]")
_TEXT, _INTEGER, _REAL, _BLOB, _BACKSLASH = b"tirb\\"


class OddText(bytes):
    """Text of a database that is not valid UTF-8: its bytes as stored. To be bound as ``CAST(? AS TEXT)``."""

    __slots__ = ()


def _scalar(value: bytes) -> Any:
    return pa.scalar(value, _BINARY)


def _bytes_of(column: Any) -> bytes:
    """Return the data bytes of a freshly made (offset 0) large_binary column."""
    buffer = column.buffers()[2]
    return b"" if buffer is None else buffer.to_pybytes()


def escape_column(column: Any) -> Any:
    """Escape a large_binary column; columns without a special byte, nearly all, are returned as they are."""
    held = _bytes_of(column)
    for plain, escaped in _ESCAPES:  # the backslash comes first, so that no escape is escaped again
        if plain in held:
            column = pc.replace_substring(column, pattern=plain, replacement=escaped)
    return column


def real_texts(values: Sequence[float | None] | NDArray[np.float64]) -> Any:
    """Return the shortest decimals that read back to the same 64 bits (large_binary, null for None)."""
    return pc.cast(pc.cast(pa.array(values, pa.float64()), _STRING), _BINARY)


def _cell(value: Any) -> bytes | None:
    """Encode one value; reals come as bytes already, from `_odd_column`."""
    if value is None:
        return None
    if isinstance(value, int):
        return b"i%d" % value
    if isinstance(value, float):
        return b"r" + real_texts([value])[0].as_py()  # type: ignore[no-any-return]
    if isinstance(value, bytes) and not isinstance(value, OddText):
        return b"b" + value.hex().encode()
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)
    return b"t" + _SPECIAL.sub(lambda m: _ESCAPE[m.group()[0]], raw)


def encode_cell(value: Any) -> bytes:
    r"""Encode one value (str, int, float, bytes as blob, bytearray or `OddText` as text; ``\N`` for None)."""
    cell = _cell(value)
    return _NULL if cell is None else cell


def decode_cell(cell: bytes) -> Any:
    """Return the value of one cell: None, int, float, bytes (a blob), str, or `OddText`.

    Raises:
        IntegrityError: It is no cell.
    """
    if cell == _NULL:
        return None
    kind, body = cell[:1], cell[1:]
    try:
        if kind == b"i":
            return int(body)
        if kind == b"r":
            return float(body)
        if kind == b"b":
            return bytes.fromhex(body.decode())
    except ValueError as e:
        raise IntegrityError("a cell of row text cannot be read") from e
    if kind != b"t":
        raise IntegrityError("a cell of row text has no storage class")
    raw = _ESCAPED.sub(lambda m: _UNESCAPE[m.group()], body)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return OddText(raw)


def _body(values: Sequence[Any], kind: type) -> tuple[bytes, Any] | None:
    if kind is int:
        return b"i", pc.cast(pc.cast(pa.array(values, pa.int64()), _STRING), _BINARY)
    if kind is str:
        return b"t", escape_column(pc.cast(pa.array(values, _STRING), _BINARY))
    if kind is bytearray:
        return b"t", escape_column(pa.array(values, _BINARY))
    if kind is float:
        return b"r", real_texts(values)
    if kind is bytes:
        return b"b", pa.array([None if v is None else v.hex().encode() for v in values], _BINARY)
    return None


def _pure_column(values: Sequence[Any], kind: type) -> tuple[bytes, Any] | None:
    """Return the class byte and the bodies of a column of one type; None where that does not work out."""
    try:
        return _body(values, kind)
    except (OverflowError, UnicodeEncodeError, pa.ArrowInvalid):
        return None  # an integer beyond 64 bits, a lone surrogate: cell by cell


def encode_column(values: Sequence[Any]) -> Any:
    """Return n cells (pyarrow large_binary, null where the value is None) of n values, as `encode_cell` would."""
    return _prefixed(values, b"")


def _prefixed(values: Sequence[Any], before: bytes) -> Any:
    """Return cells, each with `before` in front; null cells are null."""
    kinds = set(map(type, values))
    kinds.discard(_NONE_TYPE)
    if not kinds:
        return pa.nulls(len(values), _BINARY)
    pure = _pure_column(values, next(iter(kinds))) if len(kinds) == 1 else None
    if pure is None:
        cells = pa.array(list(map(_cell, values)), _BINARY)
        return pc.binary_join_element_wise(_scalar(before), cells, _scalar(b"")) if before else cells
    kind, bodies = pure
    return pc.binary_join_element_wise(_scalar(before + kind), bodies, _scalar(b""))


def _line_parts(values: Sequence[Any], before: bytes) -> list[Any]:
    """Return what to join for one column: a constant and a column where all is of one type, else one column."""
    kinds = set(map(type, values))
    if len(kinds) == 1 and kinds != {_NONE_TYPE}:
        pure = _pure_column(values, next(iter(kinds)))
        if pure is not None:
            return [_scalar(before + pure[0]), pure[1]]
    return [pc.fill_null(_prefixed(values, before), _scalar(before + _NULL))]


def encode_columns(columns: Sequence[Sequence[Any]]) -> RowBatch:
    """Make row text of columns of Python values, each of length n >= 1; the batch has no facts."""
    parts: list[Any] = []
    for i, values in enumerate(columns):
        parts += _line_parts(values, b"\t" if i else b"")
    lines = pc.binary_join_element_wise(*parts, _scalar(b"\n"), _scalar(b""))
    offsets = np.frombuffer(lines.buffers()[1], np.int64)[: len(lines) + 1]
    return RowBatch(text=_bytes_of(lines)[: int(offsets[-1])], offsets=offsets)


class CellTable:
    """The cells of a batch of row text, to be taken out by column."""

    def __init__(self, text: bytes | memoryview, offsets: NDArray[np.int64], cells: int) -> None:
        """Find n x `cells` cells.

        Raises:
            IntegrityError: A line has another number of cells.
        """
        self._rows, self._cells = len(offsets) - 1, cells
        self._bytes = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero((self._bytes == 9) | (self._bytes == 10))  # tab, newline
        fits = len(ends) == self._rows * cells
        if not fits or not np.array_equal(ends[cells - 1 :: cells] + 1, offsets[1:]):
            raise IntegrityError(f"row text does not have {cells} cells a line")
        self._ends = ends
        self._starts = np.concatenate((np.zeros(1, np.int64), ends.astype(np.int64) + 1))
        self._all = self._slices(self._starts, text)
        self._text = text

    @staticmethod
    def _slices(bounds: NDArray[np.int64], text: bytes | memoryview) -> Any:
        buffers = [None, pa.py_buffer(np.ascontiguousarray(bounds)), pa.py_buffer(text)]
        return pa.LargeBinaryArray.from_buffers(_BINARY, len(bounds) - 1, buffers)

    @property
    def raw(self) -> NDArray[np.uint8]:
        """Return the text."""
        return self._bytes

    @cached_property
    def has_escapes(self) -> bool:
        """Whether there may be escapes: more backslashes than null cells."""
        nulls = np.count_nonzero(self._bytes[self._starts[:-1]] == _BACKSLASH)
        return int(np.count_nonzero(self._bytes == _BACKSLASH)) > int(nulls)

    def spans(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where cell `index` of every line begins and ends (int64, n each)."""
        return self._starts[index : -1 : self._cells], self._ends[index :: self._cells]

    def column(self, index: int) -> Any:
        """Return cell `index` of every line: pyarrow large_binary of length n, null for null cells."""
        at = np.arange(index, self._rows * self._cells, self._cells)
        cells = pc.binary_slice(self._all.take(pa.array(at)), 0, -1)  # the separator goes
        null = self._bytes[self._starts[at]] == _BACKSLASH  # text starts with its class, never with an escape
        return pc.if_else(pa.array(null), pa.scalar(None, _BINARY), cells) if null.any() else cells

    def prefixes(self, cells: int) -> Any:
        """Return the first `cells` cells of every line, tabs between them: record keys, large_binary, no nulls."""
        bounds = np.empty(2 * self._rows + 1, np.int64)
        bounds[0 : 2 * self._rows : 2] = self._starts[0 : self._rows * self._cells : self._cells]
        bounds[1::2] = self._ends[cells - 1 :: self._cells]
        bounds[-1] = bounds[-2] if self._rows else 0
        return self._slices(bounds, self._text).take(pa.array(np.arange(0, 2 * self._rows, 2)))


def unescape_column(bodies: Any) -> Any:
    """Return a freshly made (offset 0) large_binary column of escaped text without its escapes."""
    held = _bytes_of(bodies)
    if b"\\" not in held:
        return bodies
    if b"\\0" in held:  # no byte is left to stand in for the backslash meanwhile
        plain = (
            v if v is None else _ESCAPED.sub(lambda m: _UNESCAPE[m.group()], v) for v in bodies.to_pylist()
        )
        return pa.array(list(plain), _BINARY)
    bodies = pc.replace_substring(bodies, pattern=b"\\\\", replacement=b"\0")
    for plain_byte, escaped in _ESCAPES[1:4]:
        bodies = pc.replace_substring(bodies, pattern=escaped, replacement=plain_byte)
    return pc.replace_substring(bodies, pattern=b"\0", replacement=b"\\")


def _bodies(cells: Any) -> Any:
    """Return cells without their class byte."""
    return pc.binary_slice(cells, 1, _LONGEST)


def _classes(cells: Any) -> set[bytes]:
    found = pc.unique(pc.binary_slice(cells, 0, 1)).to_pylist()
    return {f for f in found if f is not None}


def decode_column(cells: Any) -> list[Any]:
    """Return the values of a column of cells (large_binary); see `decode_cell`.

    Raises:
        IntegrityError: Something is no cell.
    """
    classes = _classes(cells)
    if len(classes) != 1 or classes == {b"b"}:
        return [None if c is None else decode_cell(c) for c in cells.to_pylist()]
    (kind,) = classes
    bodies = _bodies(cells)
    try:
        if kind == b"t":
            return pc.cast(unescape_column(bodies), _STRING).to_pylist()  # type: ignore[no-any-return]
        number = pa.int64() if kind == b"i" else pa.float64()
        return pc.cast(pc.cast(bodies, _STRING), number).to_pylist()  # type: ignore[no-any-return]
    except pa.ArrowInvalid:
        return [None if c is None else decode_cell(c) for c in cells.to_pylist()]


def decode_columns(batch: RowBatch, cells: int) -> list[list[Any]]:
    """Return the values of row text of `cells` cells a line, by column.

    Raises:
        IntegrityError: It is no such row text.
    """
    table = CellTable(batch.text, batch.offsets, cells)
    return [decode_column(table.column(i)) for i in range(cells)]


def decode_keys(keys: Sequence[bytes], cells: int) -> list[tuple[Any, ...]]:
    """Return the values of record keys of `cells` cells each.

    Raises:
        IntegrityError: A key has another number of cells.
    """
    found = [tuple(decode_cell(c) for c in key.split(b"\t")) for key in keys]
    if any(len(f) != cells for f in found):
        raise IntegrityError(f"a record key does not have {cells} cells")
    return found


def plain_text(cells: Any) -> Any:
    """Return the values of cells as text (large_string): integers decimal, blobs hex, null where not UTF-8."""
    bodies = unescape_column(_bodies(cells))
    try:
        return pc.cast(bodies, _STRING)
    except pa.ArrowInvalid:
        return pa.array([_utf8_or_none(v) for v in bodies.to_pylist()], _STRING)


def _utf8_or_none(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FactPlan:
    """Which cell holds which fact of a data set: (catalogue name, cell number; -1 where no cell holds it)."""

    data_set: str
    key_cells: int
    cells: int
    zone: str
    subjects: tuple[tuple[str, int], ...]
    starting: tuple[tuple[str, int], ...]
    attributes: tuple[tuple[str, int], ...]


def fact_plan(layout: RowLayout, data_set: DataSet, zone: str) -> FactPlan:
    """Say where the facts of `data_set` stand in lines of `layout`; `zone` is the source's IANA time zone."""
    names = (*layout.columns, *layout.linked)
    at = {name: i for i, name in reversed(list(enumerate(names)))}

    def places(references: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
        return tuple((name, at.get(reference, -1)) for name, reference in references.items())

    return FactPlan(
        data_set=data_set.name,
        key_cells=layout.key_cells,
        cells=len(names),
        zone=zone,
        subjects=places(data_set.subjects),
        starting=places(data_set.starting_points),
        attributes=places(data_set.attributes),
    )


def facts_of_cells(plan: FactPlan, keys: Any, columns: Mapping[int, Any]) -> Facts:
    """Make facts of cells given by number; every number that `plan` names, except -1, must be there."""
    nothing = pa.nulls(len(keys), _BINARY)

    def cells(number: int) -> Any:
        return nothing if number < 0 else columns[number]

    return Facts(
        data_set=plan.data_set,
        keys=keys,
        subjects={name: plain_text(cells(i)) for name, i in plan.subjects},
        starting={
            name: starting_points(cells(i), plain_text(cells(i)), plan.zone) for name, i in plan.starting
        },
        attributes={name: plain_text(cells(i)) for name, i in plan.attributes},
    )


def facts_by_plan(plan: FactPlan, batch: RowBatch) -> Facts:
    """Derive the facts of a batch; see `facts_from_rows`."""
    table = CellTable(batch.text, batch.offsets, plan.cells)
    asked: Iterable[tuple[str, int]] = (*plan.subjects, *plan.starting, *plan.attributes)
    columns = {i: table.column(i) for i in {i for _, i in asked if i >= 0}}
    return facts_of_cells(plan, table.prefixes(plan.key_cells), columns)


def facts_from_rows(layout: RowLayout, data_set: DataSet, batch: RowBatch, zone: str) -> Facts:
    """Derive facts from row text alone, as they were given when it was snapshotted.

    A reference that the lines have no cell for is null, or NaT: what is not known keeps the record.

    Raises:
        IntegrityError: The text does not fit the layout.
    """
    return facts_by_plan(fact_plan(layout, data_set, zone), batch)
