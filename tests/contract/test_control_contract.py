"""What every control database has to keep, on a file and in memory."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tenure.control.approvals import ApprovalKind, Approvals
from tenure.control.database import ControlDatabase
from tenure.control.drills import Drills
from tenure.control.mirrors import Head, Heads, Holds, MirroredHold
from tenure.control.plans import Plan, Plans, PlanState
from tenure.control.processes import Process, this_process
from tenure.control.requests import Requests, RequestState
from tenure.control.rule_sets import RuleSets
from tenure.control.runs import RunOutcome, Runs
from tenure.control.settings import Settings
from tenure.domain.errors import NotApprovedError, RollbackError, StalePlanError
from tenure.evidence.drill_record import CheckOutcome, CheckResult, DrillOutcome, DrillRecord

NOW = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(params=["file", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ControlDatabase]:
    url = f"sqlite:///{tmp_path / 'control.sqlite'}" if request.param == "file" else "sqlite://"
    with ControlDatabase.open(url) as opened:
        yield opened


def plan(**changes: object) -> Plan:
    made = Plan(
        hash="a" * 64,
        kind="purge",
        made_at=NOW,
        made_by="service",
        authors=("rules@example.com",),
        rule_set="f" * 64,
        judged_at=NOW,
        expires=NOW + 30 * DAY,
        body=b"\x00frozen\xff",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def proposed(database: ControlDatabase, **changes: object) -> tuple[Plans, Approvals, str]:
    plans, made = Plans(database), plan(**changes)
    plans.propose(made)
    return plans, Approvals(database), made.hash


class TestPlansAndApprovals:
    def test_an_approved_plan_is_executed_once(self, database: ControlDatabase) -> None:
        plans, approvals, name = proposed(database)
        approvals.approve(name, by="dpo", at=NOW, reason="right", kind=ApprovalKind.EACH_RUN)
        taken, approval = plans.take(name, at=NOW + DAY)
        assert (taken.state, taken.body, approval.by) == (PlanState.EXECUTED, b"\x00frozen\xff", "dpo")
        with pytest.raises(StalePlanError):
            plans.take(name, at=NOW + DAY)

    def test_a_plan_nobody_approved_is_not_executed(self, database: ControlDatabase) -> None:
        plans, _, name = proposed(database)
        with pytest.raises(NotApprovedError):
            plans.take(name, at=NOW)
        assert plans.get(name).state is PlanState.PROPOSED

    @pytest.mark.parametrize(
        ("later", "lapsed"), [(7 * DAY - timedelta(microseconds=1), False), (7 * DAY, True)]
    )
    def test_an_approval_lapses_after_seven_days(
        self, database: ControlDatabase, later: timedelta, *, lapsed: bool
    ) -> None:
        plans, approvals, name = proposed(database)
        approvals.approve(name, by="dpo", at=NOW, reason="right", kind=ApprovalKind.ONCE)
        if lapsed:
            with pytest.raises(NotApprovedError, match="lapsed"):
                plans.take(name, at=NOW + later)
        else:
            assert plans.take(name, at=NOW + later)[0].hash == name

    def test_an_expired_plan_is_neither_approved_nor_executed(self, database: ControlDatabase) -> None:
        plans, approvals, name = proposed(database, expires=NOW + DAY)
        approvals.approve(name, by="dpo", at=NOW, reason="right", kind=ApprovalKind.EACH_RUN)
        with pytest.raises(StalePlanError, match="expired"):
            plans.take(name, at=NOW + DAY)
        with pytest.raises(StalePlanError, match="expired"):
            approvals.approve(name, by="dpo", at=NOW + DAY, reason="right", kind=ApprovalKind.EACH_RUN)

    @pytest.mark.parametrize("involved", ["service", "rules@example.com"])
    def test_who_asked_or_wrote_the_rules_does_not_approve(
        self, database: ControlDatabase, involved: str
    ) -> None:
        plans, approvals, name = proposed(database)
        with pytest.raises(NotApprovedError, match="asked for it"):
            approvals.approve(name, by=involved, at=NOW, reason="mine", kind=ApprovalKind.EACH_RUN)
        assert plans.get(name).state is PlanState.PROPOSED
        assert approvals.of(name) is None

    def test_one_person_mode_lets_them_and_the_approval_says_so(self, database: ControlDatabase) -> None:
        Settings(database).set_one_person_mode(is_on=True, by="owner", at=NOW)
        plans, approvals, name = proposed(database)
        approvals.approve(name, by="service", at=NOW, reason="alone", kind=ApprovalKind.EACH_RUN)
        assert plans.take(name, at=NOW)[1].one_person
        mode = Settings(database).one_person_mode()
        assert (mode.is_on, mode.set_by, mode.set_at) == (True, "owner", NOW)

    def test_a_second_person_in_one_person_mode_is_no_lone_approver(self, database: ControlDatabase) -> None:
        Settings(database).set_one_person_mode(is_on=True, by="owner", at=NOW)
        _, approvals, name = proposed(database)
        made = approvals.approve(name, by="dpo", at=NOW, reason="seen", kind=ApprovalKind.EACH_RUN)
        assert not made.one_person

    def test_one_person_mode_can_be_turned_off_again(self, database: ControlDatabase) -> None:
        settings = Settings(database)
        settings.set_one_person_mode(is_on=True, by="owner", at=NOW)
        settings.set_one_person_mode(is_on=False, by="owner", at=NOW + DAY)
        _, approvals, name = proposed(database)
        with pytest.raises(NotApprovedError):
            approvals.approve(name, by="service", at=NOW, reason="alone", kind=ApprovalKind.EACH_RUN)

    def test_a_rejected_plan_stays_rejected(self, database: ControlDatabase) -> None:
        plans, approvals, name = proposed(database)
        approvals.approve(name, by="dpo", at=NOW, reason="right", kind=ApprovalKind.EACH_RUN)
        approvals.reject(name, by="dpo", at=NOW, reason="saw a mistake")
        assert approvals.of(name) is None
        with pytest.raises(NotApprovedError):
            plans.take(name, at=NOW)
        with pytest.raises(StalePlanError):
            approvals.approve(name, by="dpo", at=NOW, reason="right", kind=ApprovalKind.EACH_RUN)

    def test_a_standing_approval_covers_later_plans_of_its_rule_set_only(
        self, database: ControlDatabase
    ) -> None:
        plans, approvals, first = proposed(database)
        approvals.approve(first, by="dpo", at=NOW, reason="right", kind=ApprovalKind.ONCE)
        _, _, later = proposed(database, hash="b" * 64)
        _, _, other = proposed(database, hash="c" * 64, rule_set="e" * 64)
        assert plans.take_standing(later, at=NOW + 20 * DAY)[1].plan == first
        with pytest.raises(NotApprovedError):
            plans.take_standing(other, at=NOW)
        with pytest.raises(StalePlanError):
            plans.take_standing(later, at=NOW)

    def test_an_approval_of_one_run_stands_for_no_other_plan(self, database: ControlDatabase) -> None:
        plans, approvals, first = proposed(database)
        approvals.approve(first, by="dpo", at=NOW, reason="right", kind=ApprovalKind.EACH_RUN)
        _, _, later = proposed(database, hash="b" * 64)
        with pytest.raises(NotApprovedError):
            plans.take_standing(later, at=NOW)

    def test_an_erasure_never_runs_under_a_standing_approval(self, database: ControlDatabase) -> None:
        plans, approvals, first = proposed(database, kind="erasure")
        made = approvals.approve(first, by="dpo", at=NOW, reason="right", kind=ApprovalKind.ONCE)
        _, _, later = proposed(database, hash="b" * 64, kind="erasure")
        assert made.kind is ApprovalKind.EACH_RUN
        with pytest.raises(NotApprovedError):
            plans.take_standing(later, at=NOW)

    def test_an_unknown_plan_is_not_executed(self, database: ControlDatabase) -> None:
        plans, _, _ = proposed(database)
        with pytest.raises(StalePlanError):
            plans.take("d" * 64, at=NOW)

    def test_proposing_again_does_not_wake_an_executed_plan(self, database: ControlDatabase) -> None:
        plans, approvals, name = proposed(database)
        approvals.approve(name, by="dpo", at=NOW, reason="right", kind=ApprovalKind.EACH_RUN)
        plans.take(name, at=NOW)
        plans.propose(plan())
        assert [p.state for p in plans.recent(9)] == [PlanState.EXECUTED]


class TestRuns:
    def test_a_run_begins_and_ends(self, database: ControlDatabase) -> None:
        runs, me = Runs(database), this_process()
        run = runs.begin("snapshot", source="crm", at=NOW, process=me)
        runs.end(run, at=NOW + DAY, outcome=RunOutcome.DONE, exit_code=0, counts={"rows": 2**40})
        found = runs.latest("snapshot", source="crm", outcomes=[RunOutcome.DONE])
        assert found is not None
        assert (found.id, found.process, found.ended, found.counts) == (run, me, NOW + DAY, {"rows": 2**40})
        with pytest.raises(ValueError, match="not running"):
            runs.end(run, at=NOW, outcome=RunOutcome.FAILED, exit_code=1)

    def test_only_runs_of_processes_that_are_gone_are_closed_as_interrupted(
        self, database: ControlDatabase
    ) -> None:
        runs, me = Runs(database), this_process()
        mine = runs.begin("snapshot", source="crm", at=NOW, process=me)
        reboot = runs.begin("purge", source="crm", at=NOW, process=replace(me, boot_id="another boot"))
        reused = runs.begin("drill", source="crm", at=NOW, process=replace(me, start="0"))
        gone = runs.begin("drill", source="crm", at=NOW, process=replace(me, pid=2**22 + 1))
        away = runs.begin(
            "drill", source="crm", at=NOW, process=Process(host="other", pid=1, boot_id="x", start="1")
        )
        closed = runs.close_interrupted(at=NOW + DAY)
        assert [(r.id, r.outcome, r.ended) for r in closed] == [
            (n, RunOutcome.INTERRUPTED, NOW + DAY) for n in (reboot, reused, gone)
        ]
        assert {r.id for r in runs.recent(9) if r.outcome is RunOutcome.RUNNING} == {mine, away}
        assert runs.close_interrupted(at=NOW + DAY) == ()


class TestRuleSets:
    def test_the_set_in_force_is_the_newest_that_has_begun(self, database: ControlDatabase) -> None:
        sets = RuleSets(database)
        assert sets.in_force(NOW) is None
        sets.put_in_force("1" * 64, b"one", in_force_from=NOW, approved_by=["dpo"])
        sets.put_in_force("2" * 64, b"two", in_force_from=NOW + DAY, approved_by=["dpo", "ciso"])
        sets.put_in_force("1" * 64, b"one", in_force_from=NOW + 2 * DAY, approved_by=["dpo"])
        found = [sets.in_force(NOW + i * DAY) for i in range(3)]
        assert [f.body for f in found if f] == [b"one", b"two", b"one"]
        assert sets.in_force(NOW - DAY) is None
        assert len(sets.history()) == 3

    def test_a_set_without_approver_or_with_another_content_or_out_of_order_is_refused(
        self, database: ControlDatabase
    ) -> None:
        sets = RuleSets(database)
        sets.put_in_force("1" * 64, b"one", in_force_from=NOW, approved_by=["dpo"])
        with pytest.raises(ValueError, match="approver"):
            sets.put_in_force("2" * 64, b"two", in_force_from=NOW + DAY, approved_by=[])
        with pytest.raises(ValueError, match="another content"):
            sets.put_in_force("1" * 64, b"changed", in_force_from=NOW + DAY, approved_by=["dpo"])
        with pytest.raises(ValueError, match="before"):
            sets.put_in_force("2" * 64, b"two", in_force_from=NOW - DAY, approved_by=["dpo"])
        assert len(sets.history()) == 1


class TestRequests:
    def test_a_request_is_overdue_the_day_after_it_was_due(self, database: ControlDatabase) -> None:
        requests = Requests(database)
        opened = requests.open(
            "R1", subject="ab" * 16, received=date(2026, 3, 2), due=date(2026, 4, 2), at=NOW
        )
        assert requests.waiting() == (opened,)
        assert requests.overdue(date(2026, 4, 2)) == ()
        assert requests.overdue(date(2026, 4, 3)) == (opened,)
        requests.extend("R1", due=date(2026, 6, 2), reason="many recordings", at=NOW)
        assert requests.overdue(date(2026, 4, 3)) == ()
        requests.close("R1", state=RequestState.DONE, at=NOW, certificate="erasure-1")
        assert requests.waiting() == ()

    def test_what_would_make_a_request_lie_is_refused(self, database: ControlDatabase) -> None:
        requests = Requests(database)
        requests.open("R1", subject="ab" * 16, received=date(2026, 3, 2), due=date(2026, 4, 2), at=NOW)
        for wrong in (
            lambda: requests.open(
                "R1", subject="cd" * 16, received=date(2026, 3, 2), due=date(2026, 4, 2), at=NOW
            ),
            lambda: requests.open(
                "R2", subject="cd" * 16, received=date(2026, 3, 2), due=date(2026, 3, 1), at=NOW
            ),
            lambda: requests.extend("R1", due=date(2026, 4, 1), reason="earlier", at=NOW),
            lambda: requests.extend("R1", due=date(2026, 6, 1), reason=" ", at=NOW),
            lambda: requests.close("R1", state=RequestState.REFUSED, at=NOW),
            lambda: requests.close("R9", state=RequestState.DONE, at=NOW),
        ):
            with pytest.raises(ValueError):
                wrong()
        assert [r.state for r in requests.waiting()] == [RequestState.OPEN]


class TestDrillsAndMirrors:
    def test_drills_come_back_oldest_first_and_the_last_ones_are_kept(
        self, database: ControlDatabase
    ) -> None:
        drills = Drills(database)
        check = CheckResult(name="rows", outcome=CheckOutcome.PASSED, expected="1", found="1")
        for n in range(5):
            record = DrillRecord(
                id=f"d{n}",
                source="crm",
                snapshot=n,
                started=NOW + n * DAY,
                outcome=DrillOutcome.PASSED,
                seconds=1.5,
                bytes=2**41,
                snapshot_age=60.0,
                checks=(check,),
            )
            drills.record(record, seconds=3.0)
            drills.record(record, seconds=9.0)
        assert [d.id for d in drills.history("crm", limit=3)] == ["d2", "d3", "d4"]
        latest = drills.latest("crm")
        assert latest is not None
        assert (latest.seconds, latest.rto, latest.rpo, latest.checks) == (3.0, 1.5, 60.0, (check,))
        assert drills.keep_last("crm", 2) == 3
        assert [d.id for d in drills.history("crm", limit=9)] == ["d3", "d4"]
        assert drills.latest("other") is None

    def test_a_shorter_or_different_chain_is_a_rollback(self, database: ControlDatabase) -> None:
        heads = Heads(database)
        assert heads.last("ledger") is None
        heads.remember("ledger", Head(number=7, hash=b"\x07" * 32))
        heads.remember("ledger", Head(number=7, hash=b"\x07" * 32))
        for wrong in (Head(number=6, hash=b"\x06" * 32), Head(number=7, hash=b"\x08" * 32)):
            with pytest.raises(RollbackError):
                heads.remember("ledger", wrong)
        heads.remember("ledger", Head(number=8, hash=b"\x08" * 32))
        assert heads.last("ledger") == Head(number=8, hash=b"\x08" * 32)

    def test_released_holds_are_not_shown(self, database: ControlDatabase) -> None:
        holds = Holds(database)
        one = MirroredHold(number=1, matter="dispute", review_by=date(2026, 9, 1))
        holds.mirror(one)
        holds.mirror(replace(one, number=2))
        holds.mirror(replace(one, released=NOW))
        assert [h.number for h in holds.in_force()] == [2]

    def test_a_moment_without_a_time_zone_is_refused(self, database: ControlDatabase) -> None:
        with pytest.raises(Exception, match="time zone"):
            Runs(database).begin("snapshot", source="crm", at=datetime(2026, 3, 9), process=this_process())  # noqa: DTZ001
        assert Runs(database).recent(9) == ()


def test_the_newest_schema_step_is_the_one_in_the_migrations_folder() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from tenure.control.database import MIGRATIONS, NEWEST

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == NEWEST
