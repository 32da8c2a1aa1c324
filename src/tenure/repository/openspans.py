"""Where records without a starting point lie: in the month they were first seen in, for as long as they have none.

A record keeps its open cohort though it changes, so in no snapshot it lies in two, and a month that is over gets no
new records. Which month that was is known from the row cache, or for recordings from the base's tree. Where the cache
is gone, a record may be of any month: it then joins the fullest open cohort of its class, whose chunks are most
likely the ones it was stored in, so that they are not stored again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tenure.repository.model import OPEN_PREFIX, Cohort
from tenure.repository.rowcache import UNKNOWN, UNUSABLE, Places, RowCache
from tenure.repository.rows import Bits, Bytes, Words

_TABLE = 1 << 20  # pairs of cohorts that are counted in a table; above that they are sorted


def open_span(at: float) -> str:
    """Return the open span of a moment, in seconds since the epoch: its month in UTC."""
    return f"{OPEN_PREFIX}{datetime.fromtimestamp(at, UTC):%Y-%m}"


def fullest_open(cohorts: Iterable[tuple[Cohort, int]]) -> dict[str, Cohort]:
    """Return by class the open cohort that has most records, the oldest of equals.

    Args:
        cohorts: Cohorts of one data set with their records.
    """
    found: dict[str, tuple[int, Cohort]] = {}
    for cohort, count in sorted(cohorts):
        best = found.get(cohort.rule_class)
        if cohort.is_open and (best is None or count > best[0]):
            found[cohort.rule_class] = count, cohort
    return {rule_class: cohort for rule_class, (_, cohort) in found.items()}


@dataclass(frozen=True, slots=True)
class Looked:
    """N rows, and what the row cache says of them.

    `ids` (n x 16), `mixed`, `hashes` (n): see `RowCache.find`; `places` (n): in the cache, or `UNKNOWN`; `before` (n):
    cohorts in the base snapshot, or `UNUSABLE`; `lost` (n): whether they may have been in it, nobody knows where.
    """

    ids: Bytes
    mixed: Words
    hashes: Words
    places: Places
    before: NDArray[np.int32]
    lost: Bits

    @classmethod
    def up(cls, cache: RowCache | None, ids: Bytes, mixed: Words, hashes: Words) -> "Looked":
        """Look rows up."""
        places, before = np.full(len(ids), UNKNOWN, np.int64), np.full(len(ids), UNUSABLE, np.int32)
        if cache is None:
            return cls(ids, mixed, hashes, places, before, np.ones(len(ids), np.bool_))
        if len(cache):
            places = cache.find(ids, mixed, hashes)
            before = np.where(places == UNKNOWN, before, cache.cohorts[places])
        return cls(ids, mixed, hashes, places, before, (places != UNKNOWN) & (before == UNUSABLE))


def stay(
    numbers: NDArray[np.int32],
    looked: Looked,
    cohorts: Sequence[Cohort],
    number_of: Callable[[Cohort], int],
    homes: Mapping[str, Cohort],
) -> NDArray[np.int32]:
    """Return the cohort of each of n rows, open ones in the month they were first seen in.

    Args:
        numbers: Cohorts by the facts of now (n), open ones of the month of now.
        looked: Where the rows were.
        cohorts: What the numbers mean, and those of `looked`.
        number_of: Gives a cohort its number, a new one where it has none yet.
        homes: By class, where the lost ones go; see `fullest_open`.
    """
    opens = np.array([c.is_open for c in cohorts], np.bool_)
    is_open = opens[numbers]
    if not is_open.any():
        return numbers
    out, before = numbers.copy(), looked.before
    moves = is_open & (before >= 0) & opens[before] & (before != numbers)
    if moves.any():
        out[moves] = _kept(numbers[moves], before[moves], cohorts, number_of)
    if not homes:
        return out
    lost = is_open & looked.lost
    for number in np.flatnonzero(np.bincount(numbers[lost])).tolist():
        home = homes.get(cohorts[number].rule_class)
        if home is not None:
            out[lost & (numbers == number)] = number_of(home)
    return out


def _kept(
    numbers: NDArray[np.int32],
    before: NDArray[np.int32],
    cohorts: Sequence[Cohort],
    number_of: Callable[[Cohort], int],
) -> NDArray[np.int32]:
    """Return cohorts of the classes of now and the months of before; Python only for the pairs that occur."""
    count = len(cohorts)
    pairs = numbers.astype(np.int64) * count + before
    used = np.flatnonzero(np.bincount(pairs)) if count * count <= _TABLE else np.unique(pairs)
    known = list(cohorts)  # `number_of` may add to the very list
    targets = [
        number_of(replace(known[pair // count], span=known[pair % count].span)) for pair in used.tolist()
    ]
    return np.array(targets, np.int32)[np.searchsorted(used, pairs)]
