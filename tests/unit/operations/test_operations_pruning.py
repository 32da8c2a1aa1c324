"""Pruning: what goes and why, holds, and that what stays restores as before."""

from datetime import date
from pathlib import Path

import pytest

from support.retention import Centre, found
from tenure.control.drills import Drills
from tenure.control.runs import RunOutcome, Runs
from tenure.domain.errors import BrakePulledError, HoldViolationError, LeasedError
from tenure.evidence.drill_record import DrillOutcome, DrillRecord
from tenure.operations import pruning
from tenure.operations.holding import Asked, place
from tenure.operations.pruning import Pruned, planned, pruned
from tenure.operations.verifying import Depth, verified
from tenure.rules.holds import HoldScope

KEEP = "keep: {last: 1, daily: 0, weekly: 0, monthly: 0, yearly: 0, verified: 0}"


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    made = found(tmp_path / "site")
    config = made.folder / "tenure.yaml"
    lines = [KEEP if line.startswith("keep:") else line for line in config.read_text().splitlines()]
    config.write_text("\n".join(lines) + "\n")
    return made


def history(centre: Centre) -> list[dict[str, int]]:
    taken = [centre.snapshot()]
    for day in range(2):
        centre.clock.advance(days=1)
        centre.sql(f"UPDATE notes SET body = 'day {day}' WHERE id = 105")
        taken.append(centre.snapshot())
    return taken


def prune(centre: Centre) -> Pruned:
    with centre.open() as installation:
        return pruned(installation)


def hold(centre: Centre) -> None:
    with centre.open() as installation:
        scope = HoldScope(data_sets=("notes",))
        place(installation, Asked(matter="M-1", reason="court", review_by=date(2027, 1, 1), scope=scope))


def test_a_plan_names_every_snapshot_with_its_reason_and_changes_nothing(centre: Centre) -> None:
    first, second, newest = history(centre)
    with centre.open() as installation:
        plan, repository = planned(installation)
        assert plan.drop == tuple(
            (n, "no period keeps it") for n in sorted([*first.values(), *second.values()])
        )
        assert plan.keep == tuple((n, "newest") for n in sorted(newest.values()))
        assert len(repository.refresh().snapshots) == 6


def test_old_snapshots_go_and_the_newest_restores_as_before(centre: Centre, tmp_path: Path) -> None:
    *_, newest = history(centre)
    done = prune(centre)
    assert done.freed.snapshots == 4
    with centre.open() as installation:
        assert set(installation.open_writing().state.snapshots) == set(newest.values())
        run = Runs(installation.control).latest("prune", source="")
        entry = next(iter(installation.evidence.log.entries(kind="prune")))
    assert run is not None
    assert run.outcome is RunOutcome.DONE
    assert entry.details["snapshots"] == [str(n) for n, _ in done.plan.drop]
    assert centre.restored(newest, tmp_path / "back") == centre.ids()


def test_pruning_twice_changes_nothing_more(centre: Centre) -> None:
    history(centre)
    prune(centre)
    assert prune(centre).freed.snapshots == 0


def test_while_a_hold_is_in_force_every_snapshot_stays(centre: Centre) -> None:
    history(centre)
    hold(centre)
    done = prune(centre)
    assert done.plan.drop == ()
    assert {why for _, why in done.plan.keep} == {"hold 'M-1'"}


