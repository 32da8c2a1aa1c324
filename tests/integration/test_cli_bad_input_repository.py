"""Stored objects that were changed, cut, removed or put back: what reading says, and that the sound rest is readable."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.cli import Done, Site, site

FLIPPED, CUT, GONE = "flipped", "cut", "gone"
hows = pytest.mark.parametrize("how", [FLIPPED, CUT, GONE])


def _damage(path: Path, how: str) -> Callable[[], object]:
    """Damage a file; return what puts it back as it was, its time included."""
    kept = path.with_name(f".kept-{path.name}")
    shutil.copy2(path, kept)
    raw = path.read_bytes()
    if how == GONE:
        path.unlink()
    elif how == CUT:
        path.write_bytes(raw[: len(raw) // 2])
    else:
        middle = len(raw) // 2
        path.write_bytes(raw[:middle] + bytes([raw[middle] ^ 0x10]) + raw[middle + 1 :])
    return lambda: kept.replace(path)


def _restore(centre: Site, source: str) -> Done:
    """Restore a source's first snapshot, expecting a refusal; assert that nothing is left at the target."""
    done = centre.run("restore", source, "--to", "out")
    assert not (centre.root / "out").exists(), str(done)
    assert not list(centre.root.glob(".out.restoring-*")), str(done)
    return done


@hows
def test_a_damaged_pack_is_named_and_the_other_source_still_restores(tmp_path: Path, how: str) -> None:
    centre = site(tmp_path)
    pack = centre.objects("repository", "data")[-1]  # the largest: recordings
    mend = _damage(pack, how)
    done = _restore(centre, "calls")
    done.refused(done.code, pack.name, "tenure verify")
    assert done.code in {40, 41, 42}, str(done)
    centre.run("restore", "crm", "--to", "crm-again").worked()
    document = centre.run("verify", "--json").document
    assert document["damage"], document
    assert any(pack.name in json.dumps(d) for d in document["damage"])
    mend()
    centre.still_whole()


@hows
def test_a_key_page_damaged_in_one_key_store_is_read_from_the_other(tmp_path: Path, how: str) -> None:
    centre = site(tmp_path)
    for page in centre.objects("key-store-1", "keys"):
        _damage(page, how)
    centre.still_restores()
    centre.run("snapshot").worked()
    done = centre.run("verify", "--json")
    assert done.code == 3, str(done)  # what a prune mends from the other store


@hows
def test_a_key_page_damaged_in_both_key_stores_is_named_with_what_each_has(tmp_path: Path, how: str) -> None:
    centre = site(tmp_path)
    mends = [
        _damage(page, how)
        for store in ("key-store-1", "key-store-2")
        for page in centre.objects(store, "keys")
        if not page.name.startswith(".")
    ]
    said = {FLIPPED: "first: changed", CUT: "first: cut short", GONE: "first: missing"}[how]
    done = _restore(centre, "crm").refused(40, r"key page keys/.* is whole in no key store", said, "second: ")
    assert "tenure verify" in done.err
    for mend in mends:
        mend()
    centre.still_whole()


@hows
def test_a_damaged_manifest_is_named_with_its_snapshot(tmp_path: Path, how: str) -> None:
    centre = site(tmp_path)
    number = centre.numbers("crm")[0]
    manifest = min(
        centre.objects("repository", "snapshots"), key=lambda p: p.name
    )  # the first that was taken
    mend = _damage(manifest, how)
    for command in (["show", str(number)], ["restore", str(number), "--to", "out"]):
        done = centre.run(*command)
        assert done.code in {40, 41, 42}, str(done)
        done.refused(done.code, f"manifest of snapshot {number}", "tenure verify")
    centre.run("snapshot").worked()  # the next one is whole and builds on nothing
    newest = centre.numbers("crm")[-1]
    centre.run("restore", str(newest), "--to", "fresh").worked()
    mend()
    centre.still_whole()


