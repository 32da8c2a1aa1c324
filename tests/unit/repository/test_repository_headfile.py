"""The file that remembers the ledger's head: whole at every moment, and no litter beside it."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.domain.errors import ConfigError
from tenure.repository.headfile import HeadFile

HASH = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "head"


@pytest.fixture
def living() -> Iterator[int]:
    """A process of somebody else's that is at work."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate(b"\n")


def dead() -> int:
    """Return the number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left_by(path: Path, process: object) -> Path:
    beside = path.with_name(f"head.{process}.tmp")
    beside.write_text("12 ")
    return beside


def test_what_was_stored_is_what_the_next_process_loads(path: Path) -> None:
    assert HeadFile(path).load() is None
    HeadFile(path).store(7, HASH)
    HeadFile(path).store(8, HASH)
    assert HeadFile(path).load() == (8, HASH)
    assert [p.name for p in path.parent.iterdir()] == ["head"]


def test_what_a_dead_process_left_goes_when_the_next_one_starts(path: Path) -> None:
    HeadFile(path).store(7, HASH)
    left_by(path, dead())
    assert HeadFile(path).load() == (7, HASH)
    assert [p.name for p in path.parent.iterdir()] == ["head"]


def test_it_goes_too_where_the_process_died_before_the_first_entry_was_remembered(path: Path) -> None:
    left_by(path, dead())
    assert HeadFile(path).load() is None
    assert list(path.parent.iterdir()) == []


def test_what_a_living_process_is_writing_stays(path: Path, living: int) -> None:
    kept = {left_by(path, living), left_by(path, os.getpid()), left_by(path, os.getppid())}
    assert HeadFile(path).load() is None
    assert set(path.parent.iterdir()) == kept


def test_what_is_locked_stays_even_where_its_process_is_not_known_here(path: Path) -> None:
    beside = left_by(path, dead())
    with beside.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert HeadFile(path).load() is None
        assert beside.exists()
    assert HeadFile(path).load() is None
    assert not beside.exists()


@pytest.mark.parametrize(
    "name", ["notes", "", "-1", "0", "1e3", "9" * 30, "12.13", "\N{ARABIC-INDIC DIGIT ONE}"]
)
def test_files_that_no_process_of_ours_left_are_not_touched(path: Path, name: str) -> None:
    kept = left_by(path, name)
    assert HeadFile(path).load() is None
    assert kept.exists()


def test_a_head_that_is_taken_away_while_it_is_written_is_written_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, taken = Path.replace, list[Path]()

    def once_taken(beside: Path, target: Path) -> Path:
        if not taken:
            taken.append(beside)
            beside.unlink()
        return replace(beside, target)

    monkeypatch.setattr(Path, "replace", once_taken)
    HeadFile(path).store(9, HASH)
    assert taken
    assert HeadFile(path).load() == (9, HASH)


@pytest.mark.parametrize("content", ["", "7", "seven 00", "7 zz", "7 00 00", "7 \xff"])
def test_a_damaged_head_stops_and_names_the_file(path: Path, content: str) -> None:
    path.write_text(content, "latin-1")
    with pytest.raises(ConfigError, match="head cannot be read"):
        HeadFile(path).load()
