"""Die at every store call and at every step of the live deletion of a purge and of an erasure: a rerun ends alike."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from support.faults import Died, FaultPlan, FaultyStore
from support.retention import Centre, found
from tenure.crypto.signing import VerifyKey
from tenure.domain.errors import ConfigError, NotApprovedError, StalePlanError
from tenure.evidence.certificate import verify_certificate
from tenure.operations.erasing import erase
from tenure.operations.installation import Installation
from tenure.operations.purging import purge
from tenure.repository.keystores import KeyStores, NamedStore
from tenure.repository.repository import Pins, Place, Repository
from tenure.rules.facts import Facts
from tenure.sources.base import Judge, Removal


class DyingLive:
    """A live store whose changes, and the judging inside them, count as calls of a plan."""

    def __init__(self, inner: Any, plan: FaultPlan) -> None:
        self._inner, self._plan = inner, plan

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def facts(self, data_set: str, keys: Sequence[bytes] | None = None) -> Iterator[Facts]:
        return iter(self._inner.facts(data_set, keys))

    def remove(self, data_set: str, keys: Sequence[bytes], judge: Judge) -> Removal:
        with self._plan.around("remove", data_set):
            return self._inner.remove(data_set, keys, self._judged(data_set, judge))  # type: ignore[no-any-return]

    def rewrite(
        self, data_set: str, keys: Sequence[bytes], judge: Judge, edits: Mapping[str, Callable[[Any], Any]]
    ) -> Removal:
        with self._plan.around("rewrite", data_set):
            return self._inner.rewrite(data_set, keys, self._judged(data_set, judge), edits)  # type: ignore[no-any-return]

    def stub(self, data_set: str, keys: Sequence[bytes]) -> int:
        with self._plan.around("stub", data_set):
            return self._inner.stub(data_set, keys)  # type: ignore[no-any-return]

    def vacuum(self) -> tuple[str, ...]:
        with self._plan.around("vacuum", ""):
            return getattr(self._inner, "vacuum", tuple)()

    def _judged(self, data_set: str, judge: Judge) -> Judge:
        def judged(facts: Facts) -> Any:
            with self._plan.around("judge", data_set):
                return judge(facts)

        return judged


class DyingFolder(DyingLive):
    """The same of a folder, which makes no stubs."""

    stub = property(doc="There is none.")


class DyingSource:
    def __init__(self, inner: Any, plan: FaultPlan, kind: type[DyingLive]) -> None:
        self._inner, self._plan, self._kind = inner, plan, kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def live(self, *lookups: Any) -> DyingLive:
        return self._kind(self._inner.live(*lookups), self._plan)


def dying(installation: Installation, plan: FaultPlan) -> Installation:
    """Return the installation with every store, and every live change, under a plan."""

    def open_reading() -> Repository:
        inner = installation.open_reading()
        stores = [
            NamedStore(name=s.name, store=FaultyStore(s.store, plan)) for s in inner.place.key_stores.stores
        ]
        place = Place(
            objects=FaultyStore(inner.place.objects, plan),
            key_stores=KeyStores(stores),
            memory=inner.place.memory,
        )
        pins = Pins(repository=inner.id, purge_key=VerifyKey(bytes.fromhex(inner.marker.purge_key)))
        return Repository.open(place, pins, inner.rights)

    sources = {"crm": DyingLive, "calls": DyingFolder}
    dying_sources = {n: DyingSource(s, plan, sources[n]) for n, s in installation.sources.items()}
    return replace(installation, open_reading=open_reading, sources=dying_sources)


def run_purge(installation: Installation, plan_hash: str) -> None:
    purge(installation, plan_hash)


def run_erase(installation: Installation, _: str) -> None:
    erase(installation, subject=("customer", "1"), request="REF-1", received=date(2026, 2, 1))


def again_purge(installation: Installation, plan_hash: str) -> None:
    """Run a purge again after a death: what it had ordered is finished first; the plan may be over then."""
    try:
        purge(installation, plan_hash)
    except (StalePlanError, NotApprovedError):
        assert not installation.open_reading().state.open_forgets()


def again_erase(installation: Installation, plan_hash: str) -> None:
    try:
        run_erase(installation, plan_hash)
    except ConfigError as e:  # by the run that died after its last step
        if "was answered before" not in str(e):
            raise
        assert not installation.open_reading().state.open_forgets()


Work = Callable[[Installation, str], None]
CASES: dict[str, tuple[Work, Work]] = {"purge": (run_purge, again_purge), "erase": (run_erase, again_erase)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Centre, str, dict[str, int]]:
    with quick():
        centre = found(tmp_path_factory.mktemp("fault") / "site")
        # A standing approval would let a second purge of the same run find nothing; the plan is named instead.
        made = centre.approved()
        numbers = centre.snapshot()
        return centre, made.hash, numbers


@contextmanager
def quick() -> Iterator[None]:
    """Skip waiting for the disk: these deaths are of a process, not of the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(os, "fdatasync", lambda _: None)
        yield


def end_state(centre: Centre, numbers: dict[str, int], target: Path) -> tuple[object, ...]:
    back = centre.restored(numbers, target)
    with centre.open() as installation:
        check = installation.evidence.check()
        assert check.is_sound, check.findings
        state = installation.open_reading().state
        assert not state.open_forgets()
        key = installation.evidence_key.public()
        certificates = [verify_certificate(d, key) for _, d in installation.evidence.certificates()]
        real = [c for c in certificates if c.stores]
        assert len(real) == 1
        assert real[0].rescan.found == 0
        forgets = [(len(f.intent.sources), bool(f.done)) for f in state.forgets.values()]
    return centre.ids(), centre.rows("customers"), back, forgets, real[0].stores[-1].records


@pytest.mark.parametrize("name", CASES)
def test_a_rerun_after_a_death_anywhere_ends_as_if_nothing_had_happened(
    name: str, prepared: tuple[Centre, str, dict[str, int]], tmp_path: Path
) -> None:
    centre, plan_hash, numbers = prepared
    work, again = CASES[name]
    with quick():
        straight = centre.copy(tmp_path / "straight")
        counting = FaultPlan()
        with straight.open() as installation:
            work(dying(installation, counting), plan_hash)
        expected = end_state(straight, numbers, tmp_path / "expected")
        assert {"remove", "judge"} <= {line.split()[0] for line in counting.journal}
        points = changing(counting.journal)
        assert len(points) > 30
        for at in points:
            ruin = centre.copy(tmp_path / "ruin")
            plan = FaultPlan(at=at)
            with ruin.open() as installation:
                with pytest.raises(Died):
                    work(dying(installation, plan), plan_hash)
                plan.assert_used()
                again(installation, plan_hash)
            assert end_state(ruin, numbers, tmp_path / "back") == expected, counting.journal[at - 1]
            for folder in ("ruin", "back"):
                shutil.rmtree(tmp_path / folder)


def changing(journal: Sequence[str]) -> list[int]:
    """Return the calls that change something. To die before one of them is to die after the one before it."""
    changes = {"put", "delete", "remove", "rewrite", "stub", "judge", "vacuum"}
    return [i for i, line in enumerate(journal, 1) if line.split()[0] in changes]
