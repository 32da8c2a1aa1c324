"""Reads rows straight from the pages of a private SQLite copy, many at once: no statement runs, no object is made a row.

Laid out as in the SQLite documentation, "Database File Format" (sections 1.3, 1.6, 2.1), which has been stable since
2004: a table's rows stand in leaf pages in the order of their rowids, each a *record* of a header (a *serial type* a
column) and the values. Whatever is not exactly as expected raises `UnreadablePagesError`, and the caller reads that
range through SQLite; so nothing depends on this but speed.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
Kinds = NDArray[np.int64] | NDArray[np.uint8]

_LEAF, _INTERIOR = 0x0D, 0x05  # of a table
_LEAF_HEADER, _INTERIOR_HEADER = 8, 12
_DEEPEST = 20  # levels; SQLite's own limit
_PAD = 16  # bytes behind the pages, so that a whole word can be read at any place
_VARINT = 9  # bytes of the longest
_WORD = 8
_FIRST_SIZED = 12
_NO_TYPE = -1
_SIZES = np.array(
    [
        0,
        1,
        2,
        3,
        4,
        6,
        8,
        8,
        0,
        0,
        _NO_TYPE,
        _NO_TYPE,
        *((kind - _FIRST_SIZED) // 2 for kind in range(12, 256)),
    ],
    np.int64,
)
"""Bytes of a value by its serial type, of those that one byte can name; no file holds types 10 and 11."""
_UTF8 = 1
NULL, REAL, ZERO, ONE = (
    0,
    7,
    8,
    9,
)  # serial types; 1 to 6 are integers, 12 and up blobs (even) and texts (odd)


class UnreadablePagesError(Exception):
    """These pages are not as plain as this module wants them; SQLite can tell what they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """Where pages lie in a file that nobody writes to. `size`: bytes of a page; `usable`: those that SQLite uses."""

    fd: int
    size: int
    usable: int
    count: int

    @classmethod
    def of(cls, fd: int) -> "PageFile":
        """Read the header of an open file.

        Raises:
            UnreadablePagesError: No SQLite database, or its text is UTF-16.
        """
        header = os.pread(fd, 100, 0)
        size = int.from_bytes(header[16:18], "big")
        size = 1 << 16 if size == 1 else size
        if not header.startswith(b"SQLite format 3\0") or int.from_bytes(header[56:60], "big") != _UTF8:
            raise UnreadablePagesError
        count = os.fstat(fd).st_size // size
        return cls(fd=fd, size=size, usable=size - header[20], count=count)

    def read(self, numbers: Places) -> Bytes:
        """Return pages end to end, and a few zeros.

        Raises:
            UnreadablePagesError: One is not there.
        """
        if len(numbers) and not (numbers.min() > 0 and numbers.max() <= self.count):
            raise UnreadablePagesError
        found = np.empty(len(numbers) * self.size + _PAD, np.uint8)
        found[-_PAD:] = 0
        view = found.data
        bounds = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
        for start, stop in pairwise(bounds):
            if start == stop:
                continue
            part = view[start * self.size : stop * self.size]
            if os.preadv(self.fd, [part], (int(numbers[start]) - 1) * self.size) != len(part):
                raise UnreadablePagesError
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaves:
    """The leaf pages of a table in the order of its rowids. `last`: rowids of leaf i are at most ``last[i]``.

    Only the last leaf has no bound: its place in `last` counts for nothing. `page_size` in bytes.
    """

    pages: Places
    last: Places
    page_size: int


def leaves(file: PageFile, root: int) -> Leaves:
    """Find the leaf pages of a table by its root page.

    Raises:
        UnreadablePagesError: The tree is not as expected.
    """
    pages, last = np.array([root], np.int64), np.zeros(1, np.int64)
    for _ in range(_DEEPEST):
        # All leaves lie equally deep, so one page tells what its level is; `read_rows` looks at every leaf.
        if file.read(pages[:1])[0] == _LEAF:
            return Leaves(pages=pages, last=last, page_size=file.size)
        found = file.read(pages)
        if not (found[np.arange(len(pages)) * file.size] == _INTERIOR).all():
            break
        pages, last = _children(file, found, last)
    raise UnreadablePagesError


