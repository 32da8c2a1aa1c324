"""Whatever becomes of a session, no thread of it stays, and nothing that shares its executor waits for ever."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import pytest

from support.faults import FaultPlan, FaultyStore
from support.repo import House, outcome, take, write_calls, write_rows
from tenure.domain.errors import LeasedError, StoreUnavailableError, TenureError
from tenure.objectstore.base import Buffer, ObjectInfo
from tenure.objectstore.memory import MemoryStore
from tenure.repository.model import ChunkKind, Cohort
from tenure.repository.session import UPLOADS, Session

ROWS = {k: ("2025-01", f"c{k}", os.urandom(40).hex()) for k in range(300)}
CALLS = {f"{k}.wav": ("2025-01", "c", os.urandom(9000)) for k in range(10)}
COHORT = Cohort(data_set="notes", rule_class="", span="2025-01")
LONG_S = 30  # a thread that has not ended by then waits for ever


def uploading() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith(UPLOADS)]


def settled() -> None:
    for thread in uploading():
        thread.join(LONG_S)
    assert uploading() == []


@pytest.fixture
def house() -> Iterator[House]:
    made = House(executor=ThreadPoolExecutor(4))
    made.create("crm")
    yield made
    made.executor.shutdown(wait=False)


def begun(house: House) -> Session:
    repo = house.open(reader=False)
    session = repo.begin("crm", house.executor, expires=3600, alone=True)
    write_rows(repo, session, ROWS)
    write_calls(session, CALLS)
    return session


@pytest.mark.parametrize("prefix", ["data/", "keys/", "snapshots/", "ledger/"])
def test_a_commit_that_fails_ends_the_sessions_threads(house: House, prefix: str) -> None:
    assert house.objects is not None
    plan = FaultPlan(at=1, error=StoreUnavailableError("gone"), methods=frozenset({"put"}), prefix=prefix)
    session = begun(house)
    assert uploading()
    parts = replace(
        session._parts,
        objects=FaultyStore(house.objects, plan),
        key_stores=type(session._parts.key_stores)(
            replace(s, store=FaultyStore(s.store, plan)) for s in session._parts.key_stores.stores
        ),
    )
    session._parts = parts
    session.chunks._packer._store = parts.objects
    parts.ledger._store = parts.objects
    with pytest.raises(StoreUnavailableError):
        session.commit(outcome(house.clock.now()))
    plan.assert_used()
    settled()
    assert take(house, ROWS, CALLS) in house.open(reader=True).state.snapshots


def test_a_commit_that_came_too_late_ends_the_sessions_threads(house: House) -> None:
    session = begun(house)
    house.clock.advance(hours=2)
    with pytest.raises(LeasedError):
        session.commit(outcome(house.clock.now()))
    settled()


def test_a_commit_that_works_ends_them_too(house: House) -> None:
    session = begun(house)
    session.commit(outcome(house.clock.now()))
    settled()


class HeldStore(MemoryStore):
    """Keeps every put of a pack waiting until it is told to let go."""

    gate = threading.Event()

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        if name.startswith("data/"):
            assert self.gate.wait(LONG_S)
        return super().put(name, content, until=until)


@pytest.mark.parametrize("fails", [False, True])
def test_jobs_that_still_seal_when_a_session_is_given_up_come_to_their_end(
    *, house: House, fails: bool
) -> None:
    held = HeldStore(house.clock)
    assert isinstance(house.objects, MemoryStore)
    held._objects = house.objects._objects
    held.gate = threading.Event()
    house.objects = held
    session = house.open(reader=False).begin("crm", house.executor, expires=3600)
    # More than every buffer holds, so that some wait for one; and the packs of all are on their way.
    feeder = threading.Thread(target=put_noise, args=(session, 40), daemon=True)
    feeder.start()
    while len(uploading()) < 2:
        feeder.join(0.01)
    giver = threading.Thread(target=give_up, args=(session,), kwargs={"commits": fails}, daemon=True)
    giver.start()
    held.gate.set()
    for thread in (giver, feeder):
        thread.join(LONG_S)
        assert not thread.is_alive()
    ender = threading.Thread(target=lambda: house.executor.shutdown(wait=True), daemon=True)
    ender.start()
    ender.join(LONG_S)
    assert not ender.is_alive(), "a job of the session waits for ever"
    settled()


def put_noise(session: Session, chunks: int) -> None:
    for _ in range(chunks):
        session.chunks.put(COHORT, ChunkKind.ROWS, os.urandom(30_000), None)


def give_up(session: Session, *, commits: bool) -> None:
    if commits:
        session._uploads.close()  # as a failing commit does, at its worst moment
    try:
        session.abandon("test")
    except TenureError:
        return
