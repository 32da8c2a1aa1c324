"""What every object store, and every wrapper around one, promises."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.clock import FixedClock
from support.faults import FaultPlan, FaultyStore
from support.s3server import Server
from tenure.bootstrap.clock import SystemClock
from tenure.domain.errors import ObjectNotFoundError, PreconditionFailedError, TruncatedError
from tenure.objectstore.base import ObjectInfo, ObjectStore
from tenure.objectstore.file import FileStore
from tenure.objectstore.locked import LockedStore
from tenure.objectstore.memory import MemoryStore
from tenure.objectstore.metered import Meter, MeteredStore
from tenure.objectstore.s3 import S3Store
from tenure.objectstore.split import SplitStore

BAD_NAMES = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.b", ".tmp/x", "a b", "a\\b", "a\x00b", "a\nb", "a\n",
    "caf\u00e9", "a" * 241, "/".join(["a" * 100] * 6),
]  # fmt: skip

parts = st.text("ab-.0~", min_size=1, max_size=3).filter(lambda part: not part.startswith("."))
names = st.lists(parts, min_size=1, max_size=3).map("/".join)


def _memory(folder: Path, clock: FixedClock) -> ObjectStore:
    return MemoryStore(clock)


def _file(folder: Path, clock: FixedClock) -> ObjectStore:
    return FileStore.create(folder / "store", clock)


def _file_with_temporary_names(folder: Path, clock: FixedClock) -> ObjectStore:
    store = FileStore.create(folder / "store", clock)
    store._nameless = False  # as on file systems without O_TMPFILE
    return store


def _wrapped(folder: Path, clock: FixedClock) -> ObjectStore:
    return FaultyStore(MemoryStore(clock), FaultPlan())


def _split(folder: Path, clock: FixedClock) -> ObjectStore:
    return SplitStore(MemoryStore(clock), MemoryStore(clock), prefixes=("ledger/", "a"))


def _locked(folder: Path, clock: FixedClock) -> ObjectStore:
    return LockedStore(MemoryStore(clock), period=timedelta(days=9), prefixes=("nothing of this suite",))


def _metered(folder: Path, clock: FixedClock) -> ObjectStore:
    return MeteredStore(MemoryStore(clock), Meter())


Make = Callable[[Path, FixedClock], ObjectStore]
S3 = ["s3", "s3 with versions"]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture(params=[_memory, _file, _file_with_temporary_names, _wrapped, _split, _locked, _metered, *S3])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FixedClock) -> ObjectStore:
    if request.param in S3:
        return _bucket(request, versioned=request.param == S3[1])
    make: Make = request.param
    return make(tmp_path, clock)


@pytest.fixture
def conditional(request: pytest.FixtureRequest, store: ObjectStore) -> None:
    """Leave out a server of which it is known that it replaces objects in buckets with versions (docs/object-storage.md)."""
    if isinstance(store, S3Store) and request.node.callspec.params["store"] == S3[1]:
        server: Server = request.getfixturevalue("s3_server")
        if not server.conditions:
            pytest.skip("this server heeds no condition in buckets with versions; the probe finds that out")


def _bucket(request: pytest.FixtureRequest, *, versioned: bool) -> ObjectStore:
    """Return a store below a prefix of its own: a server takes seconds to make room for a new bucket."""
    server: Server = request.getfixturevalue("s3_server")
    bucket: str = request.getfixturevalue("s3_versioned_bucket" if versioned else "s3_bucket")
    prefix = f"{next(_prefixes)}/"
    return S3Store(server.settings(bucket, prefix=prefix, all_versions=versioned), SystemClock())


_prefixes = itertools.count(1)


def alike(store: ObjectStore, found: list[ObjectInfo], put: list[ObjectInfo]) -> bool:
    """Whether these are the same objects; an S3 server counts whole seconds, and tells a put's time by its answer's."""
    if not isinstance(store, S3Store):
        return found == put
    near = all(abs(f.modified - p.modified) <= timedelta(seconds=1) for f, p in zip(found, put, strict=True))
    return near and [(f.name, f.size) for f in found] == [(p.name, p.size) for p in put]


class TestObjectStore:
    @pytest.mark.parametrize("size", [0, 1, 70_000])
    def test_what_was_put_comes_back(self, store: ObjectStore, size: int) -> None:
        content = bytes(range(256)) * (size // 256 + 1)
        info = store.put("data/ab/1", content[:size])
        assert store.get("data/ab/1") == content[:size]
        assert alike(store, [store.stat("data/ab/1")], [info])
        assert (info.name, info.size) == ("data/ab/1", size)

    def test_any_buffer_is_taken_and_may_be_reused_afterwards(self, store: ObjectStore) -> None:
        buffer = bytearray(b"0123456789")
        store.put("a", buffer)
        store.put("b", memoryview(buffer)[2:5])
        buffer[:] = b"x" * 10
        assert (store.get("a"), store.get("b")) == (b"0123456789", b"234")

    def test_a_name_is_written_once(self, store: ObjectStore, conditional: None) -> None:
        first = store.put("a", b"first")
        with pytest.raises(PreconditionFailedError, match="a exists already"):
            store.put("a", b"second")
        assert store.get("a") == b"first"
        assert alike(store, [store.stat("a")], [first])

    def test_of_many_puts_of_one_name_one_wins(self, store: ObjectStore, conditional: None) -> None:
        def put(number: int) -> int | None:
            try:
                store.put("ledger/1", str(number).encode() * 1000)
            except PreconditionFailedError:
                return None
            return number

        with ThreadPoolExecutor(8) as pool:
            won = [number for number in pool.map(put, range(32)) if number is not None]
        assert len(won) == 1
        assert store.get("ledger/1") == str(won[0]).encode() * 1000

    def test_a_range_comes_back(self, store: ObjectStore) -> None:
        store.put("a", b"0123456789")
        assert store.get("a", offset=3, length=4) == b"3456"
        assert store.get("a", offset=7) == b"789"
        assert store.get("a", length=0) == b""
        assert store.get("a", offset=10) == b""
        assert store.get("a", offset=10, length=0) == b""

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, 11), (9, 2), (10, 1), (11, None), (11, 0), (0, 1 << 60)]
    )
    def test_bytes_that_are_not_there_are_missed(
        self, store: ObjectStore, offset: int, length: int | None
    ) -> None:
        store.put("a", b"0123456789")
        with pytest.raises(TruncatedError, match="has 10 bytes"):
            store.get("a", offset=offset, length=length)

    @pytest.mark.parametrize(("offset", "length"), [(-1, None), (0, -1)])
    def test_a_negative_range_is_refused(self, store: ObjectStore, offset: int, length: int | None) -> None:
        store.put("a", b"0123456789")
        with pytest.raises(ValueError, match="negative"):
            store.get("a", offset=offset, length=length)

    @pytest.mark.parametrize("name", ["a", "folder", "folder/b", "folder/a/b"])
    def test_what_is_not_there_is_not_found(self, store: ObjectStore, name: str) -> None:
        store.put("folder/a", b"")
        with pytest.raises(ObjectNotFoundError, match=name):
            store.get(name)
        with pytest.raises(ObjectNotFoundError, match=name):
            store.stat(name)

    def test_what_was_deleted_is_gone_and_may_be_put_again(self, store: ObjectStore) -> None:
        store.put("keys/1", b"old")
        store.delete("keys/1")
        with pytest.raises(ObjectNotFoundError):
            store.get("keys/1")
        assert list(store.list("")) == []
        store.put("keys/1", b"new")
        assert store.get("keys/1") == b"new"

    @pytest.mark.parametrize("name", ["a", "folder/b", "elsewhere/b", "folder", "folder/a/b"])
    def test_deleting_what_is_not_there_is_fine_and_harms_nothing(
        self, store: ObjectStore, name: str
    ) -> None:
        store.put("folder/a", b"kept")
        store.delete(name)
        assert store.get("folder/a") == b"kept"

    def test_a_listing_is_in_the_order_of_characters_across_folders(self, store: ObjectStore) -> None:
        for name in ("a/b", "a-b", "a0", "b/c/d", "b/c-d", "B"):
            store.put(name, name.encode())
        assert [info.name for info in store.list("")] == ["B", "a-b", "a/b", "a0", "b/c-d", "b/c/d"]

    def test_a_listing_tells_sizes_and_dates(self, store: ObjectStore, clock: FixedClock) -> None:
        first = store.put("a/1", b"1")
        clock.advance(seconds=1, microseconds=123457)
        second = store.put("a/2", b"22")
        assert alike(store, list(store.list("a/")), [first, second])

    @pytest.mark.parametrize(
        ("prefix", "found"),
        [
            ("a", ["a/b1", "a/b2", "ab"]), ("a/", ["a/b1", "a/b2"]), ("a/b", ["a/b1", "a/b2"]), ("a/b2", ["a/b2"]),
            ("a/b2/", []), ("c", []), ("c/d", []), ("/", []), ("/a", []), ("../", []), ("..", []), (".", []), ("a//", []),
            (".tmp/", []), ("", ["a/b1", "a/b2", "ab"]),
        ],
    )  # fmt: skip
    def test_a_prefix_is_plain_text(self, store: ObjectStore, prefix: str, found: list[str]) -> None:
        for name in ("ab", "a/b2", "a/b1"):
            store.put(name, b"")
        assert [info.name for info in store.list(prefix)] == found

    def test_deleting_while_listing_disturbs_nothing(self, store: ObjectStore) -> None:
        for number in range(20):
            store.put(f"a/{number:02}", b"")
        seen = []
        for info in store.list("a/"):
            seen.append(info.name)
            store.delete(info.name)
        assert seen == [f"a/{number:02}" for number in range(20)]
        assert list(store.list("")) == []

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_a_bad_name_is_refused_everywhere(self, store: ObjectStore, name: str) -> None:
        with pytest.raises(ValueError, match="no object name"):
            store.put(name, b"")
        with pytest.raises(ValueError, match="no object name"):
            store.get(name)
        with pytest.raises(ValueError, match="no object name"):
            store.stat(name)
        with pytest.raises(ValueError, match="no object name"):
            store.delete(name)

    @pytest.mark.parametrize(
        "name", ["a" * 240, "/".join(["a" * 240, "b" * 240, "c" * 30]), "!#~", "a..b", "a."]
    )
    def test_a_name_at_the_limit_is_taken(self, store: ObjectStore, name: str) -> None:
        store.put(name, b"x")
        assert [info.name for info in store.list("")] == [name]

    def test_dates_are_of_the_stores_own_clock(self, store: ObjectStore, clock: FixedClock) -> None:
        if isinstance(store, S3Store):  # whose clock is the server's, which nobody sets here
            info = store.put("a", b"")
            assert info.modified.tzinfo is store.stat("a").modified.tzinfo is UTC
            assert abs(store.now() - store.stat("a").modified) < timedelta(seconds=10)
            return
        clock.advance(days=-400, microseconds=7)
        put_at = clock.now()
        info = store.put("a", b"")
        clock.advance(hours=1)
        assert info.modified == store.stat("a").modified == put_at
        assert info.modified.tzinfo is UTC
        assert store.now() - info.modified == timedelta(hours=1)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
    @given(wanted=st.sets(names, max_size=12), prefix=st.one_of(names, st.text("ab-./", max_size=4)))
    def test_a_listing_is_what_sorting_the_names_gives(
        self, store: ObjectStore, wanted: set[str], prefix: str
    ) -> None:
        if isinstance(store, S3Store):  # on some a name is taken for ever once it was a folder
            changed = replace(store.settings, prefix=f"{next(_prefixes)}/")
            store = S3Store(changed, SystemClock())
        kept = {name for name in wanted if not any(other.startswith(name + "/") for other in wanted)}
        for info in list(store.list("")):
            store.delete(info.name)
        for name in kept:
            _clear_way(store, name)
            store.put(name, b"")
        assert [info.name for info in store.list(prefix)] == sorted(n for n in kept if n.startswith(prefix))


def _clear_way(store: ObjectStore, name: str) -> None:
    """Remove the folder that an earlier example left at an object's name."""
    if isinstance(store, FileStore) and (store._root / name).is_dir():
        for path in sorted((store._root / name).rglob("*"), reverse=True):
            path.rmdir()
        (store._root / name).rmdir()
        store._synced.clear()
