"""prune from the command line: what it says of repacking, and that nothing live is lost by it."""

import hashlib
from pathlib import Path

import pytest

from support.cli import Site, fingerprint, site

NEWEST_ONLY = (
    "last: 3, daily: 7, weekly: 5, monthly: 12, yearly: 3, verified: 1",
    "last: 1, daily: 0, weekly: 0, monthly: 0, yearly: 0, verified: 0",
)


@pytest.fixture
def centre(tmp_path: Path) -> Site:
    """Return an installation whose recordings' first pack is mostly dead once the first snapshots are pruned."""
    made = site(tmp_path)
    for i in range(7):
        for end in ("wav", "json"):
            (made.recordings / "2024" / f"call-{i:03}.{end}").unlink()
    made.run("snapshot", "calls").worked()
    made.configure(NEWEST_ONLY)
    return made


def stored(centre: Site) -> int:
    return sum(p.stat().st_size for p in centre.objects("repository", "data"))


def test_worn_packs_are_repacked_and_the_newest_snapshot_restores_to_the_byte(centre: Site) -> None:
    before, newest = stored(centre), centre.numbers("calls")[-1]
    done = centre.run("prune").worked()
    assert "Repacked 1 packs that were more than a third dead" in done.out
    assert stored(centre) < before * 2 / 3
    centre.run("verify", "--read-data", "100%").worked()
    centre.run("restore", str(newest), "--to", "again").worked()
    assert fingerprint(centre.root / "again") == fingerprint(centre.recordings)


def test_no_repack_copies_nothing_and_a_later_prune_catches_up(centre: Site) -> None:
    left = centre.run("prune", "--no-repack", "--json").worked().document
    assert (left["repacked"], left["copied"]) == (0, 0)
    before = stored(centre)
    caught_up = centre.run("prune", "--json").worked().document
    assert caught_up["repacked"] == 1
    assert stored(centre) == before - caught_up["bytes"] + caught_up["copied"]
    centre.run("verify", "--read-data", "100%").worked()


def test_a_damaged_pack_is_named_and_left_alone_and_the_prune_ends_with_3(centre: Site) -> None:
    worn = centre.objects("repository", "data")[-1]
    raw = bytearray(worn.read_bytes())
    raw[len(raw) // 2] ^= 1
    worn.write_bytes(raw)
    done = centre.run("prune").refused(3, worn.name, "tenure verify")
    assert "Repacked" not in done.out
    assert hashlib.sha256(worn.read_bytes()).digest() == hashlib.sha256(raw).digest()


def test_a_plan_repacks_nothing(centre: Site) -> None:
    before = {p.name for p in centre.objects("repository", "data")}
    centre.run("prune", "--plan").worked()
    assert {p.name for p in centre.objects("repository", "data")} == before
    assert "leave one of the two out" in centre.run("prune", "--plan", "--no-repack").err


def test_a_prune_of_too_many_snapshots_stops_until_its_number_is_confirmed(centre: Site) -> None:
    centre.configure(("verified: 0", "verified: 0, brake_percent: 10, brake_least: 0"))
    there = centre.numbers("calls")
    done = centre.run("prune").refused(
        62, "of the 2 snapshots of calls would go at once", "tenure prune --drop 1"
    )
    assert "Dropped" not in done.out
    centre.run("prune", "--drop", "2").refused(62, "not the 2 that were confirmed")
    assert centre.numbers("calls") == there
    centre.run("prune", "--drop", "1").worked()
    assert centre.numbers("calls") == there[1:]


def test_a_prune_leaves_what_was_read_back_beside_what_was_not(centre: Site) -> None:
    centre.configure(("verified: 0", "verified: 1"))
    first, newest = centre.numbers("calls")
    plan = centre.run("prune", "--plan", "--json").worked().document
    assert plan["drop"] == {}
    assert "run `tenure verify`" in plan["keep"][str(first)]
    centre.run("verify", "--read-data", "100%").worked()
    assert centre.run("prune", "--plan", "--json").worked().document["drop"] == {
        str(first): "no period keeps it"
    }
    centre.run("prune").worked()
    assert centre.numbers("calls") == [newest]
