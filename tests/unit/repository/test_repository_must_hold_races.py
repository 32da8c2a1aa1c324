"""Must hold: writers, forgettings, prunings and rotations that meet each other."""

import pytest

from support.forgets import (
    JANUARY,
    ORDER,
    begin,
    commit_without_asking,
    forget,
    forgetting,
    house_with,
    keys_in,
    rows,
    scope_of,
)
from support.repo import (
    House,
    outcome,
    take,
    write_rows,
)
from support.ruins import assert_nothing_unnamed_after_sweep, assert_sound
from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.errors import LeasedError, OvertakenError, StalePlanError
from tenure.domain.progress import SilentProgress
from tenure.objectstore.base import ObjectStore
from tenure.repository import rotation
from tenure.repository.content import CohortContent, rewriter_of
from tenure.repository.keeping import KeepPolicy, plan_prune
from tenure.repository.pruning import Pruner
from tenure.repository.repository import Repository
from tenure.repository.secrets import STRUCTURE
from tenure.repository.session import Session


def test_two_writers_that_race_for_a_ledger_number_both_commit() -> None:
    house = House()
    house.create("crm", "desk")
    one, other = house.open(reader=False), house.open(reader=False)
    first = one.begin("crm", house.executor, expires=60)
    second = other.begin("desk", house.executor, expires=60)
    write_rows(one, first, rows(1, 2))
    write_rows(other, second, rows(3))
    numbers = [first.commit(outcome(house.clock.now())), second.commit(outcome(house.clock.now()))]
    assert len(set(numbers)) == 2
    assert [keys_in(house, n) for n in numbers] == [{1, 2}, {3}]


def test_an_entry_whose_put_worked_and_was_answered_with_an_error_counts_once_under_its_own_number() -> None:
    house, _ = house_with(rows(1))
    repo = house.open(reader=False)
    assert house.objects is not None
    store: ObjectStore = house.objects

    class Deaf:
        """Answers the first put of a ledger entry as if somebody else had been faster, and lets another in."""

        struck = False

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def put(self, name: str, content: bytes, *, until: object = None) -> object:
            info = store.put(name, content)
            if name.startswith("ledger/") and not self.struck:
                self.struck = True
                house.open(reader=True).ledger.checkpoint(house.purge)
                return store.put(name, content)
            return info

    repo.ledger._store = Deaf()  # type: ignore[assignment]
    session = repo.begin("crm", house.executor, expires=60, alone=True)
    assert session.number in {s.number for s in repo.state.sessions.values()}
    assert session.number == repo.refresh().number - 1


def test_a_snapshot_whose_view_is_older_than_a_purge_is_void_and_starts_over() -> None:
    house, (old,) = house_with(rows(1, 2, 3))
    repo, session = begin(house)
    write_rows(repo, session, rows(1, 2, 3, 4))
    forget(house, scope_of(house, 2))
    with pytest.raises(OvertakenError):
        session.commit(outcome(house.clock.now()))
    assert list(house.open(reader=True).state.snapshots) == [old]
    new = take(house, rows(1, 3, 4))
    assert (keys_in(house, old), keys_in(house, new)) == ({1, 3}, {1, 3, 4})


@pytest.mark.parametrize("done", [False, True])
def test_the_ledger_voids_such_a_snapshot_even_when_its_writer_does_not_look(*, done: bool) -> None:
    house, (old,) = house_with(rows(1, 2, 3))
    repo, session = begin(house)
    write_rows(repo, session, rows(1, 2, 3, 4))
    if done:
        forget(house, scope_of(house, 2))
    else:
        forgetting(house).order(scope_of(house, 2), ORDER)
    with pytest.raises(LeasedError):
        commit_without_asking(repo, session)
    repo = house.open(reader=True)
    assert list(repo.state.snapshots) == [old]
    assert "overtaken" in repo.state.refused[repo.state.number]


