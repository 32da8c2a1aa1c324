"""What forgetting asks of the stores: each chunk once, no deletion of a pack, as many requests with many threads."""

from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from support.forgets import ORDER, forget, forgetting, house_with, keys_in, rows, scope_of
from support.repo import House, take
from tenure.domain.errors import IntegrityError, ObjectLockedError, StoreUnavailableError
from tenure.objectstore.base import Buffer, ObjectInfo, ObjectStore
from tenure.objectstore.locked import LockedStore
from tenure.objectstore.memory import MemoryStore
from tenure.objectstore.metered import Meter, MeteredStore, counts
from tenure.operations.pagewalk import count_of, walk
from tenure.repository import names
from tenure.repository.secrets import STRUCTURE

MONTHS = [f"2025-{month:02d}" for month in range(1, 13)]


def year_of(house: House, snapshots: int) -> list[int]:
    """Take snapshots of two records each month, and of one more record each time."""
    numbers = []
    for extra in range(snapshots):
        table = {k: (MONTHS[k % 12], f"c{k}", f"note {k}") for k in range(24)}
        table |= {100 + n: (MONTHS[n % 12], f"c{n}", f"later {n}") for n in range(extra)}
        numbers.append(take(house, table))
    return numbers


def metered(house: House) -> Meter:
    meter = Meter()
    assert house.objects is not None
    house.objects = MeteredStore(house.objects, meter)
    house.key_stores = [MeteredStore(store, meter) for store in house.key_stores]
    return meter


def found(house: House, *keys: int) -> int:
    repo, scope = house.open(reader=True), scope_of(house, *keys)["crm"]
    return sum(count_of(p, scope.seen_by(p.cohort.data_set, p.view)) for p in walk(repo, "crm", ["notes"]))


@pytest.fixture(params=[None, 8])
def requests(request: pytest.FixtureRequest) -> Executor | None:
    return None if request.param is None else ThreadPoolExecutor(request.param)


def test_forgetting_reads_no_byte_of_a_pack_twice_and_deletes_none(requests: Executor | None) -> None:
    house = House(requests=requests)
    house.create("crm")
    numbers = year_of(house, 5)
    scope, meter = scope_of(house, 3, 7), metered(house)
    forget(house, scope)
    asked = meter.take()
    ranges = sorted((r.name, r.offset, r.length) for r in asked if (r.method, r.kind) == ("get", "data"))
    for (name, offset, length), (other, begins, _) in pairwise(ranges):
        assert name != other or offset + length <= begins
    assert not [r for r in asked if r.method == "delete" and r.name.startswith(names.PACKS)]
    assert not found(house, 3, 7)
    assert all(keys_in(house, n).isdisjoint({3, 7}) for n in numbers)


def test_forgetting_writes_replacements_for_touched_cohorts_only_and_names_them_with_one_entry(
    requests: Executor | None,
) -> None:
    house = House(requests=requests)
    house.create("crm")
    year_of(house, 4)
    work = forgetting(house)
    scope = scope_of(house, 3, 7)
    judged = work.amend(work.order(scope, ORDER), scope, left=0)
    meter = metered(house)
    went = forgetting(house).carry_out(judged)
    written = counts([r for r in meter.take() if r.method == "put"])
    assert written["put", "keys"] == 2 * 2  # a page of each of two cohorts, in two key stores
    assert written["put", "data"] == 1
    assert written["put", "ledger"] == 1
    assert went.pages == 2


@pytest.mark.parametrize("hold", [False, True])
def test_forgetting_works_where_packs_are_locked(hold: bool) -> None:
    house = House()
    inner = MemoryStore(house.clock)
    house.objects = LockedStore(inner, period=timedelta(days=3650), prefixes=(names.PACKS, names.MANIFESTS))
    house.create("crm")
    numbers = year_of(house, 3)
    packs = [info.name for info in inner.list(names.PACKS)]
    for pack in packs:
        inner.hold(pack, on=hold)
    forget(house, scope_of(house, 3))
    for pack in packs:
        with pytest.raises(ObjectLockedError):
            inner.delete(pack)
    assert not found(house, 3)
    assert all(keys_in(house, n).isdisjoint({3}) for n in numbers)


