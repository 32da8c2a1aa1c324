"""tenure.yaml with slips, words that name nothing, and restore targets that must not be written to."""

import json
import shutil
from pathlib import Path

import pytest

from support.cli import Site, site

MISTAKES = {
    "unknown key": (
        ("installation:", "instalation:"),
        10,
        r"instalation: there is no such setting; did you mean 'installation'",
    ),
    "unknown key deep down": (("time_zone", "time_zoen"), 10, r"time_zoen.*did you mean 'time_zone'"),
    "wrong type": (("keep: {last: 3", "keep: {last: many"), 10, r"keep\.last: .*integer.*'many'"),
    "unknown kind": (("kind: sqlite", "kind: sqllite"), 10, r"sources\.crm\.kind: .*'sqlite'.*'sqllite'"),
    "not a repository id": (("  id: ", "  id: x"), 10, r"repository\.id: .*32 hex digits"),
    "unknown store": (
        ("file:repository", "s4:repository"),
        10,
        r"'s4:repository' is no object store.*file:FOLDER",
    ),
    "unknown zone": (
        ("kind: folder", "kind: folder\n    time_zone: Europe/Berln"),
        10,
        r"'Europe/Berln' is no time zone.*'Europe/Berlin'",
    ),
    "unknown link": (
        ("{to: customers", "{to: customer"),
        10,
        r"'customer', which is no data set; did you mean 'customers'",
    ),
    "a source's name that is a path": (
        ("  crm:", "  ../crm:"),
        10,
        r"'\.\./crm' cannot be the name of a source",
    ),
    "future version": (("version: 1", "version: 7"), 10, r"version: .*1"),
}


@pytest.mark.parametrize("slip", MISTAKES)
def test_a_slip_in_the_configuration_is_named_with_what_was_meant(tmp_path: Path, slip: str) -> None:
    centre = site(tmp_path)
    if slip == "unknown key deep down":
        centre.configure(("kind: folder", "kind: folder\n    time_zone: UTC"))
    (old, new), code, said = MISTAKES[slip]
    centre.configure((old, new))
    centre.run("snapshots").refused(code, said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"tenure\.yaml holds no settings"),
        ("- a\n- list\n", r"tenure\.yaml holds no settings"),
        ("sources: [\n", r"tenure\.yaml:2 is not YAML"),
        ("\t\x00", r"tenure\.yaml.* is not YAML|cannot be read"),
        ("a: 1\n b: 2\n", r"tenure\.yaml:2 is not YAML"),
        ("installation: x\n", r"repository: .*(missing|required)"),
    ],
)
def test_a_configuration_that_is_none_is_said_to_be_none(tmp_path: Path, text: str, said: str) -> None:
    centre = site(tmp_path)
    centre.config.write_text(text)
    centre.run("snapshot").refused(10, said)


def test_bytes_that_are_no_text_are_no_configuration(tmp_path: Path) -> None:
    centre = site(tmp_path)
    centre.config.write_bytes(b"installation: \xff\xfe\n")
    centre.run("snapshot").refused(10, r"tenure\.yaml .*UTF-8")


def test_without_a_configuration_the_next_step_is_init(tmp_path: Path) -> None:
    centre = Site(tmp_path)
    centre.run("snapshot").refused(10, r"there is no tenure\.yaml", r"tenure init")
    assert list(tmp_path.iterdir()) == []


def test_init_where_something_is_changes_nothing(tmp_path: Path) -> None:
    centre = site(tmp_path)
    before = centre.config.read_bytes()
    centre.run("init").refused(10, r"tenure\.yaml is there already", "nothing was changed")
    assert centre.config.read_bytes() == before
    centre.still_restores()


@pytest.mark.parametrize(
    "command", [["snapshot", "crn"], ["snapshots", "crn"], ["restore", "crn", "--to", "x"]]
)
def test_an_unknown_source_is_named_with_the_known_ones(tmp_path: Path, command: list[str]) -> None:
    site(tmp_path).run(*command).refused(10, "'crn'", "calls, crm", "did you mean 'crm'")


@pytest.mark.parametrize("number", ["0", "999", "99999999999999999999999"])
def test_a_snapshot_number_that_is_not_there_is_named(tmp_path: Path, number: str) -> None:
    centre = site(tmp_path)
    centre.run("show", number).refused(51, f"no snapshot {number}", "tenure snapshots")
    centre.run("restore", number, "--to", "x").refused(51, f"no snapshot {number}", "tenure snapshots")
    assert not (centre.root / "x").exists()


