"""Classes of records: what the repository sorts records by, so that those which fall due together lie together.

A class is the hash of the governing rule's starting point and conditions, never of its name or period: a period that
changes moves no record. Its conditions include those of all its exceptions, for a record is only of the class as
long as the same exceptions apply to it.
"""

import hashlib
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from tenure.domain.catalogue import DataSetKind
from tenure.rules.conditions import Combination, Match, match_all
from tenure.rules.facts import Facts
from tenure.rules.model import Condition, Rule, Start
from tenure.rules.ruleset import RuleSet

OPEN = "open"
"""The span of a record whose starting point is missing."""

_MANY_MONTHS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordClass:
    """A class and the starting point its span counts from. `hash` is empty where no rule governs."""

    hash: str
    start: Start | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Classing:
    """Class and span of n records: `codes[i]` (int32) into `classes`, `span_codes[i]` (int32) into `spans`.

    A span is ``2026-03``, the month of the governing starting point in local time, or ``open``.
    """

    codes: NDArray[np.int32]
    classes: tuple[RecordClass, ...]
    span_codes: NDArray[np.int32]
    spans: tuple[str, ...]


def class_of(rule: Rule, branches: tuple[int, ...] = ()) -> str:
    """Return the class (32 hex digits) of the records of a rule to which these of its exceptions apply."""
    content = [
        sorted(rule.starting_from.names) if rule.starting_from else [],
        _normal(rule.only_if),
        sorted(_normal(branch.only_if) for branch in rule.unless),
        sorted(_normal(rule.unless[branch].only_if) for branch in branches),
    ]
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:32]


def _normal(condition: Condition) -> list[tuple[str, list[str]]]:
    return sorted((asked.attribute, sorted(asked.values)) for asked in condition.asked)


def classify(facts: Facts, rules: RuleSet) -> Classing:
    """Return the class and span of every record.

    The governing rule of a record is the one that can delete it; else one that edits it; else one that keeps it; of
    several, the one with the smallest class, so that neither names nor order decide. Where none governs or a
    condition cannot be told, the class is empty and the span counts from the data set's first starting point.
    Recordings are forgotten singly, so their class is always empty.
    """
    numbered = rules.rules_of(facts.data_set)
    first = Start(names=(min(facts.starting),)) if facts.starting else None
    found = match_all([rule for _, rule in numbered], facts)
    definition = rules.definitions.get(facts.data_set)
    by_rule = definition is None or definition.data_set.kind is not DataSetKind.RECORDINGS
    classes: dict[RecordClass, int] = {}
    table = np.zeros(len(found.combinations), np.int32)
    for i, combination in enumerate(found.combinations):
        one = _class_of_combination([rule for _, rule in numbered], combination, first)
        if not by_rule:
            one = RecordClass(hash="", start=one.start)
        table[i] = classes.setdefault(one, len(classes))
    codes = table[found.codes]
    span_codes, spans = _spans(facts, tuple(classes), codes)
    return Classing(codes=codes, classes=tuple(classes), span_codes=span_codes, spans=spans)


def _class_of_combination(rules: list[Rule], combination: Combination, first: Start | None) -> RecordClass:
    candidates: list[tuple[int, str, Start | None]] = []
    for rule, match in zip(rules, combination, strict=True):
        if match.rule is Match.UNKNOWN or Match.UNKNOWN in match.branches:
            return RecordClass(hash="", start=first)
        if match.rule is Match.YES:
            branches = tuple(b for b, m in enumerate(match.branches) if m is Match.YES)
            candidates.append((_rank(rule), class_of(rule, branches), rule.starting_from))
    if not candidates:
        return RecordClass(hash="", start=first)
    _, digest, start = min(candidates, key=lambda c: c[:2])
    return RecordClass(hash=digest, start=start or first)


def _rank(rule: Rule) -> int:
    if rule.delete_after is None:
        return 2
    return 0 if rule.then.kind.value == "delete" else 1


def _spans(
    facts: Facts, classes: tuple[RecordClass, ...], codes: NDArray[np.int32]
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return the span of every record; spans in ascending order, `open` last."""
    months = np.full(len(facts), np.datetime64("NaT"), "datetime64[M]")
    for code, one in enumerate(classes):
        if one.start is None or any(name not in facts.starting for name in one.start.names):
            continue
        columns = [facts.starting[name] for name in one.start.names]
        latest = columns[0] if len(columns) == 1 else np.maximum.reduce(columns)
        of_class = latest.astype("datetime64[M]")
        if len(classes) == 1:
            months = of_class
        else:
            np.copyto(months, of_class, where=codes == code)
    return _month_codes(months)


def _month_codes(months: NDArray[np.datetime64]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return a code for each month and the texts of the codes."""
    missing = np.isnat(months)
    numbers = months.astype(np.int64)
    known = numbers[~missing] if missing.any() else numbers
    low, high = (int(known.min()), int(known.max())) if len(known) else (0, -1)
    if (
        high - low > _MANY_MONTHS
    ):  # dates from all over the calendar: sorting is dear, but their table is dearer
        seen, places = np.unique(known, return_inverse=True)
    else:
        seen = np.flatnonzero(np.bincount(known - low)) + low
        table = np.zeros(high - low + 1, np.int32)
        table[seen - low] = np.arange(len(seen))
        places = table[known - low].astype(np.intp)
    codes = np.full(len(months), len(seen), np.int32)
    codes[~missing] = places
    spans = tuple(str(month) for month in seen.astype("datetime64[M]"))
    return codes, (*spans, OPEN) if missing.any() else spans
