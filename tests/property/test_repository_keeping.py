"""Laws of what stays: the newest, what the policy names, the verified floor; and a policy that keeps more never drops more."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.domain.errors import BrakePulledError
from tenure.repository.keeping import KeepPolicy, PruneBrake, PrunePlan, plan_prune
from tenure.repository.state import State

NONE = KeepPolicy(last=0, hourly=0, daily=0, weekly=0, monthly=0, yearly=0)
COUNTS = st.integers(0, 5)
POLICIES = st.builds(
    KeepPolicy, last=COUNTS, hourly=COUNTS, daily=COUNTS, weekly=COUNTS, monthly=COUNTS, yearly=COUNTS
)
START = datetime(2024, 2, 25, tzinfo=UTC).timestamp()
GAPS = st.lists(st.integers(1, 40 * 24 * 3600), max_size=40)


def ledger(gaps: list[int], *, source: str = "crm", held: bool = False) -> State:
    """Return what a plan looks at of a ledger with a snapshot after each gap (seconds)."""
    at, snapshots = START, []
    for number, gap in enumerate(gaps, 1):
        at += gap
        entry = SimpleNamespace(source=source)
        snapshots.append(SimpleNamespace(number=number, committed_at=at, entry=entry))
    holds = {"h": SimpleNamespace(released=False, matter="M")} if held else {}
    state: Any = SimpleNamespace(
        number=len(gaps),
        holds=holds,
        snapshots={s.number: s for s in snapshots},
        snapshots_of=lambda name: [s for s in snapshots if s.entry.source == name],
    )
    return cast("State", state)


def kept(state: State, policy: KeepPolicy, verified: frozenset[int] = frozenset()) -> set[int]:
    plan = plan_prune(state, policy, verified=verified)
    stay, go = {n for n, _ in plan.keep}, {n for n, _ in plan.drop}
    assert not stay & go
    assert stay | go == set(state.snapshots)
    assert sum(going for going, _ in plan.going.values()) == len(go)
    return stay


@given(GAPS, POLICIES)
def test_the_newest_and_the_last_stay(gaps: list[int], policy: KeepPolicy) -> None:
    state = ledger(gaps)
    newest = sorted(state.snapshots, reverse=True)
    assert set(newest[: max(policy.last, 1)]) <= kept(state, policy)


@given(GAPS, COUNTS, st.sampled_from(["hourly", "daily", "weekly", "monthly", "yearly"]))
def test_of_each_of_so_many_periods_the_newest_stays(gaps: list[int], count: int, period: str) -> None:
    state = ledger(gaps)
    form = {
        "hourly": "%Y-%m-%d %H",
        "daily": "%Y-%m-%d",
        "weekly": "%G-%V",
        "monthly": "%Y-%m",
        "yearly": "%Y",
    }
    newest: dict[str, int] = {}
    for number, snapshot in sorted(state.snapshots.items()):
        newest[datetime.fromtimestamp(snapshot.committed_at, UTC).strftime(form[period])] = number
    expected = sorted(newest.values(), reverse=True)[:count]
    assert kept(state, replace(NONE, **{period: count})) == set(expected) | set(sorted(state.snapshots)[-1:])


@given(GAPS, POLICIES, POLICIES)
def test_a_policy_that_keeps_more_drops_nothing_more(
    gaps: list[int], one: KeepPolicy, other: KeepPolicy
) -> None:
    names = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
    more = KeepPolicy(**{name: max(getattr(one, name), getattr(other, name)) for name in names})
    state = ledger(gaps)
    assert kept(state, one) | kept(state, other) <= kept(state, more)


@given(GAPS, POLICIES, st.integers(0, 3), st.data())
def test_so_many_verified_ones_stay_or_none_goes(
    gaps: list[int], policy: KeepPolicy, floor: int, data: st.DataObject
) -> None:
    state = ledger(gaps)
    verified = frozenset(
        data.draw(st.sets(st.sampled_from(sorted(state.snapshots))) if gaps else st.just(set()))
    )
    stay = kept(state, replace(policy, verified=floor), verified)
    assert kept(state, policy) <= stay
    assert len(stay & verified) >= floor or stay == set(state.snapshots)
    if len(verified) >= floor:
        extra = stay - kept(state, policy)
        assert len(extra) <= floor
        assert extra <= verified


@given(GAPS, POLICIES)
def test_under_a_hold_all_stay(gaps: list[int], policy: KeepPolicy) -> None:
    state = ledger(gaps, held=True)
    assert kept(state, policy) == set(state.snapshots)


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0.1, 100), st.integers(0, 50))
def test_the_brake_lets_what_is_below_either_bound(
    going: int, stays: int, percent: float, least: int
) -> None:
    there = going + stays
    drop = tuple((n, "") for n in range(going))
    plan = PrunePlan(head=1, drop=drop, keep=(), going={"crm": (going, there)})
    brake = PruneBrake(percent=percent, least=least)
    if going > least and going > there * percent / 100:
        with pytest.raises(BrakePulledError, match=f"{going} of the {there} snapshots of crm"):
            plan.check(brake)
    else:
        plan.check(brake)
    plan.check(brake, confirmed=going)
    with pytest.raises(BrakePulledError):
        plan.check(brake, confirmed=going + 1)
