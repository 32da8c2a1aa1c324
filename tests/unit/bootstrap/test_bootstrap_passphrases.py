"""Where the passphrase of key files comes from, and what is refused."""

from pathlib import Path

import pytest

from tenure.bootstrap.passphrases import asking, given, read_passphrase
from tenure.bootstrap.settings import Settings, read
from tenure.domain.errors import ConfigError

PHRASE = "correct horse battery"
TEXT = f"""\
repository:
  id: {"5d" * 16}
  purge_key: {"0c" * 32}
  object_store: file:repository
  key_stores: {{first: "file:one"}}
"""


def settings_of(folder: Path, more: str = "") -> Settings:
    (folder / "tenure.yaml").write_text(TEXT + more)
    return read(folder / "tenure.yaml")


def phrase_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "phrase"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_nothing_is_given_where_settings_name_nothing(tmp_path: Path) -> None:
    assert given(settings_of(tmp_path), tmp_path) is None
    assert asking(None, None) is None


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_file_holds_one_line(tmp_path: Path, end: bytes) -> None:
    phrase_file(tmp_path, PHRASE.encode() + end)
    found = given(settings_of(tmp_path, "key_passphrase_file: phrase\n"), tmp_path)
    assert found == PHRASE.encode()
    ask = asking(found, None)
    assert ask is not None
    assert ask() == found


def test_the_environment_gives_it_and_no_text_of_the_settings_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENURE_KEY_PASSPHRASE", PHRASE)
    found = settings_of(tmp_path)
    assert given(found, tmp_path) == PHRASE.encode()
    assert PHRASE not in repr(found)
    assert PHRASE not in found.model_dump_json()


def test_a_passphrase_in_the_settings_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds a passphrase") as refused:
        settings_of(tmp_path, f"key_passphrase: {PHRASE}\n")
    assert PHRASE not in f"{refused.value} {refused.value.hint}"


def test_two_passphrases_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENURE_KEY_PASSPHRASE", PHRASE)
    with pytest.raises(ConfigError, match="given twice"):
        given(settings_of(tmp_path, "key_passphrase_file: phrase\n"), tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"x" * 4097])
def test_a_file_that_holds_no_passphrase_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError, match="holds no passphrase"):
        read_passphrase(phrase_file(tmp_path, content))


def test_a_file_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="may be used by everybody"):
        read_passphrase(phrase_file(tmp_path, b"phrase", 0o644))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"phrase cannot be read"):
        read_passphrase(tmp_path / "phrase")
