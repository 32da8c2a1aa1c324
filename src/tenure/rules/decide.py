"""Decide what happens to records: pure, by columns, with a reason for each.

Hold > missing or doubtful facts > `keep at least` > `delete after`. Doubt keeps: an attribute that a condition asks
for and that is null, a starting point that is missing, or no rule at all, is reported and never deleted. `judge.py`
says the same for one record, slowly and in words; a property test holds the two equal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tenure.rules.conditions import match_all
from tenure.rules.facts import Facts
from tenure.rules.governing import Case, Timed, case_of
from tenure.rules.holds import Holds
from tenure.rules.model import Start, Unit
from tenure.rules.outcomes import Outcome, Reason
from tenure.rules.periods import due_days, due_instants, local_days, zone
from tenure.rules.ruleset import RuleSet

_NO_DAY = np.datetime64("NaT", "D")
_Rows = NDArray[np.intp] | slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What was decided of n records, in the order of the facts.

    `outcome` and `reason` (uint8), `rule` and `branch` (int16: index in the rule set, of the exception in the rule;
    -1 none): the rule that governs. `due` (datetime64[D], local day; NaT: none): when the record goes or is edited
    unless a hold or a new fact keeps it; for `HELD` what would be without the hold. `hold` (int16, -1 none).
    """

    outcome: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    rule: NDArray[np.int16]
    branch: NDArray[np.int16]
    due: NDArray[np.datetime64]
    hold: NDArray[np.int16]
    facts: Facts = field(repr=False)
    rules: RuleSet = field(repr=False)
    holds: Holds = field(repr=False)
    at: datetime
    time_zone: str

    def __len__(self) -> int:
        """Return n."""
        return len(self.outcome)

    def which(self, outcome: Outcome) -> NDArray[np.intp]:
        """Return the indices of the records with this outcome."""
        return np.flatnonzero(self.outcome == outcome)

    def is_due(self) -> NDArray[np.bool_]:
        """Return which records would be deleted or edited if there were no holds."""
        due: NDArray[np.bool_] = self.reason == Reason.DUE
        return due


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """A limit or duty of m records: due day (datetime64[D]), whether it has come, and whose it is."""

    due: NDArray[np.datetime64]
    passed: NDArray[np.bool_]
    rule: NDArray[np.int16] | int
    branch: NDArray[np.int16] | int


