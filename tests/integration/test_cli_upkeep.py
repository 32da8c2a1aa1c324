"""verify, prune, keys, status, report, cards and control from the command line."""

import sqlite3
from pathlib import Path

import pytest

from support.cli import Site, fingerprint, site


@pytest.fixture
def centre(tmp_path: Path) -> Site:
    return site(tmp_path)


def test_a_sound_repository_verifies(centre: Site) -> None:
    assert "Nothing is damaged" in centre.run("verify").worked().out
    assert centre.run("verify", "--without-keys", "--json").worked().document["damage"] == []
    assert centre.run("verify", "--read-data", "100%", "--json").worked().document["chunks_unsealed"] > 0


def test_small_shares_come_round_to_every_snapshot(centre: Site) -> None:
    every = {*centre.numbers("crm"), *centre.numbers("calls")}
    assert not any(s["verified"] for s in centre.run("snapshots", "--json").worked().document["snapshots"])
    for _ in range(40):
        found = centre.run("verify", "--read-data", "10%", "--json").worked().document
        if set(found["verified_snapshots"]) == every:
            break
    assert set(found["verified_snapshots"]) == every
    assert all(s["verified"] for s in centre.run("snapshots", "--json").worked().document["snapshots"])
    assert " yes" in centre.run("snapshots").worked().out


def test_a_time_to_read_in_is_understood_or_refused(centre: Site) -> None:
    done = centre.run("verify", "--for", "5m", "--json").worked().document
    assert set(done["verified_snapshots"]) == {*centre.numbers("crm"), *centre.numbers("calls")}
    for words in ("soon", "5", "-1m", "0s", "m"):
        centre.run("verify", "--for", words).refused(10, "30m")
    assert "need keys" in centre.run("verify", "--for", "5m", "--without-keys").err


def test_damage_is_listed_with_its_snapshots(centre: Site) -> None:
    for pack in centre.objects("repository", "data"):
        pack.write_bytes(pack.read_bytes()[:-10])
    done = centre.run("verify", "--read-data", "100%", "--json").refused(40)
    assert {n for d in done.document["damage"] for n in d["snapshots"]} == {
        *centre.numbers("crm"),
        *centre.numbers("calls"),
    }


def test_a_lost_copy_of_a_key_page_ends_with_3_and_a_prune_mends_it(centre: Site) -> None:
    centre.objects("key-store-1", "keys")[0].unlink()
    centre.run("verify").refused(3, "tenure prune")
    assert "copied back" in centre.run("prune").worked().out
    centre.still_whole()


def test_a_damaged_copy_of_a_key_page_is_mended_as_verify_says(centre: Site) -> None:
    page = centre.objects("key-store-2", "keys")[0]
    page.write_bytes(page.read_bytes()[:-10])
    centre.run("verify").refused(3, "tenure prune --mend")
    assert "leave one of the two out" in centre.run("prune", "--plan", "--mend").err
    assert "copied back" in centre.run("prune", "--mend").worked().out
    centre.still_whole()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("verify", "--read-data", "much"), 10),
        (("verify", "--read-data", "5%", "--without-keys"), 2),
        (("drill", "--snapshot", "4"), 2),
        (("restore", "crm", "--to", "x", "--key-store", "file:k"), 2),
        (("restore", "crm", "--to", "x", "--recovery-key", "keys/recovery.key"), 2),
        (("keys", "check-recovery", "keys/epoch-1.key"), 32),
        (("keys", "check-recovery", "nowhere.key"), 31),
        (("cards", "scan", "nobody"), 10),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(centre: Site, args: tuple[str, ...], code: int) -> None:
    done = centre.run(*args)
    assert done.code == code
    done.clean()
    assert done.err


