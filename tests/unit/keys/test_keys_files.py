"""Key files: what they hold, whom they refuse, how they go."""

import json
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.crypto.hashing import content_hash
from tenure.domain.errors import ConfigError, KeyMismatchError, KeyUnavailableError
from tenure.keys.local import KeyFile, KeyKind, destroy_key_file, read_key_file, write_key_file

REPOSITORY = "5d0c" * 8
CREATED = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
FIELDS: dict[KeyKind, dict[str, bytes]] = {
    KeyKind.READER: {"private": bytes(range(96))},
    KeyKind.RECOVERY: {"private": bytes(range(96)), "purge_public": b"p" * 32},
    KeyKind.PURGE: {"private": b"s" * 32},
    KeyKind.WRITER: {
        "writer_id": b"w" * 16,
        "writer_secret": b"1" * 32,
        "cohort_tag_secret": b"2" * 32,
        "ledger_secret": b"3" * 32,
        "signing": b"4" * 32,
    },
    KeyKind.EVIDENCE: {"private": b"e" * 32},
}


def key(kind: KeyKind = KeyKind.READER, name: str = "epoch-1") -> KeyFile:
    return KeyFile(kind=kind, repository=REPOSITORY, name=name, created=CREATED, fields=FIELDS[kind])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "reader.key"


def signed_again(path: Path, body: bytes) -> None:
    """Replace a key file's content by one whose checksum is right."""
    path.write_bytes(body + b"# blake3 " + content_hash(body).hex().encode() + b"\n")


def never() -> bytes:
    raise AssertionError("asked for a passphrase")


@pytest.mark.parametrize("kind", KeyKind)
@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_what_is_written_is_read_back(path: Path, kind: KeyKind, passphrase: bytes | None) -> None:
    write_key_file(path, key(kind), passphrase=passphrase)
    ask = never if passphrase is None else lambda: b"correct horse"
    assert read_key_file(path, passphrase=ask, kind=kind, repository=REPOSITORY) == key(kind)
    assert read_key_file(path, passphrase=ask) == key(kind)


@given(name=st.text(min_size=1, max_size=200).filter(str.isprintable))
def test_any_printable_name_is_kept(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path = tmp_path_factory.mktemp("keys") / "key"
    write_key_file(path, key(name=name), passphrase=None)
    assert read_key_file(path, passphrase=None).name == name


def test_a_key_file_tells_its_finder_what_it_is_and_where_it_must_not_go(path: Path) -> None:
    write_key_file(path, key(), passphrase=None)
    first = path.read_text().splitlines()[0]
    for words in ("# Tenure reader key", "epoch-1", REPOSITORY, "SECRET", "bucket", "Git"):
        assert words in first


def test_a_passphrase_leaves_no_secret_in_the_file(path: Path) -> None:
    write_key_file(path, key(), passphrase=b"correct horse")
    header = json.loads(path.read_bytes().split(b"\n")[1])
    assert "fields" not in header
    assert header["protected"]["argon2id"] == {"iterations": 3, "lanes": 4, "memory": 65536}


def test_only_the_owner_may_use_a_written_key(path: Path) -> None:
    old = os.umask(0)
    try:
        write_key_file(path, key(), passphrase=None)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_key_file_is_never_overwritten(path: Path) -> None:
    write_key_file(path, key(), passphrase=None)
    with pytest.raises(ConfigError, match="exists already"):
        write_key_file(path, key(KeyKind.PURGE), passphrase=None)
    assert read_key_file(path, passphrase=None) == key()


def test_a_key_file_that_cannot_be_written_whole_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left"):
        write_key_file(path, key(), passphrase=None)
    assert not path.exists()


def test_a_key_file_under_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_key_file(tmp_path / "file" / "key", key(), passphrase=None)


def test_an_empty_passphrase_protects_nothing_and_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        write_key_file(path, key(), passphrase=b"")
    assert not path.exists()


def test_a_missing_key_file_is_named_with_the_kind_that_was_expected(path: Path) -> None:
    with pytest.raises(KeyUnavailableError, match=f"reader key file {path} is missing"):
        read_key_file(path, passphrase=None, kind=KeyKind.READER)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o622])
def test_a_key_file_that_others_may_use_is_refused_with_the_command_to_type(path: Path, mode: int) -> None:
    write_key_file(path, key(), passphrase=None)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others than its owner") as caught:
        read_key_file(path, passphrase=None, kind=KeyKind.READER)
    assert caught.value.hint == f"type: chmod 600 {path}"


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_a_key_file_only_its_owner_may_use_is_read(path: Path, mode: int) -> None:
    write_key_file(path, key(), passphrase=None)
    path.chmod(mode)
    assert read_key_file(path, passphrase=None) == key()


def test_a_key_of_another_kind_or_repository_is_refused_before_the_passphrase(path: Path) -> None:
    write_key_file(path, key(), passphrase=b"correct horse")
    with pytest.raises(KeyMismatchError, match="holds a reader key, a purge key is needed"):
        read_key_file(path, passphrase=never, kind=KeyKind.PURGE)
    with pytest.raises(KeyMismatchError, match=f"belongs to repository {REPOSITORY}, not to 00"):
        read_key_file(path, passphrase=never, repository="00")


@pytest.mark.parametrize("typed", [b"wrong", b"", b"correct horse "])
def test_a_wrong_passphrase_opens_nothing(path: Path, typed: bytes) -> None:
    write_key_file(path, key(), passphrase=b"correct horse")
    with pytest.raises(KeyMismatchError, match="passphrase does not open"):
        read_key_file(path, passphrase=lambda: typed)


