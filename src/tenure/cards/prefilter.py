"""Which rows of a batch may hold card data, at the speed of memory: nothing that `find` finds is missed.

Two native passes over row text. Words and special spellings go through hyperscan. Digits go through bit arithmetic:
one bit a byte says digit, another says digit or separator, so runs long enough for a card number fall out of a few
shifts; only those are then checked, all at once, for brand, exact length and check digit. Telephone numbers,
dates, device and article numbers and identifiers do not pass, so Python sees hardly any row without card data.
"""

import threading
from dataclasses import dataclass
from typing import Any

import hyperscan
import numpy as np
from numpy.typing import NDArray

from tenure.cards import brands, words
from tenure.cards.plain import DIGIT, ENTITY, FIRST_BYTES

Bits = NDArray[np.uint64]  # one bit a byte of text, lowest first
Positions = NDArray[np.int64]

_STEP = 1 << 20  # bytes looked at together: what fits the caches with its scratch, and makes calls few
_RUNS_TOGETHER = 4096  # long runs checked together: enough to make numpy's cost for each call small
_WIDEST_GAP = 33  # from digit to digit: detect.LONGEST_GAP, doubled by the escapes of row text, and one
_PIECE = 1 << 30  # hyperscan counts bytes in 32 bits

_CELL = rb"[^\t\n]"
# What may stand before the first letter of a word: also the storage class of a cell, or the letter of an escape.
_BEFORE = rb"(?:^[irtb]?|[^A-Za-z]|[\t\n][irtb]|\\[tnr])"
_FLAG, _WORD, _SEEN = 0, 1, 2  # the row is a candidate; it speaks of cards; the text holds this at all
_PATTERNS = (
    (_FLAG, words.STRONG_CODE),
    (_FLAG, _BEFORE + words.WEAK_CODE + _CELL + rb"{0,64}[0-9\x80-\xff]"),
    (_FLAG, words.TRACK),
    (_FLAG, ENTITY + rb"[ \x80-\xff\\nr\-]{0,8}[0-9]"),
    (_FLAG, rb"\\0[0-9]"),  # NUL, whose escape ends in what looks like a digit
    (_WORD, _BEFORE + words.STEMS),
    (_WORD, words.ANYWHERE),
)
# Numbers in other digits than ASCII's, in three steps, each slower and needed more rarely than the one before:
# a byte that begins one, a digit, twelve of them or two beside each other of which one is ASCII's.
_LEADS = ((_SEEN, FIRST_BYTES),)
_FOREIGN = ((_SEEN, DIGIT),)
_MIXED = (
    (_FLAG, DIGIT + rb"(?:" + _CELL + rb"*" + DIGIT + rb"){11}"),
    (_FLAG, rb"[0-9]" + _CELL + rb"{0,32}" + DIGIT),
    (_FLAG, DIGIT + _CELL + rb"{0,32}[0-9]"),
)


class _Scanner:
    """A compiled set of patterns. The database is shared; every thread scans with a scratch space of its own."""

    def __init__(self, patterns: tuple[tuple[int, bytes], ...]) -> None:
        flags = [
            hyperscan.HS_FLAG_CASELESS
            | (hyperscan.HS_FLAG_SINGLEMATCH if kind == _SEEN else 0)
            | hyperscan.HS_FLAG_DOTALL
            for kind, _ in patterns
        ]
        self._kinds = [kind for kind, _ in patterns]
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[pattern for _, pattern in patterns],
            ids=list(range(len(patterns))),
            elements=len(patterns),
            flags=flags,
        )
        self._first = hyperscan.Scratch(self._database)
        self._lock = threading.Lock()
        self._local = threading.local()

    def hits(self, text: memoryview) -> tuple[list[int], list[int], list[int]]:
        """Return the offsets just before which a match of each kind ends."""
        scratch = getattr(self._local, "scratch", None)
        if scratch is None:
            with self._lock:
                scratch = self._local.scratch = self._first.clone()
        found: tuple[list[int], list[int], list[int]] = ([], [], [])
        into = [found[kind].append for kind in self._kinds]

        def on_match(pattern: int, _start: int, end: int, _flags: int, _context: Any) -> None:
            into[pattern](end)

        # The stub knows str and bytes only; any contiguous buffer will do, without a copy.
        self._database.scan(text, match_event_handler=on_match, scratch=scratch)  # type: ignore[type-var]
        return found