def test_an_unknown_data_set_or_subject_is_named_with_the_known_ones(tmp_path: Path) -> None:
    centre = site(tmp_path)
    one = centre.run("restore", "crm", "--to", "one", "--subject", "customer=7", "--json").worked().document
    assert (one["records"], one["data_sets"]["customers"]["records"]) == (2, 1)
    centre.run("restore", "crm", "--to", "x", "--data-set", "custmers").refused(
        10, "'custmers'", "customers, notes"
    )
    centre.run("restore", "crm", "--to", "x", "--subject", "costumer=7").refused(10, "'costumer'", "customer")
    assert not (centre.root / "x").exists()


def test_a_target_that_is_there_is_never_written_to(tmp_path: Path) -> None:
    centre = site(tmp_path)
    (centre.root / "file").write_text("mine")
    (centre.root / "folder").mkdir()
    for name in ("file", "folder"):
        centre.run("restore", "crm", "--to", name).refused(10, f"{name} exists already", "does not exist yet")
    assert (centre.root / "file").read_text() == "mine"


def test_a_dangling_link_is_no_free_place(tmp_path: Path) -> None:
    centre = site(tmp_path)
    (centre.root / "link").symlink_to(centre.root / "nowhere")
    centre.run("restore", "crm", "--to", "link").refused(10, "link exists already")
    assert not (centre.root / "nowhere").exists()


def test_the_live_store_is_no_target_even_where_it_is_gone(tmp_path: Path) -> None:
    centre = site(tmp_path)
    centre.run("restore", "crm", "--to", "crm.sqlite").refused(10, r"crm\.sqlite")
    centre.crm.unlink()
    centre.run("restore", "crm", "--to", "crm.sqlite").refused(
        10, "live store of source 'crm'", "another place"
    )
    centre.run("restore", "calls", "--to", "recordings/back").refused(10, "live store of source 'calls'")
    assert not (centre.recordings / "back").exists()


def test_a_target_through_a_link_into_the_live_folder_is_refused(tmp_path: Path) -> None:
    centre = site(tmp_path)
    (centre.root / "elsewhere").symlink_to(centre.recordings)
    centre.run("restore", "calls", "--to", "elsewhere/back").refused(10, "live store of source 'calls'")


@pytest.mark.parametrize("place", ["repository", "key-store-1", "keys", "state"])
def test_a_target_inside_the_repository_or_the_keys_is_refused(tmp_path: Path, place: str) -> None:
    centre = site(tmp_path)
    centre.run("restore", "crm", "--to", f"{place}/back").refused(10, place, "another place")
    assert not (centre.root / place / "back").exists()


def test_folders_above_a_target_are_made(tmp_path: Path) -> None:
    centre = site(tmp_path)
    centre.run("restore", "crm", "--to", "not/there/yet.sqlite").worked()
    assert (centre.root / "not/there/yet.sqlite").is_file()


def test_a_file_in_the_way_of_a_target_is_named(tmp_path: Path) -> None:
    centre = site(tmp_path)
    for source in ("crm", "calls"):
        done = centre.run("restore", source, "--to", "tenure.yaml/x/back").refused(
            70, r"tenure\.yaml/x", "Not a directory"
        )
        assert "next:" in done.err


def test_a_store_that_is_not_mounted_is_not_mistaken_for_an_empty_one(tmp_path: Path) -> None:
    centre = site(tmp_path)
    for name in ("repository", "key-store-1"):
        away = centre.root / "away"
        (centre.root / name).rename(away)
        (centre.root / name).mkdir()
        done = centre.run("snapshot", "--json").refused(22, f"no object store at .*{name}", "mount its disk")
        assert json.loads(done.out)["kind"] == "StoreUnavailableError"
        (centre.root / name).rmdir()
        away.rename(centre.root / name)
    centre.still_restores()


def test_a_lost_state_folder_is_made_again(tmp_path: Path) -> None:
    centre = site(tmp_path)
    shutil.rmtree(centre.root / "state")
    centre.run("snapshot").worked()
    centre.still_restores()


@pytest.mark.parametrize("name", ["head", "control.db"])
def test_a_damaged_file_of_the_state_folder_is_named(tmp_path: Path, name: str) -> None:
    centre = site(tmp_path)
    (centre.root / "state" / name).write_bytes(b"garbage" * 1000)
    centre.run("snapshot").refused(10, name)
