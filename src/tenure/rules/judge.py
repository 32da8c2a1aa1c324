"""Decide one record, slowly: the meaning of `decide.py` written without columns, and the ground of explanations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from tenure.rules.conditions import match_rule
from tenure.rules.facts import Facts
from tenure.rules.governing import Case, Timed, case_of
from tenure.rules.holds import Holds
from tenure.rules.model import Start, Unit
from tenure.rules.outcomes import Outcome, Reason
from tenure.rules.periods import due_day, due_instant, zone
from tenure.rules.ruleset import RuleSet

_NOTHING = Case()
_LAST = datetime(9999, 12, 31, 23, 59, 59)  # noqa: DTZ001 - local time of the source, like all starting points
_FIRST = datetime(1, 1, 1)  # noqa: DTZ001


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFacts:
    """What rules may know of one record; None is null or missing, times are naive local time."""

    data_set: str
    key: bytes = field(repr=False)
    subjects: Mapping[str, str | None] = field(repr=False)
    starting: Mapping[str, datetime | None]
    attributes: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedDay:
    """A limit or duty, the local day on which it is due or over, and whether that has come."""

    timed: Timed
    due: date
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is decided of one record; the fields are those of `Decisions`, and `days` everything that was weighed."""

    outcome: Outcome
    reason: Reason
    rule: int = -1
    branch: int = -1
    due: date | None = None
    hold: int = -1
    case: Case = _NOTHING
    days: tuple[TimedDay, ...] = ()


def record_at(facts: Facts, index: int) -> RecordFacts:
    """Return the facts of one record."""
    return RecordFacts(
        data_set=facts.data_set,
        key=facts.keys[index].as_py(),
        subjects={kind: column[index].as_py() for kind, column in facts.subjects.items()},
        starting={name: _time(column[index]) for name, column in facts.starting.items()},
        attributes={name: column[index].as_py() for name, column in facts.attributes.items()},
    )


def _time(value: Any) -> datetime | None:
    """Return a datetime64[s] as Python has it, years beyond its calendar cut to the first or last instant."""
    if np.isnat(value):
        return None
    found = value.astype("datetime64[s]").item()
    if isinstance(found, datetime):
        return found
    return _LAST if found > 0 else _FIRST


def judge(record: RecordFacts, rules: RuleSet, holds: Holds, at: datetime, time_zone: str) -> Judgement:
    """Return what `decide` decides of this record.

    Raises:
        ConfigError: There is no such time zone.
        ValueError: `at` says no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("the moment of a decision needs a time zone")
    numbered = rules.rules_of(record.data_set)
    value_of = dict(record.attributes)
    case = case_of(numbered, tuple(match_rule(rule, value_of) for _, rule in numbered))
    found = _judge_case(case, record, at, time_zone)
    hold = _covering(holds, record)
    return Judgement(
        outcome=found.outcome if hold < 0 else Outcome.HELD,
        reason=found.reason,
        rule=found.rule,
        branch=found.branch,
        due=found.due,
        hold=hold,
        case=case,
        days=found.days,
    )


def _judge_case(case: Case, record: RecordFacts, at: datetime, time_zone: str) -> Judgement:
    if case.unknown >= 0:
        return Judgement(outcome=Outcome.NULL_IN_CONDITION, reason=Reason.VALUE_UNKNOWN, rule=case.unknown)
    for rule, start in case.starts():
        if start_of(record, start) is None:
            return Judgement(
                outcome=Outcome.MISSING_STARTING_POINT, reason=Reason.STARTING_POINT_MISSING, rule=rule
            )
    deletes = _days(case.deletes, record, at, time_zone)
    edits = _days(case.edits, record, at, time_zone)
    duties = _days(case.duties, record, at, time_zone)
    limit = _limit(deletes, edits)
    duty = max(duties, key=lambda day: (day.due, not day.passed)) if duties else None
    found = _weigh(case, limit, duty)
    return Judgement(
        outcome=found.outcome,
        reason=found.reason,
        rule=found.rule,
        branch=found.branch,
        due=found.due,
        days=(*deletes, *edits, *duties),
    )


def _weigh(case: Case, limit: TimedDay | None, duty: TimedDay | None) -> Judgement:
    """Return the decision between the limit that acts and the duty that ends last."""
    if case.without_limit >= 0:
        return Judgement(outcome=Outcome.KEEP, reason=Reason.WITHOUT_LIMIT, rule=case.without_limit)
    runs = duty is not None and not duty.passed
    if limit is None:
        if duty is None:
            return Judgement(outcome=Outcome.NO_RULE, reason=Reason.NO_RULE_MATCHES)
        outcome, reason = (
            (Outcome.KEPT_BY_DUTY, Reason.DUTY_RUNS) if runs else (Outcome.NO_RULE, Reason.DUTY_ENDED)
        )
        return Judgement(outcome=outcome, reason=reason, rule=duty.timed.rule, branch=duty.timed.branch)
    governs, due = limit, limit.due
    if duty is not None:
        governs = duty if duty.due > due or (runs and limit.passed) else limit
        due = max(due, duty.due)
    outcome, reason = Outcome.KEEP, Reason.NOT_YET_DUE
    if limit.passed and runs:
        outcome, reason = Outcome.KEPT_BY_DUTY, Reason.DUTY_RUNS
    elif limit.passed:
        outcome, reason = (Outcome.EDIT if limit.timed in case.edits else Outcome.DELETE), Reason.DUE
    return Judgement(
        outcome=outcome, reason=reason, rule=governs.timed.rule, branch=governs.timed.branch, due=due
    )


def _limit(deletes: Sequence[TimedDay], edits: Sequence[TimedDay]) -> TimedDay | None:
    """Return the limit that acts: deletion once it is due, else an edit that is due, else what comes first."""
    first = [min(days, key=lambda day: (day.due, not day.passed)) for days in (deletes, edits) if days]
    if len(first) < 2:
        return first[0] if first else None
    deletion, edit = first
    if not deletion.passed and (edit.passed or edit.due < deletion.due):
        return edit
    return deletion


def _days(timed: Sequence[Timed], record: RecordFacts, at: datetime, time_zone: str) -> tuple[TimedDay, ...]:
    return tuple(_day(one, record, at, time_zone) for one in timed)


def _day(timed: Timed, record: RecordFacts, at: datetime, time_zone: str) -> TimedDay:
    event = start_of(record, timed.start)
    if event is None:
        raise ValueError("a period cannot count from a starting point that is missing")
    if timed.period.unit is Unit.HOURS:
        instant = due_instant(event, timed.period, time_zone)
        try:
            due = instant.astimezone(zone(time_zone)).date()
        except OverflowError:
            due = date.max
        return TimedDay(timed=timed, due=due, passed=instant <= at.astimezone(UTC))
    due = due_day(event.date(), timed.period)
    return TimedDay(timed=timed, due=due, passed=due <= at.astimezone(zone(time_zone)).date())


def start_of(record: RecordFacts, start: Start) -> datetime | None:
    """Return the latest of the starting points; None as long as one of them is open."""
    times = [record.starting.get(name) for name in start.names]
    known = [time for time in times if time is not None]
    return max(known) if len(known) == len(times) else None


def _covering(holds: Holds, record: RecordFacts) -> int:
    for index, hold in enumerate(holds.holds):
        scope = hold.scope
        subjects = any(record.subjects.get(kind) in ids for kind, ids in scope.subjects.items())
        if (
            scope.everything
            or record.data_set in scope.data_sets
            or subjects
            or record.key in scope.keys.get(record.data_set, ())
        ):
            return index
    return -1
