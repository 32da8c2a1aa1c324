"""Die at every store call and live change while likely card data is cut; at every call of an answer: a rerun ends alike."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fault.test_fault_purge import again_purge, changing, dying, quick, run_purge
from support.faults import Died, FaultPlan
from support.repo import outcome
from support.retention import CARDS, RULES, Centre, found
from tenure.domain.errors import OvertakenError
from tenure.evidence.certificate import verify_certificate
from tenure.operations import quarantine, snapshot
from tenure.operations.installation import Installation
from tenure.operations.restore import restore

ORDER, CUT = "order 5425 2334 3010 9903 arrived", "order **** **** **** 9903 arrived"
WAITS = "order 4012 8888 8888 1881 arrived"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Centre, str, int]:
    """Return a centre with two rows in quarantine, one of them answered for, and an approved plan that cuts it."""
    with quick():
        centre = found(tmp_path_factory.mktemp("fault") / "site", rules={**RULES, "cards": CARDS})
        centre.sql(
            f"UPDATE notes SET body = '{ORDER}' WHERE id = 104",
            f"UPDATE notes SET body = '{WAITS}' WHERE id = 105",
        )
        number = centre.snapshot()["crm"]
        with centre.open() as installation:
            mine = next(q for q in quarantine.listed(installation) if q.context == CUT)
            quarantine.redact(installation, mine.name)
        return centre, centre.approved().hash, number


def end_state(centre: Centre, number: int, target: Path) -> tuple[object, ...]:
    with centre.open() as installation:
        restore(installation, number, target)
        left = [q.context for q in quarantine.listed(installation)]
        state = installation.open_reading().state
        assert not state.open_forgets()
        assert installation.evidence.check().is_sound
        key = installation.evidence_key.public()
        certificates = [verify_certificate(d, key) for _, d in installation.evidence.certificates()]
        assert [c.rescan.found for c in certificates] == [0]
        done = [f.intent.recut for f in state.forgets.values()]
    with closing(sqlite3.connect(target)) as back:
        notes = dict(back.execute("SELECT id, body FROM notes").fetchall())
    target.unlink()
    live = {key: row[2] for key, row in centre.rows("notes").items()}
    return notes, live, left, done, certificates[0].stores[-1].records


def test_a_rerun_after_a_death_anywhere_cuts_once_and_leaves_what_waits(
    prepared: tuple[Centre, str, int], tmp_path: Path
) -> None:
    centre, plan_hash, number = prepared
    with quick():
        straight, counting = centre.copy(tmp_path / "straight"), FaultPlan()
        with straight.open() as installation:
            run_purge(dying(installation, counting), plan_hash)
        expected = end_state(straight, number, tmp_path / "expected")
        notes, live, left, recut, _ = expected
        assert (notes[104], notes[105], live[104], live[105]) == (CUT, WAITS, CUT, WAITS)  # type: ignore[index]
        assert (left, recut) == (["order **** **** **** 1881 arrived"], [1])
        points = changing(counting.journal)
        assert len(points) > 20
        for at in points:
            ruin, plan = centre.copy(tmp_path / "ruin"), FaultPlan(at=at)
            with ruin.open() as installation:
                with pytest.raises(Died):
                    run_purge(dying(installation, plan), plan_hash)
                plan.assert_used()
                again_purge(installation, plan_hash)
            assert end_state(ruin, number, tmp_path / "back") == expected, counting.journal[at - 1]
            shutil.rmtree(tmp_path / "ruin")


def redact_all(installation: Installation) -> None:
    quarantine.redact(installation)


def keep_one(installation: Installation) -> None:
    known = installation.open_reading().state.findings
    quarantine.keep(installation, min(known))


@pytest.mark.parametrize("answer", [redact_all, keep_one])
def test_an_answer_is_given_whole_or_not_at_all(
    prepared: tuple[Centre, str, int], tmp_path: Path, answer: Callable[[Installation], None]
) -> None:
    centre, _, _ = prepared

    def answers(of: Centre) -> dict[str, str]:
        with of.open() as installation:
            return {name: f.answer for name, f in installation.open_reading().state.findings.items()}

    with quick():
        straight, counting = centre.copy(tmp_path / "straight"), FaultPlan()
        with straight.open() as installation:
            answer(dying(installation, counting))
        before, after = answers(centre), answers(straight)
        assert before != after
        for at in changing(counting.journal):
            ruin, plan = centre.copy(tmp_path / f"ruin{at}"), FaultPlan(at=at)
            with ruin.open() as installation:
                with pytest.raises(Died):
                    answer(dying(installation, plan))
                plan.assert_used()
                assert answers(ruin) in (before, after)
                answer(installation)
            assert answers(ruin) == after


def test_a_snapshot_that_was_begun_before_the_cut_does_not_bring_it_back(
    prepared: tuple[Centre, str, int], tmp_path: Path
) -> None:
    centre, plan_hash, number = prepared
    ruin = centre.copy(tmp_path / "ruin")
    with ruin.open() as installation:
        session = installation.open_writing().begin("crm", installation.executor, expires=3600, alone=True)
        run_purge(installation, plan_hash)
        with pytest.raises(OvertakenError):
            session.commit(outcome(ruin.clock.now()))
    with ruin.open() as installation:
        later = snapshot.take(installation, ["crm"])[0].number
    for name, taken in (("old", number), ("new", later)):
        with ruin.open() as installation:
            restore(installation, taken, tmp_path / name)
        with closing(sqlite3.connect(tmp_path / name)) as back:
            assert dict(back.execute("SELECT id, body FROM notes").fetchall())[104] == CUT
