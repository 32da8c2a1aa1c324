"""Key files that are missing, wrong, damaged or open to others: what each command says, and that nothing is lost."""

import shutil
from pathlib import Path

import pytest

from support.cli import Site, site

KINDS = {  # key file -> the command that needs it
    "epoch-1.key": ("restore", "crm", "--to", "out"),
    "writer-crm.key": ("snapshot", "crm"),
    "evidence.key": ("snapshots",),
    "purge.key": ("restore", "crm", "--to", "out"),
}
kinds = pytest.mark.parametrize("name", KINDS)


def _whole_again(centre: Site, name: str, kept: bytes) -> None:
    key = centre.root / "keys" / name
    key.unlink(missing_ok=True)
    key.write_bytes(kept)
    key.chmod(0o600)
    centre.still_restores()


@kinds
def test_a_key_file_that_others_may_read_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, name: str
) -> None:
    centre = site(tmp_path)
    key = centre.root / "keys" / name
    key.chmod(0o640)
    done = centre.run(*KINDS[name]).refused(10, rf"{name} may be used by others", r"chmod 600")
    assert str(key) in done.err
    key.chmod(0o600)
    centre.run(*KINDS[name]).worked()


@pytest.mark.parametrize(
    ("name", "how"),
    [*((name, "flipped") for name in KINDS), *(("epoch-1.key", how) for how in ("cut", "empty", "foreign"))],
)
def test_a_damaged_key_file_is_named_and_nothing_else_happens(tmp_path: Path, name: str, how: str) -> None:
    centre = site(tmp_path)
    key = centre.root / "keys" / name
    kept = key.read_bytes()
    middle = len(kept) // 2
    key.write_bytes(
        {
            "flipped": kept[:middle] + bytes([kept[middle] ^ 1]) + kept[middle + 1 :],
            "cut": kept[:middle],
            "empty": b"",
            "foreign": b"-----BEGIN PRIVATE KEY-----\n",
        }[how]
    )
    centre.run(*KINDS[name]).refused(32, rf"{name} is damaged", "undamaged copy")
    assert not (centre.root / "out").exists()
    _whole_again(centre, name, kept)


@kinds
def test_a_key_file_of_another_installation_is_named_as_such(tmp_path: Path, name: str) -> None:
    centre, other = site(tmp_path), Site(tmp_path / "other")
    other.root.mkdir()
    other.run("init").worked()
    key = centre.root / "keys" / name
    kept = key.read_bytes()
    # The other installation has no source yet, hence no writer's key: its reading key in a wrong place will do.
    stranger = other.root / "keys" / (name if name != "writer-crm.key" else "epoch-1.key")
    shutil.copyfile(stranger, key)
    said = "belongs to repository|holds a reader key, a writer key is needed"
    centre.run(*KINDS[name]).refused(32, name, said)
    _whole_again(centre, name, kept)


def test_without_the_reading_key_a_restore_says_so_and_a_snapshot_is_still_taken(tmp_path: Path) -> None:
    centre = site(tmp_path)
    key = centre.root / "keys" / "epoch-1.key"
    kept = key.read_bytes()
    key.unlink()
    centre.run("restore", "crm", "--to", "out").refused(
        31, r"no reading key \(epoch-\*\.key\)", "recovery key"
    )
    centre.run("snapshot").worked()
    _whole_again(centre, "epoch-1.key", kept)


def test_without_its_writers_key_a_source_is_not_given_a_second_writer(tmp_path: Path) -> None:
    centre = site(tmp_path)
    key = centre.root / "keys" / "writer-crm.key"
    kept = key.read_bytes()
    key.unlink()
    centre.run("snapshot", "crm").refused(31, "'crm'", r"writer-crm\.key", "put .*back")
    assert not key.exists()
    _whole_again(centre, "writer-crm.key", kept)
    centre.run("snapshot", "crm").worked()


def test_without_the_evidence_key_the_message_names_it(tmp_path: Path) -> None:
    centre = site(tmp_path)
    key = centre.root / "keys" / "evidence.key"
    kept = key.read_bytes()
    key.unlink()
    centre.run("snapshots").refused(
        31, r"evidence key file .*evidence\.key is missing", "put the key file back"
    )
    _whole_again(centre, "evidence.key", kept)


def test_without_the_purge_key_snapshots_and_restores_go_on(tmp_path: Path) -> None:
    centre = site(tmp_path)
    (centre.root / "keys" / "purge.key").unlink()
    centre.run("snapshot").worked()
    centre.still_restores()


def test_a_folder_in_the_place_of_a_key_file_is_no_key_file(tmp_path: Path) -> None:
    centre = site(tmp_path)
    key = centre.root / "keys" / "evidence.key"
    key.unlink()
    key.mkdir(mode=0o700)
    centre.run("snapshots").refused(32, r"evidence\.key is no key file")


def test_with_json_the_refusal_is_one_document(tmp_path: Path) -> None:
    centre = site(tmp_path)
    (centre.root / "keys" / "epoch-1.key").unlink()
    document = centre.run("restore", "crm", "--to", "out", "--json").refused(31).document
    assert document["kind"] == "KeyUnavailableError"
    assert document["exit_code"] == 31
    assert "epoch-" in document["error"]
    assert document["next"]


def test_a_source_whose_first_run_was_killed_before_it_wrote_its_key_gets_a_new_writer(
    tmp_path: Path,
) -> None:
    centre = site(tmp_path)
    centre.configure(("  calls:", "  fresh:\n    kind: folder\n    path: fresh\n  calls:"))
    centre.run("snapshot", "fresh").refused(71, "source 'fresh'")  # admitted by now, and without a snapshot
    (centre.root / "keys" / "writer-fresh.key").unlink()
    (centre.root / "fresh").mkdir()
    (centre.root / "fresh" / "one.wav").write_bytes(b"RIFF")
    centre.run("snapshot", "fresh").worked()
    centre.run("restore", "fresh", "--to", "back").worked()
    assert (centre.root / "back" / "one.wav").read_bytes() == b"RIFF"