def _children(file: PageFile, found: Bytes, last: Places) -> tuple[Places, Places]:
    starts = np.arange(len(last)) * file.size
    at, counts = _cells(file, found, starts, _INTERIOR_HEADER)
    keys, _ = _varints(found, at + 4)
    bounds = np.cumsum(counts)
    # The rightmost child of a page stands in its header, behind all others; its bound is that of the page itself.
    pages = np.insert(_big_endian(found, at, 4), bounds, _big_endian(found, starts + 8, 4))
    return pages, np.insert(keys, bounds, last)


def _cells(file: PageFile, found: Bytes, starts: Places, header: int) -> tuple[Places, Places]:
    """Return where the cells of pages begin, in order, and how many each page has."""
    counts = _big_endian(found, starts + 3, 2)
    if int(counts.max(initial=0)) * 2 + header > file.size:
        raise UnreadablePagesError
    page = np.repeat(starts, counts)
    slot = np.arange(len(page)) - np.repeat(np.cumsum(counts) - counts, counts)
    inside = _big_endian(found, page + header + 2 * slot, 2)
    if len(inside) and not (inside.min() >= header and inside.max() < file.usable):
        raise UnreadablePagesError
    return page + inside, counts


def _big_endian(found: Bytes, at: Places, size: int) -> Places:
    value = found[at].astype(np.int64)
    for i in range(1, size):
        value = value << 8 | found[at + i]
    return value


def _kinds(found: Bytes, at: Places) -> tuple[Kinds, Places]:
    """Return serial types as `_varints` would, as bytes where one is enough for each, as it nearly always is."""
    byte = found[at]
    return (byte, at + 1) if int(byte.max(initial=0)) < 0x80 else _varints(found, at)


def _varints(found: Bytes, at: Places) -> tuple[Places, Places]:
    """Return the variable-length integers at some places, and the places behind them."""
    byte = found[at]
    value, at = byte.astype(np.int64), at + 1
    if int(byte.max(initial=0)) < 0x80:
        return value, at
    more = byte >= 0x80
    value &= 0x7F
    for _ in range(_VARINT - 2):
        byte = found[at]
        value = np.where(more, value << 7 | (byte & 0x7F), value)
        at = at + more
        more = more & (byte >= 0x80)
        if not more.any():
            return value, at
    return np.where(more, value << 8 | found[at], value), at + more


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """One column of n rows. `kinds`: serial types; `at`: where the values begin in `text`; `sizes` in bytes."""

    text: Bytes
    kinds: Kinds
    at: Places
    sizes: Places

    def __len__(self) -> int:
        return len(self.kinds)

    def take(self, which: NDArray[Any]) -> "Cells":
        """Return some rows of it."""
        return Cells(text=self.text, kinds=self.kinds[which], at=self.at[which], sizes=self.sizes[which])

    def integers(self) -> Places:
        """Return the values of a column of integers only (int64)."""
        # The word that ends where the value ends, with what stands before the value shifted out.
        words = np.ndarray((self.text.size - _WORD + 1,), ">i8", self.text, strides=(1,))
        shift = np.minimum(64 - 8 * self.sizes, 63)
        found: Places = words[self.at + self.sizes - _WORD].astype(np.int64)
        found = found << shift >> shift
        if int(self.sizes.min(initial=1)) == 0:
            found = np.where(self.sizes > 0, found, self.kinds == ONE)
        return found

    def reals(self) -> NDArray[np.float64]:
        """Return the values of a column of reals only."""
        words = np.ndarray((self.text.size - _WORD + 1,), ">f8", self.text, strides=(1,))
        found: NDArray[np.float64] = words[self.at].astype(np.float64)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """n rows: their `rowids` (int64, ascending) and columns, in the order of the table's declaration."""

    rowids: Places
    columns: tuple[Cells, ...]

    def __len__(self) -> int:
        return len(self.rowids)


