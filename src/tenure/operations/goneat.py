"""Says at which ledger number each live record was seen to be gone, so that newer ones under its key are left alone.

A snapshot whose session began after that number looked at its source later still: what it has under the same key is
another record, or the same one as it was edited. One that began before may hold what was deleted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tenure.operations.proving import identities_of_source
from tenure.operations.world import World
from tenure.repository import rows
from tenure.repository.rows import Bits, Words
from tenure.repository.scopes import Scope
from tenure.rules.facts import Facts
from tenure.sources.base import Judge


@dataclass(slots=True)
class GoneAt:
    """Notes numbers while live records are deleted; a number is read after the transaction that it stands for."""

    world: World
    _absent: dict[str, int] = field(default_factory=dict)
    _marks: dict[str, dict[bytes, int]] = field(default_factory=dict)
    _pending: dict[str, list[bytes]] = field(default_factory=dict)

    def looked(self, data_set: str) -> None:
        """Note that a data set was looked through: what was not there is gone by now."""
        self._absent[data_set] = self._head()

    def asking(self, data_set: str, judge: Judge) -> Judge:
        """Return a judge that notes what falls. It is asked inside a batch's transaction, when the one before is over."""

        def judged(facts: Facts) -> Bits:
            self.settle()
            falls: Bits = np.asarray(judge(facts), np.bool_)
            self._pending[data_set] = facts.keys.filter(falls).to_pylist()
            return falls

        return judged

    def settle(self) -> None:
        """Note that the last batch is over."""
        pending, self._pending = self._pending, {}
        for data_set, keys in pending.items():
            self.changed(data_set, keys)

    def changed(self, data_set: str, keys: Sequence[bytes]) -> None:
        """Note that these records were deleted or edited before now."""
        if keys:
            self._marks.setdefault(data_set, {}).update(dict.fromkeys(keys, self._head()))

    def into(self, scopes: Mapping[str, Scope]) -> dict[str, Scope]:
        """Return the scopes with the numbers; a data set that was not looked through has none."""
        return {
            source: replace(
                scope, gone={d: self._numbers(source, d, scope) for d in scope.records if d in self._absent}
            )
            for source, scope in scopes.items()
        }

    def _numbers(self, source: str, data_set: str, scope: Scope) -> Words:
        ids = scope.records[data_set]
        numbers = np.full(len(ids), self._absent[data_set], np.uint64)
        by_number: dict[int, list[bytes]] = {}
        for key, number in self._marks.get(data_set, {}).items():
            by_number.setdefault(number, []).append(key)
        for number, keys in by_number.items():
            numbers[rows.contains(identities_of_source(self.world, source, keys), ids)] = number
        return numbers

    def _head(self) -> int:
        return self.world.repository.refresh().number
