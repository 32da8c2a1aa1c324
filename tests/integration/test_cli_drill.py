"""Drills from the command line: exit codes, what is printed, and a drill that is killed."""

import signal
import sqlite3
import time
from pathlib import Path

import pytest

from support.cli import Site, site
from support.drillcentre import tone


@pytest.fixture
def centre(tmp_path: Path) -> Site:
    made = site(tmp_path)
    for file in made.recordings.rglob("*.wav"):
        file.write_bytes(tone())
    made.run("snapshot", "calls").worked()
    return made


def test_a_drill_of_every_source_passes_and_names_its_report(centre: Site) -> None:
    done = centre.run("drill", "--json").worked()
    drills = {d["source"]: d for d in done.document["drills"]}
    assert {d["outcome"] for d in drills.values()} == {"passed"}
    for drill in drills.values():
        assert Path(drill["report"]).is_file()
        assert drill["wiped"]
    assert not list((centre.root / "state" / "scratch").glob("drill-*"))


def test_a_drill_prints_each_check(centre: Site) -> None:
    out = centre.run("drill", "crm").worked().out
    for name in ("restore", "database", "row counts", "content", "live twins", "card data"):
        assert name in out


def test_damage_ends_a_drill_with_81_and_says_what_next(centre: Site) -> None:
    for pack in centre.objects("repository", "data"):
        pack.write_bytes(pack.read_bytes()[:-10])
    centre.run("drill").refused(81, "open the drill's report")


def test_a_missed_objective_ends_a_drill_with_82(centre: Site) -> None:
    centre.config.write_text(centre.config.read_text() + "objectives:\n  crm: {restore_minutes: 0.000001}\n")
    centre.run("drill", "crm").refused(82)


def test_a_failed_drill_shows_in_status(centre: Site) -> None:
    centre.run("drill", "crm").worked()
    assert "passed" in centre.run("status").out
    for pack in centre.objects("repository", "data"):
        pack.unlink()
    assert centre.run("drill", "crm").code == 81
    done = centre.run("status", "--json").worked(3)
    steps = [s["type"] for s in done.document["next_steps"] if s["when"] == "now"]
    assert "tenure drill crm" in steps


def test_an_unknown_source_is_refused(centre: Site) -> None:
    centre.run("drill", "nobody").refused(10, "no source 'nobody'")


def test_a_drill_killed_in_the_middle_leaves_nothing_for_the_next(centre: Site) -> None:
    with sqlite3.connect(centre.crm) as live:
        live.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)"
            " INSERT INTO notes SELECT i, 1, hex(i * 7919) FROM n"
        )
    live.close()
    centre.run("snapshot", "crm").worked()
    job = centre.start("drill", "crm")
    scratch = centre.root / "state" / "scratch"
    while not list(scratch.glob("drill-*")) and not job.over:
        time.sleep(0.002)
    job.signal(signal.SIGKILL)
    assert job.done().code == -signal.SIGKILL
    assert list(scratch.glob("drill-*"))
    centre.run("drill", "crm").worked()
    assert not list(scratch.glob("drill-*"))
