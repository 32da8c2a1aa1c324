"""Making an installation: whenever it is cut short, running it again completes it, or it says what to remove."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.clock import FixedClock
from tenure.bootstrap import init as making
from tenure.bootstrap import keyfiles
from tenure.bootstrap.init import Made, init
from tenure.bootstrap.places import place_of
from tenure.bootstrap.settings import read
from tenure.bootstrap.wiring import Machine, build
from tenure.crypto.signing import SigningKey
from tenure.domain.errors import ConfigError, PreconditionFailedError
from tenure.domain.progress import SilentProgress
from tenure.objectstore.file import FileStore
from tenure.repository import repository
from tenure.repository.headfile import HeadFile

KEYS = {"purge.key", "epoch-1.key", "recovery.key", "evidence.key"}


class Killed(BaseException):
    """The process died here."""


def make(folder: Path) -> Made:
    return init(folder, clock=FixedClock(), name="test", officer="olivia")


def killed_at(
    monkeypatch: pytest.MonkeyPatch, folder: Path, step: tuple[object, str, int], *, when: str
) -> None:
    """Make an installation and die at the call `at` of a function, before or after it took effect."""
    owner, name, at = step
    real: Callable[..., object] = getattr(owner, name)
    calls = iter(range(1, 100))

    def dies(*args: object, **named: object) -> object:
        last = next(calls) == at
        if last and when == "before":
            raise Killed
        result = real(*args, **named)
        if last:
            raise Killed
        return result

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, dies)
        with pytest.raises(Killed):
            make(folder)


def assert_works(folder: Path) -> None:
    installation = build(
        folder / "tenure.yaml", Machine(clock=FixedClock(), progress=SilentProgress(), cpus=1)
    )
    try:
        repo = installation.open_reading()
        assert repo.epoch().opened.epoch == 1
        assert repo.purge_key.public() == installation.pins.purge_key
    finally:
        installation.close()
    assert {p.name for p in (folder / "keys").iterdir()} == KEYS
    assert len(list((folder / "retention_rules").glob("*.yaml"))) > 3
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


STEPS = [
    *((keyfiles, "keep", at) for at in range(1, 5)),
    # Probes in each store, the marker, the first entry.
    *((FileStore, "put", at) for at in (1, 2, 4, 7, 10, 11)),
    *((FileStore, "create", at) for at in (1, 2, 3)),
    *((making, name, 1) for name in ("copy_starter_rules", "_secrets")),
    (repository, "create", 1),
    *((Path, "replace", at) for at in (1, 2, 3)),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS, ids=lambda s: f"{s[1]}-{s[2]}")
def test_an_init_that_was_cut_short_is_completed_by_a_rerun(
    *, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[object, str, int], when: str
) -> None:
    folder = tmp_path / "site"
    killed_at(monkeypatch, folder, step, when=when)
    if (folder / "tenure.yaml").exists():
        with pytest.raises(ConfigError, match="is there already: nothing was changed"):
            make(folder)
    else:
        before = {p.name: p.read_bytes() for p in folder.glob("keys/*")}
        make(folder)
        assert {n: (folder / "keys" / n).read_bytes() for n in before} == before
    assert_works(folder)


def test_an_installation_is_never_made_over(tmp_path: Path) -> None:
    made = make(tmp_path)
    text = made.config.read_text()
    with pytest.raises(ConfigError, match=r"tenure\.yaml is there already: nothing was changed"):
        make(tmp_path)
    assert made.config.read_text() == text


def test_an_installation_in_use_that_lost_its_settings_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    made = make(tmp_path)
    settings = read(made.config)
    installation = build(made.config, Machine(clock=FixedClock(), progress=SilentProgress(), cpus=1))
    try:
        installation.open_reading().admit("crm")
    finally:
        installation.close()
    made.config.unlink()
    with pytest.raises(ConfigError, match="in use") as refused:
        make(tmp_path)
    assert "tenure.yaml" in refused.value.hint
    assert not made.config.exists()
    assert settings.repository.id in (tmp_path / "repository" / "tenure.json").read_text()


def test_a_repository_without_its_keys_is_left_alone_and_named(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.config.unlink()
    (tmp_path / "keys").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"repository is there already, and no keys") as refused:
        make(tmp_path)
    assert f"remove {tmp_path / 'repository'}" in refused.value.hint
    assert not (tmp_path / "keys").exists()


def test_a_repository_is_not_completed_without_the_recovery_key_it_was_made_with(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.config.unlink()
    safe = made.recovery.rename(tmp_path / "safe.key")
    with pytest.raises(ConfigError, match=r"recovery\.key is not here"):
        make(tmp_path)
    assert not made.recovery.exists()
    safe.rename(made.recovery)
    make(tmp_path)
    assert_works(tmp_path)


def test_a_key_file_that_was_cut_short_is_named_with_what_to_do(tmp_path: Path) -> None:
    made = make(tmp_path / "whole")
    folder = tmp_path / "site"
    (folder / "keys").mkdir(parents=True)
    cut = folder / "keys" / "purge.key"
    cut.write_bytes((made.config.parent / "keys" / "purge.key").read_bytes()[:40])
    cut.chmod(0o600)
    with pytest.raises(ConfigError, match=r"purge\.key is there and cannot be used") as refused:
        make(folder)
    assert f"remove {cut}" in refused.value.hint
    cut.unlink()
    make(folder)
    assert_works(folder)


def test_keys_of_two_repositories_are_not_mixed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make(tmp_path / name)
    folder = tmp_path / "site" / "keys"
    folder.mkdir(parents=True)
    (tmp_path / "one" / "keys" / "purge.key").rename(folder / "purge.key")
    (tmp_path / "two" / "keys" / "recovery.key").rename(folder / "recovery.key")
    with pytest.raises(ConfigError, match="belong to several repositories"):
        make(tmp_path / "site")


def test_a_folder_of_other_keys_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "id_ed25519").write_text("somebody's")
    with pytest.raises(ConfigError, match="keys is there already: nothing was changed"):
        make(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["keys"]


def test_a_marker_of_another_purge_key_is_refused_and_an_empty_one_says_what_to_remove(
    tmp_path: Path,
) -> None:
    make(tmp_path)
    memory = HeadFile(tmp_path / "state" / "head")
    place = place_of(making.HERE, tmp_path, FixedClock(), memory, create=True)
    secrets = making._secrets(tmp_path / "keys", FixedClock())
    founding = making._founding(secrets, FixedClock(), {})
    stranger = repository.Founding(
        purge=SigningKey.generate(),
        recipients=founding.recipients,
        created=founding.created,
        one_person=True,
        parameters=founding.parameters,
    )
    with pytest.raises(PreconditionFailedError, match="another purge key") as refused:
        repository.create(place, stranger)
    assert "its own keys" in refused.value.hint
    for entry in list(place.objects.list("ledger/")):
        place.objects.delete(entry.name)
    with pytest.raises(PreconditionFailedError, match="another purge key") as refused:
        repository.create(place, stranger)
    assert "remove tenure.json" in refused.value.hint
