import random

import numpy as np
import pytest

from tenure.cards import brands
from tenure.cards.corpus import numbers


def test_every_published_test_number_is_a_valid_number_of_some_brand() -> None:
    assert [n for n in brands.TEST_NUMBERS if not brands.luhn(n) or brands.brand_of(n) is None] == []


def test_a_single_wrong_digit_fails_the_check() -> None:
    assert brands.luhn("4111111111111111")
    for place in range(16):
        for digit in "023456789":
            assert not brands.luhn("4111111111111111"[:place] + digit + "4111111111111111"[place + 1 :]) or (
                place,
                digit,
            ) == (0, "4")


@pytest.mark.parametrize(
    ("digits", "name"),
    [
        ("6011" + "0" * 12, "Discover"),
        ("65" + "0" * 14, "Discover"),
        ("4571" + "0" * 12, "Dankort"),
        ("2720" + "0" * 12, "Mastercard"),
        ("2204" + "0" * 12, "Mir"),
        ("508" + "0" * 13, "RuPay"),
        ("3589" + "0" * 15, "JCB"),
    ],
)
def test_the_longest_prefix_names_the_brand(digits: str, name: str) -> None:
    brand = brands.brand_of(digits)
    assert brand is not None
    assert brand.name == name


@pytest.mark.parametrize(
    "digits", ["2721" + "0" * 12, "2205" + "0" * 12, "34" + "0" * 14, "4" + "0" * 16, "306" + "0" * 11]
)
def test_a_wrong_prefix_or_length_is_no_card(digits: str) -> None:
    assert brands.brand_of(digits) is None


def test_the_vectorised_check_agrees_with_the_one_for_a_single_number() -> None:
    rng = random.Random(5)
    rows = [numbers.digits(rng, 19) for _ in range(3000)]
    rows += [
        numbers.card(rng, b, n).ljust(19, "7")
        for b in brands.BRANDS
        for n in b.lengths | b.ask
        for _ in range(20)
    ]
    matrix = np.array([[int(char) for char in row] for row in rows], np.uint8)
    strict = brands.valid_lengths(matrix, brands.STRICT_LENGTHS)
    every = brands.valid_lengths(matrix, brands.ALL_LENGTHS)
    for row, some, most in zip(rows, strict.tolist(), every.tolist(), strict=True):
        for length in range(brands.SHORTEST, brands.LONGEST + 1):
            fits = [b for b in brands.BRANDS if brands.brand_of(row[:length]) and brands.luhn(row[:length])]
            assert bool(most >> length & 1) == bool(fits)
            if some >> length & 1:
                assert most >> length & 1
