"""A snapshot that is taken while a sweep, a prune or a repacking is at work: neither waits for, nor harms, the other."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

import pytest

from support.forgets import ORDER, forget, forgetting, house_with, keys_in, rows, scope_of
from support.repo import House, outcome, take, write_rows
from support.ruins import assert_sound
from tenure.domain.progress import SilentProgress
from tenure.objectstore.base import Buffer, ObjectInfo, ObjectStore
from tenure.repository import names, verify
from tenure.repository.keeping import KeepPolicy, plan_prune
from tenure.repository.page import open_index
from tenure.repository.pruning import Freed, Pruner
from tenure.repository.readback import Reading
from tenure.repository.repository import Repository


class Interrupting:
    """A store in which something happens right before, or right after, its first listing of a prefix."""

    def __init__(self, inner: ObjectStore, prefix: str, when: str, happens: Callable[[], None]) -> None:
        self._inner, self._prefix, self._when, self._happens = inner, prefix, when, happens
        self.happened = False

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        mine = prefix.startswith(self._prefix) and not self.happened
        self.happened |= mine
        if mine and self._when == "before":
            self._happens()
        found = list(self._inner.list(prefix))
        if mine and self._when == "after":
            self._happens()
        return iter(found)

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        return self._inner.put(name, content, until=until)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return self._inner.get(name, offset=offset, length=length)

    def stat(self, name: str) -> ObjectInfo:
        return self._inner.stat(name)

    def delete(self, name: str) -> None:
        self._inner.delete(name)

    def now(self) -> datetime:
        return self._inner.now()


def sweep(repo: Repository) -> None:
    Pruner(repo, SilentProgress()).sweep(Freed())


def prune(repo: Repository) -> None:
    plan = plan_prune(repo.state, KeepPolicy(last=2, daily=0, weekly=0, monthly=0, yearly=0))
    Pruner(repo, SilentProgress()).prune(plan)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("where", [names.PAGES, names.MANIFESTS, names.PACKS])
@pytest.mark.parametrize("work", [sweep, prune])
def test_a_snapshot_taken_meanwhile_is_whole(
    work: Callable[[Repository], None], where: str, when: str
) -> None:
    house, numbers = house_with(*(rows(*range(20), text=f"take {n}") for n in range(4)))
    house.clock.advance(hours=3)  # so that nothing is spared for its youth
    taken: list[int] = []
    now = rows(*range(5, 30), text="meanwhile")
    assert house.objects is not None
    inside = House(**{f: getattr(house, f) for f in house.__dataclass_fields__})

    def happens() -> None:
        taken.append(take(inside, now))

    stores = [house.objects, *house.key_stores]
    watched = Interrupting(stores[1 if where == names.PAGES else 0], where, when, happens)
    stores[1 if where == names.PAGES else 0] = watched
    outside = replace(house, objects=stores[0], key_stores=stores[1:])
    work(outside.open(reader=True))
    assert watched.happened
    assert keys_in(house, taken[0]) == set(now)
    for number in house.open(reader=True).state.snapshots:
        assert keys_in(house, number) == (set(now) if number == taken[0] else set(range(20)))
    assert set(house.open(reader=True).state.snapshots) >= {numbers[-1], taken[0]}
    assert_sound(house.open(reader=True), house)
    take(house, now)
    sweep(house.open(reader=True))
    assert_sound(house.open(reader=True), house)


@pytest.mark.parametrize("work", [sweep, prune])
def test_a_snapshot_that_began_before_and_ends_after_is_whole(work: Callable[[Repository], None]) -> None:
    house, _ = house_with(*(rows(*range(20), text=f"take {n}") for n in range(4)))
    house.clock.advance(hours=3)
    repo = house.open(reader=False)
    session = repo.begin("crm", house.executor, expires=6 * 3600, alone=True)
    now = rows(*range(5, 30), text="long")
    write_rows(repo, session, now)
    refs = session._put_pages(session.chunks.end())
    session.chunks.end = list  # type: ignore[method-assign]
    session._put_pages = lambda plain: refs  # type: ignore[method-assign]
    house.clock.advance(hours=2)
    work(house.open(reader=True))
    number = session.commit(outcome(house.clock.now()))
    assert keys_in(house, number) == set(now)
    assert_sound(house.open(reader=True), house)


@pytest.mark.parametrize("where", [names.PAGES, names.MANIFESTS, names.PACKS])
def test_what_a_prune_deletes_while_a_verification_looks_is_no_damage(where: str) -> None:
    house, _ = house_with(*(rows(*range(20), text=f"take {n}") for n in range(4)))
    house.clock.advance(hours=3)
    inside = House(**{f: getattr(house, f) for f in house.__dataclass_fields__})
    assert house.objects is not None
    stores, place = [house.objects, *house.key_stores], 1 if where == names.PAGES else 0
    stores[place] = Interrupting(stores[place], where, "after", lambda: prune(inside.open(reader=True)))
    assert_sound(house.open(reader=True), replace(house, objects=stores[0], key_stores=stores[1:]))
    assert len(house.open(reader=True).state.snapshots) == 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_snapshot_taken_while_leftovers_of_a_forgetting_are_deleted_is_whole(when: str) -> None:
    house, numbers = house_with(rows(*range(20)))
    scope = scope_of(house, 2)
    work = forgetting(house)
    judged = work.amend(work.order(scope, ORDER), scope, left=0)
    taken: list[int] = []
    now = rows(*range(5, 30), text="meanwhile")
    inside = House(**{f: getattr(house, f) for f in house.__dataclass_fields__})
    watched = Interrupting(house.key_stores[0], names.PAGES, when, lambda: taken.append(take(inside, now)))
    outside = replace(house, key_stores=[watched, *house.key_stores[1:]])
    finishing = forgetting(outside)
    finishing.finish(judged, finishing.carry_out(judged), certificate="c")
    assert watched.happened
    assert keys_in(house, numbers[0]) == set(range(20)) - {2}
    assert keys_in(house, taken[0]) == set(now)
    assert_sound(house.open(reader=True), house)


def test_a_page_that_is_replaced_while_a_verification_asks_for_it_is_no_damage() -> None:
    house, _ = house_with(rows(*range(20)))
    (old,) = (p for p in _names(house, 0) if _holds_rows(house, p))
    inside = House(**{f: getattr(house, f) for f in house.__dataclass_fields__})

    class Late(Interrupting):
        """Has a record forgotten right before its page is read."""

        def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
            if name == old and not self.happened:
                self.happened = True
                forget(inside, scope_of(house, 2))
            return super().get(name, offset=offset, length=length)

    late = Late(house.key_stores[0], "none", "before", lambda: None)
    reading = replace(house, key_stores=[late, house.key_stores[1]]).open(reader=True)
    found = verify.with_keys(reading, reading=Reading(share=1), progress=SilentProgress())
    assert late.happened
    assert found.damage == []


def test_a_page_that_is_forgotten_while_it_is_copied_back_does_not_stay() -> None:
    house, numbers = house_with(rows(*range(20)))
    (old,) = (p for p in _names(house, 1) if p in _names(house, 0) and _holds_rows(house, p))
    house.key_stores[0].delete(old)
    inside = House(**{f: getattr(house, f) for f in house.__dataclass_fields__})

    class Late(Interrupting):
        """Has the record forgotten right before the copy of its page is put."""

        def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
            if name == old and not self.happened:
                self.happened = True
                forget(inside, scope_of(house, 2))
            return super().put(name, content, until=until)

    late = Late(house.key_stores[0], "none", "before", lambda: None)
    sweep(replace(house, key_stores=[late, house.key_stores[1]]).open(reader=True))
    assert late.happened
    assert old not in _names(house, 0) | _names(house, 1)
    assert keys_in(house, numbers[0]) == set(range(20)) - {2}


def _names(house: House, store: int) -> set[str]:
    return {info.name for info in house.key_stores[store].list(names.PAGES)}


def _holds_rows(house: House, name: str) -> bool:
    repo = house.open(reader=True)
    (state,) = (p for p in repo.state.pages.values() if p.ref.page.hex() in name)
    cohort, _, _ = open_index(repo.place.key_stores.get(state.ref), repo.keys_of(state.ref.writer))
    return cohort.data_set == "notes"
