"""Writes a table's pages behind a new SQLite file, without SQLite: rows in the order of their rowids, page after page.

Laid out as in the SQLite documentation, "Database File Format", 1.3, 1.5 and 1.6. Rows need not come in order: some
megabytes of them are held back and sorted, and what comes too late for that has to be inserted by SQLite. While a
table is built nobody has the file open; whoever opens it afterwards lets SQLite check it.
"""

import os
from bisect import bisect_right
from pathlib import Path

import numpy as np

from tenure.domain.errors import IntegrityError
from tenure.sources.sqliterecords import Bytes, LeafCells, Places, cells_of_children, joined

HELD_BYTES = 16 << 20
"""Cells that are held back to be sorted; half of them are written when they are more."""

_LEAF, _INTERIOR = 0x0D, 0x05
_HEADERS = {_LEAF: 8, _INTERIOR: 12}
_POINTER = 2
_LARGEST_KEY_CELL = 4 + 9  # a child and the longest rowid
_LOCK_BYTE = 1 << 30  # the page that holds it is never used (1.3.5)
_CHANGES, _SIZE, _VALID_FOR = 24, 28, 92  # places in the file's header


class TableBuilder:
    """Builds one table. Use: `add` until all rows were given, then `end`; `close` in any case."""

    def __init__(self, path: Path, root: int, *, held_bytes: int = HELD_BYTES) -> None:
        """Open a database whose table has the empty page `root` for a root.

        Raises:
            OSError: It cannot be opened.
        """
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        header = os.pread(self._fd, 100, 0)
        size = int.from_bytes(header[16:18], "big")
        self._size = 1 << 16 if size == 1 else size
        self._usable = self._size - header[20]
        self._next = os.fstat(self._fd).st_size // self._size + 1
        self._root = root
        self._held_bytes = held_bytes
        self._held: list[LeafCells] = []
        self._bytes = 0
        self._pages: list[Places] = []
        self._bounds: list[Places] = []
        self.last = -1

    @property
    def longest(self) -> int:
        """Return the most bytes of a record that a leaf page takes whole."""
        return self._usable - 35

    def add(self, cells: LeafCells) -> None:
        """Take rows in any order, all above `last` (the highest rowid written), all whole.

        Raises:
            IntegrityError: Two rows have the same rowid.
            OSError: The file cannot be written.
        """
        self._held.append(cells)
        self._bytes += len(cells.text)
        if self._bytes > self._held_bytes:
            self._write_half()

    def _write_half(self) -> None:
        """Write the lower half of what is held."""
        if not _follow(self._held):
            everything = _in_order(self._held)
            half = int(np.searchsorted(everything.offsets, len(everything.text) // 2))
            self._held = [everything.part(0, half), everything.part(half, len(everything))]
        sizes = np.cumsum([len(cells.text) for cells in self._held])
        half = max(1, int(np.searchsorted(sizes, self._bytes // 2)))
        lower = joined(self._held[:half])
        rest = lower.part(self._write(lower), len(lower))
        self._held = [rest, *self._held[half:]]
        self._bytes = sum(len(cells.text) for cells in self._held)

    def end(self) -> None:
        """Write what is held, and the tree above it.

        Raises:
            IntegrityError: Two rows have the same rowid.
            OSError: The file cannot be written.
        """
        rest = _in_order(self._held)
        rest = rest.part(self._write(rest), len(rest))
        alone = not self._pages
        if alone and len(rest):
            self._put(self._filled(rest, np.array([0, len(rest)]), _LEAF), np.array([self._root]))
        elif not alone:
            if len(rest):
                self._put_leaves(rest, np.array([0, len(rest)]))
            self._put_tree(np.concatenate(self._pages), np.concatenate(self._bounds))
        self._count_pages()

    def close(self) -> None:
        """Let go of the file; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, cells: LeafCells) -> int:
        """Write all pages that rows in order fill; return how many rows that took."""
        room = self._usable - _HEADERS[_LEAF]
        taken = (cells.offsets + _POINTER * np.arange(len(cells.offsets))).tolist()
        breaks = [0]
        while (stop := bisect_right(taken, taken[breaks[-1]] + room) - 1) < len(cells):
            breaks.append(stop)
        if len(breaks) > 1:
            self._put_leaves(cells, np.array(breaks))
        return breaks[-1]

    def _put_leaves(self, cells: LeafCells, breaks: Places) -> None:
        numbers = self._claim(len(breaks) - 1)
        self._put(self._filled(cells, breaks, _LEAF), numbers)
        self._pages.append(numbers)
        self._bounds.append(cells.rowids[breaks[1:] - 1])
        self.last = int(cells.rowids[breaks[-1] - 1])

    def _put_tree(self, children: Places, bounds: Places) -> None:
        """Write interior pages, level by level, until one page has all children: the root."""
        most = 1 + (self._usable - _HEADERS[_INTERIOR]) // (_LARGEST_KEY_CELL + _POINTER)
        while True:
            count = -(-len(children) // most)
            edges = np.arange(count + 1) * len(children) // count
            numbers = self._claim(count) if count > 1 else np.array([self._root])
            self._put(self._parents(children, bounds, edges), numbers)
            if count == 1:
                return
            children, bounds = numbers, bounds[edges[1:] - 1]

    def _parents(self, children: Places, bounds: Places, edges: Places) -> Bytes:
        """Return interior pages; page i has the children from edge i to the next, the last of them in its header."""
        rightmost = edges[1:] - 1
        others = np.ones(len(children), np.bool_)
        others[rightmost] = False
        cells = cells_of_children(children[others], bounds[others])
        pages = self._filled(cells, edges - np.arange(len(edges)), _INTERIOR)
        pages[:, 8:12] = children[rightmost].astype(">u4").view(np.uint8).reshape(-1, 4)
        return pages

    def _filled(self, cells: LeafCells, breaks: Places, kind: int) -> Bytes:
        """Return pages (n x page size); page i has the cells from break i to the next, at its end."""
        starts, stops = breaks[:-1], breaks[1:]
        counts, header = stops - starts, _HEADERS[kind]
        first, last = cells.offsets[starts], cells.offsets[stops]
        content = self._usable - (last - first)
        pages = np.zeros((len(counts), self._size), np.uint8)
        pages[:, 0] = kind
        pages[:, 3], pages[:, 4] = counts >> 8, counts & 0xFF
        pages[:, 5], pages[:, 6] = content >> 8 & 0xFF, content & 0xFF
        page = np.repeat(np.arange(len(counts)), counts)
        where = page * self._size + header + _POINTER * (np.arange(len(page)) - (starts - starts[0])[page])
        pointers = (content - first)[page] + cells.offsets[starts[0] : stops[-1]]
        flat, text = pages.reshape(-1), np.frombuffer(cells.text, np.uint8)
        flat[where], flat[where + 1] = pointers >> 8, pointers & 0xFF
        begins = np.arange(len(counts)) * self._size + content
        for at, a, b in zip(begins.tolist(), first.tolist(), last.tolist(), strict=True):
            flat[at : at + b - a] = text[a:b]
        return pages

    def _claim(self, count: int) -> Places:
        """Return the numbers of new pages at the end of the file."""
        lock = _LOCK_BYTE // self._size + 1
        numbers = self._next + np.arange(count)
        if self._next <= lock:
            numbers += numbers >= lock
        self._next = int(numbers[-1]) + 1
        return numbers

    def _put(self, pages: Bytes, numbers: Places) -> None:
        for run in np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(numbers) != 1) + 1):
            left = pages[run[0] : run[-1] + 1].data.cast("B")
            at = (int(numbers[run[0]]) - 1) * self._size
            while len(left):
                done = os.pwrite(self._fd, left, at)
                left, at = left[done:], at + done

    def _count_pages(self) -> None:
        """Enter the new size into the file's header (1.3.5, 1.3.7, 1.3.17)."""
        changes = (int.from_bytes(os.pread(self._fd, 4, _CHANGES), "big") + 1) & 0xFFFFFFFF
        for place, value in ((_CHANGES, changes), (_SIZE, self._next - 1), (_VALID_FOR, changes)):
            os.pwrite(self._fd, value.to_bytes(4, "big"), place)


def _follow(held: list[LeafCells]) -> bool:
    """Whether the rows of these cells are in order, one after the other."""
    last = -1
    for cells in held:
        if len(cells):
            if cells.rowids[0] <= last or not (cells.rowids[1:] > cells.rowids[:-1]).all():
                return False
            last = int(cells.rowids[-1])
    return True


def _in_order(held: list[LeafCells]) -> LeafCells:
    cells = joined(held)
    if not (cells.rowids[1:] > cells.rowids[:-1]).all():
        cells = cells.take(np.argsort(cells.rowids, kind="stable"))
    if not (cells.rowids[1:] > cells.rowids[:-1]).all():
        raise IntegrityError("two rows of a table in the snapshot have the same rowid")
    return cells