_scanners: dict[tuple[tuple[int, bytes], ...], _Scanner] = {}
_scanners_lock = threading.Lock()


def _scanner(patterns: tuple[tuple[int, bytes], ...]) -> _Scanner:
    # Compiled at first use, once for each process: most commands need none, most data not those for foreign digits,
    # which take a second.
    with _scanners_lock:
        found = _scanners.get(patterns)
        if found is None:
            found = _scanners[patterns] = _Scanner(patterns)
        return found


def scan(text: bytes | memoryview, offsets: Positions) -> Positions:
    """Return, ascending, the indexes of the rows of row text that may hold card data.

    `offsets` (n + 1): row i is ``text[offsets[i]:offsets[i + 1]]``, its newline included; the first is 0, the
    last ``len(text)``. A superset of the rows in any cell of which `find` finds something. Safe to call from
    several threads; the native parts release the GIL.
    """
    if len(offsets) < 2 or len(text) == 0:
        return np.empty(0, np.int64)
    view = memoryview(text).cast("B")
    flagged, spoken = _by_words(view, offsets)
    numbers = _by_digits(np.frombuffer(view, np.uint8), offsets, spoken)
    return np.unique(np.concatenate((flagged, numbers)))


def _by_words(view: memoryview, offsets: Positions) -> tuple[Positions, Positions]:
    # Rows that are candidates by a word or a special spelling; rows that speak of cards.
    flagged, spoken = [], []
    for first, last in _pieces(offsets, _PIECE):
        start = int(offsets[first])
        piece = view[start : int(offsets[last])]
        found = _scanner(_PATTERNS).hits(piece)
        flagged.append(_rows(found[_FLAG], start, offsets))
        if _scanner(_LEADS).hits(piece)[_SEEN] and _scanner(_FOREIGN).hits(piece)[_SEEN]:
            flagged.append(_rows(_scanner(_MIXED).hits(piece)[_FLAG], start, offsets))
        spoken.append(_rows(found[_WORD], start, offsets))
    return np.concatenate(flagged), np.concatenate(spoken)


def _rows(ends: list[int], start: int, offsets: Positions) -> Positions:
    # A match that swallowed the newline ends in the next row: its last byte is what counts. It may have begun with
    # the newline before; then the word stands in the row of its last byte all the same.
    at = np.array(ends, np.int64) + (start - 1)
    return np.unique(np.searchsorted(offsets, at, side="right") - 1)


def _pieces(offsets: Positions, size: int) -> list[tuple[int, int]]:
    # Whole rows, about `size` bytes at a time: (first row, row after the last).
    pieces = []
    first, rows = 0, len(offsets) - 1
    while first < rows:
        last = int(np.searchsorted(offsets, offsets[first] + size, side="right")) - 1
        last = min(max(last, first + 1), rows)
        pieces.append((first, last))
        first = last
    return pieces