def test_what_a_writer_put_for_a_voided_view_is_gone_before_the_forgetting_is_done() -> None:
    house, _ = house_with(rows(1, 2, 3))
    repo, session = begin(house)
    write_rows(repo, session, rows(1, 2, 3, 4, text="again"))
    refs = [session._put_page(page) for page in session.chunks.end()]
    forget(house, scope_of(house, 2))
    for store in house.key_stores:
        there = {i.name.rsplit("/", 1)[-1] for i in store.list("keys/")}
        assert not there & {r.page.hex() for r in refs}


def test_a_snapshot_begun_while_a_forgetting_is_open_builds_on_nothing_and_commits() -> None:
    house, (old,) = house_with(rows(*range(50)))
    work, scope = forgetting(house), scope_of(house, 2)
    found = work.amend(work.order(scope, ORDER), scope, left=0)
    repo, session = begin(house)
    went = work.carry_out(found)
    write_rows(repo, session, rows(*range(3, 60)))
    new = session.commit(outcome(house.clock.now()))
    work.finish(found, went, certificate="c")
    assert keys_in(house, new) == set(range(3, 60))
    assert keys_in(house, old) == set(range(50)) - {2}
    assert_sound(house.open(reader=True), house)


def test_a_writer_paused_beyond_its_session_commits_nothing_and_leaves_nothing() -> None:
    house, (old,) = house_with(rows(1))
    repo, session = begin(house, seconds=60)
    write_rows(repo, session, rows(1, 2))
    house.clock.advance(minutes=5)
    Pruner(house.open(reader=True), SilentProgress()).prune(
        plan_prune(house.open(reader=True).state, KeepPolicy())
    )
    with pytest.raises(LeasedError):
        session.commit(outcome(house.clock.now()))
    with pytest.raises(LeasedError):
        commit_without_asking(*begin_again(house, seconds=60, pause=5))
    assert list(house.open(reader=True).state.snapshots) == [old]
    assert_nothing_unnamed_after_sweep(house)


def begin_again(house: House, *, seconds: int, pause: int) -> tuple[Repository, Session]:
    repo, session = begin(house, seconds=seconds)
    write_rows(repo, session, rows(1, 2))
    house.clock.advance(minutes=pause)
    return repo, session


def test_a_lapsed_session_does_not_stop_pruning_for_ever() -> None:
    house, numbers = house_with(rows(1), rows(1, 2))
    begin(house, seconds=60)
    house.clock.advance(hours=1)
    repo = house.open(reader=True)
    plan = plan_prune(repo.state, KeepPolicy(last=1, daily=0, weekly=0, monthly=0, yearly=0))
    assert Pruner(repo, SilentProgress()).prune(plan).entries > 0
    assert house.open(reader=True).state.sessions == {}
    assert keys_in(house, numbers[1]) == {1, 2}


def test_a_rotation_that_read_pages_before_a_forgetting_does_not_bring_them_back() -> None:
    house, (number,) = house_with(rows(1, 2, 3))
    repo = house.open(reader=True)
    keys = repo.keys_of(house.writers["crm"].secrets.writer)
    pages = [p for p in repo.state.pages.values() if p.ref.tag == keys.tag(JANUARY)]
    rewriter = rewriter_of(repo)
    content = CohortContent.load(pages, keys, repo.place.key_stores, repo.unwrapper)
    forget(house, scope_of(house, 2))
    with pytest.raises(StalePlanError):
        rewriter.replace([content], cause="rotate")
    assert keys_in(house, number) == {1, 3}
    assert_nothing_unnamed_after_sweep(house)


def test_pages_of_a_source_are_not_rewritten_while_its_forgetting_is_open() -> None:
    house, (number,) = house_with(rows(1, 2, 3))
    work, scope = forgetting(house), scope_of(house, 2)
    found = work.amend(work.order(scope, ORDER), scope, left=0)
    repo = house.open(reader=True)
    keys = repo.keys_of(house.writers["crm"].secrets.writer)
    pages = [p for p in repo.state.pages.values() if p.ref.tag == keys.tag(STRUCTURE)]
    rewriter = rewriter_of(repo)
    content = CohortContent.load(pages, keys, repo.place.key_stores, repo.unwrapper)
    with pytest.raises(StalePlanError, match="forgetting"):
        rewriter.replace([content], cause="rotate")
    work.finish(found, work.carry_out(found), certificate="c")
    # Its new pages were put before the forgetting was done, which deleted them as unnamed.
    with pytest.raises(StalePlanError, match="forgetting"):
        rewriter.replace([content], cause="merge")
    assert keys_in(house, number) == {1, 3}
    assert_sound(house.open(reader=True), house)


