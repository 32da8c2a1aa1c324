"""The prefilter where words and letters beside a number decide: it may never miss a row in which `find` finds something."""

from itertools import chain

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.cards import brands
from tenure.cards.detect import find
from tenure.cards.prefilter import scan, scanned

BEFORE = ("", "x", "xx", "0x", "a0x", "\0x", "#", "+", " ", "nr", "visa", "IMEI ", "credit ", "0-")
AFTER = (
    "",
    "exp",
    "EXP 12/29",
    "cvv 123",
    "valid",
    "Card",
    "cc",
    "a",
    "af",
    "z",
    " card",
    ", kredit",
    "\n",
    "-ab12",
)
FILLER = ("", "paid by credit", "123456789012", "order 20240311-4451", "called back", "\0", "\t", "cvv 999")


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """Draw a number with the prefix and a length of some brand, nearly always with its check digit."""
    brand = draw(st.sampled_from(brands.BRANDS))
    first, last = draw(st.sampled_from(brand.prefixes))
    length = draw(st.sampled_from(sorted(brand.lengths | brand.ask)))
    head = str(draw(st.integers(first, last)))
    left = length - 1 - len(head)
    body = head + draw(st.text("0123456789", min_size=left, max_size=left))
    return body + (brands.luhn_digit(body) if draw(st.integers(0, 9)) else "0")


CELLS = st.one_of(
    st.sampled_from(FILLER),
    st.tuples(st.sampled_from(BEFORE), numbers(), st.sampled_from(AFTER)).map("".join),
)
ROWS = st.lists(st.lists(CELLS, min_size=1, max_size=3), min_size=1, max_size=12)


def row_text(rows: list[list[str]]) -> tuple[bytes, np.ndarray]:
    """Return lines of text cells with their storage class, and their offsets."""
    escapes = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": r"\0"})
    lines = ["\t".join("t" + cell.translate(escapes) for cell in row).encode() + b"\n" for row in rows]
    return b"".join(lines), np.cumsum([0, *map(len, lines)], dtype=np.int64)


@settings(max_examples=300, deadline=None)
@given(rows=ROWS, quiet=st.integers(0, 40))
def test_no_row_is_missed_whatever_stands_beside_its_numbers(rows: list[list[str]], quiet: int) -> None:
    lines = list(chain.from_iterable((row, *[["called back"]] * quiet) for row in rows))
    text, offsets = row_text(lines)
    held = {i for i, row in enumerate(lines) if any(find(cell) for cell in row)}
    assert held <= set(scan(text, offsets).tolist())


def test_a_short_number_needs_a_word_in_its_own_row_where_few_rows_have_numbers_and_where_all_have() -> None:
    number = "4222222222222"  # 13 digits: with a word about cards beside it only
    for others in (["called back"], ["5019717010103742"[:12]]):
        rows = [[f"visa {number}"], [number], *[others] * 50, [f"credit, {number}"]]
        assert scan(*row_text(rows)).tolist() == [0, 52]


def test_blobs_are_told_wherever_they_stand_but_for_the_key() -> None:
    for line, has in (
        (b"bff\tbff\n", True),
        (b"bff\ttb\n", False),
        (b"i1\ttx\tb\n", True),
        (b"i1\ni2\n", False),
    ):
        lines = line.splitlines(keepends=True)
        assert scanned(line, np.cumsum([0, *map(len, lines)], dtype=np.int64)).blobs is has
