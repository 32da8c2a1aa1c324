"""An installation that is killed at a chosen store call, and what must be true of what it left behind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from support.faults import Died, FaultPlan, FaultyStore, When
from support.repo import House, read_calls, read_rows
from tenure.domain.progress import SilentProgress
from tenure.objectstore.base import ObjectStore
from tenure.objectstore.memory import MemoryStore
from tenure.repository import names, verify
from tenure.repository.pruning import Freed, Pruner
from tenure.repository.readback import Reading
from tenure.repository.repository import Repository

Model = dict[int, tuple[dict[int, tuple[str, str]], dict[str, bytes]]]
"""Snapshot number -> (key -> (customer, text), path -> bytes)."""


class DeadlyPlan(FaultPlan):
    """A plan after whose strike no call of any thread has an effect any more: the process is dead."""

    @contextmanager
    def around(self, method: str, name: str) -> Iterator[None]:
        if self.used:
            raise Died  # whatever the plan concerns
        with super().around(method, name):
            yield


def copy_of(house: House) -> House:
    """Return an installation whose stores can go their own way from here."""

    def copied(store: ObjectStore) -> ObjectStore:
        assert isinstance(store, MemoryStore)
        fresh = MemoryStore(house.clock)
        fresh._objects = dict(store._objects)
        return fresh

    assert house.objects is not None
    clock = type(house.clock)(house.clock.at)
    twin = replace(
        house,
        clock=clock,
        objects=copied(house.objects),
        key_stores=[copied(s) for s in house.key_stores],
        memory=type(house.memory)(),
        readers=list(house.readers),
    )
    seen = house.memory.load()
    if seen is not None:
        twin.memory.store(*seen)
    for store in (twin.objects, *twin.key_stores):
        assert isinstance(store, MemoryStore)
        store._clock = clock
    return twin


def under(house: House, plan: FaultPlan) -> House:
    """Return the same installation, its calls counted and struck by `plan`."""
    assert house.objects is not None
    return replace(
        house,
        objects=FaultyStore(house.objects, plan),
        key_stores=[FaultyStore(s, plan) for s in house.key_stores],
    )


EFFECTS = frozenset({"put", "delete"})
"""Methods that change a store; a death after a call of any other is a death before the next call."""


def calls_of(house: House, work: Callable[[House], object], when: When = "before") -> int:
    """Count the store calls of some work, done on a copy; after: only of those that have an effect."""
    plan = FaultPlan(methods=EFFECTS if when == "after" else frozenset())
    work(under(copy_of(house), plan))
    return plan.calls


def killed(house: House, work: Callable[[House], object], at: int, when: When) -> House:
    """Return a copy of the installation in which a process died at its call `at`."""
    ruin, plan = (
        copy_of(house),
        DeadlyPlan(at=at, when=when, methods=EFFECTS if when == "after" else frozenset()),
    )
    try:
        work(under(ruin, plan))
    except Died:
        pass
    except BaseException as e:
        if not plan.used:
            raise AssertionError(f"call {at}: failed before it died") from e
    plan.assert_used()
    return ruin


def assert_sound(repo: Repository, house: House) -> None:
    """Verification finds nothing, with keys and without."""
    assert house.objects is not None
    place = house.place()
    plain = verify.without_keys(place.objects, place.key_stores, house.purge.public(), SilentProgress())
    full = verify.with_keys(repo, reading=Reading(share=1), progress=SilentProgress())
    assert [*plain.damage, *full.damage] == []


def assert_reads(
    repo: Repository, house: House, model: Model, *, may_lack: frozenset[int | str] = frozenset()
) -> None:
    """Every snapshot of the model reads as the model says, but for what a forgetting may have taken already."""
    for number, (rows, calls) in model.items():
        found, balance = read_rows(repo, number, house.executor)
        assert found.items() <= rows.items()
        assert set(rows) - set(found) <= may_lack
        assert balance.records + balance.forgotten == len(rows)
        media = read_calls(repo, number, house.executor)
        assert media.items() <= calls.items()
        assert set(calls) - set(media) <= may_lack


def assert_nothing_unnamed_after_sweep(house: House, settle: Callable[[], None] = lambda: None) -> None:
    """A sweep, once every session and lease is over, leaves exactly what the ledger names.

    `settle`: has stores that list late come to rest, before the sweep and again after what that deleted.
    """
    house.clock.advance(hours=3)
    settle()
    repo = house.open(reader=True)
    freed = Freed()
    Pruner(repo, SilentProgress()).sweep(freed)
    assert not freed.pending
    settle()
    state = repo.refresh()
    pages = {names.page(p.ref.epoch, p.ref.tag, p.ref.page) for p in state.pages.values()}
    for store in house.key_stores:
        assert {i.name for i in store.list("")} == pages
    assert house.objects is not None
    manifests = {s.entry.manifest for s in state.snapshots.values()}
    assert {i.name for i in house.objects.list(names.MANIFESTS)} == manifests
    headers = [repo.place.key_stores.get(p.ref).header for p in state.pages.values()]
    assert {i.name for i in house.objects.list(names.PACKS)} == {
        names.pack(p) for h in headers for p in h.packs
    }
    assert state.sessions == {}
