"""Status: what is late or open and what to do next; the probe; the report; the control database built again."""

import shutil
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from support.clock import FixedClock
from support.drillcentre import centre_with_tones, drilled
from support.retention import Centre
from tenure.control.drills import Drills
from tenure.control.mirrors import Holds
from tenure.control.rule_sets import RuleSets
from tenure.domain.errors import TamperedError
from tenure.evidence.drill_record import DrillOutcome
from tenure.evidence.views import StepWeight
from tenure.objectstore.base import Buffer, ObjectInfo
from tenure.objectstore.memory import MemoryStore
from tenure.operations.holding import Asked, place, release
from tenure.operations.installation import Objectives
from tenure.operations.probing import probe, probed
from tenure.operations.purging import purge
from tenure.operations.rebuilding import rebuilt
from tenure.operations.reporting import report, view_of
from tenure.operations.status import Status, status
from tenure.repository.founding import Place
from tenure.repository.headfile import HeadInMemory
from tenure.repository.keystores import KeyStores, NamedStore
from tenure.rules.holds import HoldScope


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    made = centre_with_tones(tmp_path / "site")
    made.snapshot()
    return made


def standing(centre: Centre, objectives: dict[str, Objectives] | None = None) -> Status:
    with centre.open() as installation:
        installation.objectives.update(objectives or {})  # type: ignore[attr-defined]
        return status(installation)


def steps(found: Status, weight: StepWeight) -> list[str]:
    return [s.command for s in found.next_steps if s.weight is weight]


def hold(centre: Centre, review_by: date = date(2027, 1, 1)) -> None:
    with centre.open() as installation:
        scope = HoldScope(data_sets=("notes",))
        place(installation, Asked(matter="M-1", reason="court", review_by=review_by, scope=scope))


def test_a_fresh_installation_is_well_and_knows_what_comes_next(centre: Centre) -> None:
    found = standing(centre)
    assert found.is_well
    assert [s.name for s in found.sources] == ["calls", "crm"]
    assert found.epochs == ((1, "open"),)
    assert found.rules == ""
    assert {"tenure drill crm", "tenure drill calls", "tenure rules plan"} <= set(
        steps(found, StepWeight.SOON)
    )
    assert [(k.name, k.lacks, k.problem) for k in found.key_stores] == [("first", 0, ""), ("second", 0, "")]


def test_a_source_without_a_snapshot_has_to_be_snapshotted_now(tmp_path: Path) -> None:
    found = standing(centre_with_tones(tmp_path / "site"))
    assert not found.is_well
    assert steps(found, StepWeight.NOW) == ["tenure snapshot calls", "tenure snapshot crm"]


def test_a_snapshot_older_than_its_objective_is_late(centre: Centre) -> None:
    objectives = {"crm": Objectives(age=timedelta(hours=2))}
    centre.clock.advance(hours=2)
    assert standing(centre, objectives).is_well
    centre.clock.advance(seconds=1)
    found = standing(centre, objectives)
    assert [s.name for s in found.sources if s.late] == ["crm"]
    assert steps(found, StepWeight.NOW) == ["tenure snapshot crm"]


def test_a_failed_drill_has_to_be_done_again_now(centre: Centre) -> None:
    assert drilled(centre).outcome is DrillOutcome.PASSED
    assert "tenure drill crm" not in steps(standing(centre), StepWeight.SOON)
    shutil.rmtree(centre.folder / "repository" / "data")
    centre.clock.advance(minutes=1)
    assert drilled(centre).outcome is DrillOutcome.FAILED
    assert "tenure drill crm" in steps(standing(centre), StepWeight.NOW)


def test_holds_are_shown_and_an_overdue_review_is_a_step(centre: Centre) -> None:
    hold(centre)
    assert [(h.matter, h.overdue) for h in standing(centre).holds] == [("M-1", False)]
    centre.clock.advance(days=400)
    found = standing(centre)
    assert [h.overdue for h in found.holds] == [True]
    assert "tenure hold list" in steps(found, StepWeight.SOON)


def test_a_key_store_that_lost_pages_is_a_step(centre: Centre) -> None:
    page = next(p for p in (centre.folder / "key-store-2" / "keys").rglob("*") if p.is_file())
    page.unlink()
    found = standing(centre)
    assert [(k.name, k.lacks) for k in found.key_stores] == [("first", 0), ("second", 1)]
    assert "tenure prune" in steps(found, StepWeight.NOW)


