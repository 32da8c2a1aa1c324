"""Which digits can be a card number: brand prefix, exact length and Luhn check, for one number or for many at once.

Prefixes and lengths are those that issuers publish (ISO/IEC 7812-1 describes the scheme, not the ranges); card
ranges are not public as a whole, so the table errs on the side of a brand too many. `ask` lengths are lawful but
rarer than telephone and article numbers that look the same, so they never stand without a word about cards.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SHORTEST = 12
_PREFIX = 4  # digits of the longest prefix
LONGEST = 19  # ISO/IEC 7812-1: at most 19 digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """A card brand: inclusive ranges of prefixes, the lengths it uses, and the lengths one must ask about."""

    name: str
    prefixes: tuple[tuple[int, int], ...]
    lengths: frozenset[int]
    ask: frozenset[int] = frozenset()


def _to(first: int, last: int) -> frozenset[int]:
    return frozenset(range(first, last + 1))


BRANDS = (
    Brand(name="Visa", prefixes=((4, 4),), lengths=frozenset({16, 19}), ask=frozenset({13})),
    Brand(name="Mastercard", prefixes=((51, 55), (2221, 2720)), lengths=frozenset({16})),
    Brand(name="American Express", prefixes=((34, 34), (37, 37)), lengths=frozenset({15})),
    Brand(name="Discover", prefixes=((6011, 6011), (644, 649), (65, 65)), lengths=_to(16, 19)),
    Brand(name="JCB", prefixes=((3528, 3589),), lengths=_to(16, 19)),
    Brand(name="Diners", prefixes=((300, 305), (309, 309), (36, 36), (38, 39)), lengths=_to(14, 19)),
    Brand(name="UnionPay", prefixes=((62, 62), (81, 81)), lengths=_to(16, 19)),
    Brand(name="Maestro", prefixes=((50, 50), (56, 69)), lengths=_to(16, 19), ask=_to(12, 15)),
    Brand(name="Mir", prefixes=((2200, 2204),), lengths=_to(16, 19)),
    Brand(name="RuPay", prefixes=((60, 60), (65, 65), (81, 82), (508, 508)), lengths=frozenset({16})),
    Brand(name="Troy", prefixes=((9792, 9792),), lengths=frozenset({16})),
    Brand(name="Dankort", prefixes=((5019, 5019), (4571, 4571)), lengths=frozenset({16})),
)

# Published for testing by Stripe, Adyen, PayPal, Worldpay and Braintree in their integration guides; no account
# stands behind them, so they are reported apart.
TEST_NUMBERS = frozenset(
    """
    4111111111111111 4242424242424242 4012888888881881 4000056655665556 4444333322221111 4917610000000000
    4222222222222 4005519200000004 4009348888881881 4012000033330026 4012000077777777 4217651111111119
    4500600000000061 5555555555554444 5105105105105100 5200828282828210 5454545454545454 5500000000000004
    5555341244441115 2223003122003222 2223000048400011 2222400070000005 2223520443560010 378282246310005
    371449635398431 378734493671000 370000000000002 343434343434343 6011111111111117 6011000990139424
    6011000000000004 6445644564456445 6011981111111113 30569309025904 38520000023237 3056930009020004
    36227206271667 36148900647913 36700102000000 3530111333300000 3566002020360505 3569990010095841
    6200000000000005 6200000000000047 6205500000000000004 6243030000000001 6759649826438453
    6799990100000000019 6304000000000000 50339619890917 5019717010103742
    """.split()  # noqa: SIM905 - a list in quotation marks would take a page
)


_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")  # to the digit sum of twice the digit


def luhn(digits: str) -> bool:
    """Return whether decimal `digits` pass the Luhn check (ISO/IEC 7812-1, annex B)."""
    raw = digits.encode()
    return (sum(raw[-1::-2]) + sum(raw[-2::-2].translate(_DOUBLED)) - ord("0") * len(raw)) % 10 == 0


def luhn_digit(body: str) -> str:
    """Return the check digit that makes `body` + it pass the Luhn check."""
    return next(check for check in "0123456789" if luhn(body + check))


def brand_of(digits: str) -> Brand | None:
    """Return the brand with the longest prefix that fits `digits` and their number, `ask` lengths included."""
    return _brand_of(digits[:_PREFIX], len(digits))


@lru_cache(maxsize=1 << 14)
def _brand_of(prefix: str, length: int) -> Brand | None:
    best: tuple[int, Brand] | None = None
    for brand in BRANDS:
        if length not in brand.lengths | brand.ask:
            continue
        for first, last in brand.prefixes:
            size = len(str(first))
            if first <= int(prefix[:size]) <= last and (best is None or size > best[0]):
                best = (size, brand)
    return best[1] if best else None


def _length_masks(*, ask: int) -> NDArray[np.uint32]:
    # Entry p: bit L set where a number of L digits whose first four are p can be a card.
    masks = np.zeros(10_000, np.uint32)
    for brand in BRANDS:
        lengths = brand.lengths | (brand.ask if ask else frozenset())
        bits = np.uint32(sum(1 << length for length in lengths))
        for first, last in brand.prefixes:
            scale = 10 ** (4 - len(str(first)))
            masks[first * scale : (last + 1) * scale] |= bits
    return masks


STRICT_LENGTHS = _length_masks(ask=0)
ALL_LENGTHS = _length_masks(ask=1)
_TWICE = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], np.uint8)  # digit sum of the doubled digit


def valid_lengths(digits: NDArray[np.uint8], allowed: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return for each of n rows of `digits` (n x 19, values 0-9) at which lengths it begins a valid card number.

    `allowed`: `STRICT_LENGTHS` or `ALL_LENGTHS`. Bit L of a result stands for the first L digits. Rows that
    are shorter are padded with anything; the caller drops the lengths that do not exist.
    """
    rows = digits.astype(np.uint16)
    prefix = rows[:, 0] * 1000 + rows[:, 1] * 100 + rows[:, 2] * 10 + rows[:, 3]
    twice = _TWICE[digits]
    # Every second digit from the right is doubled: the first one where the length is even, the second where odd.
    mixed = digits.copy()
    mixed[:, 0::2] = twice[:, 0::2]
    even = np.cumsum(mixed, axis=1, dtype=np.uint16)
    mixed = digits.copy()
    mixed[:, 1::2] = twice[:, 1::2]
    odd = np.cumsum(mixed, axis=1, dtype=np.uint16)
    found = np.zeros(len(digits), np.uint32)
    for length in range(SHORTEST, LONGEST + 1):
        sums = odd if length % 2 else even
        found |= (sums[:, length - 1] % 10 == 0).astype(np.uint32) << np.uint32(length)
    found &= allowed[prefix]
    return found
