"""Holds: orders not to delete, whatever a rule says, and which records they cover."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tenure.rules.facts import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldScope:
    """What a hold covers.

    `everything`: all records of all data sets. Otherwise a record is covered when one of its subjects is named, or
    its key is, or its data set is. Scopes add up; none narrows another.
    """

    everything: bool = False
    data_sets: tuple[str, ...] = ()
    subjects: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)  # kind -> ids: personal
    keys: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)  # data set -> record keys

    def __post_init__(self) -> None:
        """Refuse a scope that covers nothing: whoever placed it believes that something is held."""
        named = any(self.subjects.values()) or any(self.keys.values())
        if not (self.everything or self.data_sets or named):
            raise ValueError("a hold must cover something: subjects, records, data sets or everything")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An order not to delete. `matter` names the case, `placed_by` who answers for it."""

    matter: str
    reason: str
    placed_by: str
    review_by: date
    scope: HoldScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """The holds in force; they may overlap."""

    holds: tuple[Hold, ...] = ()

    def covering(self, facts: Facts) -> NDArray[np.int16]:
        """Return for each record the index of the first hold that covers it, -1 where none does."""
        found = np.full(len(facts), -1, np.int16)
        for index in range(len(self.holds) - 1, -1, -1):
            covered = _covered(self.holds[index].scope, facts)
            if covered is not None:
                found[covered] = index
        return found


def _covered(scope: HoldScope, facts: Facts) -> NDArray[np.bool_] | None:
    """Return which records a scope covers; None where it says nothing of this data set."""
    if scope.everything or facts.data_set in scope.data_sets:
        return np.ones(len(facts), np.bool_)
    parts = [
        _is_in(facts.subjects[kind], pa.array(ids, pa.large_string()))
        for kind, ids in scope.subjects.items()
        if ids and kind in facts.subjects
    ]
    keys = scope.keys.get(facts.data_set)
    if keys:
        parts.append(_is_in(facts.keys, pa.array(keys, pa.large_binary())))
    return np.logical_or.reduce(parts) if parts else None


def _is_in(column: pa.Array, values: pa.Array) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.asarray(pc.is_in(column, value_set=values))
    return found
