"""The proof of the recovery key: alone, in every key store, and what it says of what is missing, damaged or rotated."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.repo import House, take
from support.retention import Centre, found
from support.rotations import rotated
from tenure.bootstrap.recovering import Remains, recovered
from tenure.bootstrap.wiring import Machine
from tenure.domain.errors import KeyMismatchError, KeyUnavailableError, StoreUnavailableError, TenureError
from tenure.domain.progress import SilentProgress
from tenure.keys.local import KeyFile, KeyKind, LocalKeyring, read_key_file
from tenure.operations import recoverycheck, rotating
from tenure.operations.purging import purge
from tenure.operations.recoverycheck import RecoveryCheck, check_recovery, checked
from tenure.repository import names
from tenure.repository.headfile import HeadInMemory
from tenure.repository.keystores import KeyStores
from tenure.repository.repository import Pins, Place, Repository, Rights


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    made = found(tmp_path / "site")
    made.snapshot()
    return made


def key_of(path: Path) -> Callable[[], KeyFile]:
    return lambda: read_key_file(path, passphrase=None, kind=KeyKind.RECOVERY)


def check(centre: Centre, name: str = "recovery.key") -> RecoveryCheck:
    with centre.open() as installation:
        return check_recovery(installation, key_of(centre.folder / "keys" / name))


def outcomes(centre: Centre) -> list[str]:
    with centre.open() as installation:
        return [e.outcome for e in installation.evidence.log.entries(kind="recovery-check")]


def pages(centre: Centre, store: str) -> list[Path]:
    return sorted(p for p in (centre.folder / store / "keys").rglob("*") if p.is_file())


def stored(centre: Centre) -> dict[str, tuple[bytes, int]]:
    """Return every object of every store, with its time."""
    return {
        str(p.relative_to(centre.folder)): (p.read_bytes(), p.stat().st_mtime_ns)
        for store in ("repository", "key-store-1", "key-store-2")
        for p in (centre.folder / store).rglob("*")
        if p.is_file()
    }


def test_the_recovery_key_opens_every_cohort_in_every_key_store_and_evidence_says_so(centre: Centre) -> None:
    before = stored(centre)
    done = check(centre)
    assert done.exit_code == 0
    assert done.cohorts >= 4
    assert done.chunks >= done.cohorts
    assert [(s.name, s.is_whole) for s in done.stores] == [("first", True), ("second", True)]
    assert done.stores[0].opened == done.stores[1].opened >= done.cohorts
    assert [(e.epoch, e.state, e.sealed_for_others) for e in done.epochs] == [(1, "open", 0)]
    assert outcomes(centre) == ["passed"]
    assert stored(centre) == before


def test_it_works_where_no_other_key_is_and_writes_nothing(centre: Centre, tmp_path: Path) -> None:
    key = tmp_path / "recovery.key"
    (centre.folder / "keys" / "recovery.key").rename(key)
    for lost in ("keys", "state", "tenure.yaml"):
        (centre.folder / lost).rename(tmp_path / f"lost-{lost}")
    remains = Remains(
        key=key,
        repository=f"file:{centre.folder / 'repository'}",
        key_stores=tuple(f"file:{centre.folder / name}" for name in ("key-store-1", "key-store-2")),
    )
    before = stored(centre)
    machine = Machine(clock=centre.clock, progress=SilentProgress(), cpus=2)
    with recovered(remains, machine) as opened:
        done = opened.checked()
    assert done.exit_code == 0
    assert len(done.stores) == 2
    assert stored(centre) == before


def test_a_recovery_key_that_was_replaced_does_not_pass(centre: Centre, tmp_path: Path) -> None:
    aside = tmp_path / "recovery.key"
    shutil.copy(centre.folder / "keys" / "recovery.key", aside)
    rotated(centre)
    with (
        centre.open() as installation,
        pytest.raises(KeyMismatchError, match="no recovery key of the epoch in use"),
    ):
        check_recovery(installation, key_of(aside))
    assert outcomes(centre) == ["failed"]
    done = check(centre, "recovery-2.key")
    assert done.exit_code == 0
    assert [(e.epoch, e.state, e.pages > 0) for e in done.epochs] == [(1, "closed", False), (2, "open", True)]


def test_another_kind_another_repositorys_and_a_missing_key_do_not_pass(
    centre: Centre, tmp_path: Path
) -> None:
    other = found(tmp_path / "other")
    shutil.copy(other.folder / "keys" / "recovery.key", centre.folder / "keys" / "foreign.key")
    for name, error in (
        ("epoch-1.key", KeyMismatchError),
        ("foreign.key", KeyMismatchError),
        ("nowhere.key", KeyUnavailableError),
    ):
        with pytest.raises(error):
            check(centre, name)
    assert outcomes(centre) == ["failed", "failed", "failed"]


@pytest.mark.parametrize("harm", ["lost", "cut", "flipped", "foreign"])
def test_a_page_that_one_key_store_lacks_is_told_with_its_store_and_nothing_is_lost(
    centre: Centre, harm: str
) -> None:
    first, *others = pages(centre, "key-store-2")
    raw = first.read_bytes()
    if harm == "lost":
        first.unlink()
    else:
        bad = {"cut": raw[:-5], "flipped": raw[:99] + bytes([raw[99] ^ 1]) + raw[100:]}
        first.write_bytes(bad.get(harm) or others[0].read_bytes())
    done = check(centre)
    assert done.exit_code == 3
    assert done.stores[0].is_whole
    assert (done.stores[1].missing, done.stores[1].damaged) == ((1, 0) if harm == "lost" else (0, 1))
    assert (done.closed, done.lost) == ((), ())
    assert outcomes(centre) == ["a key store lacks pages"]


def test_a_page_that_no_key_store_has_is_lost_and_named(centre: Centre) -> None:
    page = pages(centre, "key-store-1")[0]
    page.unlink()
    (centre.folder / "key-store-2" / page.relative_to(centre.folder / "key-store-1")).write_bytes(b"TNRK")
    done = check(centre)
    assert done.exit_code == 40
    assert len(done.lost) == 1
    assert page.name in done.lost[0]
    assert "first: missing" in done.lost[0]
    assert outcomes(centre) == ["failed"]


def test_a_lost_pack_is_told_though_every_page_opens(centre: Centre) -> None:
    for pack in (p for p in (centre.folder / "repository" / "data").rglob("*") if p.is_file()):
        pack.unlink()
    done = check(centre)
    assert done.exit_code == 40
    assert done.chunks == 0
    assert all(s.is_whole for s in done.stores)
    assert "missing from the object store" in done.lost[0]


@pytest.mark.parametrize("away", [("key-store-1",), ("key-store-2",), ("key-store-1", "key-store-2")])
def test_a_key_store_that_is_away_is_told_and_all_away_is_an_error(
    centre: Centre, away: tuple[str, ...]
) -> None:
    for name in away:
        (centre.folder / name).rename(centre.folder / f"{name}-away")
    if len(away) == 2:
        with pytest.raises(StoreUnavailableError, match="key-store-1"):
            check(centre)
        return
    done = check(centre)
    assert done.exit_code == 3
    (problem,) = [s.problem for s in done.stores if s.problem]
    assert away[0] in problem
    assert done.lost == ()


def test_a_rotation_that_was_cut_short_is_told_as_pages_that_are_not_for_this_key(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(rotating, "reseal", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            rotated(centre)
    done = check(centre, "recovery-2.key")
    assert done.exit_code == 32
    assert done.closed
    assert done.lost == ()
    assert [(e.epoch, e.sealed_for_others == e.pages) for e in done.epochs] == [(1, True), (2, True)]
    rotated(centre)
    assert check(centre, "recovery-2.key").exit_code == 0


def test_a_page_replaced_while_it_is_looked_for_is_no_loss(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre.approved()
    real, pending = recoverycheck._away, ["a purge"]

    def meanwhile(stores: KeyStores) -> dict[str, str]:
        if pending:
            pending.clear()
            with centre.open() as installation:
                purge(installation)
        return real(stores)

    monkeypatch.setattr(recoverycheck, "_away", meanwhile)
    done = check(centre)
    assert not pending
    assert done.exit_code == 0, done
    assert done.cohorts >= 2


def house_with(months: int) -> House:
    house = House()
    house.create("crm")
    take(house, {k: (f"2025-{k % months + 1:02}", "c1", f"note {k}") for k in range(3 * months)})
    return house


def opened_alone(house: House) -> Repository:
    place = Place(objects=house.place().objects, key_stores=house.place().key_stores, memory=HeadInMemory())
    pins = Pins(repository=house.id, purge_key=house.purge.public())
    return Repository.open(place, pins, Rights(unwrapper=LocalKeyring([house.recovery])))


@given(seed=st.integers(0, 1 << 32), months=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_whatever_pages_are_harmed_it_finds_all_and_blames_the_right_store(seed: int, months: int) -> None:
    house, choice = house_with(months), random.Random(seed)
    every = [i.name for i in house.key_stores[0].list(names.PAGES)]
    harmed = [set(choice.sample(every, choice.randint(0, len(every)))) for _ in house.key_stores]
    for store, some in zip(house.key_stores, harmed, strict=True):
        for name in some:
            raw = store.get(name)
            store.delete(name)
            if choice.random() < 0.5:
                store.put(name, raw[: choice.randrange(len(raw))])
    alone = opened_alone(house)
    done = checked(alone, house.recovery.key_id, house.executor, SilentProgress())
    assert [s.missing + s.damaged for s in done.stores] == [len(some) for some in harmed]
    nowhere = harmed[0] & harmed[1]
    assert done.exit_code == (40 if nowhere else 3 if harmed[0] | harmed[1] else 0)
    for name in nowhere:
        assert any(name in words for words in done.lost)


def test_a_reading_key_is_no_recovery_key() -> None:
    house = house_with(1)
    with pytest.raises(TenureError, match="no recovery key of the epoch in use"):
        checked(opened_alone(house), house.readers[0].key_id, house.executor, SilentProgress())
