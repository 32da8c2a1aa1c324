"""A repository that was copied somewhere else, and so has other times on its objects, says the same."""

from support.repo import House, identities, read_calls, read_rows, take
from tenure.domain.progress import SilentProgress
from tenure.objectstore.base import ObjectStore
from tenure.objectstore.memory import MemoryStore
from tenure.repository import wire
from tenure.repository.forgetting import Forgetting, Order
from tenure.repository.headfile import HeadInMemory
from tenure.repository.scopes import Scope


def copied(house: House, store: ObjectStore) -> MemoryStore:
    copy = MemoryStore(house.clock)
    for info in list(store.list("")):
        copy.put(info.name, store.get(info.name))
    return copy


def test_a_copy_made_months_later_is_the_same_repository() -> None:
    house = House()
    house.create("crm")
    rows = {k: ("2025-01", f"c{k % 3}", f"note {k}") for k in range(40)}
    calls = {f"{k}.wav": ("2025-01", f"c{k % 3}", bytes([k]) * 500) for k in range(6)}
    first = take(house, rows, calls)
    house.clock.advance(days=7)
    repo = house.open(reader=True)
    forgetting = Forgetting(repo, house.executor, SilentProgress())
    scopes = {"crm": Scope(records={"notes": identities(repo, "crm", [b"i3", b"i4"])})}
    intent = forgetting.order(scopes, Order(kind="purge", plan=b"p", rules=b"r", approvals=()))
    judged = forgetting.amend(intent, scopes, left=0)
    forgetting.finish(judged, forgetting.carry_out(judged), certificate="c")
    house.clock.advance(days=7)
    second = take(house, {k: v for k, v in rows.items() if k not in {3, 4}}, calls)
    before = house.open(reader=True)
    expected = {n: read_rows(before, n, house.executor)[0] for n in (first, second)}

    house.clock.advance(days=200)
    assert house.objects is not None
    house.objects = copied(house, house.objects)
    house.key_stores = [copied(house, s) for s in house.key_stores]
    house.memory = HeadInMemory()
    after = house.open(reader=True)
    assert wire.encode(after.state) == wire.encode(before.state)
    assert {n: read_rows(after, n, house.executor)[0] for n in (first, second)} == expected
    assert read_calls(after, second, house.executor) == {p: c[2] for p, c in calls.items()}
