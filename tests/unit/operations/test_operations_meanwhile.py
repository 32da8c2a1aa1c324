"""Snapshots that another machine takes while a purge or an erasure is at work: they lose what is meant, and nothing else."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from support.retention import BLANKED_NOTES, Centre, found
from tenure.evidence.certificate import verify_certificate
from tenure.evidence.drill_record import DrillOutcome
from tenure.operations.drilling import Means, drill
from tenure.operations.erasing import erase
from tenure.operations.installation import Installation
from tenure.operations.purging import purge
from tenure.repository.forgetting import Forgetting
from tenure.rules.facts import Facts
from tenure.sources.base import Judge, Removal

NEW = "INSERT INTO cases VALUES (10, 4, 'billing', '2026-02-02')"
"""A new customer's case under the number of one that was deleted."""


class Watched:
    """A live store that tells when cases are about to be deleted, and when the customers are looked at after that."""

    def __init__(self, inner: Any, tell: Callable[[str], None]) -> None:
        self._inner, self._tell = inner, tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def live(self) -> "Watched":
        return Watched(self._inner.live(), self._tell)

    def facts(self, data_set: str, keys: Sequence[bytes] | None = None) -> Iterator[Facts]:
        self._tell(f"facts {data_set}")
        return iter(self._inner.facts(data_set, keys))

    def remove(self, data_set: str, keys: Sequence[bytes], judge: Judge) -> Removal:
        self._tell(f"remove {data_set}")
        return self._inner.remove(data_set, keys, judge)  # type: ignore[no-any-return]

    def rewrite(self, data_set: str, *given: Any) -> Removal:
        self._tell(f"rewrite {data_set}")
        return self._inner.rewrite(data_set, *given)  # type: ignore[no-any-return]

    def vacuum(self) -> tuple[str, ...]:
        return self._inner.vacuum()  # type: ignore[no-any-return]


class Meanwhile:
    """Another machine: a snapshot just before the cases are deleted, one just after, with a new case in it."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self.before: dict[str, int] = {}
        self.after: dict[str, int] = {}

    def watched(self, installation: Installation) -> Installation:
        crm = Watched(installation.sources["crm"], self._told)
        return replace(installation, sources={**installation.sources, "crm": crm})

    def _told(self, what: str) -> None:
        if what == "remove cases":
            self.before = self._centre.snapshot()
        elif what == "facts customers" and self.before and not self.after:
            self._centre.sql(NEW)
            self.after = self._centre.snapshot()


def run_purge(installation: Installation, plan: str) -> None:
    purge(installation, plan)


def run_erase(installation: Installation, _: str) -> None:
    erase(installation, subject=("customer", "1"), request="REF-1", received=date(2026, 2, 1))


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return found(tmp_path / "site")


@pytest.mark.parametrize("work", [run_purge, run_erase])
def test_a_new_record_under_a_reused_number_stays_in_the_snapshot_that_was_taken_meanwhile(
    work: Callable[[Installation, str], None], centre: Centre, tmp_path: Path
) -> None:
    old = centre.snapshot()
    made, meanwhile = centre.approved(), Meanwhile(centre)
    with centre.open() as installation:
        work(meanwhile.watched(installation), made.hash)
    assert 10 in centre.ids()["cases"]
    assert 10 in centre.restored(meanwhile.after, tmp_path / "after")["cases"]
    for name, numbers in (("old", old), ("before", meanwhile.before)):
        assert 10 not in centre.restored(numbers, tmp_path / name)["cases"]
    with centre.open() as installation:
        assert not installation.open_reading().state.open_forgets()
        (certificate,) = [
            verify_certificate(d, installation.evidence_key.public())
            for _, d in installation.evidence.certificates()
        ]
        assert certificate.rescan.found == 0
        assert all(not s.pending for s in certificate.stores)
        for numbers in (old, meanwhile.before, meanwhile.after):
            record = drill(installation, "crm", Means(timer=lambda: 0.0), number=numbers["crm"])
            assert record.outcome is DrillOutcome.PASSED, record.checks


def test_a_restore_and_a_rerun_after_a_death_spare_the_new_record_too(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = centre.snapshot()
    made, meanwhile = centre.approved(), Meanwhile(centre)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, centre.open() as installation:
        patch.setattr(Forgetting, "carry_out", die)
        with pytest.raises(KeyboardInterrupt):
            purge(meanwhile.watched(installation), made.hash)
    for when in ("died", "done"):
        assert 10 in centre.restored(meanwhile.after, tmp_path / when / "after")["cases"]
        for name, numbers in (("old", old), ("before", meanwhile.before)):
            assert 10 not in centre.restored(numbers, tmp_path / when / name)["cases"]
        with centre.open() as installation:
            purge(installation)


def test_a_record_that_was_edited_stays_in_a_snapshot_taken_after_that(
    centre: Centre, tmp_path: Path
) -> None:
    centre.write_rules({"notes": BLANKED_NOTES})
    old = centre.snapshot()
    made, seen = centre.approved(), list[dict[str, int]]()

    def told(what: str) -> None:
        if what == "rewrite notes" or (what == "remove notes" and len(seen) == 1):
            seen.append(centre.snapshot())

    with centre.open() as installation:
        crm = Watched(installation.sources["crm"], told)
        done = purge(replace(installation, sources={**installation.sources, "crm": crm}), made.hash).done
    assert done is not None
    assert done.live.edited == {"notes": 5}
    before, after = seen
    assert centre.restored(old, tmp_path / "old")["notes"] == {104, 105}
    assert centre.restored(before, tmp_path / "before")["notes"] == {104, 105}
    assert centre.restored(after, tmp_path / "after")["notes"] == set(centre.rows("notes"))
