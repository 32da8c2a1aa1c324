"""Packs: what is put is where it is said to be; groups apart; buffers bounded; nobody waits for ever."""

import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import FixedClock
from support.repo import House, Rows, take
from tenure.crypto.hashing import content_hash
from tenure.domain.errors import StoreUnavailableError
from tenure.objectstore.base import Buffer, ObjectInfo
from tenure.objectstore.memory import MemoryStore
from tenure.repository import names
from tenure.repository.packs import HEADER_BYTES, MAGIC, OpenPack, Packer
from tenure.repository.page import open_index

PACK = 4096


@dataclass
class Put:
    """A chunk that was put. `pack` and `offset` as the packer said."""

    group: str
    content: bytes
    pack: OpenPack | None = None
    offset: int = 0

    def placed(self, pack: OpenPack, offset: int) -> None:
        self.pack, self.offset = pack, offset


@dataclass
class Filling:
    """A packer with a memory store behind it, and all that was put into it."""

    buffers: int = 3
    store: MemoryStore = field(default_factory=lambda: MemoryStore(FixedClock()))
    executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))
    puts: list[Put] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.packer = Packer(self.store, self.executor, pack_bytes=PACK, buffers=self.buffers)

    def put(self, group: str, content: bytes, *, companion: bool = False) -> None:
        one = Put(group, content)
        if companion:
            self.packer.add_tail(content, one.placed, group)
        else:
            slot = self.packer.reserve(len(content), group)
            slot.view[:] = content
            one.placed(slot.pack, slot.offset)
            self.packer.release(slot)
        self.puts.append(one)

    def end(self) -> dict[bytes, set[str]]:
        """Flush, check where everything is, and return pack -> groups."""
        self.packer.flush()
        self.executor.shutdown()
        groups: dict[bytes, set[str]] = {}
        taken: dict[bytes, list[tuple[int, int]]] = {}
        for one in self.puts:
            assert one.pack is not None
            pack, offset = one.pack.place(one.offset)
            found = self.store.get(names.pack(pack), offset=offset, length=len(one.content))
            assert found == one.content
            groups.setdefault(pack, set()).add(one.group)
            taken.setdefault(pack, []).append((offset, offset + len(one.content)))
        for pack, places in taken.items():
            raw = self.store.get(names.pack(pack))
            ends = [HEADER_BYTES, *(end for _, end in sorted(places))]
            assert [start for start, _ in sorted(places)] == ends[:-1], "chunks lie end to end"
            assert ends[-1] == len(raw)
            assert raw[: len(MAGIC)] == MAGIC
            assert content_hash(raw) == pack
            assert len(raw) <= PACK or len(places) == 1
        assert {names.pack(p) for p in groups} == {i.name for i in self.store.list(names.PACKS)}
        assert self.packer.packs_put == len(groups)
        return groups


SIZES = st.integers(1, 700) | st.integers(1, 5000)
CHUNKS = st.lists(st.tuples(st.sampled_from("abcdefgh"), SIZES, st.booleans()), max_size=120)


@settings(deadline=None)
@given(chunks=CHUNKS, buffers=st.integers(1, 4))
def test_every_chunk_is_where_the_packer_says_in_packs_of_their_own_names(
    chunks: list[tuple[str, int, bool]], buffers: int
) -> None:
    filling, random = Filling(buffers), Random(1)
    for group, size, companion in chunks:
        filling.put(group, random.randbytes(size), companion=companion)
    filling.end()