@hows
@pytest.mark.parametrize("place", [0, 3, -1])
def test_a_damaged_ledger_entry_stops_everything_until_it_is_back(
    tmp_path: Path, how: str, place: int
) -> None:
    centre = site(tmp_path)
    entry = sorted(centre.objects("repository", "ledger"), key=lambda p: p.name)[place]
    mend = _damage(entry, how)
    for command in (["snapshot"], ["snapshots"], ["restore", "crm", "--to", "out"]):
        done = centre.run(*command)
        assert done.code in {40, 41, 42, 43}, str(done)
        done.refused(done.code, f"(ledger entry|entry) {int(entry.name)}|ends at entry {int(entry.name) - 1}")
    assert not (centre.root / "out").exists()
    mend()
    centre.still_whole()


@hows
def test_a_damaged_marker_stops_everything_until_it_is_back(tmp_path: Path, how: str) -> None:
    centre = site(tmp_path)
    mend = _damage(centre.root / "repository" / "tenure.json", how)
    code, said = {
        FLIPPED: (41, r"tenure\.json is (damaged|not signed)"),
        CUT: (41, r"tenure\.json is damaged"),
        GONE: (51, r"tenure\.json is missing"),
    }[how]
    centre.run("snapshot").refused(code, said)
    centre.run("restore", "crm", "--to", "out").refused(code, said)
    mend()
    centre.still_whole()


def test_a_newer_format_says_which_and_what_to_install(tmp_path: Path) -> None:
    centre = site(tmp_path)
    marker = centre.root / "repository" / "tenure.json"
    kept = marker.read_bytes()
    marker.write_bytes(kept.replace(b'"1-draft"', b'"2"'))
    done = centre.run("snapshot", "--json").refused(53, "format '2'.*knows '1-draft'", "newer")
    assert done.document["kind"] == "UnsupportedFormatError"
    marker.write_bytes(kept)
    centre.still_whole()


def test_another_installations_repository_in_its_place_is_refused(tmp_path: Path) -> None:
    centre, other = site(tmp_path), Site(tmp_path / "other")
    other.root.mkdir()
    other.run("init").worked()
    (centre.root / "repository").rename(centre.root / "away")
    shutil.copytree(other.root / "repository", centre.root / "repository")
    centre.run("snapshot").refused(41, "not signed by the purge key|another repository")
    shutil.rmtree(centre.root / "repository")
    (centre.root / "away").rename(centre.root / "repository")
    centre.still_whole()


def test_an_old_repository_that_was_put_back_is_noticed(tmp_path: Path) -> None:
    centre = site(tmp_path)
    names = ("repository", "key-store-1", "key-store-2")
    for name in names:
        shutil.copytree(centre.root / name, centre.root / f"old-{name}")
    centre.run("snapshot").worked()
    newest = centre.numbers("calls")[-1]
    for name in names:
        (centre.root / name).rename(centre.root / f"new-{name}")
        (centre.root / f"old-{name}").rename(centre.root / name)
    for command in (["snapshot"], ["snapshots"], ["restore", "crm", "--to", "out"]):
        centre.run(*command).refused(43, f"entry {newest}|ends at entry", "old state")
    for name in names:
        shutil.rmtree(centre.root / name)
        (centre.root / f"new-{name}").rename(centre.root / name)
    centre.still_whole()


def test_a_clock_that_went_backwards_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    centre = site(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in (centre.root / "repository").rglob("*") if p.is_file()}
    for command in (["snapshot"], ["restore", "crm", "--to", "out"], ["snapshots"]):
        centre.run(*command, shift=-86_400).refused(
            43, r"clock is 86\d\d\d seconds behind", "correct the clock"
        )
    assert before == {p: p.stat().st_mtime_ns for p in (centre.root / "repository").rglob("*") if p.is_file()}
    centre.run("snapshot", shift=-60).worked()  # what time services correct every day
    centre.still_whole()