def test_a_damaged_cohort_does_not_keep_the_others_from_being_forgotten() -> None:
    house = House()
    house.create("crm")
    year_of(house, 2)
    scope = scope_of(house, *range(12))
    work = forgetting(house)
    judged = work.amend(work.order(scope, ORDER), scope, left=0)
    repo = house.open(reader=True)
    (writer,) = repo.state.writers_of("crm")
    structure = repo.keys_of(writer).tag(STRUCTURE)  # which a forgetting does not read
    groups = sorted({p.ref.tag for p in repo.state.pages.values()} - {structure})
    lost = writer, groups[len(groups) // 2]
    last = next(p for p in repo.state.pages.values() if (p.ref.writer, p.ref.tag) == lost)
    for store in house.key_stores:
        store.delete(names.page(last.ref.epoch, last.ref.tag, last.ref.page))
    with pytest.raises(IntegrityError, match="whole in no key store"):
        forgetting(house).carry_out(judged)
    left = house.open(reader=True).state
    carried = [p for p in left.pages.values() if p.number > judged.judged]
    assert {p.ref.tag for p in carried} == set(groups) - {lost[1]}


class Away(MemoryStore):
    """A key store that answers nothing from some moment on."""

    away = False

    def delete(self, name: str) -> None:
        if self.away:
            raise StoreUnavailableError("away")
        super().delete(name)

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        if self.away:
            raise StoreUnavailableError("away")
        return super().put(name, content, until=until)


def test_with_many_requests_a_key_store_that_is_down_is_named_and_the_others_go_on() -> None:
    house = House(requests=ThreadPoolExecutor(8))
    away = Away(house.clock)
    stores: list[ObjectStore] = [MemoryStore(house.clock), away]
    house.key_stores = stores
    house.create("crm")
    year_of(house, 3)
    scope, work = scope_of(house, 3, 7), forgetting(house)
    judged = work.amend(work.order(scope, ORDER), scope, left=0)
    away.away = True
    went = forgetting(house).carry_out(judged)
    assert went.pending == {"keys-1"}
    live = {p.ref.page.hex() for p in house.open(reader=True).state.pages.values()}
    there = {i.name.rsplit("/", 1)[-1] for i in stores[0].list(names.PAGES)}
    assert live <= there
    old = {i.name.rsplit("/", 1)[-1] for i in away.list(names.PAGES)} - live
    assert old
    assert not old & there - {r.page.hex() for r in judged.scopes}


@pytest.mark.parametrize("threads", [None, 8])
def test_a_repository_is_opened_with_each_ledger_entry_asked_for_once(threads: int | None) -> None:
    house = House(requests=None if threads is None else ThreadPoolExecutor(threads))
    house.create("crm")
    year_of(house, 20)
    meter = metered(house)
    state = house.open(reader=True).state
    asked = counts(meter.take())
    # Beside the entries: the newest, which names the checkpoint, and the one that is not there yet.
    assert asked["get", "ledger"] <= state.number + 2
    assert asked["stat", "ledger"] == 0


def test_a_ledger_of_which_an_entry_is_missing_is_not_read_past_it() -> None:
    house, _ = house_with(rows(1), rows(1, 2), rows(1, 2, 3))
    house.requests = ThreadPoolExecutor(4)
    assert isinstance(house.objects, MemoryStore)
    missing = house.open(reader=False).state.number - 2
    house.objects.delete(names.ledger_entry(missing))
    with pytest.raises(IntegrityError, match=f"entry {missing} is missing"):
        house.open(reader=False)


def test_of_a_cohort_with_many_pages_only_those_are_replaced_that_hold_what_is_forgotten(
    requests: Executor | None,
) -> None:
    house = House(requests=requests)
    house.create("crm")
    january = [rows(*range(100 * n, 100 * n + 90)) for n in range(4)]
    numbers = [take(house, {k: v for some in january[: n + 1] for k, v in some.items()}) for n in range(4)]
    before = {p.ref.page for p in house.open(reader=True).state.pages.values()}
    forget(house, scope_of(house, 205))
    after = {p.ref.page for p in house.open(reader=True).state.pages.values()}
    assert len(after - before) == 1
    assert len(before - after) <= 2, "the chunk of that row, and the one that a later snapshot cut elsewhere"
    assert not found(house, 205)
    assert all(205 not in keys_in(house, n) for n in numbers)
    assert keys_in(house, numbers[-1]) == {k for some in january for k in some} - {205}
