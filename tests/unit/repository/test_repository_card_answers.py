"""Likely card data in the ledger and in quarantine: who may answer, what an answer changes, what is cut and what stays."""

import pytest

from support.forgets import ORDER, forget, forgetting
from support.repo import House, Rows, finding, identities, read_rows, take
from support.ruins import assert_sound
from tenure.domain.errors import LeasedError, UnsupportedFormatError
from tenure.repository import wire
from tenure.repository.entries import Answer
from tenure.repository.scopes import Recut, Scope
from tenure.repository.state import State

TEXT, CUT = "order 5425 2334 3010 9903 arrived", "order **** **** **** 9903 arrived"
WAITS = "order 4012 8888 8888 1881 arrived"
DAY = "quarantine:2026-03-01"
ROWS: Rows = {
    1: ("2025-01", "c1", TEXT),
    2: (DAY, "c2", TEXT),
    3: (DAY, "c3", WAITS),
    4: ("quarantine:2026-03-02", "c4", f"again {TEXT}"),
}


def house_with(*sources: str) -> tuple[House, int]:
    house = House()
    house.create(*sources or ("crm",))
    names = frozenset(finding(house, text) for text in (TEXT, WAITS))
    return house, take(house, ROWS, findings=names)


def answer(house: House, text: str, answer: str, source: str = "crm") -> State:
    entry = Answer(source=source, findings=(finding(house, text),), answer=answer, by="olivia")
    return house.open(reader=True).ledger.append(entry, house.purge)


def recut(house: House, *texts: str, keep: str = "keep last 4") -> Scope:
    names = frozenset(finding(house, text) for text in texts)
    return Scope(recut={"notes": Recut(findings=names, keep=keep, records=len(texts))})


def texts(house: House, number: int) -> dict[int, str]:
    return {k: v[1] for k, v in read_rows(house.open(reader=True), number, house.executor)[0].items()}


def test_a_finding_counts_from_the_first_entry_that_names_it() -> None:
    house, _ = house_with()
    first = house.open(reader=True).state.findings[finding(house, TEXT).hex()].first
    house.clock.advance(days=3)
    number = take(house, ROWS, findings=frozenset({finding(house, TEXT)}))
    state = house.open(reader=True).state
    assert state.findings[finding(house, TEXT).hex()].first == first
    assert state.snapshots[number].entry.findings == ()


def test_the_last_answer_counts() -> None:
    house, _ = house_with()
    answer(house, TEXT, "redact")
    state = answer(house, TEXT, "keep")
    assert {f.answer for f in state.findings.values()} == {"keep", ""}


def test_an_answer_of_a_writer_counts_for_nothing() -> None:
    house, _ = house_with()
    entry = Answer(source="crm", findings=(finding(house, TEXT),), answer="keep", by="thief")
    house.open(reader=False).ledger.append(entry, house.writers["crm"].key)
    state = house.open(reader=True).state
    assert {f.answer for f in state.findings.values()} == {""}
    assert "only the purge key may say" in state.refused[state.number]


def test_an_answer_for_another_source_counts_for_nothing() -> None:
    house, _ = house_with("crm", "desk")
    state = answer(house, TEXT, "keep", source="desk")
    assert {f.answer for f in state.findings.values()} == {""}
    assert "another source" in state.refused[state.number]


def test_an_answer_that_nobody_knows_is_refused() -> None:
    house, _ = house_with()
    with pytest.raises(UnsupportedFormatError, match="'perhaps'"):
        answer(house, TEXT, "perhaps")


def test_a_finding_whose_name_is_none_makes_the_snapshot_count_for_nothing() -> None:
    house, _ = house_with()
    before = set(house.open(reader=True).state.snapshots)
    with pytest.raises(LeasedError):
        take(house, ROWS, findings=frozenset({b"short"}))
    assert set(house.open(reader=True).state.snapshots) == before


def test_answers_are_in_a_checkpoint() -> None:
    house, _ = house_with()
    before = answer(house, TEXT, "keep")
    house.open(reader=True).ledger.checkpoint(house.purge)
    after = house.open(reader=True).state
    assert wire.encode(after.findings) == wire.encode(before.findings)


def test_only_what_is_named_is_cut_and_only_in_quarantine() -> None:
    house, number = house_with()
    forget(house, {"crm": recut(house, TEXT)})
    assert texts(house, number) == {1: TEXT, 2: CUT, 3: WAITS, 4: f"again {CUT}"}
    assert_sound(house.open(reader=True), house)


def test_what_was_cut_can_be_cut_again_and_no_page_changes() -> None:
    house, number = house_with()
    forget(house, {"crm": recut(house, TEXT)})
    pages = set(house.open(reader=True).state.pages)
    forget(house, {"crm": recut(house, TEXT)})
    assert set(house.open(reader=True).state.pages) == pages
    assert texts(house, number)[2] == CUT


def test_a_record_that_is_forgotten_in_the_same_order_is_gone_and_the_others_are_cut() -> None:
    house, number = house_with()
    records = {"notes": identities(house.open(reader=True), "crm", [b"i2"])}
    both = Scope(records=records, recut=recut(house, TEXT, WAITS).recut)
    forget(house, {"crm": both})
    assert texts(house, number) == {
        1: TEXT,
        3: "order **** **** **** 1881 arrived",
        4: f"again {CUT}",
    }
    assert_sound(house.open(reader=True), house)


def test_what_is_cut_is_read_back_from_the_scope_page_by_whoever_goes_on() -> None:
    house, number = house_with()
    scope = recut(house, TEXT, keep="keep first 6 and last 4")
    ordered = forgetting(house).order({"crm": scope}, ORDER)
    assert ordered.intent.recut == 1
    work = forgetting(house)
    read = work.scopes(house.open(reader=True).state.open_forgets()[0])
    assert read["crm"].recut == scope.recut
    judged = work.amend(ordered, read, left=0)
    went = work.carry_out(judged)
    assert (went.records, went.chunks) == (1, 4)  # two chunks of rows and their companions
    work.finish(judged, went, certificate="c")
    assert texts(house, number)[2] == "order 5425 23** **** 9903 arrived"


def test_a_way_to_cut_that_this_version_does_not_know_is_refused_before_anything_is_cut() -> None:
    house, number = house_with()
    scope = {"crm": recut(house, TEXT, keep="keep all")}
    work = forgetting(house)
    judged = work.amend(work.order(scope, ORDER), scope, left=0)
    with pytest.raises(UnsupportedFormatError, match="keep all"):
        work.carry_out(judged)
    assert texts(house, number)[2] == TEXT
