"""A forgetting and the views of snapshots: it applies to those that may hold what was deleted, and to no others."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.forgets import JANUARY, ORDER, forgetting, house_with, keys_in, rows, scope_of
from support.repo import House, take
from support.ruins import assert_sound
from tenure.repository.rows import sorted_unique
from tenure.repository.scopes import Scope, open_fingerprints, seal_fingerprints


def gone_at(scopes: Mapping[str, Scope], number: int) -> dict[str, Scope]:
    """Say that every record was seen to be gone when this was the ledger's head."""
    numbers = {d: np.full(len(ids), number, np.uint64) for d, ids in scopes["crm"].records.items()}
    return {"crm": replace(scopes["crm"], gone=numbers)}


def forget_with_snapshot_between(*, deleted_first: bool) -> tuple[House, int, int]:
    """Order a forgetting of record 2, take a snapshot that has one of that number, judge, and carry on to the end."""
    house, (old,) = house_with(rows(1, 2, 3))
    scopes, work = scope_of(house, 2), forgetting(house)
    found = work.order(scopes, ORDER)
    before = found.number
    new = take(house, rows(1, 2, 3, text="another customer"))
    after = house.open(reader=True).state.number
    found = work.amend(found, gone_at(scopes, before if deleted_first else after), left=0)
    work.finish(found, work.carry_out(found), certificate="c")
    assert_sound(house.open(reader=True), house)
    return house, old, new


def test_a_snapshot_begun_after_a_record_was_gone_keeps_what_has_its_number_now() -> None:
    house, old, new = forget_with_snapshot_between(deleted_first=True)
    assert (keys_in(house, old), keys_in(house, new)) == ({1, 3}, {1, 2, 3})


def test_a_snapshot_begun_before_a_record_was_gone_loses_it() -> None:
    house, old, new = forget_with_snapshot_between(deleted_first=False)
    assert (keys_in(house, old), keys_in(house, new)) == ({1, 3}, {1, 3})


@pytest.mark.parametrize("late", [False, True])
def test_no_cohort_goes_whole_when_a_snapshot_came_after_its_proof(*, late: bool) -> None:
    house, (old,) = house_with(rows(1, 2))
    scopes, work = scope_of(house, 1, 2, cohorts=(JANUARY,)), forgetting(house)
    found = work.order(scope_of(house, 1, 2), ORDER)
    proven = gone_at(scopes, found.number)
    new = take(house, rows(9)) if late else 0
    found = work.amend(found, proven, left=0, head=found.number)
    assert bool(found.cohorts) is not late
    work.finish(found, work.carry_out(found), certificate="c")
    assert keys_in(house, old) == set()
    assert not late or keys_in(house, new) == {9}


IDENTITIES = st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=12, unique=True)


@given(IDENTITIES, st.data())
def test_what_a_view_may_hold_is_said_alike_by_scopes_and_by_fingerprints(
    found: list[bytes], data: st.DataObject
) -> None:
    ids = sorted_unique(np.frombuffer(b"".join(found), np.uint8).reshape(-1, 16))
    small = st.integers(0, 9)
    numbers = np.array(data.draw(st.lists(small, min_size=len(ids), max_size=len(ids))), np.uint64)
    left = ids[np.array(data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids))), np.bool_)]
    view = data.draw(small)
    scope = Scope(records={"notes": ids}, gone={"notes": numbers}).without({"notes": left})
    stays = {i.tobytes() for i in left}
    expected = {i.tobytes() for i, n in zip(ids, numbers, strict=True) if n >= view} - stays
    assert {i.tobytes() for i in scope.seen_by("notes", view)} == expected
    prints = open_fingerprints(seal_fingerprints({"crm": scope}, b"k" * 32), b"k" * 32, "crm", view=view)
    assert len(prints["notes"]) == len(expected)


def test_without_numbers_every_view_before_the_judging_is_meant() -> None:
    house, _ = house_with(rows(1, 2))
    scope = scope_of(house, 2)["crm"]
    assert len(scope.seen_by("notes", 10**9)) == 1
    assert not len(scope.seen_by("calls", 0))
    found = forgetting(house).order({"crm": scope}, ORDER)
    key = house.open(reader=True).secrets.fingerprint
    assert len(open_fingerprints(found.fingerprints, key, "crm", view=10**9)["notes"]) == 1
