"""Must hold: what forgetting takes, keeps, explains and never takes for granted."""

import pytest

from support.forgets import JANUARY, ORDER, begin, forget, forgetting, house_with, keys_in, rows, scope_of
from support.repo import (
    House,
    identities,
    outcome,
    read_calls,
    read_rows,
    take,
    write_calls,
)
from support.ruins import assert_sound
from tenure.domain.errors import IntegrityError, RepositoryError
from tenure.domain.progress import SilentProgress
from tenure.repository.entries import Merge
from tenure.repository.keeping import PrunePlan
from tenure.repository.pruning import Pruner
from tenure.repository.readback import Reading
from tenure.repository.scopes import Scope, open_fingerprints, seal_fingerprints
from tenure.repository.verify import with_keys


def test_a_record_held_between_intent_and_judging_stays() -> None:
    house, (number,) = house_with(rows(1, 2, 3) | rows(7, month="2025-02"))
    everything = scope_of(house, 1, 2, 3, cohorts=(JANUARY,))
    work = forgetting(house)
    found = work.order(everything, ORDER)
    held = scope_of(house, 2)["crm"].records
    left = {"crm": everything["crm"].without(held)}
    assert left["crm"].cohorts == ()
    found = work.amend(found, left, left=1)
    went = work.carry_out(found)
    work.finish(found, went, certificate="c")
    assert keys_in(house, number) == {2, 7}
    assert went.records == 2
    assert house.open(reader=True).state.cohorts_gone == {}


def test_a_new_record_under_a_reused_number_is_kept() -> None:
    house, (old,) = house_with(rows(1, 2, 3))
    scope, work = scope_of(house, 2), forgetting(house)
    found = work.amend(work.order(scope, ORDER), scope, left=0)
    new = take(house, rows(1, 2, 3, text="another customer"))
    work.finish(found, work.carry_out(found), certificate="c")
    assert keys_in(house, old) == {1, 3}
    found_rows, balance = read_rows(house.open(reader=True), new, house.executor)
    assert found_rows[2] == ("c2", "another customer 2")
    assert balance.forgotten == 0
    assert_sound(house.open(reader=True), house)


def test_judging_twice_does_not_reach_what_is_new_since_the_first() -> None:
    house, (old,) = house_with(rows(1, 2, 3))
    scope, work = scope_of(house, 2), forgetting(house)
    found = work.amend(work.order(scope, ORDER), scope, left=0)
    new = take(house, rows(1, 2, 3, text="another customer"))
    again = forgetting(house)
    same = again.amend(found, scope, left=0)
    assert same.judged == found.judged
    again.finish(same, again.carry_out(same), certificate="c")
    assert (keys_in(house, old), keys_in(house, new)) == ({1, 3}, {1, 2, 3})


def test_a_reopened_account_is_read_from_its_new_cohort_while_the_old_one_is_forgotten() -> None:
    house, numbers = house_with(rows(1, 2), rows(1) | rows(2, month="open:2026-03"))
    forget(house, scope_of(house, cohorts=(JANUARY,)))
    assert [keys_in(house, n) for n in numbers] == [set(), {2}]
    _, balance = read_rows(house.open(reader=True), numbers[1], house.executor)
    assert (balance.records, balance.forgotten) == (1, 1)
    assert_sound(house.open(reader=True), house)


@pytest.mark.parametrize("while_open", [False, True])
def test_what_is_missing_after_a_cohort_was_forgotten_and_came_back_is_damage(*, while_open: bool) -> None:
    house, (old,) = house_with(rows(1, 2))
    work, scope = forgetting(house), scope_of(house, cohorts=(JANUARY,))
    found = work.amend(work.order(scope, ORDER), scope, left=0)
    new = take(house, rows(5)) if while_open else 0
    work.finish(found, work.carry_out(found), certificate="c")
    new = new or take(house, rows(5))
    repo = house.open(reader=True)
    tag = repo.keys_of(house.writers["crm"].secrets.writer).tag(JANUARY)
    (page,) = [p.ref for p in repo.state.pages.values() if p.ref.tag == tag]
    # An entry that drops the page without a forgetting: nothing the purger does, but what a fault in it would look like.
    drop = Merge(cause="merge", forget=b"", removed=(page.page,), added=(), head=repo.state.number, begun=2e9)
    repo.ledger.append(drop, house.purge)
    assert keys_in(house, old) == set()
    with pytest.raises(IntegrityError, match="does not say that it was forgotten"):
        keys_in(house, new)
    checked = with_keys(house.open(reader=True), reading=Reading(share=1), progress=SilentProgress())
    assert {d.snapshots for d in checked.damage} == {(new,)}


