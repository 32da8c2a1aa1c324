r"""Cells of storage class blob in row text (``b`` and hex digits): which of them are text, and may hold card data.

A blob that decodes as UTF-8 is looked into as text. One that does not can hold card data in any encoding, and nobody
can say that it holds none: those are counted. Blobs are told apart all at once; Python sees those that are text.
"""

import re
from binascii import unhexlify
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tenure.cards.prefilter import scan

_ESCAPE = {b"\\": rb"\\", b"\t": rb"\t", b"\n": rb"\n", b"\r": rb"\r", b"\0": rb"\0"}
_SPECIAL = re.compile(rb"[\\\t\n\r\0]")
_BETWEEN = 3  # newlines after each blob: as many bytes as a lead byte at its end can still claim (RFC 3629)
_NONE = np.empty(0, np.int64)

Places = NDArray[np.int64]
Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobsSeen:
    """What the blobs of a batch are. `rows`: with a blob of text that may hold card data, ascending.

    `unreadable`: how many blobs of each cell (by index) are no text.
    """

    rows: Places = field(default_factory=lambda: _NONE)
    unreadable: dict[int, int] = field(default_factory=dict)


def text_of(cell: bytes) -> bytes | None:
    """Return the bytes of a blob's cell where they are UTF-8; None where they are not."""
    try:
        raw = unhexlify(cell[1:])
        raw.decode()
    except ValueError:
        return None
    return raw


def look(text: bytes | memoryview, offsets: Places, cells: Collection[int]) -> BlobsSeen:
    """Look at the blobs in some cells of a batch; `offsets` (int64, n + 1) as in a `RowBatch`.

    The first cell of a row is not looked at: it is a key. Where `prefilter.scanned` says that there are none, nobody has
    to look.
    """
    buffer = np.frombuffer(text, np.uint8)
    tabs = np.flatnonzero(buffer == 0x09)
    tabs = tabs[tabs + 1 < len(buffer)]
    starts = tabs[buffer[tabs + 1] == ord("b")] + 2
    if not len(starts):
        return BlobsSeen()
    rows = np.searchsorted(offsets, starts, side="right") - 1
    at = np.searchsorted(tabs, starts - 2) - np.searchsorted(tabs, offsets[rows]) + 1
    wanted = np.isin(at, list(cells))
    starts, rows, at = starts[wanted], rows[wanted], at[wanted]
    # A cell ends at the next tab, or where its line does.
    after = np.append(tabs, len(buffer))[np.searchsorted(tabs, starts)]
    return _told_apart(bytes(text), starts, np.minimum(after, offsets[rows + 1] - 1), rows, at)


def _told_apart(raw: bytes, starts: Places, ends: Places, rows: Places, at: Places) -> BlobsSeen:
    # Each blob is followed by newlines, so that none runs into the next.
    cells = map(raw.__getitem__, map(slice, starts.tolist(), ends.tolist()))
    joined = unhexlify((b"0a" * _BETWEEN).join([*cells, b""]))
    bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum((ends - starts) // 2 + _BETWEEN)))
    texts = _are_text(joined, bounds)
    counts = np.bincount(at[~texts])
    lines = [
        b"t" + _SPECIAL.sub(lambda match: _ESCAPE[match.group()], joined[a : b - _BETWEEN]) + b"\n"
        for a, b in zip(bounds[:-1][texts].tolist(), bounds[1:][texts].tolist(), strict=True)
    ]
    found = scan(b"".join(lines), np.cumsum([0, *map(len, lines)], dtype=np.int64))
    return BlobsSeen(
        rows=np.unique(rows[texts][found]),
        unreadable={cell: n for cell, n in enumerate(counts.tolist()) if n},
    )


def _are_text(joined: bytes, bounds: Places) -> Bits:
    """Say of each stretch, the newlines behind it included, whether it is UTF-8 (RFC 3629)."""
    if len(bounds) < 2:
        return np.zeros(0, np.bool_)
    buffer = np.frombuffer(joined, np.uint8)
    begins = bounds[:-1]
    ascii_only: Bits = np.maximum.reduceat(buffer, begins) < 0x80
    text = ascii_only.copy()
    # Lead bytes say how many continue; whatever disagrees is none. The rest, few, is decoded to be certain.
    leads = [buffer >= least for least in (0xC2, 0xE0, 0xF0)]
    due = np.zeros(len(buffer) + 3, np.bool_)
    for behind, lead in enumerate(leads, 1):
        due[behind : behind + len(buffer)] |= lead
    wrong = due[: len(buffer)] != ((buffer & 0xC0) == 0x80)
    wrong |= (buffer >= 0xF5) | (buffer == 0xC0) | (buffer == 0xC1)
    maybe = ~ascii_only & ~np.logical_or.reduceat(wrong, begins)
    for i in np.flatnonzero(maybe).tolist():
        text[i] = _decodes(joined[bounds[i] : bounds[i + 1]])
    return text


def _decodes(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