@settings(deadline=None)
@given(chunks=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 500)), max_size=200))
def test_packs_hold_one_group_but_for_small_remains_in_as_few_packs_as_they_need(
    chunks: list[tuple[str, int]],
) -> None:
    filling, random = Filling(buffers=4), Random(1)
    for group, size in chunks:
        filling.put(group, random.randbytes(size))
    groups = filling.end()
    sizes = {pack: filling.store.stat(names.pack(pack)).size for pack in groups}
    mixed = [pack for pack, found in groups.items() if len(found) > 1]
    small = [pack for pack, size in sizes.items() if size < PACK // 2]
    assert len(small) <= 1, "remains share a pack"
    # Each group's remains are under half a pack, so three groups' fill at most two packs.
    assert len(mixed) <= 2


def test_a_group_that_goes_on_fills_packs_of_its_own_while_others_begin_and_end() -> None:
    filling, random = Filling(), Random(1)
    for i in range(200):
        filling.put("large", random.randbytes(300))
        filling.put(f"small {i // 10}", random.randbytes(3))
    groups = filling.end()
    of_large = [found for found in groups.values() if "large" in found]
    assert sum(found == {"large"} for found in of_large) >= len(of_large) - 1


def test_companions_stand_at_the_end_of_their_groups_pack() -> None:
    filling = Filling()
    for i in range(5):
        filling.put("a", bytes([i]) * 50)
        filling.put("a", bytes([100 + i]) * 5, companion=True)
    (pack,) = filling.end()
    raw = filling.store.get(names.pack(pack))
    assert raw[HEADER_BYTES:] == b"".join(
        [bytes([i]) * 50 for i in range(5)] + [bytes([100 + i]) * 5 for i in range(5)]
    )


def test_no_pack_is_put_where_nothing_was_added() -> None:
    filling = Filling()
    assert filling.end() == {}


def test_equal_chunks_make_packs_of_different_names() -> None:
    one, other = Filling(), Filling()
    for filling in (one, other):
        filling.put("a", b"the same")
    assert not set(one.end()) & set(other.end())


@dataclass
class SlowStore:
    """Holds every put until it is told to go on, then counts what comes."""

    go: Event = field(default_factory=Event)
    seen: int = 0
    failing: bool = False

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        assert self.go.wait(30)
        if self.failing:
            raise StoreUnavailableError("the store is down")
        self.seen += len(content)
        return ObjectInfo(name=name, size=len(content), modified=FixedClock().now())


@pytest.mark.parametrize("groups", [1, 2, 40])
def test_buffers_stay_below_their_bound_however_many_groups_there_are(groups: int) -> None:
    size, buffers = 1 << 20, 3
    store = SlowStore()
    store.go.set()
    with ThreadPoolExecutor(2) as executor:
        packer = Packer(store, executor, pack_bytes=size, buffers=buffers)  # type: ignore[arg-type]
        tracemalloc.start()
        try:
            for i in range(600):
                slot = packer.reserve(30_000, i % groups)
                packer.release(slot)
            packer.flush()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert store.seen > 600 * 30_000
    # One more for the pack that remains are gathered in.
    assert peak < (buffers + 1) * size + 200_000


def fill(packer: Packer, thread: int, count: int) -> Sequence[Put]:
    random, puts = Random(thread), []
    for i in range(count):
        one = Put(f"g{(thread + i) % 5}", random.randbytes(random.randrange(1, 900)))
        slot = packer.reserve(len(one.content), one.group)
        slot.view[:] = one.content
        one.placed(slot.pack, slot.offset)
        packer.release(slot)
        puts.append(one)
    return puts


def test_many_threads_fill_packs_of_many_groups_at_once() -> None:
    filling = Filling(buffers=2)
    with ThreadPoolExecutor(6) as threads:
        for puts in threads.map(lambda n: fill(filling.packer, n, 300), range(6)):
            filling.puts += puts
    filling.end()


def test_a_store_that_fails_is_told_to_those_who_wait_for_buffers_and_to_the_flush() -> None:
    store = SlowStore(failing=True)
    with ThreadPoolExecutor(2) as executor, ThreadPoolExecutor(1) as worker:
        packer = Packer(store, executor, pack_bytes=PACK, buffers=2)  # type: ignore[arg-type]
        waiting = worker.submit(fill, packer, 1, 100)
        store.go.set()
        with pytest.raises(StoreUnavailableError):
            waiting.result(30)
        with pytest.raises(StoreUnavailableError):
            packer.flush()


def test_the_packs_of_a_snapshot_hold_one_data_set_but_for_remains() -> None:
    house, random = House(), Random(2)
    house.create("crm")
    rows: Rows = {k: ("2025-01", f"c{k}", random.randbytes(150).hex()) for k in range(1500)}
    take(house, rows, {f"{i}.wav": ("2025-01", "c", random.randbytes(50_000)) for i in range(6)})
    repo = house.open(reader=True)
    found: dict[bytes, set[str]] = {}
    for state in repo.state.pages.values():
        page = repo.place.key_stores.get(state.ref)
        cohort, _, _ = open_index(page, repo.keys_of(state.ref.writer))
        for pack in page.header.packs:
            found.setdefault(pack, set()).add(cohort.data_set)
    assert len(found) > 5
    assert sum(len(data_sets) > 1 for data_sets in found.values()) <= 1
