"""Conditions over columns: for n records, which rules of a data set match, do not match, or cannot be told.

The Python work is done for each distinct combination of the values that rules ask for, never for each record:
a record's attributes become small codes (value asked for, another value, null), the codes of all attributes
become one number, and a table turns that number into the combination's answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tenure.rules.facts import Facts
from tenure.rules.model import Condition, Rule

_TABLE_MAX = 1 << 16  # combinations listed beforehand; above, only those that occur are looked at
_ANOTHER = ""  # stands for every value that no rule asks for; conditions never hold an empty text

_Pick = tuple[str | None, ...]


class Match(IntEnum):
    """Whether a condition holds, in the logic of three values: one false decides, else one unknown."""

    NO = 0
    YES = 1
    UNKNOWN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleMatch:
    """What a record's attributes say about one rule. `branches` is empty unless the rule itself matches."""

    rule: Match
    branches: tuple[Match, ...] = ()


Combination = tuple[RuleMatch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """For n records: `codes[i]` (int32) is the index of record i's answer in `combinations`."""

    codes: NDArray[np.int32]
    combinations: tuple[Combination, ...]


def match_condition(condition: Condition, value_of: dict[str, str | None]) -> Match:
    """Return whether a condition holds for these attribute values; None is null."""
    answer = Match.YES
    for asked in condition.asked:
        value = value_of.get(asked.attribute)
        if value is None:
            answer = Match.UNKNOWN
        elif value not in asked.values:
            return Match.NO
    return answer


def match_rule(rule: Rule, value_of: dict[str, str | None]) -> RuleMatch:
    """Return what these attribute values say about a rule and its exceptions."""
    answer = match_condition(rule.only_if, value_of)
    if answer is not Match.YES:
        return RuleMatch(rule=answer)
    return RuleMatch(rule=answer, branches=tuple(match_condition(b.only_if, value_of) for b in rule.unless))


def match_all(rules: Sequence[Rule], facts: Facts) -> Matches:
    """Return for every record what its attributes say about every rule."""
    values = _values_asked(rules)
    n = len(facts)
    if not values:
        return Matches(codes=np.zeros(n, np.int32), combinations=(tuple(match_rule(r, {}) for r in rules),))
    codes = np.zeros(n, np.int32)
    picks: list[_Pick] = [()]
    for attribute, asked in values.items():
        codes, picks = _combine(codes, picks, _codes(facts, attribute, asked), (*asked, _ANOTHER, None))
    table = np.empty(len(picks), np.int32)
    answers: dict[Combination, int] = {}
    for row, pick in enumerate(picks):
        value_of = dict(zip(values, pick, strict=True))
        answer = tuple(match_rule(rule, value_of) for rule in rules)
        table[row] = answers.setdefault(answer, len(answers))
    return Matches(codes=table[codes], combinations=tuple(answers))


def _values_asked(rules: Sequence[Rule]) -> dict[str, tuple[str, ...]]:
    """Return every attribute that any condition names, with all values asked of it."""
    asked: dict[str, set[str]] = {}
    for rule in rules:
        for condition in (rule.only_if, *(branch.only_if for branch in rule.unless)):
            for part in condition.asked:
                asked.setdefault(part.attribute, set()).update(part.values)
    return {attribute: tuple(sorted(values)) for attribute, values in sorted(asked.items())}


def _codes(facts: Facts, attribute: str, asked: tuple[str, ...]) -> NDArray[np.int32]:
    """Return 0..k-1 for the values asked for, k for another value, k + 1 for null (int32)."""
    column = facts.attributes.get(attribute)
    if column is None:  # the source did not deliver it: the same doubt as null
        return np.full(len(facts), len(asked) + 1, np.int32)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    found = pc.index_in(column, value_set=pa.array(asked, column.type))
    codes: NDArray[np.int32] = np.asarray(found.fill_null(len(asked)))
    if column.null_count:
        codes = np.where(np.asarray(column.is_null()), np.int32(len(asked) + 1), codes)
    return codes


def _combine(
    left: NDArray[np.int32],
    picks: list[_Pick],
    right: NDArray[np.int32],
    choices: _Pick,
) -> tuple[NDArray[np.int32], list[_Pick]]:
    """Return codes and values of the combinations of what was combined so far with one attribute more."""
    size = len(choices)
    if len(picks) * size <= _TABLE_MAX:
        return left * np.int32(size) + right, [(*pick, choice) for pick in picks for choice in choices]
    seen, places = np.unique(left.astype(np.int64) * size + right, return_inverse=True)
    found = [(*picks[code // size], choices[code % size]) for code in seen.tolist()]
    return places.astype(np.int32), found
