r"""Lets SQLite write row text itself, a batch a statement, so that no Python object is made for a cell.

A statement fits what the columns were seen to hold (their *shape*). It proves as it goes that every cell is as
expected: a row that holds anything else makes no line, and then lines are fewer than rows. Whoever asks reads such a
batch cell by cell, learns its shape and asks again with both shapes together. Reals are never written here (SQLite's
decimals do not read back to the same 64 bits), nor text with NUL, at which SQLite's ``printf`` ends a value.
"""

# ruff: noqa: S608 - names are its own, values are columns

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tenure.sources.base import RowBatch
from tenure.sources.rowtext import OddText

Shape = tuple[int, ...]
"""For each cell of a line which of the following it was seen to be; 0: nothing yet. Shapes join by ``|``."""

NULL, INTEGER, TEXT, BLOB, REAL, ESCAPED, NUL = (1 << bit for bit in range(7))
"""Storage classes; `ESCAPED`: text with a character that row text escapes; `NUL`: text with a NUL."""

_MOST_CELLS = 100  # a function has at most 127 arguments (SQLite, "Implementation Limits")
_CLASS_OF = {int: INTEGER, float: REAL, bytes: BLOB, type(None): NULL}
_NAMES = {NULL: "null", INTEGER: "integer", TEXT: "text", BLOB: "blob"}
_SPECIAL = re.compile(r"[\\\t\n\r]")
_SPECIAL_BYTES = re.compile(rb"[\\\t\n\r]")
_ESCAPES = (("'\\'", "'\\\\'"), ("char(9)", "'\\t'"), ("char(10)", "'\\n'"), ("char(13)", "'\\r'"))


def shape_of(columns: Sequence[Sequence[Any]]) -> Shape:
    """Return the shape of columns of Python values, as `sqlite3` gives them."""
    return tuple(map(_seen, columns))


def join(one: Shape, other: Shape) -> Shape:
    """Return what fits both shapes; an empty one says nothing."""
    return tuple(a | b for a, b in zip(one, other, strict=True)) if one and other else one or other


def _seen(values: Sequence[Any]) -> int:
    flags = 0
    for kind in set(map(type, values)):
        flags |= _CLASS_OF.get(kind, TEXT)
    if flags & TEXT:
        texts = [v for v in values if isinstance(v, str)]
        odd = [v for v in values if isinstance(v, bytearray | OddText)]
        special = any(map(_SPECIAL.search, texts)) or any(map(_SPECIAL_BYTES.search, odd))
        flags |= ESCAPED if special else 0
        flags |= NUL if any("\0" in t for t in texts) or any(b"\0" in o for o in odd) else 0
    return flags


def writable(shape: Shape) -> bool:
    """Whether SQLite can write lines of this shape."""
    return 0 < len(shape) <= _MOST_CELLS and not any(flags & (REAL | NUL) for flags in shape)


class LineWriter:
    """The statement for one shape, and what proves its result."""

    def __init__(self, shape: Shape) -> None:
        """Take a shape that is `writable`."""
        self._shape = shape
        # With no backslash allowed anywhere, one look at the whole text is enough.
        self._strict = any(flags & (NULL | ESCAPED) for flags in shape)
        cells = [self._cell(f"c{i}", flags) for i, flags in enumerate(shape)]
        line = "\t".join(written for written, _, _ in cells)
        values = ", ".join(value for _, value, _ in cells)
        proof = " AND ".join(condition for _, _, condition in cells)
        made = f"CASE WHEN {proof} THEN printf('{line}', {values}) END"
        self._outer = f"SELECT count(*), CAST(group_concat({made}, char(10)) AS BLOB) FROM ("

    def sql(self, cells: Sequence[str], origin: str) -> str:
        """Return a statement that counts and writes the rows of `origin`; a closing parenthesis is to follow.

        The inner SELECT keeps its order and is computed once a row: with an ORDER BY and a LIMIT, under an
        aggregate, SQLite never flattens it (SQLite documentation, "Query Flattening", restriction 16).

        Args:
            cells: SQL of each cell.
            origin: SQL from FROM on; conditions, ORDER BY and LIMIT are to follow it.
        """
        named = ", ".join(f"{cell} AS c{i}" for i, cell in enumerate(cells))
        return f"{self._outer}SELECT {named} {origin}"

    def batch(self, count: int, text: bytes) -> RowBatch | None:
        """Return the rows, or None where the text is not exactly `count` lines of this shape."""
        lines = text + b"\n"
        ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == 10)
        fits = (
            len(ends) == count and lines.count(b"\t") == count * (len(self._shape) - 1) and b"\r" not in lines
        )
        if not fits or (not self._strict and b"\\" in lines):
            return None
        return RowBatch(text=lines, offsets=np.concatenate((np.zeros(1, np.int64), ends + 1)))

    def _cell(self, name: str, flags: int) -> tuple[str, str, str]:
        """Return a cell's place in the format, its value and the condition under which both are right."""
        if flags == INTEGER:
            return "i%d", name, f"typeof({name}) = 'integer'"
        if flags == TEXT:
            return "t%s", name, f"typeof({name}) = 'text' AND {self._bare(name, flags)}"
        text = f"'t' || {_escaped(name)}" if flags & ESCAPED else f"'t' || {name}"
        ways = {NULL: "'\\N'", INTEGER: f"'i' || {name}", TEXT: text, BLOB: f"'b' || lower(hex({name}))"}
        held = [kind for kind in ways if flags & kind] or [NULL]
        cases = " ".join(f"WHEN '{_NAMES[kind]}' THEN {ways[kind]}" for kind in held)
        names = ", ".join(f"'{_NAMES[kind]}'" for kind in held)
        proof = f"typeof({name}) IN ({names})"
        if flags & TEXT:
            proof += f" AND (typeof({name}) <> 'text' OR {self._bare(name, flags)})"
        return "%s", f"CASE typeof({name}) {cases} END", proof

    def _bare(self, name: str, flags: int) -> str:
        """Return the condition that a text has no NUL and, where that would not be noticed later, no backslash."""
        proof = f"instr(CAST({name} AS BLOB), x'00') = 0"
        if self._strict and not flags & ESCAPED:
            proof += f" AND instr(CAST({name} AS BLOB), x'5c') = 0"
        return proof


def _escaped(name: str) -> str:
    for plain, escaped in _ESCAPES:  # the backslash comes first, so that no escape is escaped again
        name = f"replace({name}, {plain}, {escaped})"
    return name
