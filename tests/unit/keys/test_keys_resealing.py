"""Another passphrase for a key file: what opens it then, and that no crash leaves it unreadable."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.domain.errors import ConfigError, KeyMismatchError, KeyUnavailableError
from tenure.keys import resealing
from tenure.keys.local import KeyFile, KeyKind, read_key_file, write_key_file
from tenure.keys.resealing import change_passphrase

KEY = KeyFile(
    kind=KeyKind.READER,
    repository="5d0c" * 8,
    name="epoch-1",
    created=datetime(2026, 3, 1, tzinfo=UTC),
    fields={"private": bytes(range(96))},
)
OLD, NEW = b"correct horse", b"battery staple"


def never() -> bytes:
    raise AssertionError("asked for a passphrase")


def kept(folder: Path, passphrase: bytes | None) -> Path:
    path = folder / "epoch-1.key"
    write_key_file(path, KEY, passphrase=passphrase)
    return path


@pytest.mark.parametrize("before", [None, OLD])
@pytest.mark.parametrize("after", [None, NEW])
def test_a_changed_file_opens_with_its_new_passphrase_alone(
    tmp_path: Path, before: bytes | None, after: bytes | None
) -> None:
    path = kept(tmp_path, before)
    changed = change_passphrase(path, old=never if before is None else lambda: OLD, new=after)
    assert changed == (before is not after)
    assert read_key_file(path, passphrase=never if after is None else lambda: NEW) == KEY
    if after is not None:
        with pytest.raises(KeyMismatchError, match="does not open"):
            read_key_file(path, passphrase=lambda: OLD)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_has_the_new_passphrase_already_is_left_alone(tmp_path: Path) -> None:
    path = kept(tmp_path, NEW)
    before = path.read_bytes()
    assert not change_passphrase(path, old=never, new=NEW)
    assert path.read_bytes() == before


def test_the_bytes_of_the_old_file_are_overwritten(tmp_path: Path) -> None:
    path = kept(tmp_path, None)
    before = path.read_bytes()
    with path.open("rb") as old:
        change_passphrase(path, old=None, new=NEW)
        left = old.read()
    assert len(left) == len(before)
    assert before[:40] not in left
    assert b"private" not in left


def test_a_wrong_old_passphrase_changes_nothing(tmp_path: Path) -> None:
    path = kept(tmp_path, OLD)
    before = path.read_bytes()
    with pytest.raises(KeyMismatchError, match="the passphrase does not open"):
        change_passphrase(path, old=lambda: b"wrong", new=NEW)
    with pytest.raises(KeyUnavailableError, match="none was given"):
        change_passphrase(path, old=None, new=None)
    assert path.read_bytes() == before


def test_a_damaged_file_is_told_from_a_wrong_passphrase(tmp_path: Path) -> None:
    path = kept(tmp_path, OLD)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(KeyMismatchError, match="is damaged"):
        change_passphrase(path, old=never, new=NEW)
    assert path.read_bytes() == content


def test_a_file_of_another_repository_is_refused(tmp_path: Path) -> None:
    path = kept(tmp_path, None)
    with pytest.raises(KeyMismatchError, match="belongs to repository"):
        change_passphrase(path, old=never, new=NEW, repository="ab" * 16)
    assert read_key_file(path, passphrase=never) == KEY


def test_an_empty_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="protects nothing"):
        change_passphrase(kept(tmp_path, None), old=never, new=b"")


@pytest.mark.parametrize("step", ["_prove", "_swap"])
def test_a_crash_before_the_new_file_is_in_place_leaves_the_old_one_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = kept(tmp_path, OLD)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resealing, step, crash)
        patch.setattr(resealing, "destroy_key_file", lambda _: None)  # a killed process tidies nothing
        with pytest.raises(KeyboardInterrupt):
            change_passphrase(path, old=lambda: OLD, new=NEW)
    assert (tmp_path / ".epoch-1.key.new").exists()
    assert read_key_file(path, passphrase=lambda: OLD) == KEY
    assert change_passphrase(path, old=lambda: OLD, new=NEW)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert read_key_file(path, passphrase=lambda: NEW) == KEY


def test_a_crash_before_the_old_bytes_are_overwritten_leaves_the_new_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept(tmp_path, OLD)

    def full(fd: int, _: bytes) -> None:
        os.close(fd)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(resealing, "fill", full)
    with pytest.raises(KeyUnavailableError, match="is changed, and its old bytes could not be overwritten"):
        change_passphrase(path, old=lambda: OLD, new=NEW)
    assert read_key_file(path, passphrase=lambda: NEW) == KEY


def test_a_file_that_cannot_be_replaced_stays_and_no_other_is_left_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept(tmp_path, None)

    def refuse(*_: object) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(resealing, "_prove", refuse)
    with pytest.raises(ConfigError, match="cannot be replaced"):
        change_passphrase(path, old=never, new=NEW)
    assert read_key_file(path, passphrase=never) == KEY
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_link_to_a_key_file_still_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = kept(tmp_path / "real", None)
    link = tmp_path / "epoch-1.key"
    link.symlink_to(path)
    assert change_passphrase(link, old=never, new=NEW)
    assert link.is_symlink()
    assert read_key_file(link, passphrase=lambda: NEW) == KEY


@settings(max_examples=6, deadline=None)
@given(phrase=st.binary(min_size=1, max_size=64))
def test_any_passphrase_opens_what_it_was_put_on(
    tmp_path_factory: pytest.TempPathFactory, phrase: bytes
) -> None:
    path = kept(tmp_path_factory.mktemp("keys"), None)
    change_passphrase(path, old=never, new=phrase)
    assert read_key_file(path, passphrase=lambda: phrase) == KEY