def test_a_protected_key_without_anyone_to_ask_is_unavailable(path: Path) -> None:
    write_key_file(path, key(), passphrase=b"correct horse")
    with pytest.raises(KeyUnavailableError, match="protected by a passphrase"):
        read_key_file(path, passphrase=None)


def test_a_protected_key_is_bound_to_its_header(path: Path) -> None:
    write_key_file(path, key(), passphrase=b"correct horse")
    body = path.read_bytes().split(b"# blake3 ")[0]
    signed_again(path, body.replace(b'"name":"epoch-1"', b'"name":"epoch-2"'))
    with pytest.raises(KeyMismatchError):
        read_key_file(path, passphrase=lambda: b"correct horse")


def test_every_damaged_byte_is_found(path: Path) -> None:
    write_key_file(path, key(KeyKind.PURGE), passphrase=None)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(KeyMismatchError, match="damaged"):
            read_key_file(path, passphrase=None)
    for kept in range(len(whole)):
        path.write_bytes(whole[:kept])
        with pytest.raises(KeyMismatchError, match="damaged"):
            read_key_file(path, passphrase=None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"kind":"reader"', b'"kind":"master"'),
        (b'"kind":"reader"', b'"kind":"purge"'),
        (b'"kind":"reader",', b""),
        (b'"fields":{', b'"fields":null,"other":{'),
        (b'"private":"', b'"private":"!'),
        (b'"private":"', b'"other":"'),
        (b'"repository":"5', b'"repository":"x'),
        (b'"created":"2026', b'"created":"yesterday'),
        (b"\n{", b"\n[{"),
        (b"\n{", b"\n17 {"),
    ],
)
def test_a_key_file_made_wrong_is_refused_even_with_a_right_checksum(
    path: Path, old: bytes, new: bytes
) -> None:
    write_key_file(path, key(), passphrase=None)
    body = path.read_bytes().split(b"# blake3 ")[0]
    assert old in body
    signed_again(path, body.replace(old, new))
    with pytest.raises(KeyMismatchError, match="damaged"):
        read_key_file(path, passphrase=None)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"memory":65536', b'"memory":99999999'), (b'"lanes":4', b'"lanes":"4"'), (b'"lanes":4', b'"x":4')],
)
def test_a_key_file_cannot_make_its_reader_compute_without_end(path: Path, old: bytes, new: bytes) -> None:
    write_key_file(path, key(), passphrase=b"correct horse")
    body = path.read_bytes().split(b"# blake3 ")[0]
    signed_again(path, body.replace(old, new))
    with pytest.raises(KeyMismatchError, match="damaged"):
        read_key_file(path, passphrase=never)


def test_a_later_format_is_told_apart_from_damage(path: Path) -> None:
    write_key_file(path, key(), passphrase=None)
    body = path.read_bytes().split(b"# blake3 ")[0]
    signed_again(path, body.replace(b"tenure key 1", b"tenure key 2"))
    with pytest.raises(KeyMismatchError, match="format this version does not know"):
        read_key_file(path, passphrase=None)


def test_a_folder_or_a_large_file_is_no_key_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(KeyMismatchError, match="is no key file"):
        read_key_file(tmp_path, passphrase=None)
    (tmp_path / "large").write_bytes(bytes(65 * 1024))
    (tmp_path / "large").chmod(0o600)
    with pytest.raises(KeyMismatchError, match="is no key file"):
        read_key_file(tmp_path / "large", passphrase=None)


def test_a_destroyed_key_file_was_overwritten_before_it_went(path: Path, tmp_path: Path) -> None:
    write_key_file(path, key(), passphrase=None)
    content = path.read_bytes()
    (tmp_path / "other name").hardlink_to(path)
    destroy_key_file(path)
    assert not path.exists()
    left = (tmp_path / "other name").read_bytes()
    assert len(left) == len(content)
    assert not any(left[i : i + 16] in content for i in range(len(left) - 16))


def test_destroying_what_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(KeyUnavailableError, match="cannot be destroyed: No such file"):
        destroy_key_file(path)


def test_destroying_through_a_link_is_refused(path: Path, tmp_path: Path) -> None:
    write_key_file(path, key(), passphrase=None)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(KeyUnavailableError, match="cannot be destroyed"):
        destroy_key_file(tmp_path / "link")
    assert read_key_file(path, passphrase=None) == key()


def test_secrets_are_not_shown() -> None:
    for kind in KeyKind:
        shown = repr(key(kind))
        assert "fields" not in shown
        assert not any(repr(value)[2:-1] in shown for value in FIELDS[kind].values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": {}}, "has the fields private"),
        ({"fields": {"private": bytes(96), "more": b"x"}}, "has the fields private"),
        ({"fields": {"private": bytes(95)}}, "wrong length"),
        ({"repository": ""}, "lower-case hex"),
        ({"repository": "AB"}, "lower-case hex"),
        ({"repository": "xy"}, "non-hexadecimal"),
        ({"name": ""}, "printable"),
        ({"name": "two\nlines"}, "printable"),
        ({"name": "n" * 201}, "printable"),
        ({"created": CREATED.replace(tzinfo=None)}, "in UTC"),
        ({"created": CREATED.astimezone(timezone(timedelta(hours=1)))}, "in UTC"),
    ],
)
def test_a_key_that_is_none_cannot_be_made(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(key(), **change)  # type: ignore[arg-type]


def test_a_writer_key_needs_an_id() -> None:
    with pytest.raises(ValueError, match="writer_id"):
        replace(key(KeyKind.WRITER), fields={**FIELDS[KeyKind.WRITER], "writer_id": b""})
