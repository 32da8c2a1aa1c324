"""Lays pieces of text end to end, row by row, wherever each piece lies: one native copy for a whole batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
_BINARY = pa.large_binary()


class Assembly:
    """A text in parts, of which rows are put together. Places in the first part are as they were."""

    def __init__(self, text: Bytes) -> None:
        self._parts = [text]
        self._end = text.size

    def add(self, part: Bytes) -> int:
        """Add a part; return the place that it begins at."""
        start = self._end
        self._parts.append(part)
        self._end += part.size
        return start

    def constant(self, text: bytes) -> tuple[int, int]:
        """Add a text that many rows share; return where it begins and ends."""
        return self.add(np.frombuffer(text, np.uint8)), self._end

    def column(self, values: Any) -> tuple[Places, Places]:
        """Add the values of a large_binary column; return where each begins and ends, the same where it is null."""
        _, offsets, text = values.buffers()
        bounds = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
        start = self.add(np.frombuffer(text or b"", np.uint8))
        return start + bounds[:-1], start + bounds[1:]

    def together(
        self, pieces: Sequence[tuple[Places, Places]], before: int, after: int
    ) -> tuple[Bytes, Places]:
        """Return n rows of k pieces each end to end, writable, and n * k + 1 offsets, of every piece of every row.

        Args:
            pieces: Where each piece begins in every row, and where it ends.
            before: How many bytes in front of every piece, whatever they are, come along.
            after: How many bytes behind the last piece of all come along.
        """
        count, each = len(pieces[0][0]), len(pieces)
        bounds = np.empty(2 * count * each + 1, np.int64)
        matrix = bounds[:-1].reshape(count, each, 2)
        for place, (starts, ends) in enumerate(pieces):
            np.subtract(starts, before, out=matrix[:, place, 0])
            matrix[:, place, 1] = ends
        bounds[-2] += after
        bounds[-1] = self._end
        taken = _every_other(bounds, np.concatenate([*self._parts, np.zeros(after, np.uint8)]))
        _, offsets, text = taken.buffers()
        found = np.frombuffer(offsets, np.int64)[: count * each + 1]
        return np.frombuffer(b"" if text is None else text, np.uint8)[: int(found[-1])], found


def gathered(text: Bytes, starts: Places, ends: Places) -> Any:
    """Return the bytes from `starts` to `ends`, wherever they lie, as a large_binary column of its own memory."""
    bounds = np.empty(2 * len(starts) + 1, np.int64)
    bounds[0:-1:2], bounds[1::2] = starts, ends
    bounds[-1] = text.size
    return _every_other(bounds, text)


def _every_other(bounds: Places, text: Bytes) -> Any:
    # Every second slot is one of the values; those between them, which may run backwards, are never looked at.
    count = len(bounds) // 2
    slots = pa.LargeBinaryArray.from_buffers(
        _BINARY, 2 * count, [None, pa.py_buffer(bounds), pa.py_buffer(text)]
    )
    return slots.take(pa.array(np.arange(0, 2 * count, 2)))
