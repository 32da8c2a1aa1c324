"""A store that fails once, at every call of every operation: the error is told or overcome, nothing is lost, a rerun completes.

The process lives on, unlike in the other fault tests: it abandons its session, goes on to the next key store, and may
be answered with an error although what it asked for was done.
"""

import pytest

from support.faultcases import CASES, Case, assert_completed, assert_left_behind_is_sound
from support.faults import FaultPlan, When
from support.repo import House
from support.ruins import EFFECTS, assert_nothing_unnamed_after_sweep, calls_of, copy_of, under
from tenure.domain.errors import StoreUnavailableError, TenureError
from tenure.domain.progress import SilentProgress
from tenure.repository.pruning import Freed, Pruner


def failing(case: Case, at: int, when: When) -> tuple[House, bool]:
    """Return a copy of the installation after some work in which one call failed, and whether the work did."""
    ruin = copy_of(case.house)
    plan = FaultPlan(
        at=at,
        when=when,
        error=StoreUnavailableError("the store answered 503, again and again"),
        methods=EFFECTS if when == "after" else frozenset(),
    )
    try:
        case.work(under(ruin, plan))
    except TenureError:
        failed = True
    else:
        failed = False
    plan.assert_used()
    return ruin, failed


def mend(house: House) -> None:
    """Do what the daily prune does first: a forgetting does not wait for a key store that failed; that gets its pages now."""
    freed = Freed()
    Pruner(house.open(reader=True), SilentProgress()).sweep(freed)
    assert not freed.pending


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", CASES)
def test_an_error_at_any_call_loses_nothing_and_a_rerun_completes(name: str, when: When) -> None:
    case = CASES[name]()
    told = 0
    for at in range(1, calls_of(case.house, case.work, when) + 1):
        ruin, failed = failing(case, at, when)
        told += failed
        mend(ruin)
        assert_left_behind_is_sound(case, ruin)
        epochs = ruin.open(reader=True).state.epochs.values()
        if failed or any(
            epoch.state == "closing" for epoch in epochs
        ):  # a store did not say that it is empty
            case.work(ruin)
        assert_completed(case, ruin)
        case.then(ruin)
        assert_nothing_unnamed_after_sweep(ruin)
    assert told, "most calls cannot be done without"
