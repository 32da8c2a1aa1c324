"""Which rows of a batch may hold card data, at the speed of memory: nothing that `find` finds is missed.

Two native passes over row text. Words and special spellings go through hyperscan. Digits go through bit arithmetic
(`digitruns`); only runs long enough for a card number are then checked, all at once, for brand, exact length and check
digit. Telephone numbers, dates, device and article numbers and identifiers do not pass, so Python sees hardly any row
without card data.
"""

import threading
from dataclasses import dataclass, replace
from typing import Any

import hyperscan
import numpy as np
from numpy.typing import NDArray

from tenure.cards import brands, words
from tenure.cards.digitruns import SHORTEST_STRICT, Positions, Runs, Scratch, long_runs
from tenure.cards.plain import DIGIT, ENTITY, FIRST_BYTES

_STEP = 1 << 20  # bytes looked at together: what fits the caches with its scratch, and makes calls few
_RUNS_TOGETHER = 4096  # long runs checked together: enough to make numpy's cost for each call small
_WIDEST_GAP = 33  # from digit to digit: detect.LONGEST_GAP, doubled by the escapes of row text, and one

_CELL = rb"[^\t\n]"
# What may stand before the first letter of a word: also the storage class of a cell, or the letter of an escape.
_BEFORE = rb"(?:^[irtb]?|[^A-Za-z]|[\t\n][irtb]|\\[tnr])"
# The row is a candidate; it speaks of cards; the text holds this at all; it holds a cell that is a blob.
_FLAG, _WORD, _SEEN, _BLOB = 0, 1, 2, 3
_ONCE = (_SEEN, _BLOB)
_SPOKEN = (_BEFORE + words.STEMS, words.ANYWHERE)
_PATTERNS = (
    (_FLAG, words.STRONG_CODE),
    (_FLAG, _BEFORE + words.WEAK_CODE + _CELL + rb"{0,64}[0-9\x80-\xff]"),
    (_FLAG, words.TRACK),
    (_FLAG, ENTITY + rb"[ \x80-\xff\\nr\-]{0,8}[0-9]"),
    (_FLAG, rb"\\0[0-9]"),  # NUL, whose escape ends in what looks like a digit
    # Every match calls Python, and some texts are full of such words: which rows have them is asked when it matters.
    *((_SEEN, pattern) for pattern in _SPOKEN),
    (_BLOB, rb"\tb"),
)
_WORDS = tuple((_WORD, pattern) for pattern in _SPOKEN)
_WORDS_AFTER = np.frombuffer(b"evc", np.uint8)  # what the words begin with that `detect` lets follow at once
_FEW = 8  # where at most one row in so many has to be asked, only those are
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
            | (hyperscan.HS_FLAG_SINGLEMATCH if kind in _ONCE else 0)
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

    def hits(self, text: memoryview) -> tuple[list[int], list[int], list[int], list[int]]:
        """Return the offsets just before which a match of each kind ends."""
        scratch = getattr(self._local, "scratch", None)
        if scratch is None:
            with self._lock:
                scratch = self._local.scratch = self._first.clone()
        found: tuple[list[int], list[int], list[int], list[int]] = ([], [], [], [])
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """`rows`: indexes, ascending, of those that may hold card data; `blobs`: whether a cell may be a blob."""

    rows: Positions
    blobs: bool = False


def scan(text: bytes | memoryview, offsets: Positions) -> Positions:
    """Return, ascending, the indexes of the rows of row text that may hold card data; see `scanned`."""
    return scanned(text, offsets).rows


def scanned(text: bytes | memoryview, offsets: Positions) -> Scanned:
    """Say which rows of row text may hold card data, and whether a cell but for the first of a row may be a blob.

    `offsets` (n + 1): row i is ``text[offsets[i]:offsets[i + 1]]``, its newline included; the first is 0, the
    last ``len(text)``. A superset of the rows in any cell of which `find` finds something. Safe to call from
    several threads; the native parts release the GIL.
    """
    if len(offsets) < 2 or len(text) == 0:
        return Scanned(rows=np.empty(0, np.int64))
    view = memoryview(text).cast("B")
    scratch, blobs = Scratch.of(_STEP), False
    flagged: list[Positions] = []
    runs: list[Runs] = []
    for first, last in _pieces(offsets, _STEP):
        start, end = int(offsets[first]), int(offsets[last])
        piece, bounds = view[start:end], offsets[first : last + 1] - start
        if end - start > scratch.size:
            scratch = Scratch.of(end - start)
        found = _scanner(_PATTERNS).hits(piece)
        flagged.append(_rows(found[_FLAG] + _foreign(piece), bounds) + first)
        own = _spoken_runs(piece, bounds, scratch) if found[_SEEN] else _strict_runs(piece, scratch)
        runs.append(own.moved(start))
        blobs |= bool(found[_BLOB])
    numbers = _by_digits(np.frombuffer(view, np.uint8), offsets, Runs.joined(runs))
    return Scanned(rows=np.unique(np.concatenate((*flagged, numbers))), blobs=blobs)


