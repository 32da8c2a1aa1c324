"""Purging end to end: live rows, recordings and every snapshot; and what must stay."""

from datetime import date
from pathlib import Path

import pytest

from support.retention import BLANKED_NOTES, CARDS, CUSTOMERS, DUE, NOTES, RULES, Centre, found
from tenure.control.plans import Plans
from tenure.domain.errors import BrakePulledError, NotApprovedError, RuleError, StalePlanError
from tenure.evidence.certificate import verify_certificate
from tenure.operations.holding import Asked, place, release
from tenure.operations.planning import plan
from tenure.operations.purging import Purged, purge
from tenure.rules.holds import HoldScope

LEFT = {
    "customers": {2, 3, 4},  # 2 as a key only: its fraud case stays
    "cases": {21, 30, 40},
    "notes": {104, 105},
    "recordings": {"2025/12/c-recent-one.wav", "2025/12/d-no-sidecar.wav"},
}


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return found(tmp_path / "site")


def purged(centre: Centre, plan_hash: str = "") -> Purged:
    with centre.open() as installation:
        return purge(installation, plan_hash)


def hold(centre: Centre, **scope: object) -> str:
    with centre.open() as installation:
        asked = Asked(matter="M-1", reason="lawsuit", review_by=date(2027, 1, 1), scope=HoldScope(**scope))  # type: ignore[arg-type]
        return place(installation, asked)


def test_what_is_due_goes_from_live_stores_and_from_every_snapshot(centre: Centre, tmp_path: Path) -> None:
    first = centre.snapshot()
    centre.sql("UPDATE cases SET topic = 'service' WHERE id = 30")
    centre.clock.advance(hours=1)
    second = centre.snapshot()
    made = centre.approved()
    assert centre.ids()["cases"] == {10, 20, 21, 30, 40, 41}
    done = purged(centre, made.hash).done
    assert done is not None
    assert centre.ids() == LEFT
    assert done.found == 0
    assert not done.went.pending
    for name, numbers in (("first", first), ("second", second)):
        back = centre.restored(numbers, tmp_path / name)
        assert back == {**LEFT, "customers": {3, 4}}
    assert not (centre.folder / "recordings/2023/01/a-first.json").exists()


def test_a_parent_of_a_record_that_stays_is_left_as_a_key_without_personal_columns(centre: Centre) -> None:
    centre.snapshot()
    done = purged(centre, centre.approved().hash).done
    assert done is not None
    assert centre.rows("customers")[2] == (2, "", None, "2022-05-01")
    assert done.live.stubs == {"customers": 1}


def test_a_stub_is_in_no_later_plan_until_the_record_that_kept_it_is_gone(centre: Centre) -> None:
    centre.snapshot()
    purged(centre, centre.approved().hash)
    again = centre.planned()
    assert again.body.records == 0
    assert [(k.data_set, k.records, k.by) for k in again.body.kept if k.by == "child"] == [
        ("customers", 1, "child")
    ]
    centre.clock.advance(days=366 * 2)
    later = centre.planned().body
    assert {c.data_set: c.live for c in later.counts}["customers"] == 2


def test_records_that_only_snapshots_hold_go_by_their_newest_facts(centre: Centre, tmp_path: Path) -> None:
    numbers = centre.snapshot()
    centre.sql("DELETE FROM notes WHERE case_id IN (10, 30)", "DELETE FROM cases WHERE id IN (10, 30)")
    made = centre.approved()
    assert {c.data_set: c.past for c in made.body.counts}["cases"] == 1
    purged(centre, made.hash)
    back = centre.restored(numbers, tmp_path / "back")
    assert back["cases"] == {21, 30, 40}
    assert 104 in back["notes"]


def test_a_record_reopened_in_a_later_snapshot_is_not_judged_by_its_older_version(
    centre: Centre, tmp_path: Path
) -> None:
    centre.snapshot()
    centre.sql("UPDATE cases SET closed_at = '2026-02-01' WHERE id = 41")
    centre.clock.advance(hours=1)
    numbers = centre.snapshot()
    centre.sql("DELETE FROM notes WHERE case_id = 41", "DELETE FROM cases WHERE id = 41")
    made = centre.approved()
    assert {c.data_set: (c.live, c.past) for c in made.body.counts}["cases"] == (2, 0)
    purged(centre, made.hash)
    assert 41 in centre.restored(numbers, tmp_path / "back")["cases"]


