"""The fault injector itself: a fault that never strikes, or strikes elsewhere, would prove nothing."""

import pytest

from support.clock import FixedClock
from support.faults import Died, FaultPlan, FaultyStore, flip, lose, swap, truncate
from tenure.domain.errors import ObjectNotFoundError, StoreUnavailableError, TruncatedError
from tenure.objectstore.memory import MemoryStore


@pytest.fixture
def inner() -> MemoryStore:
    store = MemoryStore(FixedClock())
    store.put("a", b"aaaa")
    store.put("b", b"bbbb")
    return store


def test_calls_are_counted_over_all_stores_of_a_plan(inner: MemoryStore) -> None:
    plan = FaultPlan(at=3)
    one, other = FaultyStore(inner, plan), FaultyStore(MemoryStore(FixedClock()), plan)
    one.get("a")
    other.put("x", b"")
    with pytest.raises(Died):
        one.put("c", b"")
    assert plan.journal == ["get a", "put x", "put c"]
    plan.assert_used()
    assert [info.name for info in inner.list("")] == ["a", "b"]


def test_dying_after_a_call_leaves_its_effect(inner: MemoryStore) -> None:
    plan = FaultPlan(at=1, when="after")
    with pytest.raises(Died):
        FaultyStore(inner, plan).put("c", b"")
    assert inner.stat("c").size == 0
    plan.assert_used()


def test_a_chosen_error_is_raised_once(inner: MemoryStore) -> None:
    plan = FaultPlan(at=2, error=StoreUnavailableError("busy"), methods=frozenset({"delete"}), prefix="b")
    store = FaultyStore(inner, plan)
    store.delete("b1")
    store.delete("a1")
    with pytest.raises(StoreUnavailableError, match="busy"):
        store.delete("b")
    store.delete("b")
    plan.assert_used()


def test_a_fault_that_never_struck_fails_the_test(inner: MemoryStore) -> None:
    plan = FaultPlan(at=2)
    FaultyStore(inner, plan).get("a")
    with pytest.raises(AssertionError, match="never struck"):
        plan.assert_used()


def test_reads_are_damaged_and_the_object_is_not(inner: MemoryStore) -> None:
    plan = FaultPlan(damage=flip(-1), prefix="a")
    store = FaultyStore(inner, plan)
    assert store.get("b") == b"bbbb"
    assert not plan.used
    assert store.get("a") == b"aaa`"
    assert store.get("a", offset=3, length=1) == b"`"
    assert inner.get("a") == b"aaaa"
    plan.assert_used()


def test_a_truncated_object_misses_its_end(inner: MemoryStore) -> None:
    store = FaultyStore(inner, FaultPlan(damage=truncate(2)))
    assert store.get("a") == b"aa"
    with pytest.raises(TruncatedError):
        store.get("a", offset=1, length=2)


def test_objects_are_swapped_and_lost(inner: MemoryStore) -> None:
    swapped = FaultyStore(inner, FaultPlan(damage=swap(inner, "a", "b")))
    assert (swapped.get("a"), swapped.get("b")) == (b"bbbb", b"aaaa")
    plan = FaultPlan(damage=lose("a"))
    with pytest.raises(ObjectNotFoundError):
        FaultyStore(inner, plan).get("a")
    plan.assert_used()


def test_a_new_object_may_stay_invisible_for_some_calls(inner: MemoryStore) -> None:
    plan = FaultPlan(hidden=2)
    store = FaultyStore(inner, plan)
    store.put("c", b"")
    assert [info.name for info in store.list("")] == ["a", "b"]
    with pytest.raises(ObjectNotFoundError):
        store.stat("c")
    assert store.stat("c").size == 0
    plan.assert_used()
