"""Rotation: old keys open nothing, a rotation cut short goes on, the recovery key alone brings everything back."""

from pathlib import Path

import pytest

from support.retention import Centre, found
from support.rotations import NOBODY, key_files, rotated
from tenure.bootstrap.recovering import Remains, recovered
from tenure.bootstrap.wiring import Machine, build
from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.errors import (
    ConfigError,
    KeyMismatchError,
    KeyUnavailableError,
    LeasedError,
    StoreUnavailableError,
)
from tenure.domain.progress import SilentProgress
from tenure.keys.local import KeyKind, LocalKeyring, read_key_file
from tenure.operations import rotating
from tenure.operations.keystatus import keys_status
from tenure.operations.restore import Part
from tenure.operations.rotating import (
    Secrecy,
    proven,
    rotate,
)
from tenure.repository.page import open_keys, parse_page
from tenure.sources.sqlitecompare import compare_sqlite


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    made = found(tmp_path / "site")
    made.snapshot()
    return made


def private_of(path: Path) -> RecipientPrivate:
    return RecipientPrivate.from_raw(read_key_file(path, passphrase=None).fields["private"])


def pages_of(centre: Centre) -> list[bytes]:
    return [p.read_bytes() for p in (centre.folder / "key-store-1" / "keys").rglob("*") if p.is_file()]


def remains(centre: Centre, key: Path) -> Remains:
    return Remains(
        key=key,
        repository=f"file:{centre.folder / 'repository'}",
        key_stores=(f"file:{centre.folder / 'key-store-2'}",),
    )


def strange_machine(centre: Centre) -> Machine:
    return Machine(clock=centre.clock, progress=SilentProgress(), cpus=1)


def test_the_old_key_opens_nothing_after_a_rotation(centre: Centre) -> None:
    keys = centre.folder / "keys"
    old = [private_of(keys / "epoch-1.key"), private_of(keys / "recovery.key")]
    done = rotated(centre)
    assert done.epoch == 2
    assert done.closed == (1,)
    assert done.final_at == centre.clock.now()
    assert {p.name for p in done.destroyed} == {"epoch-1.key", "recovery.key"}
    assert key_files(centre) == {"epoch-2.key", "recovery-2.key", "purge.key", "evidence.key"}
    for private in old:
        with centre.open() as installation, pytest.raises(KeyMismatchError):
            proven(installation.open_writing(), installation.pins, private, SilentProgress())
        for raw in pages_of(centre):
            with pytest.raises(KeyMismatchError):
                open_keys(parse_page(raw, name="page"), LocalKeyring([private]))


def test_an_old_page_kept_aside_opens_with_no_key_that_remains(centre: Centre) -> None:
    aside = pages_of(centre)
    rotated(centre)
    keys = centre.folder / "keys"
    remaining = LocalKeyring([private_of(keys / "epoch-2.key"), private_of(keys / "recovery-2.key")])
    assert aside
    for raw in aside:
        with pytest.raises(KeyMismatchError):
            open_keys(parse_page(raw, name="page"), remaining)


def test_everything_reads_as_before_after_two_rotations(centre: Centre, tmp_path: Path) -> None:
    numbers = centre.snapshot()
    assert rotated(centre).epoch == 2
    (centre.folder / "keys" / "recovery-2.key").unlink()
    assert rotated(centre).epoch == 3
    assert centre.restored(numbers, tmp_path / "back") == centre.ids()
    assert centre.snapshot()["crm"] > numbers["crm"]


def test_a_rotation_says_what_it_proved(centre: Centre) -> None:
    done = rotated(centre)
    assert done.proven is not None
    assert done.proven.cohorts >= 4
    assert done.proven.chunks >= done.proven.cohorts - 2
    assert done.recovery_proven
    with centre.open() as installation:
        entry = next(iter(installation.evidence.log.entries(kind="key-rotation")))
    assert entry.outcome == "done"
    assert entry.details["destroyed"] == ["epoch-1.key", "recovery.key"]


