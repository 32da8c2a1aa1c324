"""What every store that locks objects promises, the wrappers that lock and split among them."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.clock import FixedClock
from support.s3server import Server
from tenure.bootstrap.clock import SystemClock
from tenure.domain.errors import ConfigError, ObjectLockedError, ObjectNotFoundError, ObjectStoreError
from tenure.objectstore.base import LockingStore, locking
from tenure.objectstore.file import FileStore
from tenure.objectstore.locked import LockedStore
from tenure.objectstore.memory import MemoryStore
from tenure.objectstore.s3 import S3Store
from tenure.objectstore.split import SplitStore

_prefixes = itertools.count(1)


def _memory(request: pytest.FixtureRequest) -> LockingStore:
    return MemoryStore(FixedClock(datetime.now(UTC)))


def _split(request: pytest.FixtureRequest) -> LockingStore:
    clock = FixedClock(datetime.now(UTC))
    return SplitStore(MemoryStore(clock), MemoryStore(clock), prefixes=("ledger/",))


def _bucket(request: pytest.FixtureRequest) -> LockingStore:
    server: Server = request.getfixturevalue("s3_server")
    bucket: str = request.getfixturevalue("s3_locked_bucket")
    settings = server.settings(bucket, prefix=f"locks-{next(_prefixes)}/", lock="GOVERNANCE")
    return S3Store(settings, SystemClock())


Make = Callable[[pytest.FixtureRequest], LockingStore]


@pytest.fixture(params=[_memory, _split, _bucket])
def store(request: pytest.FixtureRequest) -> LockingStore:
    make: Make = request.param
    return make(request)


def in_days(store: LockingStore, days: float) -> datetime:
    return (store.now() + timedelta(days=days)).replace(microsecond=0)


class TestLockingStore:
    def test_what_was_put_under_a_lock_stays_and_says_until_when(self, store: LockingStore) -> None:
        until = in_days(store, 2)
        store.put("data/1", b"kept", until=until)
        with pytest.raises(ObjectLockedError, match="data/1 is under a lock") as told:
            store.delete("data/1")
        assert told.value.until == store.stat("data/1").until == until
        assert store.get("data/1") == b"kept"
        assert [i.name for i in store.list("data/")] == ["data/1"]

    def test_a_lock_is_made_longer_and_never_shorter(self, store: LockingStore) -> None:
        store.put("data/1", b"kept")
        assert store.stat("data/1").until is None
        for days, lasts in ((2, 2), (5, 5), (1, 5)):
            store.lock("data/1", in_days(store, days))
            until = store.stat("data/1").until
            assert until is not None
            assert abs(until - in_days(store, lasts)) < timedelta(seconds=30)

    def test_a_legal_hold_has_no_end_until_it_is_lifted(self, store: LockingStore) -> None:
        store.put("data/1", b"kept")
        store.hold("data/1", on=True)
        with pytest.raises(ObjectLockedError) as told:
            store.delete("data/1")
        assert told.value.until is None
        store.hold("data/1", on=False)
        store.delete("data/1")
        with pytest.raises(ObjectNotFoundError):
            store.stat("data/1")

    def test_what_is_not_there_cannot_be_locked(self, store: LockingStore) -> None:
        with pytest.raises(ObjectNotFoundError):
            store.lock("data/none", in_days(store, 1))
        with pytest.raises(ObjectNotFoundError):
            store.hold("data/none", on=True)

    def test_a_store_locks_what_a_repository_puts_and_nothing_else(self, store: LockingStore) -> None:
        always = LockedStore(store, period=timedelta(days=3), prefixes=("data/", "snapshots/"))
        always.put("snapshots/1", b"")
        always.put("data/1", b"", until=in_days(store, 8))
        always.put("probe/1", b"")
        ends = [store.stat(name).until for name in ("snapshots/1", "data/1", "probe/1")]
        assert ends[0] is not None
        assert ends[1] is not None
        assert abs(ends[0] - in_days(store, 3)) < timedelta(seconds=30)
        assert abs(ends[1] - in_days(store, 8)) < timedelta(seconds=30)
        assert ends[2] is None
        always.delete("probe/1")
        with pytest.raises(ObjectLockedError):
            always.delete("snapshots/1")


def test_a_lock_that_is_over_lets_go() -> None:
    clock = FixedClock()
    store = MemoryStore(clock)
    store.put("data/1", b"", until=clock.now() + timedelta(days=1))
    clock.advance(days=1, seconds=1)
    store.delete("data/1")
    assert list(store.list("")) == []


def test_a_folder_refuses_to_lock_rather_than_not_to(tmp_path: Path) -> None:
    store = FileStore.create(tmp_path / "store", FixedClock())
    with pytest.raises(ObjectStoreError, match="folders have no locks"):
        store.put("data/1", b"", until=FixedClock().now())
    assert list(store.list("")) == []
    with pytest.raises(ConfigError, match="needs a store that locks objects"):
        locking(store, "`locks`")


def test_what_lies_apart_is_put_without_a_lock(tmp_path: Path) -> None:
    clock = FixedClock()
    apart = FileStore.create(tmp_path / "apart", clock)
    store = SplitStore(MemoryStore(clock), apart, prefixes=("ledger/",))
    store.put("ledger/1", b"entry", until=clock.now() + timedelta(days=1))
    store.lock("ledger/1", clock.now() + timedelta(days=1))
    store.hold("ledger/1", on=True)
    assert [i.name for i in apart.list("")] == ["ledger/1"]
    assert [i.name for i in store.main.list("")] == []
