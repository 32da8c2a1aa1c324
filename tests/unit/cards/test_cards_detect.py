import random

import pytest

from tenure.cards import brands, corpus
from tenure.cards.corpus import numbers
from tenure.cards.detect import find
from tenure.cards.findings import Confidence, Finding, Kind

VISA = "4111111111111111"


def spans(text: str) -> list[str]:
    raw = text.encode()
    return [raw[f.start : f.end].decode() for f in find(text)]


def test_the_corpus_is_found_whole_and_what_is_sure_is_right() -> None:
    score = corpus.evaluate(corpus.generate(20260301))
    assert score.spans > 4000
    assert score.recall == 1.0
    assert score.precision >= 0.995


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    assert corpus.generate(7) == corpus.generate(7)
    assert corpus.generate(7) != corpus.generate(8)


@pytest.mark.parametrize(
    "draw", ["imei", "iccid", "telephone", "ean13", "timestamp", "iban", "identifier", "fraction"]
)
def test_look_alikes_are_no_finding_at_all_without_a_word_about_cards(draw: str) -> None:
    rng = random.Random(3)
    texts = [f"see {getattr(numbers, draw)(rng)} again" for _ in range(2000)]
    assert [text for text in texts if find(text)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026 4111 1111 1111 1111", ["4111 1111 1111 1111"]),
        ("2223003122003222", ["2223003122003222"]),
        ("6205500000000000004", ["6205500000000000004"]),
        ("3056 930902 5904", ["3056 930902 5904"]),
        ("3782 822463 10005", ["3782 822463 10005"]),
        ("4111.1111.1111.1111", ["4111.1111.1111.1111"]),
        ("4111\u00a01111\u00a01111\u00a01111", ["4111\u00a01111\u00a01111\u00a01111"]),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", ["4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"]),
        ("4111 1111\n1111 1111", ["4111 1111\n1111 1111"]),
        ("4111 1111 1111 1111 5555 5555 5555 4444", ["4111 1111 1111 1111", "5555 5555 5555 4444"]),
        (f"x{VISA} #{VISA} xxx{VISA}", [VISA] * 3),
        (f"visa{VISA}", [VISA]),
        (f"**{VISA}**", [VISA]),
        (
            "\uff14\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11",
            [
                "\uff14\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11"
            ],
        ),
    ],
)
def test_traps_are_found(text: str, expected: list[str]) -> None:
    assert spans(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        f"1{VISA}1",
        f"{VISA}0",
        f"a{VISA}",
        f"{VISA}b",
        f"0x{VISA}",
        f"0.{VISA}",
        f"9f86d081-{VISA}",
        f"{VISA}-9f86d081",
        "4111a111111111111",
        "4111 1111 x 1111 1111",
        "4111\t1111\t1111\t1111",
        "4111 1111\n\n1111 1111",
        "4111 1111 1111 1112",
        "0000 0000 0000 0000",
        "",
    ],
)
def test_nothing_is_found_across_letters_or_inside_longer_runs(text: str) -> None:
    assert find(text) == ()


def test_a_word_about_cards_within_fifty_characters_makes_a_number_sure() -> None:
    for around in ("", "-"):
        assert find(f"{around}card{'.' * 45} {VISA}")[0].confidence is Confidence.SURE
        assert find(f"{around}card{'.' * 46} {VISA}")[0].confidence is Confidence.LIKELY
        assert find(f"{VISA} {'ü' * 45}card{around}")[0].confidence is Confidence.SURE
        assert find(f"{VISA} {'ü' * 46}card{around}")[0].confidence is Confidence.LIKELY


@pytest.mark.parametrize("dots", range(40, 52))
def test_a_longer_word_at_the_edge_of_the_fifty_characters_is_no_word_about_cards(dots: int) -> None:
    assert find(f"{VISA} {'.' * dots}cardinal")[0].confidence is Confidence.LIKELY
    assert find(f"discard{'.' * dots} {VISA}")[0].confidence is Confidence.LIKELY


def test_a_word_about_cards_inside_another_word_does_not_count() -> None:
    assert find(f"discarded {VISA}")[0].confidence is Confidence.LIKELY


def test_the_name_of_another_number_right_before_it_leaves_it_likely() -> None:
    assert find(f"card payment, order id {VISA}")[0].confidence is Confidence.LIKELY
    assert find(f"order paid with card {VISA}")[0].confidence is Confidence.SURE


def test_short_numbers_are_asked_about_only_beside_a_word_about_cards() -> None:
    assert find("4222222222222") == ()
    assert find("visa 4222222222222")[0].confidence is Confidence.ASK
    assert find("visa +4222222222222") == ()


def test_published_test_numbers_are_told_apart() -> None:
    assert find(VISA)[0].test_number
    assert not find("4539 5787 6362 1486")[0].test_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cvv 123", "123"),
        ("CVC2: 1234", "1234"),
        ('{"cvv":"123"}', "123"),
        ("<cvv>123</cvv>", "123"),
        ("card, Prüfziffer lautet 123", "123"),
        ("carte, cryptogramme visuel : 123", "123"),
        ("tarjeta código de seguridad 123", "123"),
        ("card 4111 1111 1111 1111 12/27 123", "123"),
        (f"{VISA}|12|2027|123", "123"),
    ],
)
def test_security_codes_are_found(text: str, expected: str) -> None:
    raw = text.encode()
    codes = [f for f in find(text) if f.kind is Kind.CODE]
    assert [raw[f.start : f.end].decode() for f in codes] == [expected]
    assert codes[0].confidence is Confidence.SURE


def test_a_word_with_other_meanings_is_no_sure_security_code() -> None:
    assert find("cid 123")[0].confidence is Confidence.ASK
    assert find("your security code is 1234")[0].confidence is Confidence.LIKELY
    assert find("accident 123") == ()
    assert find("cvv 12345") == ()


@pytest.mark.parametrize("text", [f"%B{VISA}^DOE/JOHN^2712101?", f";{VISA}=27121010000000000?"])
def test_track_data_is_one_finding(text: str) -> None:
    (finding,) = find(text)
    assert (finding.start, finding.end, finding.kind) == (0, len(text), Kind.TRACK)


def test_overlapping_findings_become_one_that_covers_both() -> None:
    # Two valid numbers that share digits: the first sixteen, and the last sixteen of the twenty.
    body = next(b for n in range(10) if brands.luhn(b := f"400051000000000{n}"))
    tail = next(t for n in range(10) if brands.luhn(body[4:] + (t := f"000{n}")))
    text = corpus.grouped(body + tail, " ", (4,) * 5)
    (finding,) = find(text)
    assert (finding.start, finding.end) == (0, len(text))


def test_a_finding_shows_no_digits() -> None:
    text = f"card {VISA} cvv 987"
    shown = repr(find(text))
    assert VISA not in shown
    assert "987" not in shown
    assert Finding.__slots__ == ("start", "end", "kind", "confidence", "brand", "test_number")
