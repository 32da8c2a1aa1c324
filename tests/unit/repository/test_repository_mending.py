"""A sweep puts right what one key store lost or damaged, from a store that has it whole."""

import pytest

from support.repo import House, read_rows, take
from tenure.domain.progress import SilentProgress
from tenure.objectstore.memory import MemoryStore
from tenure.repository import names
from tenure.repository.pruning import Freed, Pruner
from tenure.repository.readback import Reading
from tenure.repository.verify import with_keys


@pytest.mark.parametrize("damage", ["lost", "flipped"])
def test_a_sweep_mends_a_key_page_that_one_store_lost_or_damaged(damage: str) -> None:
    house = House()
    house.create("crm")
    number = take(house, {k: ("2025-01", "c1", f"note {k}") for k in range(20)})
    store = house.key_stores[0]
    assert isinstance(store, MemoryStore)
    victim = next(iter(store.list(names.PAGES))).name
    raw = bytearray(store.get(victim))
    store.delete(victim)
    if damage == "flipped":
        raw[len(raw) // 2] ^= 1
        store.put(victim, raw)
    repo = house.open(reader=True)
    assert len(with_keys(repo, reading=Reading(share=1), progress=SilentProgress()).damage) == 1
    freed = Freed()
    Pruner(repo, SilentProgress()).sweep(freed)
    assert freed.mended == 1
    repo = house.open(reader=True)
    assert with_keys(repo, reading=Reading(share=1), progress=SilentProgress()).damage == []
    assert len(read_rows(repo, number, house.executor)[0]) == 20
