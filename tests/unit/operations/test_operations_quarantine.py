"""Likely card data: sealed apart for 7 days, answered or not, then cut in live rows and in every snapshot."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from support.drillcentre import check, drilled, untouched
from support.likely import (
    CUT,
    ORDER,
    OTHER,
    ROW,
    answer,
    cohorts,
    cut_lines,
    in_snapshot,
    listed,
    manifest,
    purged,
)
from support.retention import CARDS, RULES, Centre, found
from tenure.domain.errors import ConfigError, NotApprovedError, RuleError, StalePlanError
from tenure.evidence.certificate import verify_certificate
from tenure.evidence.drill_record import CheckOutcome
from tenure.operations import quarantine
from tenure.operations.erasing import erase
from tenure.operations.holding import Asked, place
from tenure.operations.pagewalk import walk
from tenure.operations.purging import purge
from tenure.operations.rebuilding import rebuilt
from tenure.operations.status import status
from tenure.repository.manifest import CutLine
from tenure.rules.holds import HoldScope


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    made = found(tmp_path / "site", rules={**RULES, "cards": CARDS})
    made.sql(f"UPDATE notes SET body = '{ORDER}' WHERE id = {ROW}")
    return made


def digits_anywhere(centre: Centre) -> bool:
    """Whether any key that is left opens the order's digits in any page, reached by a snapshot or not."""
    with centre.open() as installation:
        plain = [
            pages.reader.fetch(pages.cohort, place.ref) or b""
            for pages in walk(installation.open_reading(), "crm", ("customers", "cases", "notes"))
            for place in pages.places
        ]
    assert any(b"note 5" in p for p in plain)
    return any(b"5425 2334 3010 9903" in p for p in plain)


def test_a_row_that_may_hold_card_data_is_sealed_in_a_cohort_of_its_own_and_restored_as_it_was(
    centre: Centre, tmp_path: Path
) -> None:
    numbers = centre.snapshot()
    spans = [c.span for c in cohorts(centre, numbers)]
    assert [s for s in spans if s.startswith("quarantine:")] == ["quarantine:2026-03-01"]
    assert manifest(centre, numbers).quarantined == {"notes": 1}
    assert in_snapshot(centre, numbers, tmp_path / "back")[ROW] == ORDER


def test_its_quarantine_cohort_is_of_the_same_class(tmp_path: Path) -> None:
    centre = found(tmp_path / "site", rules={**RULES, "cards": CARDS})
    centre.approved()
    centre.sql(f"UPDATE notes SET body = '{ORDER}' WHERE id = {ROW}")
    found_ = cohorts(centre, centre.snapshot())
    waiting = {c.rule_class for c in found_ if c.is_quarantine}
    assert waiting
    assert waiting <= {c.rule_class for c in found_ if not c.is_quarantine}


def test_the_list_shows_where_it_stands_since_when_and_no_more_than_four_digits(centre: Centre) -> None:
    centre.snapshot()
    (question,) = listed(centre)
    assert (question.data_set, question.column, question.records) == ("notes", "body", 1)
    assert question.context == CUT
    assert question.first == datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    assert question.due == datetime(2026, 3, 8, 12, 0, tzinfo=UTC)
    assert not question.is_due
    assert "9903" not in repr(question)


def test_who_listed_it_stands_in_the_audit_log_without_digits(centre: Centre) -> None:
    centre.snapshot()
    listed(centre)
    with centre.open() as installation:
        entry = next(iter(installation.evidence.log.entries(kind="card-quarantine")))
    assert entry.who == "olivia"
    assert "9903" not in repr(entry)


def test_status_says_that_something_waits_until_it_is_answered(centre: Centre) -> None:
    centre.snapshot()
    with centre.open() as installation:
        assert status(installation).cards_waiting == 1
        assert "tenure cards quarantine list" in {s.command for s in status(installation).next_steps}
    answer(centre, redact="")
    with centre.open() as installation:
        assert status(installation).cards_waiting == 0


