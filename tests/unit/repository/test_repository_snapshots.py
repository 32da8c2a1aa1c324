"""Snapshots: taken by a writer that cannot read, read back whole, and only what changed is stored."""

import os

import pytest

from support.repo import House, read_calls, read_rows, take
from tenure.domain.errors import KeyMismatchError, LeasedError
from tenure.repository import names
from tenure.repository.repository import Repository, Rights


def rows(count: int, *, start: int = 0) -> dict[int, tuple[str, str, str]]:
    return {
        k: (f"2025-{k % 12 + 1:02}", f"c{k % 7}", f"note {k} " + "x" * (k % 90))
        for k in range(start, start + count)
    }


def plain(model: dict[int, tuple[str, str, str]]) -> dict[int, tuple[str, str]]:
    return {k: (c, t) for k, (_, c, t) in model.items()}


def calls(count: int) -> dict[str, tuple[str, str, bytes]]:
    return {
        f"2025/{k:04}.wav": (f"2025-{k % 12 + 1:02}", f"c{k % 7}", os.urandom(k * 997 % 20_000))
        for k in range(count)
    }


def test_every_snapshot_reads_back_as_it_was_taken() -> None:
    house = House()
    house.create("crm")
    first, second = rows(500), rows(500) | {3: ("2025-04", "c3", "changed")}
    del second[9]
    media = calls(30)
    numbers = [take(house, first, media), take(house, second, media)]
    repo = house.open(reader=True)
    assert [read_rows(repo, n, house.executor)[0] for n in numbers] == [plain(first), plain(second)]
    assert read_calls(repo, numbers[1], house.executor) == {p: c[2] for p, c in media.items()}


def test_an_unchanged_snapshot_stores_no_chunk_again() -> None:
    house = House()
    house.create("crm")
    media = calls(30)
    take(house, rows(500), media)
    assert house.objects is not None
    before = {i.name for i in house.objects.list(names.PACKS)}
    take(house, rows(500), media)
    assert {i.name for i in house.objects.list(names.PACKS)} == before


def test_a_writer_can_open_nothing_that_it_wrote() -> None:
    house = House()
    house.create("crm")
    number = take(house, rows(50), calls(3))
    writer_only = house.open(reader=False)
    with pytest.raises(KeyMismatchError):
        read_rows(writer_only, number, house.executor)
    with pytest.raises(KeyMismatchError):
        read_calls(writer_only, number, house.executor)


def test_a_second_run_on_the_same_source_is_refused_while_the_first_is_at_work() -> None:
    house = House()
    house.create("crm")
    house.open(reader=False).begin("crm", house.executor, expires=3600)
    with pytest.raises(LeasedError):
        take(house, rows(5), alone=False)


def test_a_session_that_outlived_its_time_does_not_commit() -> None:
    house = House()
    house.create("crm")
    repo = house.open(reader=False)
    session = repo.begin("crm", house.executor, expires=60)
    house.clock.advance(minutes=2)
    from support.repo import outcome, write_rows

    write_rows(repo, session, rows(5))
    with pytest.raises(LeasedError):
        session.commit(outcome(house.clock.now()))
    assert not house.open(reader=True).state.snapshots


def test_a_source_that_had_a_writer_gets_another_only_where_its_tags_are_known() -> None:
    house = House()
    house.create("crm")
    house.open(reader=True).remove("crm", "stolen")
    rights = Rights(writers=house.writers, purge=house.purge)
    blind = Repository.open(house.place(), house.pins(), rights)
    with pytest.raises(KeyMismatchError, match="needs the reading key"):
        blind.admit("crm")
    tags = house.writers["crm"].secrets.tags
    assert house.open(reader=True).admit("crm").secrets.tags == tags
