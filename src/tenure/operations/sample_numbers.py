"""Numbers of the sample contact centre: card numbers that nobody holds, and what only looks like one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Published by payment processors for testing; no account stands behind them.
TEST_NUMBERS = (
    "4111111111111111",
    "5555555555554444",
    "378282246310005",
    "6011111111111117",
    "30569309025904",
)

# Prefix and length of one range of each brand (the table in the documentation of the card detector).
_BRANDS = (("4539", 16), ("5412", 16), ("2223", 16), ("371449", 15), ("6011", 16), ("3530", 16), ("3056", 14))
_SEPARATORS = ("", " ", "-", ".", "\u00a0")


def luhn_digit(digits: str) -> str:
    """Return the check digit that makes `digits` + it pass the Luhn check (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, char in enumerate(reversed(digits)):
        value = int(char) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def digits(rng: np.random.Generator, count: int) -> str:
    """Return `count` random decimal digits."""
    return "".join(map(str, rng.integers(0, 10, count).tolist()))


def card_number(rng: np.random.Generator) -> str:
    """Return a number of a random brand that passes the Luhn check, without separators."""
    prefix, length = _BRANDS[int(rng.integers(len(_BRANDS)))]
    body = prefix + digits(rng, length - len(prefix) - 1)
    return body + luhn_digit(body)


def as_written(number: str, rng: np.random.Generator) -> str:
    """Return a card number as an agent might type it: bare, or in groups of four with some separator."""
    separator = _SEPARATORS[int(rng.integers(len(_SEPARATORS)))]
    return separator.join(number[i : i + 4] for i in range(0, len(number), 4))


def imei(rng: np.random.Generator) -> str:
    """Return a device number: 15 digits that always pass the Luhn check (3GPP TS 23.003)."""
    body = "35" + digits(rng, 12)
    return body + luhn_digit(body)


def ean13(rng: np.random.Generator) -> str:
    """Return an article number with its check digit (GS1 General Specifications, section 7.9)."""
    body = "40" + digits(rng, 10)
    total = sum(int(char) * (3 if i % 2 else 1) for i, char in enumerate(body))
    return body + str(-total % 10)


def iban(rng: np.random.Generator) -> str:
    """Return a German account number with its check digits (ISO 13616), in groups of four."""
    account = digits(rng, 18)
    check = 98 - int(account + "131400") % 97  # "DE00" moved to the end, D = 13, E = 14
    text = f"DE{check:02d}{account}"
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def order_id(rng: np.random.Generator) -> str:
    """Return an order number: 16 digits that begin with a date, so with no brand's prefix."""
    return f"20{rng.integers(10, 20)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}{digits(rng, 8)}"


def phone(rng: np.random.Generator) -> str:
    """Return a telephone number with its country code."""
    return f"+49 1523 {digits(rng, 7)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAlike:
    """A kind of number that must be left alone, and the words around it; `{text}` is the number."""

    kind: str
    sentence: str
    draw: Callable[[np.random.Generator], str]


LOOK_ALIKES = (
    LookAlike(kind="phone number", sentence=" Call back on {text}.", draw=phone),
    LookAlike(kind="device number", sentence=" IMEI {text} blocked.", draw=imei),
    LookAlike(kind="order number", sentence=" Order {text} shipped.", draw=order_id),
    LookAlike(kind="article number", sentence=" Article {text} returned.", draw=ean13),
    LookAlike(kind="account number", sentence=" Refund to {text}.", draw=iban),
)