def test_new_pages_that_waited_longer_than_sweeps_spare_them_never_become_live() -> None:
    house, (number,) = house_with(rows(1, 2, 3))
    repo = house.open(reader=True)
    keys = repo.keys_of(house.writers["crm"].secrets.writer)
    rewriter = rewriter_of(repo)
    content = CohortContent.load(repo.state.live_pages(frozenset({keys.writer}), keys.tag(JANUARY)), keys,
                                 repo.place.key_stores, repo.unwrapper)  # fmt: skip
    house.clock.advance(hours=2)
    with pytest.raises(StalePlanError, match="too long"):
        rewriter.replace([content], cause="merge")
    assert keys_in(house, number) == {1, 2, 3}
    assert_nothing_unnamed_after_sweep(house)


def test_a_sweep_spares_what_a_rewrite_just_put() -> None:
    house, (number,) = house_with(rows(1, 2, 3))
    repo, other = house.open(reader=True), house.open(reader=True)
    keys = repo.keys_of(house.writers["crm"].secrets.writer)
    rewriter = rewriter_of(repo)
    content = CohortContent.load(repo.state.live_pages(frozenset({keys.writer}), keys.tag(JANUARY)), keys,
                                 repo.place.key_stores, repo.unwrapper)  # fmt: skip
    append = repo.ledger.append

    def swept_first(*args: object, **named: object) -> object:
        Pruner(other, SilentProgress()).prune(plan_prune(other.refresh(), KeepPolicy()))
        return append(*args, **named)  # type: ignore[arg-type]

    repo.ledger.append = swept_first  # type: ignore[method-assign,assignment]
    rewriter.replace([content], cause="merge")
    assert keys_in(house, number) == {1, 2, 3}
    assert_sound(house.open(reader=True), house)


def test_a_snapshot_that_builds_on_what_was_pruned_meanwhile_is_void() -> None:
    house, numbers = house_with(rows(1, 2), rows(1))
    repo, session = begin(house)
    write_rows(repo, session, rows(1, 2))
    purger = house.open(reader=True)
    keys = purger.keys_of(house.writers["crm"].secrets.writer)
    pages = purger.state.live_pages(frozenset({keys.writer}), keys.tag(JANUARY))
    rewriter = rewriter_of(purger)
    content = CohortContent.load(pages, keys, purger.place.key_stores, purger.unwrapper)
    with pytest.raises(StalePlanError, match="under way"):
        rewriter.replace([content], cause="prune")
    assert session.commit(outcome(house.clock.now())) in house.open(reader=True).state.snapshots
    assert keys_in(house, numbers[0]) == {1, 2}


def test_only_one_forgetting_of_a_source_is_open() -> None:
    house, _ = house_with(rows(1, 2))
    one, other = forgetting(house), forgetting(house)
    one.order(scope_of(house, 1), ORDER)
    with pytest.raises(LeasedError):
        other.order(scope_of(house, 2), ORDER)
    with pytest.raises(LeasedError):
        rotation.open_epoch(house.open(reader=True), house.recipients(), house.private_halves())


def test_a_rotation_that_waits_for_a_dead_snapshot_says_which_and_goes_on_after_the_next_one() -> None:
    house, _ = house_with(rows(1))
    begin(house)  # and its process dies
    house.readers.append(RecipientPrivate.generate())
    rotation.open_epoch(house.open(reader=True), house.recipients(), house.private_halves())
    repo = house.open(reader=True)
    rotation.reseal(repo, SilentProgress())
    with pytest.raises(LeasedError, match="a snapshot of 'crm', begun at 20") as refused:
        rotation.close_old_epochs(repo)
    assert "`tenure snapshot crm`" in refused.value.hint
    number = take(house, rows(1, 2))
    assert rotation.close_old_epochs(house.open(reader=True)) == (1,)
    assert keys_in(house, number) == {1, 2}