def test_a_held_record_is_kept_everywhere_and_reported_and_so_is_its_parent_as_a_key(
    centre: Centre, tmp_path: Path
) -> None:
    numbers = centre.snapshot()
    hold_id = hold(centre, keys={"cases": (b"i10",)})
    made = centre.approved()
    assert [(k.data_set, k.records) for k in made.body.kept if k.by == "hold"] == [("cases", 1)]
    done = purged(centre, made.hash).done
    assert done is not None
    assert 10 in centre.ids()["cases"]
    assert centre.rows("customers")[1] == (1, "", None, "2023-01-10")
    assert 10 in centre.restored(numbers, tmp_path / "back")["cases"]
    with centre.open() as installation:
        (certificate,) = [
            verify_certificate(d, installation.evidence_key.public())
            for _, d in installation.evidence.certificates()
        ]
        assert [(d.what, d.records) for d in certificate.deferred if d.by == "hold"] == [("cases", 1)]
        release(installation, hold_id, reason="settled")
    again = centre.planned().body
    assert {c.data_set: c.live for c in again.counts} == {"cases": 1, "customers": 1}


def test_a_hold_placed_after_the_approval_keeps(centre: Centre, tmp_path: Path) -> None:
    numbers = centre.snapshot()
    made = centre.approved()
    hold(centre, subjects={"customer": ("1",)})
    purged(centre, made.hash)
    back = centre.restored(numbers, tmp_path / "back")
    for there in (centre.ids(), back):
        assert 1 in there["customers"]
        assert 10 in there["cases"]
        assert {100, 101} <= there["notes"]
        assert "2023/01/a-first.wav" in there["recordings"]
    assert centre.rows("customers")[1][1] != ""


def test_a_missing_starting_point_keeps_and_is_reported(centre: Centre) -> None:
    centre.snapshot()
    made = centre.approved()
    said = {(k.data_set, k.why): k.records for k in made.body.kept}
    assert said["cases", "starting point missing"] == 1
    assert said["recordings", "starting point missing"] == 1
    purged(centre, made.hash)
    assert 40 in centre.ids()["cases"]


def test_nothing_is_purged_without_an_approval_or_twice_or_by_an_old_plan(centre: Centre) -> None:
    centre.snapshot()
    made = centre.planned()
    with pytest.raises(NotApprovedError):
        purged(centre)
    with pytest.raises((NotApprovedError, StalePlanError)):
        purged(centre, made.hash)
    assert centre.ids()["cases"] == {10, 20, 21, 30, 40, 41}
    other = centre.approved()
    purged(centre, other.hash)
    with pytest.raises(StalePlanError):
        purged(centre, other.hash)


def test_a_plan_lapses_after_a_week(centre: Centre) -> None:
    centre.snapshot()
    made = centre.approved()
    centre.clock.advance(days=8)
    with pytest.raises((NotApprovedError, StalePlanError)):
        purged(centre, made.hash)
    assert centre.ids()["cases"] == {10, 20, 21, 30, 40, 41}


def test_only_what_was_in_the_plan_goes(centre: Centre) -> None:
    centre.snapshot()
    made = centre.approved()
    centre.sql(
        "INSERT INTO cases VALUES (60, 4, 'billing', '2020-01-01')",
        "UPDATE cases SET closed_at = NULL WHERE id = 20",
    )
    done = purged(centre, made.hash)
    assert {20, 60} <= centre.ids()["cases"]
    assert done.skipped > 0


def test_a_run_over_the_rules_own_limit_stops_before_the_first_row(centre: Centre) -> None:
    centre.write_rules(
        {
            **RULES,
            "notes": NOTES.replace("starting_from", "stop_if_more_than: {records: 3}\nstarting_from", 1),
        }
    )
    before = centre.ids()
    made = centre.approved()
    with pytest.raises(BrakePulledError):
        purged(centre, made.hash)
    assert centre.ids() == before


def test_a_standing_approval_carries_later_runs_within_the_forecast_only(centre: Centre) -> None:
    centre.snapshot()
    purged(centre, centre.approved().hash)
    centre.clock.advance(days=280)
    done = purged(centre)
    assert done.done is not None
    assert 30 not in centre.ids()["cases"]
    many = [f"INSERT INTO cases VALUES ({i}, 4, 'billing', '2020-01-01')" for i in range(1000, 1040)]
    centre.sql(*many)
    with pytest.raises(BrakePulledError):
        purged(centre)
    assert 1000 in centre.ids()["cases"]


def test_a_changed_or_missing_rule_file_changes_nothing_until_it_is_approved(centre: Centre) -> None:
    centre.snapshot()
    purged(centre, centre.approved().hash)
    shorter = (
        CUSTOMERS.replace("2 years", "3 months")
        .replace("2022-02-10", "2020-05-10")
        .replace("2022-02-11", "2020-05-11")
    )
    centre.write_rules({**RULES, "customers": shorter})
    changed = centre.planned()
    assert any("delete after" in line for line in changed.body.changes)
    with pytest.raises((NotApprovedError, StalePlanError)):
        purged(centre, changed.hash)
    (centre.folder / "retention_rules" / "customers.yaml").unlink()
    assert any("is gone" in line for line in centre.planned().body.changes)