@pytest.mark.parametrize(
    "step", ["open_epoch", "reseal", "close_old_epochs", "proven", "_destroy_old", "_attest"]
)
def test_a_rotation_that_was_cut_short_goes_on_where_it_stopped(
    centre: Centre, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def dies(*_: object) -> None:
        raise StoreUnavailableError("the store went away")

    with monkeypatch.context() as patched:
        patched.setattr(rotating, step, dies)
        with pytest.raises(StoreUnavailableError):
            rotated(centre)
    if step != "_attest":
        assert "epoch-1.key" in key_files(centre)
        done = rotated(centre)
        assert done.epoch == 2
        assert done.final_at is not None
    assert key_files(centre) == {"epoch-2.key", "recovery-2.key", "purge.key", "evidence.key"}


def test_a_new_key_that_opens_less_than_everything_destroys_nothing(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotating, "reseal", lambda *_: 0)
    monkeypatch.setattr(rotating, "close_old_epochs", lambda _: (1,))
    with pytest.raises(KeyMismatchError):
        rotated(centre)
    assert {"epoch-1.key", "recovery.key"} <= key_files(centre)


def test_a_rotation_whose_reading_key_file_went_away_says_so(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(rotating, "reseal", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            rotated(centre)
    (centre.folder / "keys" / "epoch-2.key").unlink()
    with pytest.raises(KeyUnavailableError, match=r"epoch-2\.key is not here"):
        rotated(centre)


def test_two_rotations_do_not_run_at_once(centre: Centre) -> None:
    with centre.open() as installation, installation.alone("forgetting"), pytest.raises(LeasedError):
        rotated(centre)


def test_new_key_files_can_be_protected(centre: Centre) -> None:
    def ask() -> bytes:
        return b"correct horse"

    machine = Machine(clock=centre.clock, progress=SilentProgress(), passphrase=ask, cpus=1)
    installation = build(centre.folder / "tenure.yaml", machine)
    try:
        assert rotate(installation, Secrecy(ask=ask, protect=ask())).recovery_proven
    finally:
        installation.close()
    keys = centre.folder / "keys"
    for name in ("epoch-2.key", "recovery-2.key"):
        with pytest.raises(KeyUnavailableError):
            read_key_file(keys / name, passphrase=None)
        assert read_key_file(keys / name, passphrase=ask).kind in {KeyKind.READER, KeyKind.RECOVERY}


def test_the_state_of_keys_tells_what_is_here(centre: Centre) -> None:
    rotated(centre)
    (centre.folder / "keys" / "recovery-2.key").unlink()
    with centre.open() as installation:
        found_keys = keys_status(installation, NOBODY)
    told = [(k.epoch, k.state, k.role, k.file.name if k.file else "") for k in found_keys.recipients]
    assert told == [
        (1, "closed", "reader", ""),
        (1, "closed", "recovery", ""),
        (2, "open", "reader", "epoch-2.key"),
        (2, "open", "recovery", ""),
    ]
    assert {w.source for w in found_keys.writers} == {"crm", "calls"}
    assert found_keys.pages > 0
    assert found_keys.old_pages == 0


def test_repository_key_store_and_recovery_key_alone_bring_everything_back(
    centre: Centre, tmp_path: Path
) -> None:
    key = tmp_path / "recovery.key"
    (centre.folder / "keys" / "recovery.key").rename(key)
    for lost in ("keys", "state", "tenure.yaml"):
        (centre.folder / lost).rename(tmp_path / f"lost-{lost}")
    with recovered(remains(centre, key), strange_machine(centre)) as opened:
        newest = {s.entry.source: s.number for s in opened.repository.state.snapshots_of(None)}
        opened.restore(newest["crm"], tmp_path / "crm.sqlite")
        opened.restore(newest["calls"], tmp_path / "calls")
    assert compare_sqlite(centre.folder / "crm.sqlite", tmp_path / "crm.sqlite") == []
    live = centre.folder / "recordings"
    for file in (p for p in live.rglob("*") if p.is_file()):
        assert (tmp_path / "calls" / file.relative_to(live)).read_bytes() == file.read_bytes()


def test_a_part_comes_back_with_the_recovery_key_too(centre: Centre, tmp_path: Path) -> None:
    with recovered(
        remains(centre, centre.folder / "keys" / "recovery.key"), strange_machine(centre)
    ) as opened:
        number = opened.repository.state.snapshots_of("crm")[0].number
        done = opened.restore(number, tmp_path / "part", Part(data_set="notes"))
        with pytest.raises(ConfigError, match="exists already"):
            opened.restore(number, tmp_path / "part")
    assert done.records == 7


def test_a_recovery_key_from_before_a_rotation_recovers_nothing(centre: Centre, tmp_path: Path) -> None:
    key = tmp_path / "old.key"
    key.write_bytes((centre.folder / "keys" / "recovery.key").read_bytes())
    key.chmod(0o600)
    rotated(centre)
    with recovered(remains(centre, key), strange_machine(centre)) as opened:
        for snapshot in opened.repository.state.snapshots_of(None):
            with pytest.raises(KeyMismatchError):
                opened.restore(snapshot.number, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    new = centre.folder / "keys" / "recovery-2.key"
    with recovered(remains(centre, new), strange_machine(centre)) as opened:
        assert len(opened.repository.state.snapshots) == 2


def test_a_replaced_recovery_key_shows_names_as_the_threat_model_says_and_no_record(
    centre: Centre, tmp_path: Path
) -> None:
    key = tmp_path / "old.key"
    key.write_bytes((centre.folder / "keys" / "recovery.key").read_bytes())
    key.chmod(0o600)
    rotated(centre)
    number = centre.snapshot()["crm"]
    with recovered(remains(centre, key), strange_machine(centre)) as opened:
        reader = opened.repository.read(number, opened.executor)
        assert "notes" in reader.manifest.data_sets
        assert reader.layout("notes").columns
        (tree, *_) = reader.trees("notes")
        with pytest.raises(KeyMismatchError):
            reader.chunks.fetch(tree.cohort, tree.layers[0].entries[0].chunk)
    for raw in pages_of(centre):
        with pytest.raises(KeyMismatchError):
            open_keys(parse_page(raw, name="page"), LocalKeyring([private_of(key)]))


def test_recovery_without_a_key_store_is_refused(centre: Centre) -> None:
    without = Remains(key=centre.folder / "keys" / "recovery.key", repository="file:x", key_stores=())
    with pytest.raises(ConfigError, match="no key store"), recovered(without, strange_machine(centre)):
        pass