def _foreign(piece: memoryview) -> list[int]:
    # Where numbers in other digits than ASCII's end.
    if _scanner(_LEADS).hits(piece)[_SEEN] and _scanner(_FOREIGN).hits(piece)[_SEEN]:
        return _scanner(_MIXED).hits(piece)[_FLAG]
    return []


def _rows(ends: list[int], offsets: Positions) -> Positions:
    # A match that swallowed the newline ends in the next row: its last byte is what counts. It may have begun with
    # the newline before; then the word stands in the row of its last byte all the same.
    at = np.array(ends, np.int64) - 1
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


def _by_digits(text: NDArray[np.uint8], offsets: Positions, runs: Runs) -> Positions:
    runs = runs.taken(_may_be_whole(text, runs))
    found = [
        _numbers(text, runs.taken(slice(start, start + _RUNS_TOGETHER)))
        for start in range(0, len(runs), _RUNS_TOGETHER)
    ]
    at = np.concatenate(found) if found else np.empty(0, np.int64)
    return np.unique(np.searchsorted(offsets, at, side="right") - 1)


def _may_be_whole(text: NDArray[np.uint8], runs: Runs) -> NDArray[np.bool_]:
    # A run without separators, as most are, is a number whole or not at all: its first digits say which.
    alone = np.flatnonzero(runs.digits == runs.end - runs.start)
    start, lengths = runs.start[alone], np.minimum(runs.digits[alone], 31).astype(np.uint32)
    first = np.zeros(len(alone), np.int64)
    for place in range(4):
        first = first * 10 + (text[start + place] - np.uint8(0x30))
    allowed = np.where(runs.spoken[alone], brands.ALL_LENGTHS[first], brands.STRICT_LENGTHS[first])
    keep = np.ones(len(runs), np.bool_)
    inside = _inside_letters(text, start, runs.end[alone])
    keep[alone] = ((allowed >> lengths & np.uint32(1)) != 0) & ~inside
    return keep


def _inside_letters(text: NDArray[np.uint8], start: Positions, end: Positions) -> NDArray[np.bool_]:
    # Whether "0x" stands before, and it is no escaped NUL; or a letter behind that begins none of `detect`'s words.
    after = text[np.minimum(end, len(text) - 1)] | np.uint8(0x20)
    found = (after >= ord("a")) & (after <= ord("z")) & ~np.isin(after, _WORDS_AFTER)
    head = np.concatenate((np.zeros(3, np.uint8), text[:3]))
    before = [np.where(start < 3, head[np.minimum(start, 3) + 3 - by], text[start - by]) for by in (1, 2, 3)]
    hexadecimal = (
        (before[0] | np.uint8(0x20) == ord("x")) & (before[1] - np.uint8(0x30) < 10) & (before[2] != 0x5C)
    )
    inside: NDArray[np.bool_] = found | hexadecimal
    return inside


def _strict_runs(piece: memoryview, scratch: Scratch) -> Runs:
    # Without a word about cards nothing shorter than a Diners number counts.
    return long_runs(np.frombuffer(piece, np.uint8), scratch, SHORTEST_STRICT)


def _spoken_runs(piece: memoryview, offsets: Positions, scratch: Scratch) -> Runs:
    runs = long_runs(np.frombuffer(piece, np.uint8), scratch, brands.SHORTEST)
    if len(runs) * _FEW > len(offsets):
        spoken = _in_rows(runs.start, offsets, _rows(_scanner(_WORDS).hits(piece)[_WORD], offsets))
    else:
        # Few rows come into question, so only they are asked.
        rows = np.searchsorted(offsets, runs.start, side="right") - 1
        asked = np.unique(rows)
        bounds = zip(offsets[asked].tolist(), offsets[asked + 1].tolist(), strict=True)
        lines = [piece[start:end] for start, end in bounds]
        ends = np.cumsum([0, *map(len, lines)], dtype=np.int64)
        if not lines:
            return runs
        spoken = np.isin(rows, asked[_rows(_scanner(_WORDS).hits(memoryview(b"".join(lines)))[_WORD], ends)])
    return replace(runs, spoken=spoken).taken(spoken | (runs.digits >= SHORTEST_STRICT))


def _in_rows(places: Positions, offsets: Positions, rows: Positions) -> NDArray[np.bool_]:
    # Which of some ascending places lie in these rows, which are few.
    begins, stops = np.searchsorted(places, offsets[rows]), np.searchsorted(places, offsets[rows + 1])
    steps = np.zeros(len(places) + 1, np.int8)
    held = begins < stops
    steps[begins[held]] += 1
    steps[stops[held]] -= 1
    found: NDArray[np.bool_] = np.cumsum(steps[:-1], dtype=np.int8) > 0
    return found


def _numbers(text: NDArray[np.uint8], runs: Runs) -> Positions:
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


def _bytes_of(runs: Runs) -> tuple[Positions, Positions]:
    # Every offset inside the runs, one after another, and the number of the run it is in.
    sizes = runs.end - runs.start
    run = np.repeat(np.arange(len(sizes)), sizes)
    begins = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) - begins[run] + runs.start[run], run