def test_what_is_newly_due_by_a_change_is_told(centre: Centre) -> None:
    centre.snapshot()
    purged(centre, centre.approved().hash)
    shorter = (
        CUSTOMERS.replace("2 years", "2 months")
        .replace("2022-02-10", "2020-04-10")
        .replace("2022-02-11", "2020-04-11")
    )
    centre.write_rules({**RULES, "customers": shorter})
    counts = {c.data_set: c.newly for c in centre.planned().body.counts}
    assert counts == {"customers": 1}


def test_a_rule_file_that_cannot_be_used_plans_nothing(centre: Centre) -> None:
    centre.write_rules({**RULES, "notes": NOTES.replace("delete after", "delete aftr")})
    with pytest.raises(RuleError), centre.open() as installation:
        plan(installation)


def test_a_new_record_with_an_old_key_is_kept(centre: Centre, tmp_path: Path) -> None:
    centre.snapshot()
    purged(centre, centre.approved().hash)
    centre.sql("INSERT INTO cases VALUES (10, 4, 'billing', '2026-02-02')")
    numbers = centre.snapshot()
    assert 10 in centre.restored(numbers, tmp_path / "back")["cases"]
    assert centre.planned().body.records == 0


def test_cohorts_in_which_everything_falls_go_whole(centre: Centre) -> None:
    made = centre.approved()  # before the first snapshot, so that cohorts are of the rules' classes
    centre.snapshot()
    planned = centre.planned().body
    assert any(c.whole and c.span == "2023-01" for c in planned.cohorts)
    done = purged(centre, made.hash).done
    assert done is not None
    assert done.went.cohorts > 0


def test_card_data_in_live_text_is_cut_and_the_note_itself_stays(centre: Centre, tmp_path: Path) -> None:
    centre.write_rules({**RULES, "cards": CARDS})
    centre.sql("UPDATE notes SET body = 'card 4111 1111 1111 1111 cvv 123' WHERE id = 104")
    numbers = centre.snapshot()
    made = centre.approved()
    assert {c.rule: c.live for c in made.body.counts if c.rule == "cards"} == {"cards": 1}
    done = purged(centre, made.hash)
    assert done.cut == {"notes": 1}
    assert centre.rows("notes")[104][2] == "card **** **** **** 1111 cvv ***"
    assert 104 in centre.restored(numbers, tmp_path / "back")["notes"]
    assert centre.planned().body.records == 0


def test_a_rule_that_blanks_changes_live_rows_once_and_takes_old_copies_out_of_snapshots(
    centre: Centre, tmp_path: Path
) -> None:
    centre.write_rules({"notes": BLANKED_NOTES})
    numbers = centre.snapshot()
    made = centre.approved()
    done = purged(centre, made.hash).done
    assert done is not None
    assert done.live.edited == {"notes": 5}
    assert centre.rows("notes")[100][2] == ""
    assert centre.rows("notes")[104][2] == "note 4 about 30"
    assert centre.restored(numbers, tmp_path / "back")["notes"] == {104, 105}
    assert centre.planned().body.records == 0
    assert centre.restored(centre.snapshot(), tmp_path / "new")["notes"] == set(range(100, 107))


def test_the_certificate_verifies_and_names_nobody(centre: Centre) -> None:
    centre.snapshot()
    purged(centre, centre.approved().hash)
    with centre.open() as installation:
        assert installation.evidence.check().is_sound
        for path, document in installation.evidence.certificates():
            certificate = verify_certificate(document, installation.evidence_key.public())
            assert certificate.one_person_mode
            assert certificate.weak_forgetting
            assert [r.what for r in certificate.residue] == ["the warehouse of the marketing team"]
            for text in (path.read_text(), path.with_suffix(".html").read_text()):
                assert not [w for w in ("Canary", "example.com", "a-first", "Old Two") if w in text]
        plans = Plans(installation.control).recent(5)
        assert all(b"a-first" not in p.body and b"Canary" not in p.body for p in plans)


def test_row_caches_of_a_purged_source_are_gone(centre: Centre) -> None:
    centre.snapshot()
    caches = centre.folder / "state" / "rows"
    assert list(caches.rglob("*.rows"))
    purged(centre, centre.approved().hash)
    assert not list(caches.rglob("*.rows"))


def test_a_source_that_was_never_snapshotted_is_purged_too(centre: Centre) -> None:
    purged(centre, centre.approved().hash)
    assert centre.ids()["cases"] == LEFT["cases"]
    assert set(DUE) == set(centre.ids())