def test_a_hold_placed_after_the_plan_stops_it(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    history(centre)
    with centre.open() as installation:
        plan, repository = planned(installation)
        hold(centre)
        monkeypatch.setattr(pruning, "planned", lambda _: (plan, repository))
        with pytest.raises(HoldViolationError):
            pruned(installation)
        run = Runs(installation.control).latest("prune", source="")
        assert len(repository.refresh().snapshots) == 6
    assert run is not None
    assert (run.outcome, run.exit_code) == (RunOutcome.FAILED, 61)


def test_pruning_waits_for_a_purge(centre: Centre) -> None:
    centre.snapshot()
    with centre.open() as installation, installation.alone("forgetting"), pytest.raises(LeasedError):
        prune(centre)


def test_row_caches_are_left_alone(centre: Centre) -> None:
    history(centre)
    rows = centre.folder / "state" / "rows"
    before = {str(p): p.stat().st_mtime_ns for p in rows.rglob("*")}
    prune(centre)
    assert {str(p): p.stat().st_mtime_ns for p in rows.rglob("*")} == before


def configured(centre: Centre, keep: str, *, source: str = "") -> None:
    config = centre.folder / "tenure.yaml"
    lines = [keep if line.startswith("keep:") else line for line in config.read_text().splitlines()]
    if source:
        at = lines.index("  crm:")
        lines.insert(at + 1, f"    keep: {source}")
    config.write_text("\n".join(lines) + "\n")


def read_back(centre: Centre, share: float = 1.0) -> frozenset[int]:
    with centre.open() as installation:
        done = verified(installation, Depth(share=share))
    assert done.damage == []
    return done.snapshots


ONE_VERIFIED = KEEP.replace("verified: 0", "verified: 1")


def test_nothing_goes_while_nothing_was_read_back(centre: Centre) -> None:
    configured(centre, ONE_VERIFIED)
    history(centre)
    done = prune(centre)
    assert done.plan.drop == ()
    assert {why for _, why in done.plan.keep} == {
        "newest",
        "only 0 of the 1 that must be verified are: run `tenure verify`",
    }


def test_the_newest_verified_snapshot_stays_until_a_newer_one_is_verified(centre: Centre) -> None:
    configured(centre, ONE_VERIFIED)
    first = centre.snapshot()
    assert read_back(centre) == set(first.values())
    centre.clock.advance(days=1)
    centre.sql("UPDATE notes SET body = 'a later day' WHERE id = 105")
    second = centre.snapshot()
    assert prune(centre).plan.drop == ()
    assert read_back(centre) == {*first.values(), *second.values()}
    assert {n for n, _ in prune(centre).plan.drop} == set(first.values())
    assert read_back(centre) == set(second.values())


def test_a_drill_that_passed_proves_its_snapshot(centre: Centre) -> None:
    configured(centre, ONE_VERIFIED)
    first, *_ = history(centre)
    with centre.open() as installation:
        for source, number in first.items():
            record = DrillRecord(
                id=f"d-{number}", source=source, snapshot=number, started=installation.clock.now(),
                outcome=DrillOutcome.PASSED, seconds=1.0, bytes=1, snapshot_age=0.0, checks=(),
            )  # fmt: skip
            Drills(installation.control).record(record, seconds=1.0)
    assert {n for n, why in prune(centre).plan.keep if "verified" in why} == set(first.values())


def test_a_source_may_keep_otherwise_than_the_others(centre: Centre) -> None:
    configured(centre, KEEP, source="{last: 2, daily: 0, weekly: 0, monthly: 0, yearly: 0, verified: 0}")
    first, second, _ = history(centre)
    others = set(first) - {"crm"}
    dropped = {n for n, _ in prune(centre).plan.drop}
    assert dropped == {first["crm"], *(taken[s] for taken in (first, second) for s in others)}


def test_a_prune_that_takes_too_much_has_to_be_confirmed_with_its_number(centre: Centre) -> None:
    configured(centre, KEEP.replace("}", ", brake_percent: 50, brake_least: 1}"))
    history(centre)
    with centre.open() as installation:
        there = set(installation.open_writing().state.snapshots)
        with pytest.raises(BrakePulledError, match="2 of the 3 snapshots of") as braked:
            pruned(installation)
        assert "tenure prune --drop 4" in braked.value.hint
        with pytest.raises(BrakePulledError, match="4 snapshots would go, not the 3"):
            pruned(installation, confirmed=3)
        assert set(installation.open_writing().state.snapshots) == there
        assert pruned(installation, confirmed=4).freed.snapshots == 4
