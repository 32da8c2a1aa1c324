import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tenure.cards.cardrule import keep_of, redact_text
from tenure.cards.columns import ColumnKind, judge_column
from tenure.cards.detect import find
from tenure.cards.prefilter import scan
from tenure.cards.redact import Keep, redact
from tenure.cards.rows import Cells, Numeric, RowsPlan, redact_rows
from tenure.domain.errors import RuleError

VISA = "4111111111111111"


def offsets_of(text: bytes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.cumsum([0, *map(len, text.splitlines(keepends=True))], dtype=np.int64)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("card 4111 1111 1111 1111 cvv 123", "card **** **** **** 1111 cvv ***"),
        ("IMEI 356938035643809", "IMEI 356938035643809"),
        ("card 3782-822463-10005", "card ****-******-*0005"),
        ("visa 4111&#160;1111&#160;1111&#160;1111", "visa ****&#160;****&#160;****&#160;1111"),
        (
            "visa \uff14\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11",
            "visa ************\uff11\uff11\uff11\uff11",
        ),
        ("<td>card</td><td>4111111111111111</td>", "<td>card</td><td>************1111</td>"),
    ],
)
def test_a_rule_cuts_what_is_sure_and_leaves_the_rest(text: str, expected: str) -> None:
    assert redact_text(text, number="keep last 4", code="remove") == expected


def test_a_rule_leaves_what_is_only_likely() -> None:
    assert redact_text(VISA, number="keep last 4", code="remove") == VISA


def test_first_six_and_last_four_stay_where_the_rule_says_so() -> None:
    assert (
        redact_text(f"card {VISA}", number="keep first 6 and last 4", code="remove")
        == "card 411111******1111"
    )
    assert redact_text(f"card {VISA}", number="remove", code="remove") == "card " + "*" * 16


@pytest.mark.parametrize(("number", "code"), [("keep last 5", "remove"), ("keep last 4", "keep")])
def test_a_rule_that_would_keep_too_much_is_refused(number: str, code: str) -> None:
    with pytest.raises(RuleError) as caught:
        redact_text("x", number=number, code=code)
    assert "say" in caught.value.hint


def test_the_words_of_a_rule_name_every_way_to_cut() -> None:
    assert [keep_of(keep.value) for keep in Keep] == list(Keep)


def test_track_data_goes_whole() -> None:
    text = f"swipe %B{VISA}^DOE/JOHN^2712101? ok"
    assert redact(text, find(text)) == "swipe " + "*" * (len(text) - 9) + " ok"


def test_bare_numbers_of_json_become_strings_and_json_stays_json() -> None:
    cut = redact_text(f'{{"card": {VISA}, "cvv": 123, "n": [1, 2.5]}}', number="keep last 4", code="remove")
    assert json.loads(cut) == {"card": "*" * 12 + "1111", "cvv": "***", "n": [1, 2.5]}
    lines = redact_text(f'{{"card": {VISA}}}\n{{"card": "{VISA}"}}\n', number="keep last 4", code="remove")
    assert [json.loads(line)["card"] for line in lines.splitlines()] == ["*" * 12 + "1111"] * 2


def test_a_number_in_brackets_that_are_no_json_gets_no_quotation_marks() -> None:
    assert redact_text(f"[card {VISA}]", number="keep last 4", code="remove") == "[card ************1111]"


def test_only_rows_with_card_data_change_and_offsets_follow() -> None:
    rows = [b"i%d\tt+49 151 23456789\ttRechnung 2024-0034567\n" % at for at in range(1000)]
    rows[500] = b'i500\t\\N\tt{"card": 4111111111111111}\n'
    rows[700] = b"i700\t\\N\ttcard 4111 1111\\n1111 1111 cvv 123\\tend\n"
    text = b"".join(rows)
    result = redact_rows(text, offsets_of(text), RowsPlan(cells=(1, 2), written=Cells.CLASSED))
    rows[500] = b'i500\t\\N\tt{"card": "************1111"}\n'
    rows[700] = b"i700\t\\N\ttcard **** ****\\n**** 1111 cvv ***\\tend\n"
    assert bytes(result.text) == b"".join(rows)
    assert result.offsets.tolist() == offsets_of(b"".join(rows)).tolist()
    assert (result.counts.rows, result.counts.numbers, result.counts.codes, result.counts.test_numbers) == (
        2,
        2,
        1,
        2,
    )


