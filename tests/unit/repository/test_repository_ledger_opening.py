"""Opening a ledger asks for what is new, however long it is, and is not misled by what was taken away."""

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from support.repo import House, take
from tenure.domain.clock import Clock
from tenure.domain.errors import RollbackError, TamperedError
from tenure.objectstore.base import ObjectInfo
from tenure.objectstore.memory import MemoryStore
from tenure.repository import entryobjects, names
from tenure.repository.entryobjects import numbered
from tenure.repository.headfile import HeadInMemory

ROWS = {1: ("2026-01-01", "c1", "a")}


class Counting(MemoryStore):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.asked = Counter[str]()

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self.asked["get"] += name.startswith(names.LEDGER)
        return super().get(name, offset=offset, length=length)

    def stat(self, name: str) -> ObjectInfo:
        self.asked["stat"] += name.startswith(names.LEDGER)
        return super().stat(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if prefix.startswith(names.LEDGER):
            self.asked["list"] += 1
            for info in super().list(prefix):
                self.asked["listed"] += 1
                yield info
        else:
            yield from super().list(prefix)


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "LEDGER_BLOCK", 10)
    monkeypatch.setattr(entryobjects, "LOOK_BACK", 5)
    monkeypatch.setattr(names, "ledger_block", lambda number: names.ledger_entry(number)[:-1])


def house_of(snapshots: int) -> tuple[House, Counting]:
    store = Counting(House().clock)
    house = House(objects=store)
    house.create("crm")
    for _ in range(snapshots):
        take(house, ROWS)
    return house, store


def opened(house: House, store: Counting) -> Counter[str]:
    store.asked = Counter()
    house.open(reader=True, writers=False)
    return store.asked


def head(store: MemoryStore) -> int:
    return max(number for number, _ in numbered(store))


def test_what_is_listed_does_not_grow_with_the_ledger() -> None:
    house, store = house_of(20)
    few = opened(house, store)
    for _ in range(30):
        take(house, ROWS)
    repo = house.open(reader=True)
    repo.ledger.checkpoint(house.purge)
    take(house, ROWS)
    many = opened(house, store)
    assert many["list"] <= 4
    assert many["get"] <= 8
    assert many["listed"] <= few["listed"] + 10
    assert many["stat"] == 0


def test_a_stranger_lists_everything_and_comes_to_the_same() -> None:
    house, store = house_of(12)
    here = house.open(reader=True).state
    house.memory = HeadInMemory()
    assert opened(house, store)["listed"] == head(store)
    assert house.open(reader=True).state == here


@pytest.mark.parametrize("behind", [0, 1, 9, 10, 11])
def test_an_entry_taken_away_is_noticed_wherever_a_block_ends(behind: int) -> None:
    house, store = house_of(12)
    seen = HeadInMemory()
    number, digest = house.memory.load() or (0, b"")
    seen.store(number, digest)
    for _ in range(12):
        take(house, ROWS)
    house.memory = seen
    assert head(store) > number + 12
    store.delete(names.ledger_entry(number + 1 + behind))
    with pytest.raises(TamperedError, match="is missing"):
        house.open(reader=True)


def test_a_ledger_that_lost_what_was_seen_is_refused() -> None:
    house, store = house_of(12)
    number, _ = house.memory.load() or (0, b"")
    for gone in range(number - 15, number + 1):
        store.delete(names.ledger_entry(gone))
    with pytest.raises(RollbackError):
        house.open(reader=True)


class Slow(Counting):
    """Answers late, and counts how many answers are under way at once."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.under_way, self.alone, self._lock = 0, 0, threading.Lock()

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        with self._lock:
            self.under_way += 1
            self.alone += self.under_way == 1
        try:
            time.sleep(0.002)
            return super().get(name, offset=offset, length=length)
        finally:
            with self._lock:
                self.under_way -= 1


def test_a_year_without_a_checkpoint_is_read_many_entries_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entryobjects, "TOGETHER", 16)
    store = Slow(House().clock)
    house = House(objects=store)
    house.create("crm")
    for _ in range(50):
        take(house, ROWS)
    entries, store.alone = head(store), 0
    asked = opened(house, store)
    assert entries < asked["get"] <= entries + 3
    assert store.alone <= entries / 2, "most requests begin while others are under way"
