"""Rotation: both new keys prove that they open what is theirs, before anything is written and before an old key goes."""

from pathlib import Path
from typing import Any

import pytest

from support.retention import Centre, found
from support.rotations import NOBODY, key_files, rotated
from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.errors import KeyMismatchError, KeyUnavailableError
from tenure.keys.local import KeyFile, KeyKind, LocalKeyring, write_key_file
from tenure.operations import rotating
from tenure.operations.rotating import Opened, proven, rotate
from tenure.repository.entries import Recipient
from tenure.repository.repository import Repository
from tenure.repository.rotation import open_epoch


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    made = found(tmp_path / "site")
    made.snapshot()
    return made


def pages_of(centre: Centre) -> list[bytes]:
    return [p.read_bytes() for p in (centre.folder / "key-store-1" / "keys").rglob("*") if p.is_file()]


def half_rotated(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open epoch 2 and die before its pages are sealed."""
    with monkeypatch.context() as patched:
        patched.setattr(rotating, "reseal", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            rotated(centre)


def entries_of(centre: Centre) -> int:
    with centre.open() as installation:
        return installation.open_reading().state.number


def test_a_rotation_without_the_new_recovery_key_goes_no_further(
    centre: Centre, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    half_rotated(centre, monkeypatch)
    safe = tmp_path / "safe.key"
    (centre.folder / "keys" / "recovery-2.key").rename(safe)
    before = entries_of(centre), pages_of(centre)
    with pytest.raises(KeyUnavailableError, match=r"recovery-2\.key is not here") as refused:
        rotated(centre)
    assert "--recovery-key" in refused.value.hint
    assert (entries_of(centre), pages_of(centre)) == before
    with centre.open() as installation:
        done = rotate(installation, NOBODY, recovery=safe)
    assert done.recovery_proven
    assert done.closed == (1,)
    assert key_files(centre) == {"epoch-2.key", "purge.key", "evidence.key"}


@pytest.mark.parametrize("begun", [False, True])
def test_a_recovery_key_of_an_older_epoch_is_not_taken_for_the_new_one(
    *, centre: Centre, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    if begun:
        half_rotated(centre, monkeypatch)
    before = entries_of(centre), pages_of(centre)
    with centre.open() as installation, pytest.raises(KeyMismatchError, match="nothing was written") as told:
        rotate(installation, NOBODY, recovery=centre.folder / "keys" / "recovery.key")
    assert ("put back" if begun else "leave --recovery-key out") in told.value.hint
    assert (entries_of(centre), pages_of(centre)) == before
    assert {"epoch-1.key", "recovery.key"} <= key_files(centre)


def test_a_recovery_key_that_trusts_another_purge_key_is_refused(centre: Centre, tmp_path: Path) -> None:
    before, wrong = entries_of(centre), tmp_path / "wrong.key"
    with centre.open() as installation:
        fields = {"private": RecipientPrivate.generate().raw, "purge_public": b"p" * 32}
        stranger = KeyFile(
            kind=KeyKind.RECOVERY,
            repository=installation.pins.repository.hex(),
            name="wrong",
            created=centre.clock.now(),
            fields=fields,
        )
        write_key_file(wrong, stranger, passphrase=None)
        with pytest.raises(KeyMismatchError, match="trusts another purge key"):
            rotate(installation, NOBODY, recovery=wrong)
    assert entries_of(centre) == before


@pytest.mark.parametrize("half", ["reader", "recovery"])
def test_an_epoch_is_not_opened_unless_each_new_key_opens_what_is_its_own(
    centre: Centre, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    def opened_with_a_wrong_half(
        repository: Repository, recipients: tuple[Recipient, ...], prover: LocalKeyring
    ) -> int:
        stranger = RecipientPrivate.generate().public()
        swapped = tuple(
            Recipient(role=r.role, provider="local", key_id=stranger.key_id, public=stranger.raw)
            if r.role == half
            else r
            for r in recipients
        )
        return open_epoch(repository, swapped, prover)

    before = entries_of(centre), pages_of(centre)
    monkeypatch.setattr(rotating, "open_epoch", opened_with_a_wrong_half)
    with pytest.raises(KeyMismatchError, match=rf"for its {half} key .* no epoch was opened"):
        rotated(centre)
    assert (entries_of(centre), pages_of(centre)) == before


def test_both_new_keys_are_proven_before_the_old_epoch_is_closed(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bytes] = []

    def fails_for_the_recovery_key(*args: Any) -> Opened:
        tried.append(args[2].key_id)
        if len(tried) == 2:
            raise KeyMismatchError("the recovery key does not open a page")
        return proven(*args)

    monkeypatch.setattr(rotating, "proven", fails_for_the_recovery_key)
    with pytest.raises(KeyMismatchError, match="the recovery key"):
        rotated(centre)
    with centre.open() as installation:
        states = {n: e.state for n, e in installation.open_reading().state.epochs.items()}
    assert states == {1: "closing", 2: "open"}
    assert {"epoch-1.key", "recovery.key"} <= key_files(centre)