def test_a_batch_without_card_data_comes_back_as_it_is() -> None:
    text = b"i1\ttnothing\n"
    result = redact_rows(text, offsets_of(text), RowsPlan(cells=(1,)))
    assert result.text is text


def test_cells_the_plan_does_not_name_are_left() -> None:
    text = b"card 4111111111111111\tcard 4111111111111111\n"
    result = redact_rows(text, offsets_of(text), RowsPlan(cells=(1,)))
    assert bytes(result.text) == b"card 4111111111111111\tcard ************1111\n"


def test_likely_findings_are_left_and_their_rows_named() -> None:
    text = b"none\n4111111111111111\n"
    result = redact_rows(text, offsets_of(text), RowsPlan(cells=(0,)))
    assert bytes(result.text) == text
    assert result.likely_rows.tolist() == [1]
    assert result.counts.likely == 1


@pytest.mark.parametrize(
    ("written", "line", "blanked"),
    [(Cells.CLASSED, b"i4111111111111111\n", b"\\N\n"), (Cells.PLAIN, b"4111111111111111\n", b"\\N\n")],
)
def test_a_numeric_cell_that_is_a_card_number_is_blanked_or_refused(
    written: Cells, line: bytes, blanked: bytes
) -> None:
    def plan(numeric: Numeric) -> RowsPlan:
        return RowsPlan(
            cells=(0,),
            written=written,
            numeric=numeric,
            numeric_cells=frozenset({0}),
            columns={0: ColumnKind.CARDS},
        )

    refused = redact_rows(line, offsets_of(line), plan(Numeric.REFUSE))
    assert (bytes(refused.text), refused.refused_cells) == (line, ((0, 0),))
    done = redact_rows(line, offsets_of(line), plan(Numeric.BLANK))
    assert (bytes(done.text), done.refused_cells, done.counts.blanked) == (blanked, (), 1)


def test_a_column_is_judged_by_the_share_of_its_values_that_pass() -> None:
    ids = [f"{4539_0000_0000_0000 + at * 7919}" for at in range(500)]
    assert judge_column(ids).kind is ColumnKind.IDS
    assert judge_column([VISA, "5555 5555 5555 4444", "378282246310005"] * 10).kind is ColumnKind.CARDS
    assert judge_column(["a note", "another"] * 20).kind is ColumnKind.MIXED
    assert judge_column([VISA] * 3).kind is ColumnKind.MIXED
    assert judge_column(["", "  "]).values == 0


def test_sixty_of_a_hundred_make_a_column_of_cards_and_fifty_nine_do_not() -> None:
    assert judge_column([VISA] * 60 + ["x"] * 40).kind is ColumnKind.CARDS
    assert judge_column([VISA] * 59 + ["x"] * 41).kind is ColumnKind.MIXED


def test_what_a_column_is_decides_about_its_bare_numbers() -> None:
    text = VISA.encode() + b"\n"
    cards = redact_rows(text, offsets_of(text), RowsPlan(cells=(0,), columns={0: ColumnKind.CARDS}))
    assert bytes(cards.text) == b"************1111\n"
    result = redact_rows(text, offsets_of(text), RowsPlan(cells=(0,), columns={0: ColumnKind.IDS}))
    assert (bytes(result.text), result.likely_rows.tolist()) == (text, [])


def test_the_prefilter_names_no_row_of_ordinary_text() -> None:
    rows = [
        b"i12345\ti678\tt2024-03-05T10:22:11\tt+49 151 23456789\ttIMEI 356938035643809, call 2024-03-05 10:22:11\n",
        b"i1\tt550e8400-e29b-41d4-a716-446655440000\tt8949020000001234567\tr12.5\tt4006381333931\n",
    ] * 100
    text = b"".join(rows)
    assert scan(text, offsets_of(text)).tolist() == []
    assert scan(b"", np.zeros(1, np.int64)).tolist() == []


def test_the_prefilter_works_from_several_threads() -> None:
    text = b"".join(
        b"t%s\n" % (b"cvv 123" if at % 97 == 0 else b"4111 1111 1111 1111" if at % 89 == 0 else b"x")
        for at in range(5000)
    )
    offsets = offsets_of(text)
    alone = scan(text, offsets).tolist()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: scan(memoryview(text), offsets).tolist(), range(16)))
    assert results == [alone] * 16
    assert len(alone) == len({*range(0, 5000, 97)} | {*range(0, 5000, 89)})
