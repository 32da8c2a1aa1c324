"""Which cohort a record belongs to: class and month from the rules in force, vectorised."""

import numpy as np
from numpy.typing import NDArray

from tenure.repository.model import OPEN_PREFIX, Cohort
from tenure.rules.classes import OPEN, classify
from tenure.rules.facts import Facts
from tenure.rules.ruleset import RuleSet
from tenure.sources.base import RecordingBatch, RowBatch

OPEN_SPAN = f"{OPEN_PREFIX}all"
"""One open cohort a data set and class: its records are forgotten one by one anyway, and stay where they are."""


def cohorts_of(
    batch: RowBatch | RecordingBatch, data_set: str, rules: RuleSet
) -> tuple[NDArray[np.int32], list[Cohort]]:
    """Return n codes and the cohorts they stand for; records without a starting point are of an open cohort.

    Where the catalogue says nothing of a table, there are no facts and all its rows are one cohort.
    """
    facts: Facts | None = batch.facts
    if facts is None:
        n = len(batch) if isinstance(batch, RowBatch) else 0
        return np.zeros(n, np.int32), [Cohort(data_set=data_set, rule_class="", span=OPEN_SPAN)]
    return _of_facts(facts, data_set, rules)


def _of_facts(facts: Facts, data_set: str, rules: RuleSet) -> tuple[NDArray[np.int32], list[Cohort]]:
    found = classify(facts, rules)
    # One number for each (class, span) pair; Python only for the pairs that occur.
    pairs = found.codes.astype(np.int64) * len(found.spans) + found.span_codes
    used, codes = np.unique(pairs, return_inverse=True)
    cohorts = []
    for pair in used.tolist():
        code, span_code = divmod(pair, max(len(found.spans), 1))
        span = found.spans[span_code]
        span = OPEN_SPAN if span == OPEN else span
        cohorts.append(Cohort(data_set=data_set, rule_class=found.classes[code].hash, span=span))
    return codes.astype(np.int32), cohorts
