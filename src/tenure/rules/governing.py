"""Which rules govern a record: what is left of the rules that match, after those that give way have done so.

Between a duty (`keep at least`, an exception of `unless`) and a limit (`delete after`) the later day always wins; that
needs no `gives_way_to` here, the check of rule files asks for it so that the officer has said it. Beyond that,
`gives_way_to: Y` takes effect where Y matches and has a limit: a rule's own limit is dropped, and a rule that has only
a duty drops the duty. Exceptions are never dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tenure.rules.conditions import Combination, Match
from tenure.rules.model import ActionKind, Period, Rule, Start


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A limit or a duty of one rule; `rule` is its index in the rule set, `branch` of its exception (-1: none)."""

    rule: int
    branch: int
    period: Period
    start: Start


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What rules say of records with the same attributes. All empty: no rule matches."""

    matched: tuple[int, ...] = ()
    unknown: int = -1  # a rule whose condition, or exception, asks for a value that is null
    deletes: tuple[Timed, ...] = ()
    edits: tuple[Timed, ...] = ()
    duties: tuple[Timed, ...] = ()
    without_limit: int = -1

    def starts(self) -> tuple[tuple[int, Start], ...]:
        """Return every starting point that counts, each with the first rule that asks for it."""
        found: dict[Start, int] = {}
        for timed in (*self.deletes, *self.edits, *self.duties):
            found.setdefault(timed.start, timed.rule)
        return tuple((rule, start) for start, rule in found.items())


def case_of(numbered: Sequence[tuple[int, Rule]], combination: Combination) -> Case:
    """Return what the rules of a data set say of a combination of attribute values."""
    matched: list[tuple[int, Rule]] = []
    unknown = -1
    for (index, rule), match in zip(numbered, combination, strict=True):
        if match.rule is Match.UNKNOWN or Match.UNKNOWN in match.branches:
            unknown = index if unknown < 0 else unknown
        elif match.rule is Match.YES:
            matched.append((index, rule))
    if unknown >= 0:
        return Case(matched=tuple(index for index, _ in matched), unknown=unknown)
    branches = {
        index: [b for b, m in enumerate(match.branches) if m is Match.YES]
        for (index, _), match in zip(numbered, combination, strict=True)
    }
    limiting = {rule.name for _, rule in matched if rule.delete_after}
    deletes: list[Timed] = []
    edits: list[Timed] = []
    duties: list[Timed] = []
    without_limit = -1
    for index, rule in matched:
        gives_way = bool(limiting & set(rule.gives_way_to))
        limit, duty = _own(index, rule)
        if limit and not gives_way:
            (deletes if rule.then.kind is ActionKind.DELETE else edits).append(limit)
        if duty and (limit or not gives_way):
            duties.append(duty)
        if rule.keep_without_limit and not gives_way and without_limit < 0:
            without_limit = index
        duties += [_exception(index, rule, branch) for branch in branches[index]]
    return Case(
        matched=tuple(index for index, _ in matched),
        deletes=tuple(deletes),
        edits=tuple(edits),
        duties=tuple(duties),
        without_limit=without_limit,
    )


def _own(index: int, rule: Rule) -> tuple[Timed | None, Timed | None]:
    """Return the rule's own limit and duty."""
    if rule.starting_from is None:
        return None, None
    start = rule.starting_from
    limit, duty = (
        Timed(rule=index, branch=-1, period=period, start=start) if period else None
        for period in (rule.delete_after, rule.keep_at_least)
    )
    return limit, duty


def _exception(index: int, rule: Rule, branch: int) -> Timed:
    if rule.starting_from is None:
        raise ValueError(f"rule {rule.name} has exceptions but no starting point")
    return Timed(
        rule=index, branch=branch, period=rule.unless[branch].keep_at_least, start=rule.starting_from
    )
