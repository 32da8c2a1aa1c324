"""Erasing one person: live rows, recordings, every snapshot; holds and duties first; a certificate that names nobody."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from support.retention import CANARY, Centre, found
from tenure.control.requests import Requests, RequestState
from tenure.domain.errors import ConfigError, NotApprovedError
from tenure.evidence.certificate import Certificate, verify_certificate
from tenure.operations.approving import approve
from tenure.operations.erasing import Erased, due_on, erase, erase_plan
from tenure.operations.holding import Asked, place
from tenure.operations.pagewalk import walk
from tenure.operations.planning import plan
from tenure.operations.purging import purge
from tenure.operations.subjects import Subject, report
from tenure.operations.world import opened
from tenure.repository.model import ChunkKind
from tenure.rules.holds import HoldScope

RECEIVED = date(2026, 1, 31)
FIRST, SECOND = "2023/01/a-first.wav", "2025/12/c-recent-one.wav"


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return found(tmp_path / "site")


def erased(centre: Centre, customer: str = "1", request: str = "REF-1") -> Erased:
    with centre.open() as installation:
        return erase(installation, subject=("customer", customer), request=request, received=RECEIVED)


def certificates(centre: Centre) -> list[Certificate]:
    with centre.open() as installation:
        key = installation.evidence_key.public()
        return [verify_certificate(d, key) for _, d in installation.evidence.certificates()]


def hold(centre: Centre, scope: HoldScope) -> None:
    with centre.open() as installation:
        place(installation, Asked(matter="M-9", reason="court", review_by=date(2027, 1, 1), scope=scope))


def everything_that_opens(centre: Centre) -> bytes:
    """Return the plaintext of every chunk and companion that any key page still opens."""
    found = []
    with centre.open() as installation, opened(installation) as world:
        for source in installation.catalogue.sources:
            names = {*installation.catalogue.data_sets()}
            for pages in walk(world.repository, source, names):
                found += [
                    pages.reader.fetch(pages.cohort, p.ref) or b""
                    for p in pages.places
                    if p.kind is not ChunkKind.STRUCTURE
                ]
    return b"".join(found)


def test_one_person_is_erased_everywhere_and_nobody_else(centre: Centre, tmp_path: Path) -> None:
    first = centre.snapshot()
    centre.sql("UPDATE notes SET body = 'Canary called again' WHERE id = 101")
    centre.clock.advance(hours=1)
    second = centre.snapshot()
    before = centre.ids()
    assert CANARY.encode() in everything_that_opens(centre)
    done = erased(centre)
    assert done.done is not None
    gone: dict[str, set[object]] = {
        "customers": {1},
        "cases": {10},
        "notes": {100, 101},
        "recordings": {FIRST, SECOND},
    }
    left = {name: ids - gone[name] for name, ids in before.items()}
    assert centre.ids() == left
    for name, numbers in (("first", first), ("second", second)):
        assert centre.restored(numbers, tmp_path / name) == left
    assert b"Canary" not in everything_that_opens(centre)
    assert FIRST.encode() not in everything_that_opens(centre)


def test_records_that_only_snapshots_hold_are_found_and_erased(centre: Centre, tmp_path: Path) -> None:
    numbers = centre.snapshot()
    centre.sql(
        "DELETE FROM notes WHERE case_id = 10",
        "DELETE FROM cases WHERE id = 10",
        "DELETE FROM customers WHERE id = 1",
    )
    (centre.folder / "recordings" / FIRST).unlink()
    (centre.folder / "recordings" / FIRST).with_suffix(".json").unlink()
    with centre.open() as installation:
        made = erase_plan(installation, subject=("customer", "1"), request="REF-1", received=RECEIVED)
    assert {c.data_set: (c.live, c.past) for c in made.body.counts} == {
        "customers": (0, 1),
        "cases": (0, 1),
        "notes": (0, 2),
        "recordings": (1, 1),
    }
    erased(centre)
    back = centre.restored(numbers, tmp_path / "back")
    assert 1 not in back["customers"]
    assert not {100, 101} & back["notes"]
    assert not {FIRST, SECOND} & back["recordings"]
    assert b"Canary" not in everything_that_opens(centre)


def test_a_held_record_and_its_person_stay_and_the_certificate_says_why(
    centre: Centre, tmp_path: Path
) -> None:
    numbers = centre.snapshot()
    hold(centre, HoldScope(keys={"notes": (b"i100",)}))
    erased(centre)
    assert 100 in centre.ids()["notes"]
    assert 101 not in centre.ids()["notes"]
    assert 100 in centre.restored(numbers, tmp_path / "back")["notes"]
    assert centre.rows("customers")[1][1] == ""
    (certificate,) = certificates(centre)
    assert [(d.what, d.records, d.by.value) for d in certificate.deferred] == [("notes", 1, "hold")]
    assert "Art. 17(3)" in certificate.deferred[0].reason


def test_a_duty_that_still_runs_keeps_though_its_limit_has_not_come(centre: Centre) -> None:
    centre.sql("UPDATE cases SET closed_at = '2025-11-01' WHERE id = 21")
    centre.snapshot()
    with centre.open() as installation:
        approve(installation, plan(installation).hash, reason="in force")
    erased(centre, "2")
    assert centre.ids()["cases"] >= {21}
    assert 20 not in centre.ids()["cases"]
    (certificate,) = certificates(centre)
    (deferred,) = certificate.deferred
    assert (deferred.what, deferred.by.value, deferred.until) == ("cases", "duty", date(2030, 11, 2))
    assert "AMLD Art. 40" in deferred.reason


def test_an_answered_request_is_recorded_and_cannot_be_answered_twice(centre: Centre) -> None:
    centre.snapshot()
    done = erased(centre)
    assert done.request.due == date(2026, 2, 28)
    with pytest.raises(ConfigError):
        erased(centre)
    with centre.open() as installation:
        assert Requests(installation.control).waiting() == ()


def test_a_reference_belongs_to_one_person(centre: Centre) -> None:
    centre.snapshot()
    with centre.open() as installation:
        erase_plan(installation, subject=("customer", "3"), request="REF-1", received=RECEIVED)
        with pytest.raises(ConfigError):
            erase(installation, subject=("customer", "1"), request="REF-1", received=RECEIVED)
        with pytest.raises(ConfigError):
            erase(installation, subject=("pet", "1"), request="REF-2", received=RECEIVED)
        (waiting,) = Requests(installation.control).waiting()
        assert waiting.state is RequestState.OPEN
    assert 1 in centre.ids()["customers"]


def test_a_plan_alone_touches_nothing(centre: Centre) -> None:
    centre.snapshot()
    before = centre.ids()
    with centre.open() as installation:
        erase_plan(installation, subject=("customer", "1"), request="REF-1", received=RECEIVED)
    assert centre.ids() == before


def test_nobody_known_gets_a_certificate_that_says_so(centre: Centre) -> None:
    centre.snapshot()
    done = erased(centre, "999")
    assert done.done is None
    (certificate,) = certificates(centre)
    assert certificate.stores == ()
    assert "nothing was found" in certificate.set_in_words


def test_a_new_person_under_an_old_number_is_kept_and_the_old_one_still_goes(
    centre: Centre, tmp_path: Path
) -> None:
    numbers = centre.snapshot()
    centre.sql(
        "DELETE FROM notes WHERE case_id = 10",
        "UPDATE cases SET customer_id = 4 WHERE id = 10",
        "DELETE FROM customers WHERE id = 1",
    )
    erased(centre)
    assert 10 in centre.ids()["cases"]
    assert 10 not in centre.restored(numbers, tmp_path / "old")["cases"]
    later = centre.snapshot()
    assert 10 in centre.restored(later, tmp_path / "new")["cases"]


def test_the_certificate_names_nobody(centre: Centre) -> None:
    centre.snapshot()
    erased(centre)
    with centre.open() as installation:
        assert installation.evidence.check().is_sound
        for path in (centre.folder / "state" / "evidence").rglob("*.*"):
            text = path.read_text("utf-8")
            assert not [w for w in ("Canary", "example.com", "a-first", "customer=1") if w in text]
    (certificate,) = certificates(centre)
    assert certificate.request == "REF-1"
    assert certificate.received == RECEIVED
    assert certificate.recipients_to_notify == ("the warehouse of the marketing team",)


def test_what_is_held_about_a_person_is_told_with_rule_and_date(centre: Centre) -> None:
    centre.snapshot()
    with centre.open() as installation:
        lines = report(installation, Subject(kind="customer", value="1"))
    assert {(x.data_set, x.live, x.snapshots) for x in lines} == {
        ("customers", 1, 1),
        ("cases", 1, 1),
        ("notes", 2, 2),
        ("recordings", 2, 2),
    }


def test_two_persons_are_needed_outside_one_person_mode(centre: Centre) -> None:
    centre.snapshot()
    with centre.open() as installation:
        two = replace(installation, one_person=False)
        with pytest.raises(NotApprovedError):
            erase(two, subject=("customer", "1"), request="REF-1", received=RECEIVED)
        with pytest.raises(NotApprovedError):
            approve(two, reason="I asked for it myself")
        approve(replace(two, officer="second"), reason="request checked")
        done = erase(two, subject=("customer", "1"), request="REF-1", received=RECEIVED)
        assert done.done is not None
        (certificate,) = [
            verify_certificate(d, two.evidence_key.public()) for _, d in two.evidence.certificates()
        ]
    assert [a.name for a in certificate.approvers] == ["second"]
    assert not certificate.one_person_mode
    assert 1 not in centre.ids()["customers"]


def test_a_purge_finishes_what_an_erasure_left_open_only_once(centre: Centre) -> None:
    centre.snapshot()
    erased(centre)
    with centre.open() as installation, pytest.raises(NotApprovedError):
        purge(installation)
    assert len(certificates(centre)) == 1


@pytest.mark.parametrize(
    ("received", "due"),
    [
        (date(2026, 1, 31), date(2026, 2, 28)),
        (date(2024, 1, 31), date(2024, 2, 29)),
        (date(2026, 3, 15), date(2026, 4, 15)),
        (date(2026, 12, 1), date(2027, 1, 1)),
    ],
)
def test_an_answer_is_due_within_one_month(received: date, due: date) -> None:
    assert due_on(received) == due
