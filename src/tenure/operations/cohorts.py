"""Which cohort a record belongs to: class and month from the rules in force, vectorised."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tenure.repository.model import QUARANTINE_PREFIX, Cohort
from tenure.rules.classes import OPEN, classify
from tenure.rules.facts import Facts
from tenure.rules.ruleset import RuleSet
from tenure.sources.base import RecordingBatch, RowBatch

if TYPE_CHECKING:
    from tenure.cards.quarantine import Waiting


def cohorts_of(
    batch: RowBatch | RecordingBatch, data_set: str, rules: RuleSet, open_span: str
) -> tuple[NDArray[np.int32], list[Cohort]]:
    """Return n codes and the cohorts they stand for; records without a starting point are of an open cohort.

    Where the catalogue says nothing of a table, there are no facts and all its rows are one cohort. `open_span`: the
    month of now; whether a record was seen in an earlier one is for whoever knows the base snapshot to say.
    """
    facts: Facts | None = batch.facts
    if facts is None:
        n = len(batch) if isinstance(batch, RowBatch) else 0
        return np.zeros(n, np.int32), [Cohort(data_set=data_set, rule_class="", span=open_span)]
    return _of_facts(facts, data_set, rules, open_span)


def in_quarantine(
    codes: NDArray[np.int32], cohorts: Sequence[Cohort], waiting: Sequence["Waiting"]
) -> tuple[NDArray[np.int32], list[Cohort]]:
    """Return the same, but that each row that waits for an answer is of its class's quarantine cohort of a day."""
    codes, numbers = codes.copy(), {cohort: number for number, cohort in enumerate(cohorts)}
    for row in waiting:
        cohort = replace(cohorts[codes[row.row]], span=f"{QUARANTINE_PREFIX}{row.day}")
        codes[row.row] = numbers.setdefault(cohort, len(numbers))
    return codes, list(numbers)


def _of_facts(
    facts: Facts, data_set: str, rules: RuleSet, open_span: str
) -> tuple[NDArray[np.int32], list[Cohort]]:
    found = classify(facts, rules)
    # One number for each (class, span) pair; Python only for the pairs that occur.
    pairs = found.codes.astype(np.int64) * len(found.spans) + found.span_codes
    used, codes = np.unique(pairs, return_inverse=True)
    cohorts = []
    for pair in used.tolist():
        code, span_code = divmod(pair, max(len(found.spans), 1))
        span = found.spans[span_code]
        span = open_span if span == OPEN else span
        cohorts.append(Cohort(data_set=data_set, rule_class=found.classes[code].hash, span=span))
    return codes.astype(np.int32), cohorts
