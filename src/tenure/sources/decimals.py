"""Decimal integers to numbers and back, a column at a time: eight digits in a word, and no object a value.

Only what is plain is done here: up to 16 digits and no sign. For the rest (`None`) whoever asks has a slower way.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
Words = NDArray[np.uint64]

_HALF = 8  # digits of a word
_MOST_DIGITS = 2 * _HALF
_EIGHT, _FOUR = 10**8, 10**4
_ZEROS = np.uint64(0x3030303030303030)
_HIGH = np.uint64(0xF0F0F0F0F0F0F0F0)
_SIX = np.uint64(0x0606060606060606)  # added to a digit it leaves the upper half of the byte as it is
_KEPT = np.array([(1 << 64) - (1 << 8 * (_HALF - size)) for size in range(_HALF + 1)], np.uint64)
"""By how many digits: the bytes of a word that hold them, its last ones."""


def parsed(text: Bytes, starts: Places, ends: Places) -> Places | None:
    """Return the integers written between `starts` and `ends` (int64, n each, ascending); None where one is not plain."""
    if not len(starts):
        return np.empty(0, np.int64)
    sizes = ends - starts
    if int(sizes.min()) < 1 or int(sizes.max()) > _MOST_DIGITS:
        return None
    early = int(np.searchsorted(ends, _MOST_DIGITS))
    if early:  # a word that ends there would begin before the text
        return _parsed_early(text, starts, ends, early)
    low = _word(text, ends, np.minimum(sizes, _HALF))
    if low is None or int(sizes.max()) <= _HALF:
        return low
    high = _word(text, ends - _HALF, np.maximum(sizes - _HALF, 0))
    return None if high is None else high * _EIGHT + low


def _parsed_early(text: Bytes, starts: Places, ends: Places, early: int) -> Places | None:
    before = np.zeros(_MOST_DIGITS, np.uint8)
    head = np.concatenate((before, text[: int(ends[early - 1])]))
    first = parsed(head, starts[:early] + _MOST_DIGITS, ends[:early] + _MOST_DIGITS)
    rest = parsed(text, starts[early:], ends[early:])
    return None if first is None or rest is None else np.concatenate((first, rest))


def _word(text: Bytes, ends: Places, sizes: Places) -> Places | None:
    """Return the value of the last `sizes` (0 to 8) characters before `ends`; None where one is no digit."""
    words = np.ndarray((text.size - _HALF + 1,), "<u8", text, strides=(1,))
    kept = _KEPT[sizes]
    word: Words = words[ends - _HALF].astype(np.uint64)
    word = (word & kept) | (_ZEROS & ~kept)
    if ((word ^ _ZEROS | (word + _SIX) ^ _ZEROS) & _HIGH).any():
        return None
    # Pairs of digits, then fours and eights, all in one word (D. Lemire, "Quickly parsing eight digits", 2018).
    word -= _ZEROS
    word = word * np.uint64(10) + (word >> np.uint64(8))
    pairs = np.uint64(0x000000FF000000FF)
    value: Words = (word & pairs) * np.uint64(100 + (1_000_000 << 32))
    value += (word >> np.uint64(16) & pairs) * np.uint64(1 + (10_000 << 32))
    return (value >> np.uint64(32)).astype(np.int64)


@cache
def _characters() -> tuple[NDArray[np.uint32], Bytes]:
    """Return the four characters of each number below 10,000, and how many digits it has (0 has one)."""
    numbers = np.arange(_FOUR)
    digits = np.stack([numbers // 10**place % 10 for place in (3, 2, 1, 0)], axis=1).astype(np.uint8)
    lengths = np.ones(_FOUR, np.uint8)
    for place in (1, 2, 3):
        lengths += numbers >= 10**place
    return np.ascontiguousarray(digits + np.uint8(ord("0"))).view(np.uint32)[:, 0], lengths


def written(values: Places) -> tuple[Bytes, Places, Places] | None:
    """Return text with each of n >= 1 integers in decimal, and where each begins and ends; None where one is not plain."""
    if int(values.min()) < 0 or (largest := int(values.max())) >= 10**_MOST_DIGITS:
        return None
    quarters = _quarters(values, largest)
    characters, lengths = _characters()
    field = np.empty((len(values), len(quarters)), np.uint32)
    digits = lengths[quarters[-1]]
    for place, quarter in enumerate(reversed(quarters)):
        field[:, -1 - place] = characters[quarter]
        if place:
            digits = np.where(quarter > 0, lengths[quarter] + np.uint8(4 * place), digits)
    ends = np.arange(1, len(values) + 1) * (4 * len(quarters))
    return field.view(np.uint8).reshape(-1), ends - digits, ends


def _quarters(values: Places, largest: int) -> list[NDArray[np.uint32]]:
    """Return the digits of integers by fours, the first ones first."""
    halves = [values] if largest < _EIGHT else [values // _EIGHT, values % _EIGHT]
    found: list[NDArray[np.uint32]] = []
    for half in halves:
        narrow = half.astype(np.uint32)
        high = narrow // np.uint32(_FOUR)
        found += [high, narrow - high * np.uint32(_FOUR)]
    return found
