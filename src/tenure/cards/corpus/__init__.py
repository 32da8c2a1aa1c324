"""The test corpus of the detector: made anew from a seed, so that no file holds a card number.

Positives: all brands and lengths, in all separators and groupings, with words about cards around them, and the
traps that common detectors miss. Negatives: what is most often taken for a card number, in large numbers.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tenure.cards import brands
from tenure.cards.corpus import numbers
from tenure.cards.detect import find
from tenure.cards.findings import Confidence

Span = tuple[int, int]
Case = tuple[str, tuple[Span, ...]]
"""A text and the spans (byte offsets in UTF-8) of the card data in it."""

SEPARATORS = ("", " ", "-", ".", "/", "_", "\u00a0", "\u2013", "\n", "\r\n", "\u2011", "&nbsp;", " - ")
_BEFORE = (
    "card ",
    "Card number: ",
    "Kreditkarte ",
    "Kartennummer: ",
    "paid by visa ",
    "carte bancaire : ",
    "tarjeta ",
    '{"cardNumber": "',
    "<td>credit</td><td>",
    "2026 card 2026 ",
    "PAN=",
    "cc# ",
    "MasterCard #",
    "Die Prüfung der Karte ",
)
_AFTER = ("", ".", " please charge it", ' exp 12/27"', "</td>", "; call back at 17:00", ", thanks")
_NEGATIVE_BEFORE = (
    "Order {} has not arrived",
    "order id {}",
    "IMEI {} blocked",
    "call {} back",
    "paid, see {}",
    "ref {} on 05/03/2024",
    "Bestellung {} storniert",
    "tracking {}; card was returned to sender",
    '{{"id": "{}"}}',
    "{}",
    "customer {} said hello 3 times",
    "case {}: customer asked about a card payment",
    "credit note sent, reference {}",
    "voucher {} was for the card fee",  # a name the detector does not know: chance hits stay sure, and count
)
_ROUNDS = 4  # of every brand, length and separator
_NEGATIVES = 1500  # of every kind

_LOOK_ALIKES = (
    numbers.imei,
    numbers.iccid,
    numbers.ean13,
    numbers.iban,
    numbers.telephone,
    numbers.timestamp,
    numbers.snowflake,
    numbers.identifier,
    numbers.order_id,
    numbers.fraction,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How the detector did. Recall counts bytes of card data covered by any finding; precision what is sure.

    `missed`: spans not wholly covered; `wrong`: sure findings that touch no card data.
    """

    spans: int
    missed: int
    sure: int
    wrong: int

    @property
    def recall(self) -> float:
        """Return the share of spans covered."""
        return 1 - self.missed / self.spans

    @property
    def precision(self) -> float:
        """Return the share of sure findings that are right."""
        return 1 - self.wrong / self.sure


def grouped(number: str, separator: str, sizes: tuple[int, ...]) -> str:
    """Return `number` in groups of these sizes, what is left over in one more."""
    parts = []
    for size in sizes:
        parts.append(number[:size])
        number = number[size:]
    return separator.join(part for part in (*parts, number) if part)


def groupings(number: str) -> tuple[tuple[int, ...], ...]:
    """Return the group sizes in which people write a number of this length."""
    if len(number) == 15:
        return ((4, 6, 5), (4, 4, 4, 3), (1,) * 15)
    if len(number) == 14:
        return ((4, 6, 4), (4, 4, 4, 2), (1,) * 14)
    return ((4, 4, 4, 4, 4), (1,) * len(number), (8, 8))


def _case(before: str, data: str, after: str) -> Case:
    start = len(before.encode())
    return before + data + after, ((start, start + len(data.encode())),)


def _ordinary(rng: random.Random) -> Iterator[Case]:
    for brand in brands.BRANDS:
        for length in sorted(brand.lengths | brand.ask):
            for separator in SEPARATORS:
                for _ in range(_ROUNDS):
                    number = numbers.card(rng, brand, length)
                    written = grouped(number, separator, rng.choice(groupings(number)))
                    yield _case(rng.choice(_BEFORE), written, rng.choice(_AFTER))


def _traps(rng: random.Random) -> Iterator[Case]:
    visa, mastercard = brands.BRANDS[:2]
    for _ in range(100):
        first, second = numbers.card(rng, visa, 16), numbers.card(rng, mastercard, 16)
        spaced = grouped(first, " ", (4, 4, 4, 4))
        yield _case("2026 ", spaced, "")
        yield _case("2024-03-05 ", spaced, "")
        yield _case("x", first, "")
        yield _case("#", first, "")
        yield _case("\u5361\u53f7", first, "\u8bf7")
        yield _case("visa ", first.translate({ord("0") + d: 0xFF10 + d for d in range(10)}), "")
        yield _case("card ", spaced.translate({ord("0") + d: 0x660 + d for d in range(10)}), "")
        yield _case("card ", "\u200b".join((first[:4], first[4:])), "")
        yield _case("", f"%B{first}^DOE/JOHN^27121010000000000?", "")
        yield _case("", f";{first}=27121010000000000?", "")
        both = _case("cards ", spaced, " ")
        other = grouped(second, " ", (4, 4, 4, 4))
        start = both[1][0][1] + 1
        yield both[0] + other, (*both[1], (start, start + len(other)))
        yield from _codes(rng, spaced)


def _codes(rng: random.Random, number: str) -> Iterator[Case]:
    code = numbers.digits(rng, 3)
    for between in (
        " cvv ",
        " CVC: ",
        " exp 12/27 ",
        "|12|2027|",
        ", Prüfziffer ",
        " security code is ",
        " cryptogramme : ",
    ):
        text, spans = _case("card ", number, between + code)
        end = len(text.encode())
        yield text, (*spans, (end - len(code), end))
    yield _case("cvv ", code, "")
    yield _case("código de seguridad ", code, " tarjeta")


def _negatives(rng: random.Random) -> Iterator[Case]:
    for draw in _LOOK_ALIKES:
        for _ in range(_NEGATIVES):
            yield rng.choice(_NEGATIVE_BEFORE).format(draw(rng)), ()


def generate(seed: int) -> list[Case]:
    """Return the corpus; the same seed makes the same corpus."""
    rng = random.Random(seed)  # noqa: S311 - numbers nobody holds, nothing to guard
    return [*_ordinary(rng), *_traps(rng), *_negatives(rng)]


def evaluate(cases: list[Case]) -> Score:
    """Return how the detector does on `cases`."""
    spans = missed = sure = wrong = 0
    for text, expected in cases:
        findings = find(text)
        spans += len(expected)
        missed += sum(not any(f.start <= a and b <= f.end for f in findings) for a, b in expected)
        certain = [f for f in findings if f.confidence is Confidence.SURE]
        sure += len(certain)
        wrong += sum(not any(f.start < b and a < f.end for a, b in expected) for f in certain)
    return Score(spans=spans, missed=missed, sure=sure, wrong=wrong)
