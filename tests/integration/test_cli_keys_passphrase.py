"""`tenure keys passphrase`: an installation whose key files are protected works as before, and takes the way back."""

from pathlib import Path

import pytest

from support.cli import Site, site

CONFIGURED = ("keys: keys", "key_passphrase_file: phrase\nkeys: keys")


def _phrase(centre: Site, name: str, text: str) -> None:
    path = centre.root / name
    path.write_text(text + "\n")
    path.chmod(0o600)


def _protected(centre: Site) -> set[str]:
    return {p.name for p in (centre.root / "keys").glob("*.key") if b'"protected"' in p.read_bytes()}


@pytest.fixture
def guarded(tmp_path: Path) -> Site:
    centre = site(tmp_path)
    _phrase(centre, "phrase", "correct horse")
    centre.run("keys", "passphrase", "--new-file", "phrase").worked()
    return centre


def test_every_key_of_the_machine_is_protected_and_the_recovery_key_is_left(guarded: Site) -> None:
    there = {p.name for p in (guarded.root / "keys").glob("*.key")}
    assert _protected(guarded) == there - {"recovery.key"}


def test_without_the_passphrase_nothing_runs_and_the_hint_says_how_to_give_it(guarded: Site) -> None:
    guarded.run("snapshots").refused(31, "protected by a passphrase", "key_passphrase_file")


def test_with_the_passphrase_in_a_file_snapshots_restores_and_rotations_work(guarded: Site) -> None:
    guarded.configure(CONFIGURED)
    guarded.run("snapshot", "crm").worked()
    guarded.run("restore", "crm", "--to", "out").worked()
    guarded.run("keys", "rotate").worked()
    assert "epoch-2.key" in _protected(guarded)
    assert not {n for n in _protected(guarded) if n.startswith("recovery")}
    guarded.run("restore", "crm", "--to", "again").worked()


def test_a_wrong_passphrase_is_said_to_be_wrong(guarded: Site) -> None:
    guarded.configure(CONFIGURED)
    _phrase(guarded, "phrase", "wrong")
    guarded.run("snapshots").refused(32, "the passphrase does not open", "check the passphrase")


def test_a_change_that_was_cut_short_goes_on(guarded: Site) -> None:
    guarded.configure(CONFIGURED)
    _phrase(guarded, "second", "battery staple")
    first = str(guarded.root / "keys" / "epoch-1.key")
    done = guarded.run("keys", "passphrase", first, "--new-file", "second", "--json").worked()
    assert done.document["changed"] == [first]
    rest = guarded.run("keys", "passphrase", "--new-file", "second", "--json").worked().document
    assert rest["unchanged"] == [first]
    assert len(rest["changed"]) == len(_protected(guarded)) - 1
    _phrase(guarded, "phrase", "battery staple")
    guarded.run("restore", "crm", "--to", "out").worked()


def test_a_passphrase_can_be_removed(guarded: Site) -> None:
    guarded.configure(CONFIGURED)
    guarded.run("keys", "passphrase", "--remove").worked()
    assert not _protected(guarded)
    guarded.configure(("key_passphrase_file: phrase\n", ""))
    guarded.run("restore", "crm", "--to", "out").worked()
    assert "nothing was changed" in guarded.run("keys", "passphrase", "--remove").worked().out


def test_remove_and_a_new_passphrase_exclude_each_other(guarded: Site) -> None:
    guarded.run("keys", "passphrase", "--remove", "--new-file", "phrase").refused(10, "exclude each other")
    assert _protected(guarded)
