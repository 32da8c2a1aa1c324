"""What waits for an answer, what an answer does, and how findings are named."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.cards.detect import find
from tenure.cards.findings import Confidence
from tenure.cards.quarantine import Answers, TableAnswers, Verdict, finding_id
from tenure.cards.rows import Cells, RowsPlan, RowsResult, redact_rows, settle

KEY = bytes(range(32))
ORDER = "order 5425 2334 3010 9903 arrived"
SAME = "again 5425-2334-3010-9903"
OTHER = "order 4012 8888 8888 1881 arrived"
CODE = "the security code 737 he said"


def plan(answers: Answers, *columns: str) -> RowsPlan:
    names = ("id", *(columns or ("body",)))
    return RowsPlan(
        cells=tuple(range(1, len(names))),
        written=Cells.CLASSED,
        waits=TableAnswers(answers=answers, data_set="notes", columns=names),
    )


def run(answers: Answers, *texts: str) -> RowsResult:
    rows = [f"i{i}\tt{text}\n".encode() for i, text in enumerate(texts)]
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return redact_rows(b"".join(rows), offsets, plan(answers))


def name(text: str, column: str = "body", data_set: str = "notes", key: bytes = KEY) -> bytes:
    (finding,) = find(text)
    return finding_id(key, data_set, column, text.encode(), finding)


NOBODY = Answers(key=KEY, today="2026-03-01")


def test_these_texts_are_likely_and_no_more() -> None:
    for text in (ORDER, SAME, OTHER, CODE):
        assert [f.confidence for f in find(text)] == [Confidence.LIKELY]


def test_a_row_with_a_likely_finding_waits_and_is_left_as_it_is() -> None:
    result = run(NOBODY, "nothing here", ORDER)
    (waiting,) = result.waiting
    assert (waiting.row, waiting.day, waiting.findings) == (1, "2026-03-01", (name(ORDER),))
    assert ORDER.encode() in bytes(result.text)


def test_a_row_waits_since_the_first_of_its_findings_was_seen() -> None:
    since = {name(ORDER): "2026-02-25", name(OTHER): "2026-02-27"}
    (waiting,) = run(replace(NOBODY, since=since), f"{OTHER}; {ORDER}; order 6011 0009 9013 9424").waiting
    assert waiting.day == "2026-02-25"
    assert len(waiting.findings) == 3


def test_what_was_kept_waits_nowhere_else_in_its_column() -> None:
    result = run(replace(NOBODY, kept=frozenset({name(ORDER)})), ORDER, SAME, OTHER)
    assert [w.row for w in result.waiting] == [2]


def test_what_was_answered_for_is_cut_wherever_it_stands_in_its_column() -> None:
    result = run(replace(NOBODY, cut=frozenset({name(ORDER)})), ORDER, SAME, OTHER)
    lines = bytes(result.text).decode().splitlines()
    assert lines[0] == "i0\ttorder **** **** **** 9903 arrived"
    assert lines[1] == "i1\ttagain ****-****-****-9903"
    assert lines[2].endswith(OTHER)
    assert (result.counts.numbers, result.counts.answered) == (2, 2)
    assert [w.row for w in result.waiting] == [2]


def test_what_is_sure_is_cut_and_only_the_rest_waits() -> None:
    sure = "card 4111 1111 1111 1111. " + "x" * 60
    (waiting,) = run(NOBODY, f"{sure}{ORDER}").waiting
    assert waiting.findings == (name(ORDER),)


def test_a_sure_finding_alone_waits_for_nothing() -> None:
    assert run(NOBODY, "card 4111 1111 1111 1111").waiting == ()


def test_an_answer_about_a_security_code_holds_for_that_text_only() -> None:
    result = run(replace(NOBODY, kept=frozenset({name(CODE)})), CODE, f"{CODE} again")
    assert [w.row for w in result.waiting] == [1]


def test_numeric_cells_do_not_wait() -> None:
    row = b"i1\ti5425233430109903\n"
    result = redact_rows(row, np.array([0, len(row)]), plan(NOBODY))
    assert result.waiting == ()
    assert result.counts.likely == 1


def test_a_blob_of_text_waits_and_is_cut_as_a_blob() -> None:
    row = b"i1\tb" + ORDER.encode().hex().encode() + b"\n"
    offsets = np.array([0, len(row)])
    assert redact_rows(row, offsets, plan(NOBODY)).waiting[0].findings == (name(ORDER),)
    cut = redact_rows(row, offsets, plan(replace(NOBODY, cut=frozenset({name(ORDER)}))))
    assert bytes(cut.text) == b"i1\tb" + b"order **** **** **** 9903 arrived".hex().encode() + b"\n"


def test_in_a_column_of_ids_the_few_that_pass_for_cards_do_not_wait() -> None:
    ids = [f"{n}" for n in range(5425233430109890, 5425233430109910)]
    assert sum(bool(find(text)) for text in ids) in range(1, 4)
    assert run(NOBODY, *ids).waiting == ()
    # In free text the same digits are asked about.
    assert run(NOBODY, *(f"see {text}" for text in ids)).waiting


@pytest.mark.parametrize("other", [{"column": "subject"}, {"data_set": "cases"}, {"key": bytes(32)}])
def test_a_finding_elsewhere_or_under_another_key_has_another_name(other: dict[str, str | bytes]) -> None:
    assert name(ORDER) == name(SAME)
    assert name(ORDER, **other) != name(ORDER)  # type: ignore[arg-type]
    assert name(OTHER) != name(ORDER)


def test_an_answer_shows_neither_its_key_nor_digits() -> None:
    assert "\\x01" not in repr(NOBODY)
    assert NOBODY.verdict(name(ORDER)) is Verdict.WAIT


def test_a_text_without_what_was_answered_for_is_not_settled_even_where_something_is_sure() -> None:
    known = plan(replace(NOBODY, cut=frozenset({name(ORDER)})), "body")
    one = replace(known, waits=TableAnswers(answers=known.waits.answers, data_set="notes", columns=("body",)))  # type: ignore[union-attr]
    sure = b"card 4111 1111 1111 1111"
    assert settle(sure, one) == sure
    both = sure + b". " + b"x" * 60 + ORDER.encode()
    assert (
        settle(both, one) == b"card **** **** **** 1111. " + b"x" * 60 + b"order **** **** **** 9903 arrived"
    )


@settings(deadline=None)
@given(st.lists(st.sampled_from([ORDER, SAME, OTHER, CODE, "nothing", "é"]), min_size=1, max_size=4))
def test_cutting_everything_that_waits_leaves_nothing_to_wait_and_doing_it_again_changes_nothing(
    parts: list[str],
) -> None:
    text = ("; " + "-" * 60 + " ").join(parts)
    waiting = {f for w in run(NOBODY, text).waiting for f in w.findings}
    answers = replace(NOBODY, cut=frozenset(waiting))
    once = run(answers, text)
    assert once.waiting == ()
    cells = bytes(once.text).decode().split("\t")[1][1:].rstrip("\n")
    again = run(answers, cells)
    assert bytes(again.text) == bytes(once.text)
    assert again.counts.answered == 0