def test_it_waits_in_the_cohort_of_the_day_it_was_first_seen_however_often_it_is_seen(centre: Centre) -> None:
    centre.snapshot()
    centre.clock.advance(days=3)
    again = centre.snapshot()
    assert [c.span for c in cohorts(centre, again) if c.is_quarantine] == ["quarantine:2026-03-01"]
    (question,) = listed(centre)
    assert question.first == datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_what_is_kept_goes_into_its_ordinary_cohort_and_is_never_asked_about_again(
    centre: Centre, tmp_path: Path
) -> None:
    centre.snapshot()
    assert answer(centre, keep=listed(centre)[0].name[:12]) == 1
    assert listed(centre) == []
    centre.sql(f"UPDATE notes SET body = 'once more: 5425-2334-3010-9903' WHERE id = {OTHER}")
    centre.clock.advance(days=30)
    numbers = centre.snapshot()
    assert not [c for c in cohorts(centre, numbers) if c.is_quarantine]
    plan, _ = purged(centre)
    assert cut_lines(plan) == []
    assert centre.rows("notes")[ROW][2] == ORDER
    assert in_snapshot(centre, numbers, tmp_path / "back")[ROW] == ORDER


def test_nothing_is_cut_before_seven_days_have_passed(centre: Centre, tmp_path: Path) -> None:
    numbers = centre.snapshot()
    centre.clock.advance(days=7, seconds=-1)
    plan, _ = purged(centre)
    assert cut_lines(plan) == []
    assert centre.rows("notes")[ROW][2] == ORDER
    assert in_snapshot(centre, numbers, tmp_path / "back")[ROW] == ORDER


@pytest.mark.parametrize("how", ["nobody answered for seven days", "an officer said so"])
def test_it_is_cut_in_the_live_row_and_in_every_old_snapshot(
    centre: Centre, tmp_path: Path, how: str
) -> None:
    first = centre.snapshot()
    centre.clock.advance(days=1)
    second = centre.snapshot()
    if how == "an officer said so":
        assert answer(centre, redact=listed(centre)[0].name) == 1
    else:
        centre.clock.advance(days=6)
    assert [q.is_due for q in listed(centre)] == [True]
    assert digits_anywhere(centre)
    plan, done = purged(centre)
    assert cut_lines(plan) == [("notes", 1, 0)]
    assert done.cut == {"notes": 1}
    assert centre.rows("notes")[ROW][2] == CUT
    for i, numbers in enumerate((first, second)):
        back = in_snapshot(centre, numbers, tmp_path / f"back{i}")
        assert back[ROW] == CUT
        assert back[OTHER] == "note 5 about 40"
    assert listed(centre) == []
    assert not digits_anywhere(centre)
    third = centre.snapshot()
    assert not [c for c in cohorts(centre, third) if c.is_quarantine]
    assert purged(centre)[1].done is None


def test_a_certificate_says_what_was_cut(centre: Centre) -> None:
    centre.snapshot()
    answer(centre, redact="")
    _, done = purged(centre)
    assert done.done is not None
    with centre.open() as installation:
        key = installation.evidence_key.public()
        (certificate,) = [verify_certificate(d, key) for _, d in installation.evidence.certificates()]
    assert "likely card data that was cut in quarantine: notes" in certificate.set_in_words
    assert certificate.rescan.found == 0
    assert certificate.stores[-1].method.endswith("likely card data cut in 1 records that stay")


def test_a_snapshot_taken_after_the_answer_does_not_store_it_though_no_purge_has_run(
    centre: Centre, tmp_path: Path
) -> None:
    centre.snapshot()
    answer(centre, redact="")
    numbers = centre.snapshot()
    assert not [c for c in cohorts(centre, numbers) if c.is_quarantine]
    assert in_snapshot(centre, numbers, tmp_path / "back")[ROW] == CUT
    assert manifest(centre, numbers).redacted == {"notes": {"body": CutLine(numbers=1)}}
    assert centre.rows("notes")[ROW][2] == ORDER


def test_a_plan_made_before_it_was_due_does_not_cut_it(centre: Centre) -> None:
    centre.snapshot()
    plan = centre.approved()
    answer(centre, redact="")
    with centre.open() as installation:
        purge(installation, plan.hash)
    assert centre.rows("notes")[ROW][2] == ORDER
    assert len(listed(centre)) == 1


def test_nothing_is_cut_without_an_approval(centre: Centre) -> None:
    centre.snapshot()
    answer(centre, redact="")
    plan = centre.planned()
    with centre.open() as installation:
        with pytest.raises((NotApprovedError, StalePlanError)):
            purge(installation, plan.hash)
        with pytest.raises(NotApprovedError):
            purge(installation)
    assert centre.rows("notes")[ROW][2] == ORDER


