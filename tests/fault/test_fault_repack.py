"""Die at every store call of a prune that repacks: nothing is lost, a rerun completes, and no worn pack is left."""

from functools import cache
from typing import Literal

import pytest

from support.repo import Calls, House, Rows, identities, read_calls, read_rows, take
from support.ruins import (
    Model,
    assert_nothing_unnamed_after_sweep,
    assert_reads,
    assert_sound,
    calls_of,
    copy_of,
    killed,
)
from tenure.domain.progress import SilentProgress
from tenure.repository.forgetting import Forgetting, Order
from tenure.repository.keeping import KeepPolicy, plan_prune
from tenure.repository.pruning import Pruner
from tenure.repository.repacking import Repacker
from tenure.repository.scopes import Scope

ROWS: Rows = {k: (f"2025-0{1 + k % 3}", f"c{k % 7}", f"note {k} " + "x" * (k % 90)) for k in range(60)}
CHANGED: Rows = {k: (m, c, t if k % 3 else t + " changed") for k, (m, c, t) in ROWS.items()}
CALLS: Calls = {f"{k}.wav": (f"2025-0{1 + k % 2}", f"c{k}", bytes([k]) * (3000 * k)) for k in range(5)}
LOST: frozenset[int | str] = frozenset({"4.wav", 1, 2, 20})
KEEP = KeepPolicy(last=1, daily=0, weekly=0, monthly=0, yearly=0)


@cache
def house_with_worn_packs() -> tuple[House, Model]:
    """Two snapshots, of which a prune drops the first, and a forgetting that reached into both."""
    house = House()
    model: Model = {}
    house.create("crm")
    for rows in (ROWS, CHANGED):
        house.clock.advance(days=1)
        plain = {k: (c, t) for k, (_, c, t) in rows.items()}
        model[take(house, rows, CALLS)] = plain, {p: c[2] for p, c in CALLS.items()}
    house.clock.advance(days=1)
    repo = house.open(reader=True)
    texts = {
        "notes": [f"i{k}".encode() for k in LOST if isinstance(k, int)],
        "calls": [k.encode() for k in LOST if isinstance(k, str)],
    }
    scope = {"crm": Scope(records={d: identities(repo, "crm", keys) for d, keys in texts.items()})}
    work = Forgetting(repo, house.executor, SilentProgress())
    found = work.order(scope, Order(kind="purge", plan=b"p", rules=b"r", approvals=()))
    found = work.amend(found, scope, left=0)
    work.finish(found, work.carry_out(found), certificate="c")
    return house, model


def prune(house: House) -> None:
    repo = house.open(reader=True)
    Pruner(repo, SilentProgress()).prune(plan_prune(repo.state, KEEP))


def worn(house: House) -> list[str]:
    return [p.info.name for p in Repacker(house.open(reader=True), SilentProgress()).worn()]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_death_at_any_call_loses_no_chunk_and_a_rerun_completes(when: Literal["before", "after"]) -> None:
    house, model = house_with_worn_packs()
    dropped = min(model)
    count = calls_of(house, prune, when)
    assert count > 20
    for at in range(1, count + 1):
        ruin = killed(house, prune, at, when)
        repo = ruin.open(reader=True)
        assert_sound(repo, ruin)
        assert_reads(repo, ruin, {n: m for n, m in model.items() if n in repo.state.snapshots}, may_lack=LOST)
        prune(ruin)
        assert not worn(ruin)
        repo = ruin.open(reader=True)
        assert_sound(repo, ruin)
        assert set(repo.state.snapshots) == set(model) - {dropped}
        rows, calls = model[max(model)]
        assert read_rows(repo, max(model), ruin.executor)[0] == {
            k: v for k, v in rows.items() if k not in LOST
        }
        assert read_calls(repo, max(model), ruin.executor) == {
            p: v for p, v in calls.items() if p not in LOST
        }
        assert_nothing_unnamed_after_sweep(ruin)


def test_what_dies_here_moves_chunks_and_deletes_packs() -> None:
    house, _ = house_with_worn_packs()
    before = copy_of(house)
    repo = before.open(reader=True)
    freed = Pruner(repo, SilentProgress()).prune(plan_prune(repo.state, KEEP))
    assert freed.repacked > 0
    assert freed.copied > 0
    assert freed.packs >= freed.repacked
