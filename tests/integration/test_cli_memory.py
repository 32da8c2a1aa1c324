"""Snapshots and restores of more data than they may have memory: 512 MB is the promise, whatever the size."""

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROMISED = 512 * 1000 * 1000
MORE = {"recordings": 600 * 1000 * 1000, "database": 400 * 1000 * 1000}
"""Bytes of data: a process that held them would have more than was promised; rows are held as text, twice as long."""

SOURCES: dict[str, dict[str, object]] = {
    "recordings": {"kind": "folder", "data_sets": {"calls": {"files": "**/*.wav"}}},
    "database": {"kind": "sqlite"},
}


MEASURE = """
import os, sys
pid = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A small process between: to Linux, a process has had the memory of the one that started it, which here is pytest."""


def peak(*arguments: str, folder: Path) -> int:
    """Run a command and return the most memory that it had at once, in bytes."""
    program = [sys.executable, "-c", MEASURE, "-c", "from tenure.cli.main import run; run()"]
    done = subprocess.run([*program, *arguments, "--quiet"], cwd=folder, stdout=subprocess.PIPE, check=True)
    return int(done.stdout)


def recordings(path: Path, size: int) -> None:
    path.mkdir()
    noise = random.Random(7).randbytes(4_000_000)
    for number in range(size // len(noise)):
        (path / f"{number:04d}.wav").write_bytes(number.to_bytes(4, "big") + noise)


def database(path: Path, size: int) -> None:
    noise = random.Random(7).randbytes(100_000)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE letters (id INTEGER PRIMARY KEY, scan BLOB)")
        connection.executemany(
            "INSERT INTO letters VALUES (?, ?)",
            ((n, n.to_bytes(4, "big") + noise) for n in range(size // len(noise))),
        )
    connection.close()


def same(one: Path, other: Path) -> bool:
    if one.is_dir():
        names = sorted(p.name for p in one.iterdir())
        return names == sorted(p.name for p in other.iterdir()) and all(
            same(one / n, other / n) for n in names
        )
    return one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("kind", SOURCES)
def test_memory_stays_below_what_is_promised(tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / kind, tmp_path / "back"
    {"recordings": recordings, "database": database}[kind](source, MORE[kind])
    peak("init", "here", folder=tmp_path)
    config = tmp_path / "here" / "tenure.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["sources"] = {kind: {**SOURCES[kind], "path": str(source)}}
    config.write_text(yaml.safe_dump(settings))

    saved = peak("snapshot", kind, folder=config.parent)
    restored = peak("restore", kind, "--to", str(target), folder=config.parent)

    assert saved < PROMISED
    assert restored < PROMISED
    if kind == "recordings":
        assert same(source, target)
    else:
        query = "SELECT count(*), sum(length(scan)) FROM letters"
        found = [sqlite3.connect(path).execute(query).fetchone() for path in (source, target)]
        assert found[0] == found[1]