def decide(facts: Facts, rules: RuleSet, holds: Holds, at: datetime, time_zone: str) -> Decisions:
    """Return what happens to each record at the instant `at` (aware), days counted in `time_zone`.

    Raises:
        ConfigError: There is no such time zone.
        ValueError: `at` says no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("the moment of a decision needs a time zone")
    judged = _Judged(len(facts))
    numbered = rules.rules_of(facts.data_set)
    if numbered and len(facts):
        clock = _Clock(facts, at, time_zone)
        found = match_all([rule for _, rule in numbered], facts)
        cases = [case_of(numbered, combination) for combination in found.combinations]
        for code, rows in _rows_by_code(found.codes, len(cases)):
            _judge(cases[code], clock, rows, judged)
    held = holds.covering(facts)
    judged.outcome[held >= 0] = Outcome.HELD
    return Decisions(
        outcome=judged.outcome,
        reason=judged.reason,
        rule=judged.rule,
        branch=judged.branch,
        due=judged.due,
        hold=held,
        facts=facts,
        rules=rules,
        holds=holds,
        at=at,
        time_zone=time_zone,
    )


class _Judged:
    """The columns being filled; a record that nothing is said of has no rule."""

    def __init__(self, n: int) -> None:
        self.outcome = np.full(n, Outcome.NO_RULE, np.uint8)
        self.reason = np.full(n, Reason.NO_RULE_MATCHES, np.uint8)
        self.rule = np.full(n, -1, np.int16)
        self.branch = np.full(n, -1, np.int16)
        self.due = np.full(n, _NO_DAY, "datetime64[D]")

    def put(self, rows: _Rows, outcome: NDArray[np.uint8] | int, reason: NDArray[np.uint8] | int) -> None:
        """Set outcome and reason of some records."""
        self.outcome[rows] = outcome
        self.reason[rows] = reason

    def governed(
        self, rows: _Rows, rule: NDArray[np.int16] | int, branch: NDArray[np.int16] | int = -1
    ) -> None:
        """Set the governing rule of some records."""
        self.rule[rows] = rule
        self.branch[rows] = branch


class _Clock:
    """Knows which due days have come, for the facts at hand."""

    def __init__(self, facts: Facts, at: datetime, time_zone: str) -> None:
        self._facts = facts
        self._zone = time_zone
        self._now = np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "s")
        self._today = np.datetime64(at.astimezone(zone(time_zone)).date(), "D")
        self._starts: dict[Start, NDArray[np.datetime64]] = {}

    def start(self, start: Start) -> NDArray[np.datetime64]:
        """Return when the period of each record begins: local datetime64[s]; NaT as long as one point is open."""
        if start not in self._starts:
            missing = np.full(len(self._facts), np.datetime64("NaT"), "datetime64[s]")
            columns = [self._facts.starting.get(name, missing) for name in start.names]
            # np.maximum hands NaT on: an open one keeps
            latest = columns[0]
            for column in columns[1:]:
                latest = np.maximum(latest, column)
            self._starts[start] = latest
        return self._starts[start]

    def due(self, timed: Timed, rows: _Rows) -> _Columns:
        """Return the due day of some records, and whether it has come."""
        events = self.start(timed.start)[rows]
        if timed.period.unit is Unit.HOURS:
            instants = due_instants(events, timed.period, self._zone)
            due, passed = local_days(instants, self._zone), instants <= self._now
        else:
            due = due_days(events, timed.period)
            passed = due <= self._today
        return _Columns(due=due, passed=passed, rule=timed.rule, branch=timed.branch)


def _rows_by_code(codes: NDArray[np.int32], count: int) -> Iterator[tuple[int, _Rows]]:
    """Yield every code that occurs with the rows that have it; the rows of a code that all have are a slice."""
    sizes = np.bincount(codes, minlength=count)
    present = np.flatnonzero(sizes)
    if len(present) == 1:
        yield int(present[0]), slice(None)
    elif len(present) <= 8:
        for code in present.tolist():
            yield code, np.flatnonzero(codes == code)
    else:  # one sort is cheaper than many passes
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(sizes)
        for code in present.tolist():
            yield code, order[ends[code] - sizes[code] : ends[code]]


def _judge(case: Case, clock: _Clock, rows: _Rows, judged: _Judged) -> None:
    """Fill in what is decided of the records of one case."""
    if case.unknown >= 0:
        judged.put(rows, Outcome.NULL_IN_CONDITION, Reason.VALUE_UNKNOWN)
        judged.governed(rows, case.unknown)
        return
    if not case.matched:
        return
    if case.without_limit >= 0:
        judged.put(rows, Outcome.KEEP, Reason.WITHOUT_LIMIT)
        judged.governed(rows, case.without_limit)
    elif case.deletes or case.edits:
        _judge_limits(case, clock, rows, judged)
    elif case.duties:
        duty = _latest([clock.due(timed, rows) for timed in case.duties])
        kept = np.where(duty.passed, Outcome.NO_RULE, Outcome.KEPT_BY_DUTY).astype(np.uint8)
        judged.put(rows, kept, np.where(duty.passed, Reason.DUTY_ENDED, Reason.DUTY_RUNS).astype(np.uint8))
        judged.governed(rows, duty.rule, duty.branch)
    for rule, start in reversed(case.starts()):
        _keep_missing(np.isnat(clock.start(start)[rows]), rule, rows, judged)


def _judge_limits(case: Case, clock: _Clock, rows: _Rows, judged: _Judged) -> None:
    """Fill in records that some rule lets go or edits.

    The limit that acts is deletion once it is due, else an edit that is due, else what comes first.
    """
    limit, is_edit = _acting_limit(case, clock, rows)
    acting = np.where(is_edit, np.uint8(Outcome.EDIT), np.uint8(Outcome.DELETE))
    if not case.duties:
        judged.put(
            rows,
            np.where(limit.passed, acting, np.uint8(Outcome.KEEP)),
            np.where(limit.passed, np.uint8(Reason.DUE), np.uint8(Reason.NOT_YET_DUE)),
        )
        judged.governed(rows, limit.rule, limit.branch)
        judged.due[rows] = limit.due
        return
    duty = _latest([clock.due(timed, rows) for timed in case.duties])
    later = (duty.due > limit.due) | (limit.passed & ~duty.passed)
    kept = np.where(limit.passed, np.uint8(Outcome.KEPT_BY_DUTY), np.uint8(Outcome.KEEP))
    why = np.where(limit.passed, np.uint8(Reason.DUTY_RUNS), np.uint8(Reason.NOT_YET_DUE))
    acts = limit.passed & duty.passed
    judged.put(rows, np.where(acts, acting, kept), np.where(acts, np.uint8(Reason.DUE), why))
    judged.governed(rows, np.where(later, duty.rule, limit.rule), np.where(later, duty.branch, limit.branch))
    judged.due[rows] = np.maximum(limit.due, duty.due)


def _acting_limit(case: Case, clock: _Clock, rows: _Rows) -> tuple[_Columns, NDArray[np.bool_] | bool]:
    """Return the limit that acts on each record, and whether it edits."""
    deletes = _earliest([clock.due(timed, rows) for timed in case.deletes]) if case.deletes else None
    edits = _earliest([clock.due(timed, rows) for timed in case.edits]) if case.edits else None
    if deletes is None or edits is None:
        only = deletes or edits
        if only is None:
            raise ValueError("a case without limits has no limit that acts")
        return only, deletes is None
    is_edit = ~deletes.passed & (edits.passed | (edits.due < deletes.due))
    return _choose(is_edit, edits, deletes), is_edit


def _choose(first: NDArray[np.bool_], left: _Columns, right: _Columns) -> _Columns:
    """Return `left` where `first`, else `right`."""
    return _Columns(
        due=np.where(first, left.due, right.due),
        passed=np.where(first, left.passed, right.passed),
        rule=np.where(first, left.rule, right.rule),
        branch=np.where(first, left.branch, right.branch),
    )


def _earliest(limits: Sequence[_Columns]) -> _Columns:
    """Return for each record the limit that comes first; of equal ones the first that has passed, else the first."""
    found = limits[0]
    for limit in limits[1:]:
        found = _choose((limit.due < found.due) | (limit.passed & ~found.passed), limit, found)
    return found


def _latest(duties: Sequence[_Columns]) -> _Columns:
    """Return for each record the duty that ends last; of equal ones the first that still runs, else the first."""
    found = duties[0]
    for duty in duties[1:]:
        found = _choose((duty.due > found.due) | (found.passed & ~duty.passed), duty, found)
    return found


def _keep_missing(missing: NDArray[np.bool_], rule: int, rows: _Rows, judged: _Judged) -> None:
    """Keep and report the records whose starting point is missing."""
    if not missing.any():
        return
    places = np.flatnonzero(missing) if isinstance(rows, slice) else rows[missing]
    judged.put(places, Outcome.MISSING_STARTING_POINT, Reason.STARTING_POINT_MISSING)
    judged.governed(places, rule)
    judged.due[places] = _NO_DAY