def _by_digits(text: NDArray[np.uint8], offsets: Positions, spoken: Positions) -> Positions:
    scratch = _Scratch.of(_STEP)
    runs, found = [], []
    waiting = 0
    for first, last in _pieces(offsets, _STEP):
        start, end = int(offsets[first]), int(offsets[last])
        if end - start > scratch.size:
            scratch = _Scratch.of(end - start)
        lo, hi = np.searchsorted(spoken, (first, last))
        runs.append(
            _long_runs(text[start:end], scratch, offsets[first : last + 1] - start, spoken[lo:hi] - first)
        )
        runs[-1].start[:] += start
        runs[-1].end[:] += start
        waiting += len(runs[-1].start)
        if waiting > _RUNS_TOGETHER:
            found.append(_numbers(text, _Runs.joined(runs)))
            runs, waiting = [], 0
    if waiting:
        found.append(_numbers(text, _Runs.joined(runs)))
    at = np.concatenate(found) if found else np.empty(0, np.int64)
    return np.unique(np.searchsorted(offsets, at, side="right") - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scratch:
    """Arrays used again for every piece of a batch."""

    size: int
    shifted: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    part: NDArray[np.bool_]

    @classmethod
    def of(cls, size: int) -> "_Scratch":
        """Return scratch for pieces up to `size` bytes."""
        return cls(
            size=size,
            shifted=np.empty(size, np.uint8),
            mask=np.empty(size, np.bool_),
            part=np.empty(size, np.bool_),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runs:
    """Stretches of digits and separators with enough digits; `spoken`: in a row that speaks of cards."""

    start: Positions
    end: Positions
    spoken: NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: "list[_Runs]") -> "_Runs":
        """Return all runs of several pieces."""
        return cls(
            start=np.concatenate([part.start for part in parts]),
            end=np.concatenate([part.end for part in parts]),
            spoken=np.concatenate([part.spoken for part in parts]),
        )


def _packed(mask: NDArray[np.bool_]) -> Bits:
    bits = np.packbits(mask, bitorder="little")
    words_ = np.zeros(len(bits) // 8 + 2, np.uint64)  # a word to spare, so that shifts never lose a bit
    words_.view(np.uint8)[: len(bits)] = bits
    return words_


def _later(bits: Bits, by: int) -> Bits:
    # Bit i of the result is bit i + `by`.
    result = bits >> np.uint64(by)
    result[:-1] |= bits[1:] << np.uint64(64 - by)
    return result


def _earlier(bits: Bits, by: int) -> Bits:
    result = bits << np.uint64(by)
    result[1:] |= bits[:-1] >> np.uint64(64 - by)
    return result


def _classes(text: NDArray[np.uint8], scratch: _Scratch) -> tuple[Bits, Bits]:
    # Which bytes are digits, and which are digits or may stand between two of them in row text.
    size = len(text)
    shifted, mask, part = scratch.shifted[:size], scratch.mask[:size], scratch.part[:size]
    np.subtract(text, 0x2D, out=shifted)
    np.less(shifted, 13, out=mask)  # - . / 0-9
    np.equal(text, 0x20, out=part)
    np.bitwise_or(mask, part, out=mask)
    np.equal(text, 0x5F, out=part)
    np.bitwise_or(mask, part, out=mask)
    np.less(
        text.view(np.int8), 0, out=part
    )  # any byte outside ASCII: no-break spaces, dashes, invisible ones
    np.bitwise_or(mask, part, out=mask)
    between = _packed(mask)
    np.equal(text, 0x5C, out=part)
    escapes = _packed(part)
    between |= escapes
    between |= _earlier(escapes, 1)  # a line wrap is a backslash and a letter
    np.subtract(text, 0x30, out=shifted)
    np.less(shifted, 10, out=mask)
    digits = _packed(mask)
    # A separator at the edge of a stretch joins nothing.
    between &= digits | (_later(between, 1) & _earlier(between, 1))
    return digits, between


def _long_runs(text: NDArray[np.uint8], scratch: _Scratch, offsets: Positions, near: Positions) -> _Runs:
    digits, between = _classes(text, scratch)
    # Without a word about cards nothing shorter than a Diners number counts.
    least = brands.SHORTEST if len(near) else 14
    run = between & _later(between, 1)
    run &= _later(run, 2)
    run &= _later(run, 4)
    run &= _later(run, least - 8)  # now a bit says: `least` such bytes begin here
    if not len(near):
        run = _without_telephones(text, scratch, run)
    edges = _positions(run ^ _earlier(run, 1))
    start, end = edges[0::2], edges[1::2] + (least - 1)
    before = np.zeros(len(digits) + 1, np.int64)
    np.cumsum(np.bitwise_count(digits), out=before[1:])
    amount = _digits_before(digits, before, end) - _digits_before(digits, before, start)
    if not len(near):
        keep = amount >= least
        return _Runs(start=start[keep], end=end[keep], spoken=np.zeros(int(keep.sum()), np.bool_))
    spoken = np.isin(np.searchsorted(offsets, start, side="right") - 1, near)
    keep = amount >= np.where(spoken, brands.SHORTEST, 14)
    return _Runs(start=start[keep], end=end[keep], spoken=spoken[keep])


def _without_telephones(text: NDArray[np.uint8], scratch: _Scratch, run: Bits) -> Bits:
    # After a "+" a card number has 16 digits or more, or comes as a later group with 14 or more: both need a
    # stretch of 16 bytes. One of 14 or 15 has left one or two bits in `run`.
    mask = scratch.mask[: len(text)]
    np.equal(text, 0x2B, out=mask)
    short = _earlier(_packed(mask), 1) & run & ~_later(run, 2)
    result: Bits = run & ~(short | _earlier(short, 1))
    return result


def _positions(bits: Bits) -> Positions:
    # Of the bits that are set, ascending; few words have any.
    filled = np.flatnonzero(bits)
    inside = np.flatnonzero(np.unpackbits(bits[filled].view(np.uint8), bitorder="little").view(np.bool_))
    result: Positions = (filled[inside >> 6] << 6) + (inside & 63)
    return result


def _digits_before(digits: Bits, before: Positions, at: Positions) -> Positions:
    word = at >> 6
    below = (np.uint64(1) << (at & 63).astype(np.uint64)) - np.uint64(1)
    count: Positions = before[word] + np.bitwise_count(digits[word] & below)
    return count


def _numbers(text: NDArray[np.uint8], runs: _Runs) -> Positions:
    # Where, in these runs, a group begins that brand, length and check digit allow to be a card number.
    at, run = _bytes_of(runs)
    values = text[at] - np.uint8(0x30)
    held = values < 10
    at, run, values = at[held], run[held], values[held]
    last = np.empty(len(at), np.bool_)  # the last digit of its group
    last[-1:] = True
    last[:-1] = np.diff(at) != 1
    breaks = np.empty(len(at), np.bool_)  # first digit of a chain of groups
    breaks[:1] = True
    breaks[1:] = (np.diff(run) != 0) | (np.diff(at) > _WIDEST_GAP)
    first = np.flatnonzero(np.concatenate((breaks[:1], last[:-1])))
    values = np.concatenate((values, np.zeros(brands.LONGEST, np.uint8)))
    allowed = _allowed(values, first, runs.spoken[run[first]])
    telephone = (at[first] > 0) & (text[at[first] - 1] == 0x2B)  # "+" and at most 15 digits
    allowed[telephone] &= ~np.uint32((1 << 16) - 1)
    chain = np.cumsum(breaks)
    left = np.searchsorted(chain, chain[first], side="right") - first
    allowed &= (np.uint32(2) << np.minimum(left, brands.LONGEST).astype(np.uint32)) - np.uint32(1)
    allowed = _ending(allowed, first, last)
    good = np.flatnonzero(allowed)
    first = first[good]
    rows = values[first[:, None] + np.arange(brands.LONGEST)]
    valid = brands.valid_lengths(rows, brands.ALL_LENGTHS) & allowed[good]
    found: Positions = at[first[valid != 0]]
    return found


def _allowed(values: NDArray[np.uint8], first: Positions, spoken: NDArray[np.bool_]) -> NDArray[np.uint32]:
    # By the first four digits of each group: the lengths that some brand has, a bit each.
    prefix = np.zeros(len(first), np.int64)
    for place in range(4):
        prefix = prefix * 10 + values[first + place]
    allowed = brands.STRICT_LENGTHS[prefix]
    return np.where(spoken, brands.ALL_LENGTHS[prefix], allowed) if spoken.any() else allowed


def _ending(allowed: NDArray[np.uint32], first: Positions, last: NDArray[np.bool_]) -> NDArray[np.uint32]:
    # Keep the lengths at which a group ends.
    kept = np.zeros_like(allowed)
    able = np.flatnonzero(allowed)
    for length in range(brands.SHORTEST, brands.LONGEST + 1):
        bit = np.uint32(1 << length)
        some = able[(allowed[able] & bit) != 0]
        kept[some[last[first[some] + (length - 1)]]] |= bit
    return kept


def _bytes_of(runs: _Runs) -> tuple[Positions, Positions]:
    # Every offset inside the runs, one after another, and the number of the run it is in.
    sizes = runs.end - runs.start
    run = np.repeat(np.arange(len(sizes)), sizes)
    begins = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) - begins[run] + runs.start[run], run
