"""Numbers of the corpus: cards that nobody holds, and the numbers most often taken for cards."""

import random
import uuid
from collections.abc import Callable

from tenure.cards import brands

Draw = Callable[[random.Random], str]


def digits(rng: random.Random, count: int) -> str:
    """Return `count` random decimal digits."""
    return "".join(rng.choices("0123456789", k=count))


def card(rng: random.Random, brand: brands.Brand, length: int) -> str:
    """Return a number of this brand and length that passes the Luhn check and belongs to no longer prefix."""
    while True:
        first, last = rng.choice(brand.prefixes)
        body = str(rng.randint(first, last))
        body += digits(rng, length - 1 - len(body))
        number = body + brands.luhn_digit(body)
        if brands.brand_of(number) is not None:
            return number


def imei(rng: random.Random) -> str:
    """Return a device number: 15 digits that pass the Luhn check (3GPP TS 23.003)."""
    body = rng.choice(("35", "86", "01", "99")) + digits(rng, 12)
    return body + brands.luhn_digit(body)


def iccid(rng: random.Random) -> str:
    """Return the number of a SIM: 19 digits that pass the Luhn check (ITU-T E.118)."""
    body = "8949" + digits(rng, 14)
    return body + brands.luhn_digit(body)


def ean13(rng: random.Random) -> str:
    """Return an article number with its check digit (GS1 General Specifications, 7.9)."""
    body = rng.choice(("40", "50", "37", "87")) + digits(rng, 10)
    total = sum(int(char) * (3 if place % 2 else 1) for place, char in enumerate(body))
    return body + str(-total % 10)


def iban(rng: random.Random) -> str:
    """Return an account number with its check digits (ISO 13616), in groups of four."""
    country, tail = rng.choice((("DE", 18), ("FR", 23), ("AT", 16), ("ES", 20)))
    account = digits(rng, tail)
    check = 98 - int(account + "".join(str(int(char, 36)) for char in country) + "00") % 97
    text = f"{country}{check:02d}{account}"
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def telephone(rng: random.Random) -> str:
    """Return a telephone number in one of several spellings."""
    return rng.choice(
        (
            f"+49 15{rng.randint(0, 9)} {digits(rng, 8)}",
            f"+4915{digits(rng, 9)}",
            f"+62 8{digits(rng, 2)}-{digits(rng, 4)}-{digits(rng, 4)}",
            f"0049 170 {digits(rng, 7)}",
            f"+44 20 {digits(rng, 4)} {digits(rng, 4)}",
            f"+1 ({digits(rng, 3)}) {digits(rng, 3)}-{digits(rng, 4)}",
        )
    )


def timestamp(rng: random.Random) -> str:
    """Return an instant: ISO 8601, digits only, or seconds since the epoch with decimals."""
    second, month, day = rng.randint(0, 59), rng.randint(1, 12), rng.randint(1, 28)
    return rng.choice(
        (
            f"2024-{month:02d}-{day:02d} 10:22:{second:02d}",
            f"{day:02d}.{month:02d}.2024 10:22",
            f"2024{month:02d}{day:02d}1022{second:02d}{digits(rng, 3)}",
            f"17{digits(rng, 11)}",
            f"17{digits(rng, 17)}",
        )
    )


def snowflake(rng: random.Random) -> str:
    """Return an id made of time and counter: 17 to 19 digits."""
    return str(rng.randint(10**17, 13 * 10**17))


def identifier(rng: random.Random) -> str:
    """Return a UUID or a hexadecimal string."""
    text = uuid.UUID(int=rng.getrandbits(128), version=4)
    return rng.choice((str(text), text.hex, f"0x{digits(rng, 16)}", f"{digits(rng, 16)}af"))


def order_id(rng: random.Random) -> str:
    """Return a random number of 16 digits: one in forty is a card number by chance."""
    return str(rng.randint(1, 9)) + digits(rng, 15)


def fraction(rng: random.Random) -> str:
    """Return a decimal fraction as a program prints it."""
    return f"0.{rng.randint(1, 9)}{digits(rng, 15)}"
