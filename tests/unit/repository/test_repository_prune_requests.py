"""What a prune asks of the stores: each key page once, however many things it needs to know of it."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.repo import House, read_rows, take
from tenure.domain.progress import SilentProgress
from tenure.objectstore.metered import Meter, MeteredStore
from tenure.repository import names, pruning
from tenure.repository.keeping import KeepPolicy, plan_prune
from tenure.repository.pruning import Freed, Pruner
from tenure.repository.secrets import STRUCTURE

MONTHS = [f"2025-{month:02d}" for month in range(1, 13)]


@pytest.fixture(params=[None, 8])
def house(request: pytest.FixtureRequest) -> House:
    house = House(requests=None if request.param is None else ThreadPoolExecutor(request.param))
    house.create("crm")
    for extra in range(4):
        table = {k: (MONTHS[k % 12], f"c{k}", f"note {k}") for k in range(24 + extra)}
        take(house, table, {"a.wav": ("2025-01", "anna", b"a" * 5000)})
        house.clock.advance(days=1)
    return house


def pruned(house: House, last: int) -> Counter[str]:
    """Prune; return how often each key page was read."""
    meter, bare = Meter(), house.key_stores
    house.key_stores = [MeteredStore(s, meter) for s in bare]
    repo = house.open(reader=True)
    plan = plan_prune(repo.state, KeepPolicy(last=last, daily=0, weekly=0, monthly=0, yearly=0))
    Pruner(repo, SilentProgress()).prune(plan)
    house.key_stores = bare
    return Counter(r.name for r in meter.take() if r.method == "get")


def test_a_prune_that_drops_nothing_reads_each_page_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "LOOKED_AT", 0)
    asked = pruned(house, 10)
    assert len(asked) == len(house.open(reader=True).state.pages)
    tag = structure_tag(house)
    assert {n for name, n in asked.items() if f"/{tag}/" not in name} == {1}
    assert all(n <= 3 for n in asked.values()), "of structure, which snapshots' trees are read by, too"


def structure_tag(house: House) -> str:
    repo = house.open(reader=True)
    (writer,) = repo.state.writers_of("crm")
    return repo.keys_of(writer).tag(STRUCTURE).hex()


def test_of_pages_that_a_listing_shows_some_are_read_and_what_it_lacks_is_mended(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "LOOKED_AT", 5)
    repo = house.open(reader=True)
    lost, damaged = list(repo.state.pages.values())[:2]
    second = house.key_stores[1]
    second.delete(names.page(lost.ref.epoch, lost.ref.tag, lost.ref.page))
    name = names.page(damaged.ref.epoch, damaged.ref.tag, damaged.ref.page)
    raw = bytearray(second.get(name))
    raw[-1] ^= 1
    second.delete(name)
    second.put(name, raw)
    freed = Freed()
    Pruner(house.open(reader=True), SilentProgress()).sweep(freed)
    assert freed.mended >= 1
    tries = 0
    while house.key_stores[0].get(name) != second.get(name):
        Pruner(house.open(reader=True), SilentProgress()).sweep(freed)
        tries += 1
        assert tries < 200, "each sweep looks at others"
    assert freed.mended == 2


def test_what_a_prune_leaves_reads_as_before(house: House) -> None:
    numbers = sorted(house.open(reader=True).state.snapshots)
    pruned(house, 2)
    repo = house.open(reader=True)
    assert sorted(repo.state.snapshots) == numbers[-2:]
    for number, count in zip(numbers[-2:], (26, 27), strict=True):
        assert len(read_rows(repo, number, house.executor)[0]) == count
