"""Stretches of a text that hold digits and are known to be something else: UUIDs, account numbers, dates."""

import re

_UUID = re.compile(
    rb"(?i)(?<![0-9a-z])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-z])"
)
_DAY = rb"(?:0?[1-9]|[12][0-9]|3[01])"
_MONTH = rb"(?:0?[1-9]|1[0-2])"
_YEAR = rb"(?:19|20)[0-9]{2}"
_DATE = re.compile(
    rb"(?<![0-9])(?<![0-9][-./])(?:"
    + _YEAR + rb"([-./])" + _MONTH + rb"\1" + _DAY + rb"(?!\1?[0-9])|"
    + _DAY + rb"([-./])" + _DAY + rb"\2" + _YEAR + rb"(?!\2?[0-9]))"
)  # fmt: skip
_IBAN = re.compile(rb"(?i)(?<![0-9a-z])[a-z]{2}[0-9]{2}(?:[ -]?[0-9a-z]{1,4}){3,8}")
# Length of an account number by country (ISO 13616 registry).
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE IL IQ TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def masked(text: bytes) -> list[tuple[int, int]]:
    """Return the stretches of plain `text` (start, end) in which no card number may begin or end."""
    found = [match.span() for match in _DATE.finditer(text)]
    if b"-" in text:
        found += [match.span() for match in _UUID.finditer(text)]
    found += [span for match in _IBAN.finditer(text) if (span := _account(match))]
    return found


def _account(match: re.Match[bytes]) -> tuple[int, int] | None:
    length = _IBAN_LENGTHS.get(match.group()[:2].decode().upper(), 0)
    kept = bytearray()
    for place, byte in enumerate(match.group().upper()):
        if byte in b" -":
            continue
        kept.append(byte)
        if len(kept) == length:
            return (match.start(), match.start() + place + 1) if _remainder(kept) == 1 else None
    return None


def _remainder(iban: bytearray) -> int:
    # ISO 7064 MOD 97-10: letters count as 10 to 35, the first four characters move to the end.
    turned = (iban[4:] + iban[:4]).decode()
    return int("".join(str(int(char, 36)) for char in turned)) % 97
