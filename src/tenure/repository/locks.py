"""How long what a repository consists of is locked in its object store, and when locks have to be extended.

Every snapshot is out of everybody's reach for so many days after its commit. What it shares with older ones was
locked for those: such locks are extended by whoever has that right. A lock is given a quarter more than it has to
last, so that it is extended once in that quarter and not with every snapshot.
"""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tenure.repository import names

SHARE_MORE = 0.25
"""What a lock is given beyond what it has to last: a share of that."""

LOCKED = (names.PACKS, names.MANIFESTS, names.LEDGER, names.MARKER)
"""What is locked in the object store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockPolicy:
    """For how long. `days`: whatever is not said of below, 0 for no locks; `data_sets`: packs of a data set.

    `page_days`: key pages, at most the shred window; what is locked cannot be forgotten before.

    Raises:
        ValueError: A negative number, or data sets where nothing else is locked.
    """

    days: float = 0
    data_sets: Mapping[str, float] = field(default_factory=dict)
    page_days: float = 0

    def __post_init__(self) -> None:
        if min(self.days, self.page_days, *self.data_sets.values(), 0) < 0:
            raise ValueError("days of a lock are not negative")
        if self.data_sets and not self.days:
            raise ValueError("locks of data sets need locks of the rest, or nobody could read them back")

    @property
    def most(self) -> float:
        """Return the days of what every snapshot needs: manifests, structure, ledger entries."""
        return max(self.days, *self.data_sets.values(), 0)

    def of(self, data_sets: Collection[str]) -> float:
        """Return the days of a pack that holds chunks of these data sets; "" is structure, which all need."""
        return max((self.most if d == "" else self.data_sets.get(d, self.days) for d in data_sets), default=0)

    def until(self, data_sets: Collection[str], now: datetime) -> datetime | None:
        """Return when the lock of a new pack ends; None for no lock."""
        days = self.of(data_sets)
        return now + with_slack(days) if days else None


NONE = LockPolicy()
"""No locks."""


def with_slack(days: float) -> timedelta:
    """Return for how long something is locked that has to be for `days`."""
    return timedelta(days=days * (1 + SHARE_MORE))


def data_sets_of(groups: Collection[Hashable]) -> frozenset[str]:
    """Return the data sets of groups of chunks, as `packs.group_of` makes them; "" for others."""
    return frozenset(str(g[0]) if isinstance(g, tuple) else "" for g in groups)