def read_rows(file: PageFile, pages: Places, columns: int, most: int) -> Rows:
    """Read the rows of leaf pages.

    Args:
        file: The file.
        pages: Leaf pages, in order.
        columns: How many columns every record has to have.
        most: Bytes of values; where rows have more, they are left to SQLite, which reads fewer at a time.

    Raises:
        UnreadablePagesError: Something is not as expected: a record has another number of columns, as those have
            that were written before a column was added.
    """
    try:
        found = file.read(pages)
        starts = np.arange(len(pages)) * file.size
        if not (found[starts] == _LEAF).all():
            raise UnreadablePagesError
        at, _ = _cells(file, found, starts, _LEAF_HEADER)
        sizes, at = _varints(found, at)
        rowids, at = _varints(found, at)
        _check_order(rowids)
        if len(sizes) and (sizes.min() < 1 or int(sizes.sum()) > most):
            raise UnreadablePagesError
        found, at = _with_overflow(file, found, at, sizes)
        return Rows(rowids=rowids, columns=tuple(_columns(found, at, sizes, columns)))
    except (IndexError, OSError) as e:
        raise UnreadablePagesError from e


def check_bounds(rowids: Places, after: int | None, until: int | None) -> None:
    """Check that ascending rowids lie where their range does: above `after`, up to `until` (None: no bound).

    Raises:
        UnreadablePagesError: They do not.
    """
    if len(rowids) and (
        (after is not None and rowids[0] <= after) or (until is not None and rowids[-1] > until)
    ):
        raise UnreadablePagesError


def _check_order(rowids: Places) -> None:
    if not (rowids[1:] > rowids[:-1]).all():
        raise UnreadablePagesError


def _columns(found: Bytes, at: Places, sizes: Places, columns: int) -> Iterator[Cells]:
    length, place = _varints(found, at)
    body = at + length
    for _ in range(columns):
        kinds, place = _kinds(found, place)
        width = _widths(kinds)
        yield Cells(text=found, kinds=kinds, at=body, sizes=width)
        body = body + width
    if not (np.array_equal(place, at + length) and np.array_equal(body, at + sizes)):
        raise UnreadablePagesError


def _widths(kinds: Kinds) -> Places:
    if kinds.dtype == np.uint8:
        width = _SIZES[kinds]
    elif int(kinds.min()) < 0:
        raise UnreadablePagesError
    else:
        width = np.where(
            kinds < len(_SIZES), _SIZES[np.minimum(kinds, len(_SIZES) - 1)], kinds - _FIRST_SIZED >> 1
        )
    if int(width.min(initial=0)) < 0:
        raise UnreadablePagesError
    return width


def _with_overflow(file: PageFile, found: Bytes, at: Places, sizes: Places) -> tuple[Bytes, Places]:
    """Put rows that go on in overflow pages behind the pages, whole; return all bytes and where each row begins."""
    page_end = (at // file.size) * file.size + file.usable
    long = sizes > file.usable - 35
    if not (at + np.where(long, 0, sizes) <= page_end).all():
        raise UnreadablePagesError
    if not long.any():
        return found, at
    at, end = at.copy(), found.size - _PAD
    parts = [found.data[:end]]
    for row in np.flatnonzero(long).tolist():
        whole = _whole(file, found.data[: int(page_end[row])], int(at[row]), int(sizes[row]))
        parts.append(memoryview(whole))
        at[row] = end
        end += len(whole)
    return np.frombuffer(b"".join([*parts, bytes(_PAD)]), np.uint8), at


def _whole(file: PageFile, page: memoryview, start: int, size: int) -> bytes:
    """Return a row of which a part lies in overflow pages (section 1.6)."""
    least = (file.usable - 12) * 32 // 255 - 23
    local = least + (size - least) % (file.usable - 4)
    if local > file.usable - 35:
        local = least
    inside = page[start : start + local + 4]
    if len(inside) != local + 4:
        raise UnreadablePagesError
    parts, left = [bytes(inside[:local])], size - local
    following = int.from_bytes(inside[local:], "big")
    while left:
        if not 0 < following <= file.count:
            raise UnreadablePagesError
        raw = os.pread(file.fd, file.usable, (following - 1) * file.size)
        part = raw[4 : 4 + left]
        if not part:
            raise UnreadablePagesError
        parts.append(part)
        left -= len(part)
        following = int.from_bytes(raw[:4], "big")
    return b"".join(parts)
