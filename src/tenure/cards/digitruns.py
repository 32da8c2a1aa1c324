"""Stretches of row text with enough digits for a card number, found by bit arithmetic at the speed of memory.

One bit a byte says digit, another says digit or what may stand between two of them, so long stretches fall out of a few
shifts.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]  # one bit a byte of text, lowest first
Positions = NDArray[np.int64]

SHORTEST_STRICT = 14
"""Digits of a Diners number, the shortest that is one without a word beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """Arrays used again for every piece of a batch."""

    size: int
    shifted: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    part: NDArray[np.bool_]

    @classmethod
    def of(cls, size: int) -> "Scratch":
        """Return scratch for pieces up to `size` bytes."""
        return cls(
            size=size,
            shifted=np.empty(size, np.uint8),
            mask=np.empty(size, np.bool_),
            part=np.empty(size, np.bool_),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Stretches of digits and separators with enough `digits`; `spoken`: in a row that speaks of cards."""

    start: Positions
    end: Positions
    digits: Positions
    spoken: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def joined(cls, parts: "list[Runs]") -> "Runs":
        """Return all runs of several pieces."""
        return cls(
            start=np.concatenate([part.start for part in parts]),
            end=np.concatenate([part.end for part in parts]),
            digits=np.concatenate([part.digits for part in parts]),
            spoken=np.concatenate([part.spoken for part in parts]),
        )

    def moved(self, by: int) -> "Runs":
        """Return the runs in a text of which theirs is the part that begins at `by`."""
        return replace(self, start=self.start + by, end=self.end + by)

    def taken(self, which: NDArray[np.bool_] | slice) -> "Runs":
        """Return some of the runs."""
        return Runs(
            start=self.start[which], end=self.end[which], digits=self.digits[which], spoken=self.spoken[which]
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


def _classes(text: NDArray[np.uint8], scratch: Scratch) -> tuple[Bits, Bits]:
    # Which bytes are digits, and which are digits or may stand between two of them in row text.
    size = len(text)
    shifted, mask, part = scratch.shifted[:size], scratch.mask[:size], scratch.part[:size]
    np.add(
        text, 0x7F - 0x39, out=shifted
    )  # "9" becomes the highest of signed bytes: one comparison tells a range
    signed = shifted.view(np.int8)
    np.greater(signed, 0x7F - 13, out=mask)  # - . / 0-9
    for char in (0x20, 0x5F):
        np.equal(text, char, out=part)
        np.bitwise_or(mask, part, out=mask)
    # Any byte outside ASCII: no-break spaces, dashes, invisible ones.
    np.less(text.view(np.int8), 0, out=part)
    np.bitwise_or(mask, part, out=mask)
    between = _packed(mask)
    np.equal(text, 0x5C, out=part)
    escapes = _packed(part)
    if escapes.any():
        between |= escapes
        between |= _earlier(escapes, 1)  # a line wrap is a backslash and a letter
    np.greater(signed, 0x7F - 10, out=mask)
    digits = _packed(mask)
    # A separator at the edge of a stretch joins nothing.
    between &= digits | (_later(between, 1) & _earlier(between, 1))
    return digits, between


def long_runs(text: NDArray[np.uint8], scratch: Scratch, least: int) -> Runs:
    """Return the stretches of a piece of row text with at least `least` (8 to 16) digits; none is said to be spoken of."""
    digits, between = _classes(text, scratch)
    run = between
    for by in (1, 2, 4, least - 8):
        run = _later(run, by) & run
    # Now a bit says: `least` such bytes begin here.
    run = _without_telephones(text, scratch, run)
    edges = _positions(run ^ _earlier(run, 1))
    start, end = edges[0::2], edges[1::2] + (least - 1)
    before = np.zeros(len(digits) + 1, np.int64)
    np.cumsum(np.bitwise_count(digits), out=before[1:])
    amount = _digits_before(digits, before, end) - _digits_before(digits, before, start)
    runs = Runs(start=start, end=end, digits=amount, spoken=np.zeros(len(start), np.bool_))
    return runs.taken(amount >= least)


def _without_telephones(text: NDArray[np.uint8], scratch: Scratch, run: Bits) -> Bits:
    # After a "+" a card number has 16 digits or more, or comes as a later group with the least number of digits, behind a
    # digit and a separator: both need a stretch two bytes longer than that. A shorter one has left one or two bits.
    mask = scratch.mask[: len(text)]
    np.equal(text, 0x2B, out=mask)
    plus = _packed(mask)
    if not plus.any():
        return run
    short = _earlier(plus, 1) & run & ~_later(run, 2)
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
