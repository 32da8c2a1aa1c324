"""keys check-recovery from the command line: with and without an installation, from a file and from sheets."""

from pathlib import Path

import pytest

from support.cli import Site, site


@pytest.fixture
def centre(tmp_path: Path) -> Site:
    return site(tmp_path)


def addresses(centre: Site, *stores: str) -> list[str]:
    words = ["--repository", f"file:{centre.root / 'repository'}"]
    return words + [w for s in stores for w in ("--key-store", f"file:{centre.root / s}")]


def stored(centre: Site) -> dict[Path, tuple[bytes, int]]:
    folders = ("repository", "key-store-1", "key-store-2")
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for f in folders for p in centre.objects(f, "")}


def test_it_needs_nothing_but_the_stores_and_the_key_and_writes_nothing(centre: Site, tmp_path: Path) -> None:
    strange = Site(tmp_path / "strange")
    strange.root.mkdir()
    for lost in ("state", "tenure.yaml"):
        (centre.root / lost).rename(tmp_path / f"lost-{lost}")
    key, before = str(centre.root / "keys" / "recovery.key"), stored(centre)
    both = addresses(centre, "key-store-1", "key-store-2")
    done = strange.run("keys", "check-recovery", key, *both, "--json").worked().document
    assert done["outcome"] == "passed"
    assert done["cohorts"] >= 3
    assert [s["opened"] >= done["cohorts"] for s in done["key_stores"]] == [True, True]
    assert [e["state"] for e in done["epochs"]] == ["open"]
    assert stored(centre) == before
    assert list(strange.root.iterdir()) == []


def test_sheets_are_proven_without_a_file(centre: Site, tmp_path: Path) -> None:
    make = ("keys", "shares", "make", "keys/recovery.key", "--into", "sheets", "--destroy", "--json")
    one, other, third = centre.run(*make).worked().document["sheets"]
    said = centre.run("keys", "check-recovery", "--share", one, "--share", other).worked().out
    assert "a sample of all" in said
    both = addresses(centre, "key-store-1")
    (centre.root / "tenure.yaml").rename(tmp_path / "away.yaml")
    centre.run("keys", "check-recovery", "--share", third, "--share", one, *both).worked()
    centre.run("keys", "check-recovery", "--share", third, *both).refused(31, "2 shares of set")
    assert not list(centre.root.rglob("recovery*"))


def test_a_key_store_that_would_not_do_alone_ends_with_3(centre: Site) -> None:
    page = centre.objects("key-store-2", "keys")[0]
    page.unlink()
    done = centre.run("keys", "check-recovery", "keys/recovery.key").refused(3, "tenure prune")
    assert "second" in done.out
    assert "1 missing" in done.out
    centre.run("keys", "check-recovery", "keys/recovery.key", *addresses(centre, "key-store-1")).worked()
    (centre.root / "key-store-2").rename(centre.root / "away")
    done = centre.run("keys", "check-recovery", "keys/recovery.key").refused(3)
    assert "no object store at" in " ".join(done.out.split())


def test_what_no_store_has_and_what_cannot_be_asked_are_told(centre: Site) -> None:
    page = centre.objects("key-store-1", "keys")[0]
    for store in ("key-store-1", "key-store-2"):
        (centre.root / store / page.relative_to(centre.root / "key-store-1")).unlink()
    check = ("keys", "check-recovery")
    centre.run(*check, "keys/recovery.key").refused(40, page.name, "tenure verify")
    assert centre.run(*check).code == 2
    assert centre.run(*check, "keys/recovery.key", "--share", "x").code == 2
    assert centre.run(*check, "keys/recovery.key", "--key-store", "file:x").code == 2
    centre.run(*check, "keys/recovery.key", *addresses(centre, "nowhere")).refused(22, "nowhere")
    centre.run(*check, "keys/purge.key").refused(32, "holds a purge key")