def test_a_standing_approval_covers_it(centre: Centre) -> None:
    purged(centre)  # the backlog, approved by itself; the rules are in force from here on
    centre.sql(f"UPDATE notes SET body = '{ORDER}' WHERE id = {OTHER}")
    centre.snapshot()
    centre.clock.advance(days=7)
    with centre.open() as installation:
        purge(installation)
    assert centre.rows("notes")[OTHER][2] == CUT


def test_a_record_that_only_snapshots_hold_is_cut_in_them(centre: Centre, tmp_path: Path) -> None:
    numbers = centre.snapshot()
    centre.sql(f"DELETE FROM notes WHERE id = {ROW}")
    centre.clock.advance(days=7)
    plan, done = purged(centre)
    assert cut_lines(plan) == [("notes", 0, 1)]
    assert done.cut == {}
    assert in_snapshot(centre, numbers, tmp_path / "back")[ROW] == CUT


def test_a_held_record_is_cut_and_stays(centre: Centre, tmp_path: Path) -> None:
    numbers = centre.snapshot()
    with centre.open() as installation:
        scope = HoldScope(data_sets=("notes",))
        place(installation, Asked(matter="m", reason="r", review_by=date(2027, 1, 1), scope=scope))
    centre.clock.advance(days=7)
    purged(centre)
    assert centre.rows("notes")[ROW][2] == CUT
    assert in_snapshot(centre, numbers, tmp_path / "back")[ROW] == CUT


def test_a_rule_says_what_stays_of_the_number(tmp_path: Path) -> None:
    cards = CARDS.replace("keep last 4,", "keep first 6 and last 4,")
    cards = cards.replace("**** **** **** 1111", "4111 11** **** 1111")
    cards = cards.replace("to the last four digits", "to the first six and last four digits")
    centre = found(tmp_path / "site", rules={**RULES, "cards": cards})
    centre.sql(f"UPDATE notes SET body = '{ORDER}' WHERE id = {ROW}")
    numbers = centre.snapshot()
    answer(centre, redact="")
    purged(centre)
    expected = "order 5425 23** **** 9903 arrived"
    assert centre.rows("notes")[ROW][2] == expected
    assert in_snapshot(centre, numbers, tmp_path / "back")[ROW] == expected


def test_one_row_waits_on_while_another_is_cut(centre: Centre, tmp_path: Path) -> None:
    waiting = "order 4012 8888 8888 1881 arrived"
    centre.sql(f"UPDATE notes SET body = '{waiting}' WHERE id = {OTHER}")
    numbers = centre.snapshot()
    mine = next(q for q in listed(centre) if q.context == CUT)
    answer(centre, redact=mine.name)
    purged(centre)
    back = in_snapshot(centre, numbers, tmp_path / "back")
    assert (back[ROW], back[OTHER]) == (CUT, waiting)
    assert centre.rows("notes")[OTHER][2] == waiting
    assert [q.context for q in listed(centre)] == ["order **** **** **** 1881 arrived"]


def test_a_table_that_the_catalogue_does_not_name_is_quarantined_and_cut_too(
    centre: Centre, tmp_path: Path
) -> None:
    centre.sql("CREATE TABLE scribbles (id INTEGER PRIMARY KEY, body TEXT)")
    centre.sql(f"INSERT INTO scribbles VALUES (1, '{ORDER}'), (2, 'nothing')")
    numbers = centre.snapshot()
    assert manifest(centre, numbers).quarantined == {"notes": 1, "scribbles": 1}
    answer(centre, redact="")
    plan, _ = purged(centre)
    assert sorted(cut_lines(plan)) == [("notes", 1, 0), ("scribbles", 1, 0)]
    assert centre.rows("scribbles")[1][1] == CUT
    back = in_snapshot(centre, numbers, tmp_path / "back", "SELECT id, body FROM scribbles")
    assert back == {1: CUT, 2: "nothing"}


def test_a_table_that_was_dropped_since_is_cut_in_snapshots(centre: Centre, tmp_path: Path) -> None:
    centre.sql("CREATE TABLE scribbles (id INTEGER PRIMARY KEY, body TEXT)")
    centre.sql(f"INSERT INTO scribbles VALUES (1, '{ORDER}')")
    numbers = centre.snapshot()
    centre.sql("DROP TABLE scribbles")
    answer(centre, redact="")
    plan, _ = purged(centre)
    assert ("scribbles", 0, 1) in cut_lines(plan)
    assert in_snapshot(centre, numbers, tmp_path / "back", "SELECT id, body FROM scribbles") == {1: CUT}


