"""Tell a column of card numbers from a column of numbers that only look like some.

In a column of ids about one in ten passes the Luhn check by chance and fewer have a brand's prefix and length; in
a column of card numbers nearly all do. So a column is judged as a whole, and its cells by what it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tenure.cards import brands
from tenure.cards.plain import plain

SURE_SHARE = 0.60  # as Microsoft Purview's data map asks of a column
FEWEST = 10  # values below which a share says nothing
_SEPARATORS = b" -._/"


class ColumnKind(StrEnum):
    """What a column holds."""

    CARDS = "card numbers"
    IDS = "ids"
    MIXED = "mixed"  # text, or too few values to tell: every cell is judged by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnVerdict:
    """Of `values` that are not empty, `numbers` are whole numbers of card length and `cards` pass as cards."""

    kind: ColumnKind
    values: int
    numbers: int
    cards: int


def judge_column(values: Iterable[bytes | str]) -> ColumnVerdict:
    """Judge a column by a sample of its values (plain values, not cells of row text)."""
    held = [value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value for value in values]
    held = [value for value in held if value.strip()]
    numbers = [digits for value in held if (digits := _whole_number(value))]
    cards = int(_are_cards(numbers).sum())
    return ColumnVerdict(
        kind=_kind(len(held), len(numbers), cards), values=len(held), numbers=len(numbers), cards=cards
    )


def _kind(values: int, numbers: int, cards: int) -> ColumnKind:
    if values < FEWEST:
        return ColumnKind.MIXED
    if cards >= SURE_SHARE * values:
        return ColumnKind.CARDS
    # Chance lets at most one in ten through; twice that leaves room for a small sample.
    if numbers >= SURE_SHARE * values and cards <= 0.2 * numbers:
        return ColumnKind.IDS
    return ColumnKind.MIXED


def _whole_number(value: bytes) -> bytes | None:
    digits = plain(value.strip()).text.translate(None, _SEPARATORS)
    return digits if digits.isdigit() and brands.SHORTEST <= len(digits) <= brands.LONGEST else None


def _are_cards(numbers: list[bytes]) -> NDArray[np.bool_]:
    if not numbers:
        return np.zeros(0, np.bool_)
    lengths = np.array([len(number) for number in numbers], np.uint32)
    padded = b"".join(number.ljust(brands.LONGEST, b"0") for number in numbers)
    digits = np.frombuffer(padded, np.uint8).reshape(-1, brands.LONGEST) - np.uint8(0x30)
    return ((brands.valid_lengths(digits, brands.ALL_LENGTHS) >> lengths) & 1).astype(np.bool_)