def test_an_explanation_survives_the_pruning_of_everything_else_in_its_cohort() -> None:
    house, numbers = house_with(rows(1), rows(2), rows(1, month="2025-02"))
    forget(house, scope_of(house, 2))
    repo = house.open(reader=True)
    plan = PrunePlan(head=repo.state.number, drop=((numbers[0], "test"),), keep=(), going={})
    Pruner(repo, SilentProgress()).prune(plan)
    _, balance = read_rows(house.open(reader=True), numbers[1], house.executor)
    assert balance.forgotten == 1
    assert_sound(house.open(reader=True), house)


def test_nothing_is_called_done_before_it_was_judged_and_carried_out() -> None:
    house, (number,) = house_with(rows(1, 2))
    work = forgetting(house)
    found = work.order(scope_of(house, cohorts=(JANUARY,)), ORDER)
    with pytest.raises(RepositoryError, match="not judged"):
        work.carry_out(found)
    found = work.amend(found, scope_of(house, cohorts=(JANUARY,)), left=0)
    went = work.carry_out(found)
    assert keys_in(house, number) == set()
    again, _ = house_with(rows(1, 2))
    work = forgetting(again)
    scope = scope_of(again, cohorts=(JANUARY,))
    found = work.amend(work.order(scope, ORDER), scope, left=0)
    with pytest.raises(RepositoryError, match="still there"):
        work.finish(found, went, certificate="c")


def test_two_sources_with_a_data_set_of_one_name_keep_their_forgettings_apart() -> None:
    house = House()
    house.create("crm", "desk")
    repo = house.open(reader=True)
    scopes = {
        s: Scope(records={"notes": identities(repo, s, [f"i{k}".encode()])})
        for s, k in (("crm", 1), ("desk", 2))
    }
    key = repo.secrets.fingerprint
    sealed = seal_fingerprints(scopes, key)
    one, other = (open_fingerprints(sealed, key, s)["notes"] for s in scopes)
    assert len(one) == len(other) == 1
    assert one != other
    assert open_fingerprints(sealed, key)["notes"] == one | other


def test_a_readmitted_source_goes_on_and_its_old_snapshots_still_read_and_forget() -> None:
    house, (old,) = house_with(rows(1, 2))
    repo = house.open(reader=True)
    repo.remove("crm", "stolen")
    house.writers["crm"] = repo.admit("crm")
    new = take(house, rows(1, 2, 3))
    assert [keys_in(house, n) for n in (old, new)] == [{1, 2}, {1, 2, 3}]
    forget(house, scope_of(house, 2))
    assert [keys_in(house, n) for n in (old, new)] == [{1}, {1, 3}]
    forget(house, scope_of(house, cohorts=(JANUARY,)))
    assert [keys_in(house, n) for n in (old, new)] == [set(), set()]
    assert_sound(house.open(reader=True), house)


def test_a_damaged_base_costs_dedup_and_not_the_next_snapshot() -> None:
    house, (old,) = house_with(rows(*range(40)))
    for store in house.key_stores:
        for info in list(store.list("keys/")):
            store.delete(info.name)
    new = take(house, rows(*range(40)))
    assert keys_in(house, new) == set(range(40))
    with pytest.raises(IntegrityError):
        keys_in(house, old)


def test_a_recording_taken_while_another_changes_is_described() -> None:
    house = House()
    house.create("crm")
    calls = {f"{k}": ("2025-01", "c", bytes([k % 251]) * 9000) for k in range(300)}
    _, session = begin(house)
    write_calls(session, calls)
    number = session.commit(outcome(house.clock.now()))
    assert read_calls(house.open(reader=True), number, house.executor) == {p: c[2] for p, c in calls.items()}


def test_a_recording_without_a_byte_is_forgotten_like_any_other() -> None:
    """It has no chunk of its own, only what its companion says about it: path, times, subjects."""
    house = House()
    house.create("crm")
    number = take(house, {}, {"empty.wav": ("2025-01", "anna", b"")})
    scope = {"crm": Scope(records={"calls": identities(house.open(reader=True), "crm", [b"empty.wav"])})}
    forget(house, scope)
    repo = house.open(reader=True)
    assert read_calls(repo, number, house.executor) == {}
    assert_sound(repo, house)