def test_a_row_in_quarantine_is_purged_and_erased_like_any_other(centre: Centre, tmp_path: Path) -> None:
    centre.sql(f"UPDATE notes SET body = '{ORDER}' WHERE id IN (100, {OTHER})")
    numbers = centre.snapshot()
    purged(centre)  # note 100 is due by its rule
    with centre.open() as installation:
        erase(installation, subject=("customer", "4"), request="R", received=date(2026, 3, 1))  # note 105
    back = in_snapshot(centre, numbers, tmp_path / "back")
    assert {100, OTHER} & set(back) == set()
    assert back[ROW] == ORDER


def test_a_quarantine_cohort_never_goes_whole_for_rows_may_join_it_until_they_are_answered_for(
    centre: Centre,
) -> None:
    centre.sql(
        f"UPDATE notes SET body = '{ORDER}' WHERE id = 100",  # due by its rule, and alone in its cohort
        f"UPDATE notes SET body = 'nothing' WHERE id = {ROW}",
    )
    centre.snapshot()
    lines = [c for c in centre.planned().body.cohorts if c.span.startswith("quarantine:")]
    assert [(c.records, c.whole) for c in lines] == [(1, False)]


def test_answers_are_kept_when_the_control_database_is_lost(centre: Centre) -> None:
    centre.snapshot()
    answer(centre, keep=listed(centre)[0].name)
    lost = list((centre.folder / "state").glob("control.db*"))
    assert lost
    for file in lost:
        file.unlink()
    with centre.open() as installation:
        rebuilt(installation)
    centre.clock.advance(days=9)
    assert not [c for c in cohorts(centre, centre.snapshot()) if c.is_quarantine]
    assert listed(centre) == []


def test_a_drill_passes_before_and_after_an_answer(centre: Centre) -> None:
    centre.snapshot()

    untouched(centre)
    before = check(drilled(centre), "live twins")
    answer(centre, redact="")
    after = check(drilled(centre), "live twins")
    assert (before.outcome, after.outcome) == (CheckOutcome.PASSED, CheckOutcome.PASSED)
    assert "differ" not in before.note + after.note


@pytest.mark.parametrize("word", ["", "zz", "0123456789abcdef"])
def test_a_finding_nobody_knows_is_refused(centre: Centre, word: str) -> None:
    centre.snapshot()
    centre.sql(f"UPDATE notes SET body = 'order 4012 8888 8888 1881 arrived' WHERE id = {OTHER}")
    centre.snapshot()
    with centre.open() as installation, pytest.raises(ConfigError, match="findings in quarantine"):
        quarantine.keep(installation, word)


def _without_rule_files(centre: Centre) -> None:
    with centre.open() as installation:
        for file in installation.place.rules.glob("*.yaml"):
            file.unlink()


def test_without_a_rule_file_what_is_due_is_planned_and_cut_and_no_standing_approval_is_made(
    centre: Centre, tmp_path: Path
) -> None:
    numbers = centre.snapshot()
    _without_rule_files(centre)
    with pytest.raises(RuleError, match="no rule file"):
        centre.planned()
    before = len(centre.rows("notes"))
    answer(centre, redact="")
    plan, done = purged(centre)
    assert cut_lines(plan) == [("notes", 1, 0)]
    assert (plan.body.records, plan.body.notes[0].split(":")[0]) == (1, "there is no rule file")
    assert done.cut == {"notes": 1}
    assert centre.rows("notes")[ROW][2] == CUT
    assert len(centre.rows("notes")) == before
    assert in_snapshot(centre, numbers, tmp_path / "back")[ROW] == CUT
    with centre.open() as installation, pytest.raises(NotApprovedError):
        purge(installation, "")


def test_without_a_rule_file_the_rules_in_force_stay_in_force(centre: Centre) -> None:
    known = centre.approved().body.rule_set
    centre.snapshot()
    _without_rule_files(centre)
    answer(centre, redact="")
    plan, _ = purged(centre)
    assert (plan.body.rule_set, plan.body.in_force, plan.body.changes) == (known, known, ())
