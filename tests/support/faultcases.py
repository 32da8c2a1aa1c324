"""The operations that fault tests interrupt: what is there before each, and what must be there after it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from support.repo import Calls, House, Rows, identities, read_calls, read_rows, take
from support.ruins import (
    Model,
    assert_reads,
    assert_sound,
)
from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.progress import SilentProgress
from tenure.repository import rotation
from tenure.repository.forgetting import Forgetting, Order
from tenure.repository.keeping import KeepPolicy, plan_prune
from tenure.repository.model import Cohort
from tenure.repository.pruning import Pruner
from tenure.repository.scopes import Scope

MONTHS = ("2025-01", "2025-02", "2025-03")
FIRST: Rows = {k: (MONTHS[k % 3], f"c{k % 7}", f"note {k} " + "x" * (k % 90)) for k in range(60)}
SECOND: Rows = {k: v for k, v in FIRST.items() if k % 10} | {
    100: (MONTHS[0], "c1", "later"),
    5: (MONTHS[1], "c5", "was 03"),
}
CALLS: Calls = {f"{k}.wav": (MONTHS[k % 2], f"c{k}", bytes([k]) * (3000 * k)) for k in range(5)}
MORE: Calls = dict(CALLS) | {"9.wav": (MONTHS[0], "c9", b"nine" * 900)}


def model_of(rows: Rows, calls: Calls) -> tuple[dict[int, tuple[str, str]], dict[str, bytes]]:
    return {k: (c, t) for k, (_, c, t) in rows.items()}, {p: c[2] for p, c in calls.items()}


@dataclass
class Case:
    """An operation, what is there before it, and what must be there after it. `lost`: keys and paths it forgets."""

    house: House
    model: Model
    work: Callable[[House], object]
    lost: frozenset[int | str] = frozenset()
    dropped: frozenset[int] = frozenset()
    adds: tuple[dict[int, tuple[str, str]], dict[str, bytes]] | None = None
    then: Callable[[House], None] = field(default=lambda _: None)


def founded(snapshots: int) -> tuple[House, Model]:
    house = House()
    house.create("crm")
    model: Model = {}
    for rows, calls in [(FIRST, CALLS), (SECOND, MORE)][:snapshots]:
        house.clock.advance(days=1)
        model[take(house, rows, calls)] = model_of(rows, calls)
    house.clock.advance(days=1)
    return house, model


def first_snapshot() -> Case:
    house, model = founded(0)
    return Case(house, model, lambda h: take(h, FIRST, CALLS), adds=model_of(FIRST, CALLS))


def second_snapshot() -> Case:
    house, model = founded(1)
    return Case(house, model, lambda h: take(h, SECOND, MORE), adds=model_of(SECOND, MORE))


def forget(house: House, scope: Callable[[House], Scope]) -> None:
    """Forget as the operation does: go on from wherever the ledger says that it stopped."""
    repo = house.open(reader=True)
    work = Forgetting(repo, house.executor, SilentProgress())
    known = list(repo.state.forgets.values())
    if known and known[0].done:
        return
    wanted = {"crm": scope(house)}
    order = Order(kind="purge", plan=b"p" * 32, rules=b"r" * 32, approvals=("officer",))
    found = known[0] if known else work.order(wanted, order)
    found = work.amend(found, wanted, left=0)
    work.finish(found, work.carry_out(found), certificate="c-1")


def whole_cohort() -> Case:
    house, model = founded(2)
    cohort = Cohort(data_set="notes", rule_class="", span=MONTHS[0])
    lost = frozenset(k for rows in (FIRST, SECOND) for k, v in rows.items() if v[0] == MONTHS[0])
    return Case(house, model, lambda h: forget(h, lambda _: Scope(cohorts=(cohort,))), lost=lost)


def keys_of(house: House, keys: frozenset[int | str], data_set: str) -> Scope:
    texts = sorted(k.encode() if isinstance(k, str) else f"i{k}".encode() for k in keys)
    return Scope(records={data_set: identities(house.open(reader=True), "crm", texts)})


def some_records() -> Case:
    house, model = founded(2)
    lost: frozenset[int | str] = frozenset({1, 2, 20, 100})
    return Case(house, model, lambda h: forget(h, lambda x: keys_of(x, lost, "notes")), lost=lost)


def some_recordings() -> Case:
    house, model = founded(2)
    lost: frozenset[int | str] = frozenset({"2.wav", "9.wav"})
    return Case(house, model, lambda h: forget(h, lambda x: keys_of(x, lost, "calls")), lost=lost)


def prune(house: House) -> None:
    repo = house.open(reader=True)
    policy = KeepPolicy(last=1, daily=0, weekly=0, monthly=0, yearly=0)
    Pruner(repo, SilentProgress()).prune(plan_prune(repo.state, policy))


def pruning() -> Case:
    house, model = founded(2)
    return Case(house, model, prune, dropped=frozenset([min(model)]))


def rotate(house: House) -> None:
    repo = house.open(reader=True)
    rotation.open_epoch(repo, house.recipients(), house.private_halves())
    repo = house.open(reader=True)
    # Few pages to an entry, so that a run dies between two groups of them, too.
    rotation.reseal(repo, SilentProgress(), at_once=4)
    rotation.close_old_epochs(repo)


def rotating() -> Case:
    house, model = founded(2)
    house.readers.append(RecipientPrivate.generate())

    def old_keys_are_useless(h: House) -> None:
        h.readers.pop(0)
        repo = h.open(reader=True)
        assert {n: e.state for n, e in repo.state.epochs.items()} == {1: "closed", 2: "open"}
        assert not [i for s in h.key_stores for i in s.list("keys/1/")]

    return Case(house, model, rotate, then=old_keys_are_useless)


CASES = {
    f.__name__: cache(f)
    for f in (first_snapshot, second_snapshot, whole_cohort, some_records, some_recordings, pruning, rotating)
}


def assert_left_behind_is_sound(case: Case, ruin: House) -> None:
    repo = ruin.open(reader=True)
    assert_sound(repo, ruin)
    there = {n: m for n, m in case.model.items() if n in repo.state.snapshots}
    assert set(case.model) - set(there) <= case.dropped
    assert_reads(repo, ruin, there, may_lack=case.lost)


def assert_completed(case: Case, ruin: House) -> None:
    repo = ruin.open(reader=True)
    assert_sound(repo, ruin)
    for number in repo.state.snapshots:
        expected = case.model.get(number, case.adds)
        assert expected is not None
        rows, _ = read_rows(repo, number, ruin.executor)
        assert rows == {k: v for k, v in expected[0].items() if k not in case.lost}
        calls = read_calls(repo, number, ruin.executor)
        assert calls == {p: v for p, v in expected[1].items() if p not in case.lost}
    assert case.dropped.isdisjoint(repo.state.snapshots)
    assert len(repo.state.snapshots) >= len(case.model) - len(case.dropped) + (case.adds is not None)
    assert not repo.state.open_forgets()
    assert all(not s.amended or s.done for s in repo.state.forgets.values())
