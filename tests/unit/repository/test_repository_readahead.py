"""Reading ahead: many requests in flight, in bounds, and the same bytes as without."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, BrokenBarrierError, Lock

import pytest

from support.repo import House, read_calls, read_rows, take
from tenure.domain.errors import IntegrityError
from tenure.objectstore.memory import MemoryStore
from tenure.repository import names, readahead
from tenure.repository.places import Place
from tenure.repository.readahead import InOrder, Pending, ReadAhead
from tenure.repository.repository import Repository
from tenure.repository.snapshotreader import Balance
from tenure.repository.tablereader import order_of

MONTH = "2026-01-01"
ROWS = {k: (MONTH, f"c{k % 5}", f"note {k} " + "x" * (k * 37 % 400)) for k in range(1, 301)}
NOISE = random.Random(1)
CALLS = {f"{i}.wav": (MONTH, f"c{i % 3}", NOISE.randbytes(4096 * 8 - i)) for i in range(1, 21)}
AT_ONCE = 4


class Crowd(MemoryStore):
    """A store that answers no range of a pack until so many of them are asked for at once."""

    def meet(self, parties: int) -> None:
        self.barrier = Barrier(parties)
        self.met, self.alone, self.seen = 0, 0, Lock()

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        if name.startswith(names.PACKS) and hasattr(self, "barrier"):
            try:
                self.barrier.wait(5)
                met = 1
            except BrokenBarrierError:  # the last few of all are fewer
                met = 0
            with self.seen:
                self.met += met
                self.alone += not met
        return super().get(name, offset=offset, length=length)


@pytest.fixture
def readers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(readahead.REQUESTS) as pool:
        yield pool


def across(repo: Repository, readers: ThreadPoolExecutor | None) -> Repository:
    """Return a repository whose packs lie across a network."""
    repo.place = replace(repo.place, readers=readers)
    return repo


def house_of(objects: MemoryStore | None = None) -> tuple[House, int]:
    house = House(objects=objects)
    house.create("crm")
    return house, take(house, ROWS, CALLS)


def short_ranges(monkeypatch: pytest.MonkeyPatch, *, ahead: int = 1 << 20) -> None:
    monkeypatch.setattr(readahead, "NETWORK_SPAN_BYTES", 8192)
    monkeypatch.setattr(readahead, "AHEAD_BYTES", ahead)


def test_rows_and_recordings_are_the_same_across_a_network(
    monkeypatch: pytest.MonkeyPatch, readers: ThreadPoolExecutor
) -> None:
    house, number = house_of()
    near, far = (across(house.open(reader=True), pool) for pool in (None, readers))
    assert read_rows(near, number, house.executor)[0] == {k: r[1:] for k, r in ROWS.items()}
    short_ranges(monkeypatch)
    for ahead in (1, 30_000, 1 << 20):
        monkeypatch.setattr(readahead, "AHEAD_BYTES", ahead)
        assert read_rows(far, number, house.executor)[0] == {k: r[1:] for k, r in ROWS.items()}
        assert read_calls(far, number, house.executor) == {p: c[2] for p, c in CALLS.items()}


def test_several_ranges_are_in_flight_at_once(
    monkeypatch: pytest.MonkeyPatch, readers: ThreadPoolExecutor
) -> None:
    crowd = Crowd(House().clock)
    house, number = house_of(crowd)
    short_ranges(monkeypatch)
    repo = across(house.open(reader=True), readers)
    reader = repo.read(number, house.executor)
    ((cohort, meta), *_) = list(reader.recordings("calls", Balance()))
    crowd.meet(AT_ONCE)
    assert b"".join(map(bytes, reader.pieces(cohort, meta))) == CALLS[meta.recording.path.decode()][2]
    assert crowd.met >= AT_ONCE


def test_no_more_is_asked_for_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, readers: ThreadPoolExecutor
) -> None:
    house, number = house_of()
    room = 3 * 4096
    short_ranges(monkeypatch, ahead=room)
    reader = across(house.open(reader=True), readers).read(number, house.executor)
    pairs = list(reader.recordings("calls", Balance()))
    asked: list[int] = []
    begin = ReadAhead.begin

    def counted(self: ReadAhead, group: list[Place]) -> Pending:
        asked.append(sum(place.plain for place in group))
        return begin(self, group)

    monkeypatch.setattr(ReadAhead, "begin", counted)
    taken = 0
    for piece in reader.pieces(*pairs[0]):
        taken += len(piece)
        assert sum(asked) <= taken + room + 4096  # the last one asked for may reach beyond
    assert sum(asked) == taken


def test_what_was_not_told_ahead_or_is_asked_for_twice_is_brought_all_the_same(
    readers: ThreadPoolExecutor,
) -> None:
    house, number = house_of()
    reader = across(house.open(reader=True), readers).read(number, house.executor)
    (tree,) = reader.trees("notes")
    first, *others = list(order_of(tree))
    fetch = InOrder(reader.ahead, tree.cohort, [*others, *others], house.executor)
    plain = {ref: reader.chunks.fetch(tree.cohort, ref) for ref in (first, *others)}
    assert fetch(others[1]) == plain[others[1]]
    assert fetch(first) == plain[first]
    assert fetch(others[0]) == plain[others[0]]
    assert fetch(others[1]) == plain[others[1]]


@pytest.mark.parametrize("far", [False, True])
def test_a_pack_that_is_lost_is_told(far: bool, readers: ThreadPoolExecutor) -> None:
    house, number = house_of()
    reader = across(house.open(reader=True), readers if far else None).read(number, house.executor)
    pairs = list(reader.recordings("calls", Balance()))
    assert house.objects is not None
    for info in list(house.objects.list(names.PACKS)):
        house.objects.delete(info.name)
    with pytest.raises(IntegrityError, match="is missing from the object store"):
        list(reader.pieces(*pairs[0]))
