"""Die at every store call of every operation: what is left verifies clean, reads right, and a rerun completes."""

from typing import Literal

import pytest

from support.faultcases import CALLS, CASES, FIRST, assert_completed, assert_left_behind_is_sound, model_of
from support.repo import House, take
from support.ruins import (
    assert_nothing_unnamed_after_sweep,
    assert_reads,
    assert_sound,
    calls_of,
    copy_of,
    killed,
)
from tenure.domain.errors import PreconditionFailedError
from tenure.domain.progress import SilentProgress
from tenure.repository import rotation


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", CASES)
def test_a_death_at_any_call_loses_nothing_and_a_rerun_completes(
    name: str, when: Literal["before", "after"]
) -> None:
    case = CASES[name]()
    count = calls_of(case.house, case.work, when)
    assert count > 3
    for at in range(1, count + 1):
        ruin = killed(case.house, case.work, at, when)
        assert_left_behind_is_sound(case, ruin)
        case.work(ruin)
        assert_completed(case, ruin)
        case.then(ruin)
        assert_nothing_unnamed_after_sweep(ruin)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_founding_that_died_at_any_call_is_completed_by_a_rerun(when: Literal["before", "after"]) -> None:
    house = House()
    count = calls_of(house, lambda h: h.create(), when)
    assert count >= 2
    for at in range(1, count + 1):
        ruin = killed(house, lambda h: h.create(), at, when)
        ruin.create()
        ruin.writers["crm"] = ruin.open(reader=True).admit("crm")
        number = take(ruin, FIRST, CALLS)
        repo = ruin.open(reader=True)
        assert_sound(repo, ruin)
        assert_reads(repo, ruin, {number: model_of(FIRST, CALLS)})
        with pytest.raises(PreconditionFailedError, match="in use"):
            ruin.create()


def test_a_rotation_names_many_pages_in_one_entry_and_few_at_once_when_told() -> None:
    case = CASES["rotating"]()
    entries = {}
    for at_once in (1, 4, rotation.PAGES_AT_ONCE):
        house = copy_of(case.house)
        repo = house.open(reader=True)
        rotation.open_epoch(repo, house.recipients(), house.private_halves())
        repo = house.open(reader=True)
        before, pages = repo.state.number, len(repo.state.pages)
        assert rotation.reseal(repo, SilentProgress(), at_once=at_once) == pages
        entries[at_once] = repo.refresh().number - before
        assert {p.ref.epoch for p in repo.state.pages.values()} == {2}
        assert_reads(house.open(reader=True), house, case.model)
    assert 1 == entries[rotation.PAGES_AT_ONCE] < entries[4] < entries[1]


def test_a_forgetting_says_what_went_even_when_an_earlier_run_did_it() -> None:
    case = CASES["some_records"]()
    straight = copy_of(case.house)
    case.work(straight)
    figures = {_figures(straight)}
    for at in range(1, calls_of(case.house, case.work, "after") + 1):
        ruin = killed(case.house, case.work, at, "after")
        case.work(ruin)
        figures.add(_figures(ruin))
    assert figures == {_figures(straight)}


def _figures(house: House) -> tuple[int, int, int]:
    (found,) = house.open(reader=True).state.forgets.values()
    return found.pages, found.chunks, found.done > 0
