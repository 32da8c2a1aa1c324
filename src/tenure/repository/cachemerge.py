"""What the next row cache holds: rows of the last one that stay, and fresh ones, merged by mixed identity."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenure.repository.cachecontents import ROW, STEP, Places, Rows
from tenure.repository.freshrows import FreshRows, limits_for
from tenure.repository.rowcache import RowCache


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedRows:
    """See `cachecontents.SortedRows`.

    `base`: the last cache, open until the rows were taken; `marks` (one a row of `base`) and `kept`: rows so marked
    stay. `numbers`: new number of each cohort; `starts`: the layer that each cohort's later layers are merged into.
    """

    fresh: FreshRows
    base: RowCache | None
    marks: NDArray[np.uint8]
    kept: int
    numbers: NDArray[np.int32]
    starts: NDArray[np.uint16]

    def __len__(self) -> int:
        steps = (self.marks[start : start + STEP] for start in range(0, len(self.marks), STEP))
        return len(self.fresh) + sum(int(np.count_nonzero(step == self.kept)) for step in steps)

    def pieces(self) -> Iterator[Rows]:
        """Yield all rows, sorted by mixed identity.

        Raises:
            IntegrityError: A file they are read from was changed.
            OSError: One cannot be read.
        """
        for fresh, places in self._stretches():
            yield self._merged(fresh, places)

    def have_twins(self) -> bool:
        """Whether two rows have the same key; errors as in `pieces`."""
        for fresh, places in self._stretches():
            mixed = np.ascontiguousarray(fresh["mixed"])
            if self.base is not None:
                mixed = np.concatenate((mixed, self.base.mixed[places]))
            mixed.sort()
            # Rows are put in order only where two mixed identities are equal, which hardly ever happens.
            if (mixed[1:] == mixed[:-1]).any() and _twins(self._merged(fresh, places)):
                return True
        return False

    def _stretches(self) -> Iterator[tuple[Rows, Places]]:
        """Yield fresh rows and places of rows that stay, of one stretch of mixed identities after the other."""
        count = len(self.fresh) + (0 if self.base is None else len(self.base))
        limits, start = limits_for(count), 0
        for limit, fresh in zip(limits, self.fresh.stretches(limits), strict=True):
            stop = start
            if self.base is not None:
                end = len(self.base)
                stop = end if limit is None else int(np.searchsorted(self.base.mixed, limit))
            yield fresh, start + np.flatnonzero(self.marks[start:stop] == self.kept)
            start = stop

    def _merged(self, fresh: Rows, places: Places) -> Rows:
        fresh = fresh.copy()
        fresh["cohort"] = self.numbers[fresh["cohort"]]
        if self.base is not None and len(places):
            fresh = np.concatenate((fresh, self._staying(self.base, places)))
        return fresh[np.argsort(np.ascontiguousarray(fresh["mixed"]), kind="stable")]

    def _staying(self, base: RowCache, places: Places) -> Rows:
        """Return cached rows as they are, but in the layer that theirs was merged into."""
        found = np.empty(len(places), ROW)
        cohorts = base.cohorts[places]
        found["mixed"], found["hash"] = base.mixed[places], base.hashes[places]
        found["identity"] = base.identities_at(places)
        found["cohort"] = self.numbers[cohorts]
        found["layer"] = np.minimum(base.layers[places], self.starts[cohorts])
        return found


def _twins(rows: Rows) -> bool:
    """Whether two of these rows, sorted by mixed identity, have the same identity."""
    mixed = rows["mixed"]
    equal = mixed[1:] == mixed[:-1]
    suspects = rows[np.append(equal, False) | np.append(False, equal)]
    return len(np.unique(suspects["identity"], axis=0)) < len(suspects)