def test_plans_that_await_an_answer_are_counted(centre: Centre) -> None:
    centre.planned()
    assert standing(centre).plans_waiting == 1
    centre.clock.advance(days=365)
    assert standing(centre).plans_waiting == 0


def test_every_store_keeps_its_promises_and_is_left_as_it_was(centre: Centre) -> None:
    with centre.open() as installation:
        found = probed(installation).probes
    assert {p.store for p in found} == {"object store", "first", "second"}
    assert [p for p in found if not p.kept and p.what != "space"] == []
    assert {"written once", "read after write", "range", "listing", "delete", "clock"} <= {
        p.what for p in found
    }
    left = [p for p in centre.folder.rglob("probe/*") if p.is_file()]
    assert left == []


class Replacing(MemoryStore):
    """A store that replaces objects although it is told not to, as Ceph 16 does in buckets with versions."""

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        self._objects.pop(name, None)
        return super().put(name, content, until=until)


@pytest.mark.parametrize(("data", "keys"), [(MemoryStore, Replacing), (Replacing, MemoryStore)])
def test_a_store_that_replaces_objects_may_hold_keys_and_may_not_hold_the_ledger(
    data: type[MemoryStore], keys: type[MemoryStore]
) -> None:
    clock = FixedClock()
    stores = KeyStores([NamedStore(name="keys", store=keys(clock))])
    found = probe(Place(objects=data(clock), key_stores=stores, memory=HeadInMemory()), clock).probes
    broken = {(p.store, p.what): (p.needed, p.idle) for p in found if not p.kept}
    expected = (
        {("keys", "written once"): (False, True)}
        if keys is Replacing
        else {("object store", "written once"): (True, False)}
    )
    assert broken == expected


def purged(centre: Centre) -> None:
    made = centre.approved()
    with centre.open() as installation:
        purge(installation, made.hash)


def test_the_report_shows_what_is_held_what_was_removed_and_why(centre: Centre, tmp_path: Path) -> None:
    drilled(centre)
    purged(centre)
    hold(centre)
    target = tmp_path / "out" / "report.html"
    with centre.open() as installation:
        repository = installation.open_reading()
        view = view_of(installation, repository, target)
        assert report(installation, target) == target
    removed = {c.data_set: 0 for c in view.cohorts}
    held = dict(removed)
    for cell in view.cohorts:
        removed[cell.data_set] += cell.removed
        held[cell.data_set] += cell.held
    assert removed["recordings"] == 2
    assert held["recordings"] == 2
    assert removed["notes"] + held["notes"] == 7
    assert {c.on_hold for c in view.cohorts if c.data_set == "notes" and c.held} != {0}
    assert [r.name for r in view.rules] == ["cases", "customers", "notes", "recordings"]
    assert [h.matter for h in view.holds] == ["M-1"]
    assert len(view.drills) == 1
    assert view.evidence.is_sound
    assert view.storage.packs > 0
    assert len(view.removals) == 1
    assert (target.parent / view.removals[0].certificate).resolve().is_file()
    html = target.read_text()
    assert "Delete notes 1 year after the case closed." in html
    assert "Canary Birdwood" not in html


def test_the_control_database_is_built_again_from_what_is_signed(centre: Centre) -> None:
    first = drilled(centre)
    purged(centre)
    hold(centre)
    with centre.open() as installation:
        release(installation, next(iter(installation.open_writing().state.holds)), reason="settled")
    hold(centre, date(2028, 1, 1))
    with centre.open() as installation:
        before = (
            Holds(installation.control).in_force(),
            RuleSets(installation.control).in_force(centre.clock.now()),
        )
    for file in (centre.folder / "state").glob("control.db*"):
        file.unlink()
    with centre.open() as installation:
        assert Holds(installation.control).in_force() == ()
        done = rebuilt(installation)
        assert (
            Holds(installation.control).in_force(),
            RuleSets(installation.control).in_force(centre.clock.now()),
        ) == before
        assert [d.id for d in Drills(installation.control).history("crm", limit=9)] == [first.id]
        assert rebuilt(installation) == done
    assert (done.holds, done.drills) == (1, 1)
    assert done.rules


def test_a_drill_record_that_was_edited_is_not_taken_back(centre: Centre) -> None:
    record = drilled(centre)
    path = centre.folder / "state" / "evidence" / "drills" / f"{record.id}.json"
    path.write_text(path.read_text().replace('"passed"', '"failed"'))
    with centre.open() as installation, pytest.raises(TamperedError):
        rebuilt(installation)
