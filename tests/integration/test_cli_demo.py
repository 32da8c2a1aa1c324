"""The demo is the whole product in one command; it is run as a user runs it."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from tenure.cli.main import run; run()"]


def tenure(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=600
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demo, run once, and what it printed."""
    place = tmp_path_factory.mktemp("demo")
    done = tenure("demo", "shop", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "shop", done.stdout


def test_the_demo_ends_by_saying_where_the_report_is_and_what_to_type_next(demo: tuple[Path, str]) -> None:
    folder, said = demo
    assert "report.html" in said
    assert re.search(r"^  cd shop && \S+ verify$", said, re.MULTILINE)
    page = (folder / "report.html").read_text("utf-8")
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_erased_customer_is_in_no_snapshot_and_not_in_the_live_store(
    demo: tuple[Path, str], tmp_path: Path
) -> None:
    folder, said = demo
    found = re.search(r"Customer (\d+) is not in it", said)
    assert found is not None
    customer = found.group(1)
    with closing(sqlite3.connect(folder / "crm.sqlite")) as live:
        assert live.execute("SELECT count(*) FROM customers WHERE id = ?", (customer,)).fetchone() == (0,)
    listed = json.loads(tenure("snapshots", "--json", cwd=folder).stdout)["snapshots"]
    crm = [s["number"] for s in listed if s["source"] == "crm"]
    assert len(crm) == 4
    for number in crm:
        target = tmp_path / f"{number}.sqlite"
        assert tenure("restore", str(number), "--to", str(target), cwd=folder).returncode == 0
        with closing(sqlite3.connect(target)) as restored:
            query = "SELECT count(*) FROM interactions WHERE customer_id = ?"
            assert restored.execute(query, (customer,)).fetchone() == (0,)
            assert restored.execute("PRAGMA foreign_key_check").fetchall() == []


def test_its_repository_and_its_evidence_verify(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    for words in (("verify",), ("evidence", "verify")):
        done = tenure(*words, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine.txt").write_text("keep me")
    done = tenure("demo", cwd=tmp_path)
    assert done.returncode == 10
    assert "not empty" in done.stderr
    assert (tmp_path / "demo" / "mine.txt").read_text() == "keep me"