def test_old_snapshots_are_pruned_by_policy(centre: Site) -> None:
    with sqlite3.connect(centre.crm) as live:
        live.execute("UPDATE notes SET body = 'changed' WHERE id = 1")
    live.close()
    centre.run("snapshot", "crm").worked()
    centre.configure(
        (
            "last: 3, daily: 7, weekly: 5, monthly: 12, yearly: 3, verified: 1",
            "last: 1, daily: 0, weekly: 0, monthly: 0, yearly: 0, verified: 0",
        )
    )
    old, new = centre.numbers("crm")
    planned = centre.run("prune", "--plan", "--json").worked().document
    assert planned["drop"] == {str(old): "no period keeps it"}
    assert centre.numbers("crm") == [old, new]
    centre.run("prune").worked()
    assert centre.numbers("crm") == [new]
    centre.run("verify", "--read-data", "100%").worked()


def test_keys_rotate_and_say_plainly_what_is_out_of_reach(centre: Site) -> None:
    done = centre.run("keys", "rotate").worked()
    assert "Destroyed: " in done.out
    assert "Copies of key files are out of reach" in " ".join(done.out.split())
    assert not (centre.root / "keys" / "epoch-1.key").exists()
    centre.run("keys", "check-recovery", "keys/recovery-2.key").worked()
    shown = centre.run("keys", "status", "--json").worked().document
    assert {(k["epoch"], k["state"]) for k in shown["recipients"]} == {(1, "closed"), (2, "open")}
    centre.still_whole()


def test_the_recovery_key_alone_lists_and_restores(centre: Site, tmp_path: Path) -> None:
    strange = Site(tmp_path / "strange")
    strange.root.mkdir()
    options = (
        "--recovery-key", str(centre.root / "keys" / "recovery.key"),
        "--repository", f"file:{centre.root / 'repository'}",
        "--key-store", f"file:{centre.root / 'key-store-2'}",
    )  # fmt: skip
    (centre.root / "tenure.yaml").rename(centre.root / "lost.yaml")
    (centre.root / "state").rename(centre.root / "lost")
    listed = strange.run("snapshots", *options, "--json").worked().document["snapshots"]
    assert {s["source"] for s in listed} == {"crm", "calls"}
    for source, live in (("crm", centre.crm), ("calls", centre.recordings)):
        strange.run("restore", source, "--to", f"back-{source}", *options).worked()
        assert fingerprint(strange.root / f"back-{source}") == fingerprint(live)


def test_status_probes_and_reports(centre: Site) -> None:
    done = centre.run("status", "--probe", "--json").worked()
    assert all(p["kept"] for p in done.document["probe"] if p["what"] != "space")
    assert done.document["well"]
    centre.run("report", "--to", "out/page.html").worked()
    assert (centre.root / "out" / "page.html").read_text().startswith("<!")


def test_card_data_where_it_must_not_be_ends_a_scan_with_3(centre: Site) -> None:
    centre.run("cards", "scan").worked()
    with sqlite3.connect(centre.crm) as live:
        live.execute("UPDATE notes SET body = 'card 4111 1111 1111 1111 cvv 123' WHERE id = 1")
    live.close()
    done = centre.run("cards", "scan", "--by", "customer_id")
    assert done.code == 3
    assert "4111" not in done.out + done.err
    assert "must not be there" in done.out


def test_a_lost_control_database_is_built_again(centre: Site) -> None:
    centre.run("drill", "crm").worked()
    for file in (centre.root / "state").glob("control.db*"):
        file.unlink()
    assert centre.run("status", "--json").document["sources"][1]["last_drill"] is None
    assert centre.run("control", "rebuild", "--json").worked().document["drills"] == 1
    assert centre.run("status", "--json").document["sources"][1]["last_drill_outcome"] == "passed"


def test_names_of_damaged_objects_are_whole_where_no_terminal_reads(centre: Site) -> None:
    """A name cut into lines cannot be copied out of a log."""
    packs = centre.objects("repository", "data")
    for pack in packs:
        pack.write_bytes(pack.read_bytes()[:-10])
    told = centre.run("verify", "--read-data", "100%").refused(40).out
    assert all(f"data/{pack.parent.name}/{pack.name}" in told for pack in packs)
