"""Pruning: what goes and why, holds, and that what stays restores as before."""

from datetime import date
from pathlib import Path

import pytest

from support.retention import Centre, found
from tenure.control.runs import RunOutcome, Runs
from tenure.domain.errors import HoldViolationError, LeasedError
from tenure.operations import pruning
from tenure.operations.holding import Asked, place
from tenure.operations.pruning import Pruned, planned, pruned
from tenure.rules.holds import HoldScope

KEEP = "keep: {last: 1, daily: 0, weekly: 0, monthly: 0, yearly: 0}"


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
