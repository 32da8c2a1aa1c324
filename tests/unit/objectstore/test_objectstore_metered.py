"""What is counted of what is asked of a store."""

import pytest

from support.clock import FixedClock
from tenure.domain.errors import ObjectNotFoundError
from tenure.objectstore.memory import MemoryStore
from tenure.objectstore.metered import PAGE_OF_LIST, Meter, MeteredStore, Request, counts


def metered() -> tuple[MeteredStore, Meter]:
    meter = Meter()
    return MeteredStore(MemoryStore(FixedClock()), meter), meter


def test_requests_are_counted_by_method_and_kind_of_object_with_their_bytes() -> None:
    store, meter = metered()
    store.put("data/a", b"abcdef")
    store.get("data/a", offset=1, length=3)
    store.stat("data/a")
    store.delete("data/a")
    store.now()
    assert meter.requests[1] == Request(method="get", name="data/a", offset=1, length=3)
    assert counts(meter.take()) == {
        ("put", "data"): 1,
        ("get", "data"): 1,
        ("stat", "data"): 1,
        ("delete", "data"): 1,
    }
    assert not meter.requests


def test_what_fails_was_asked_all_the_same() -> None:
    store, meter = metered()
    with pytest.raises(ObjectNotFoundError):
        store.get("data/a")
    assert meter.take() == [Request(method="get", name="data/a")]


@pytest.mark.parametrize(("objects", "requests"), [(0, 1), (1, 1), (PAGE_OF_LIST, 1), (PAGE_OF_LIST + 1, 2)])
def test_a_listing_is_a_request_for_every_thousand_objects(objects: int, requests: int) -> None:
    store, meter = metered()
    for number in range(objects):
        store.inner.put(f"a/{number}", b"")
    assert sum(1 for _ in store.list("a/")) == objects
    assert len(meter.requests) == requests
