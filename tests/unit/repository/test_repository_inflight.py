"""Many requests under way, and what is kept of what they brought."""

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing

import pytest

from support.forgets import house_with, rows
from tenure.domain.errors import IntegrityError
from tenure.objectstore.memory import MemoryStore
from tenure.objectstore.metered import Meter, MeteredStore
from tenure.repository.inflight import all_of, each
from tenure.repository.kept import Kept
from tenure.repository.model import ChunkKind, ChunkRef
from tenure.repository.pagesahead import PagesAhead
from tenure.repository.state import PageState


@pytest.fixture(params=[None, 1, 8])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor | None]:
    if request.param is None:
        yield None
        return
    with ThreadPoolExecutor(request.param) as threads:
        yield threads


def test_answers_come_in_the_order_of_the_questions(executor: Executor | None) -> None:
    assert all_of(executor, lambda n: n * n, range(300)) == [n * n for n in range(300)]


def test_an_error_comes_where_its_item_stands_and_what_was_under_way_has_ended(
    executor: Executor | None,
) -> None:
    running, most = [0], [0]
    lock = threading.Lock()

    def work(number: int) -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            if number == 5:
                raise IntegrityError("the sixth")
            return number
        finally:
            with lock:
                running[0] -= 1

    taken: list[int] = []
    with pytest.raises(IntegrityError, match="the sixth"):  # noqa: PT012 - the loop is what raises
        for answer in each(executor, work, range(50)):
            taken.append(answer)  # noqa: PERF402 - what came before the error counts
    assert taken == [0, 1, 2, 3, 4]
    assert running == [0]
    assert most[0] >= 1


def test_nothing_is_under_way_after_a_reader_stops(executor: Executor | None) -> None:
    begun, ended = [0], [0]

    def work(number: int) -> int:
        begun[0] += 1
        ended[0] += 1
        return number

    with closing(each(executor, work, range(10_000), ahead=4)) as answers:
        assert next(answers) == 0
    assert begun == ended
    assert begun[0] <= 12


def test_no_more_is_asked_ahead_than_was_said() -> None:
    asked = [0]

    def items() -> Iterator[int]:
        for number in range(100):
            asked[0] += 1
            yield number

    with ThreadPoolExecutor(4) as threads:
        for taken, _ in enumerate(each(threads, lambda n: n, items(), ahead=8)):
            assert asked[0] <= taken + 8


class Placed:
    def __init__(self, offset: int, kind: ChunkKind = ChunkKind.ROWS) -> None:
        self.pack, self.offset, self.kind = b"p" * 32, offset, kind


def test_what_is_kept_stays_within_its_bytes_and_what_was_used_last_stays_longest() -> None:
    kept = Kept(chunks=10)
    kept.keep(Placed(1), b"12345")
    kept.keep(Placed(2), b"12345")
    assert kept.sealed(Placed(1)) == b"12345"
    kept.keep(Placed(3), b"123")
    assert kept.sealed(Placed(2)) is None
    assert kept.sealed(Placed(1)) == b"12345"
    kept.keep(Placed(1), b"1")  # in place of what was there
    kept.keep(Placed(4), b"123456")
    assert [kept.sealed(Placed(n)) for n in (1, 3, 4)] == [b"1", b"123", b"123456"]
    kept.drop(Placed(4))
    assert kept.sealed(Placed(4)) is None


def test_companions_do_not_drive_out_chunks() -> None:
    kept = Kept(chunks=10, companions=10)
    kept.keep(Placed(1), b"0123456789")
    kept.keep(Placed(2, ChunkKind.COMPANION), b"0123456789")
    assert kept.sealed(Placed(1)) is not None


def test_a_denial_is_of_one_question_and_one_incarnation() -> None:
    kept, ref = Kept(), ChunkRef(b"i" * 16, b"a" * 8)
    kept.denied(b"who", ref)
    assert kept.denies(b"who", ref)
    assert not kept.denies(b"else", ref)
    assert not kept.denies(b"who", ChunkRef(b"i" * 16, b"b" * 8))


def test_pages_are_read_once_however_often_they_are_asked_for(executor: Executor | None) -> None:
    house, _ = house_with(rows(1, 2), rows(1, 2, 3, month="2025-02"), rows(4, month="2025-03"))
    meter = Meter()
    house.key_stores = [MeteredStore(store, meter) for store in house.key_stores]
    repo = house.open(reader=True)
    pages = list(repo.state.pages.values())
    groups: list[tuple[PageState, list[object]]] = [(p, [p.ref]) for p in pages]
    ahead = PagesAhead(repo.place.key_stores, executor, repo.kept)
    for _ in range(2):
        for batch in ahead.batches(groups):  # type: ignore[arg-type]
            for page in batch:
                assert ahead.get(page.ref).header.page == ahead.get(page.ref).header.page == page.ref.page
    assert len(meter.take()) == len(pages)
    fresh = PagesAhead(repo.place.key_stores, executor)
    assert [p for batch in fresh.batches(groups) for p in batch] == pages  # type: ignore[arg-type]
    assert len(meter.take()) == len(pages)


def test_a_page_that_is_whole_nowhere_says_so_when_it_is_asked_for_and_not_before(
    executor: Executor | None,
) -> None:
    house, _ = house_with(rows(1, 2), rows(3, month="2025-02"))
    repo = house.open(reader=True)
    lost, *others = repo.state.pages.values()
    for store in house.key_stores:
        assert isinstance(store, MemoryStore)
        store.delete(next(i.name for i in store.list("") if lost.ref.page.hex() in i.name))
    ahead = PagesAhead(repo.place.key_stores, executor, repo.kept)
    (batch,) = ahead.batches([(p, [p.ref]) for p in (lost, *others)])
    for page in others:
        ahead.get(page.ref)
    with pytest.raises(IntegrityError, match="whole in no key store"):
        ahead.get(lost.ref)
    assert len(batch) == 1 + len(others)
