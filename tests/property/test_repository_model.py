"""A repository against a dictionary, in stores that keep their word, list late, or lock: whatever is done in whatever order,
every snapshot reads as the model says.
"""

from datetime import timedelta

from hypothesis import HealthCheck, settings

from support.lagging import LaggingStore
from support.repo import House
from support.repositorymodel import RepositoryMachine
from tenure.objectstore.locked import LockedStore
from tenure.objectstore.memory import MemoryStore
from tenure.repository import names


def often(examples: int) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
    )


class LaggingMachine(RepositoryMachine):
    """Every store lists what is new two listings late, and what is gone two listings longer."""

    def made(self) -> House:
        house = House()
        house.objects = self.objects = LaggingStore(MemoryStore(house.clock))
        self.keys = [LaggingStore(MemoryStore(house.clock)) for _ in range(2)]
        house.key_stores = list(self.keys)
        return house

    def settle(self) -> None:
        for store in (self.objects, *self.keys):
            store.settle()


class LockingMachine(RepositoryMachine):
    """Nothing that snapshots need can be deleted for ten days, and key pages always."""

    PERIOD = timedelta(days=10)

    def made(self) -> House:
        house = House()
        prefixes = (names.PACKS, names.MANIFESTS, names.LEDGER)
        house.objects = LockedStore(MemoryStore(house.clock), period=self.PERIOD, prefixes=prefixes)
        return house

    def settle(self) -> None:
        self.house.clock.advance(days=self.PERIOD.days + 1)


TestRepositoryAgainstItsModel = RepositoryMachine.TestCase
TestRepositoryAgainstItsModel.settings = often(40)
TestInStoresThatListLate = LaggingMachine.TestCase
TestInStoresThatListLate.settings = often(20)
TestInAStoreThatLocks = LockingMachine.TestCase
TestInAStoreThatLocks.settings = often(20)
