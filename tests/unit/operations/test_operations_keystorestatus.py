"""How each key store stands beside the ledger."""

from collections.abc import Iterator

from support.repo import House, take
from tenure.domain.errors import StoreUnavailableError
from tenure.objectstore.base import ObjectInfo
from tenure.objectstore.memory import MemoryStore
from tenure.operations.keystorestatus import KeyStoreStatus, key_stores
from tenure.repository import names

ROWS = {1: ("2026-01-01", "c1", "a"), 2: ("2026-02-01", "c2", "b")}


class Away(MemoryStore):
    away = False

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if self.away:
            raise StoreUnavailableError("it does not answer")
        return super().list(prefix)


def house_of() -> tuple[House, list[Away]]:
    stores = [Away(House().clock) for _ in range(2)]
    house = House(key_stores=list(stores))
    house.create("crm")
    take(house, ROWS)
    return house, stores


def found(house: House) -> tuple[KeyStoreStatus, ...]:
    return key_stores(house.open(reader=True))


def test_stores_that_hold_everything_are_whole() -> None:
    house, _ = house_of()
    pages = len(house.open(reader=True).state.pages)
    assert pages > 1
    assert [(s.pages, s.lacking, s.left, s.whole, s.to_do) for s in found(house)] == [
        (pages, 0, 0, True, "")
    ] * 2


def test_a_lost_page_and_one_that_nothing_names_are_told_of_their_store_alone() -> None:
    house, (first, second) = house_of()
    lost, *_ = (info.name for info in first.list(names.PAGES))
    raw = first.get(lost)
    first.delete(lost)
    second.put(lost[:-1] + ("0" if lost[-1] != "0" else "1"), raw)
    one, two = found(house)
    assert (one.lacking, one.left, one.whole) == (1, 0, False)
    assert "copies the missing pages" in one.to_do
    assert (two.lacking, two.left, two.whole) == (0, 1, True)
    assert "deletes" in two.to_do


def test_a_store_that_is_away_is_told_and_the_other_is_looked_at() -> None:
    house, (first, _) = house_of()
    first.away = True
    one, two = found(house)
    assert (one.problem, one.whole) == ("it does not answer", False)
    assert "bring it back" in one.to_do
    assert two.whole
