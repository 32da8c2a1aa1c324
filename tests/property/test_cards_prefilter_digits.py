"""The prefilter on lines of digits and separators only, where its bit arithmetic does all the work."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.cards import brands, prefilter
from tenure.cards.corpus import grouped, groupings, numbers
from tenure.cards.detect import find
from tenure.cards.prefilter import scan


@given(st.integers(0, 2**32), st.integers(1, 120))
@settings(max_examples=150, deadline=None)
def test_no_number_is_lost_among_telephones_dates_and_ids(seed: int, rows: int) -> None:
    rng = random.Random(seed)
    lines = []
    for _ in range(rows):
        parts = []
        for _ in range(rng.randint(1, 5)):
            brand = rng.choice(brands.BRANDS)
            number = numbers.card(rng, brand, rng.choice(sorted(brand.lengths | brand.ask)))
            separator = rng.choice(("", " ", "-", "\u00a0", " - ", "\\n", "\u2013"))
            written = grouped(number, separator, rng.choice(groupings(number)))
            other = rng.choice((numbers.telephone, numbers.timestamp, numbers.order_id, numbers.iccid))(rng)
            parts.append(rng.choice((written, "+" + written, other, "card", "visa", str(rng.randint(0, 99)))))
        lines.append(rng.choice((" ", "\t", "", ".", ", ", "_")).join(parts))
    raw = [line.encode() + b"\n" for line in lines]
    offsets = np.cumsum([0, *map(len, raw)], dtype=np.int64)
    # What a cell holds: a line wrap is a backslash and a letter only in row text.
    found = {
        at for at, line in enumerate(lines) if any(find(one.replace("\\n", "\n")) for one in line.split("\t"))
    }
    assert found <= set(scan(b"".join(raw), offsets).tolist())


def test_pieces_hold_whole_rows_however_long_they_are() -> None:
    long = b"a" * (3 << 19) + b" 4111 1111 1111 1111\n"
    raw = [b"x\n", long, b"4111111111111111\n", b"x" * 700_000 + b"\n", b"4111-1111-1111-1111\n"]
    offsets = np.cumsum([0, *map(len, raw)], dtype=np.int64)
    assert scan(b"".join(raw), offsets).tolist() == [1, 2, 4]
    assert len(long) > prefilter._STEP


def test_text_that_ends_without_a_newline_is_scanned_to_its_end() -> None:
    text = b"4111111111111111"
    assert scan(text, np.array([0, len(text)], np.int64)).tolist() == [0]
    text = b"x\n5555 5555 5555 4444"
    assert scan(text, np.array([0, 2, len(text)], np.int64)).tolist() == [1]
    assert scan(text + b"+", np.array([0, 2, len(text) + 1], np.int64)).tolist() == [1]
