"""Where standard output cannot be written, a command says why and ends with 120; it is no bug of ours."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-c", "from tenure.cli.main import run; run()"]


def run(*arguments: str, folder: Path, to: str) -> subprocess.CompletedProcess[str]:
    with Path(to).open("w") as out:
        return subprocess.run(
            [*PROGRAM, *arguments], cwd=folder, stdout=out, stderr=subprocess.PIPE, text=True, check=False
        )


@pytest.mark.parametrize("arguments", [["--version"], ["snapshots"], ["snapshots", "--json"], ["status"]])
def test_a_full_disk_behind_standard_output_is_told_as_that(tmp_path: Path, arguments: list[str]) -> None:
    made = run("init", ".", folder=tmp_path, to="/dev/null")
    assert made.returncode == 0, made.stderr

    done = run(*arguments, folder=tmp_path, to="/dev/full")

    assert done.returncode == 120
    assert "the output could not be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("tenure-error-*"))


def test_a_reader_that_goes_away_is_no_failure_to_tell(tmp_path: Path) -> None:
    made = run("init", ".", folder=tmp_path, to="/dev/null")
    assert made.returncode == 0, made.stderr

    piped = subprocess.run(
        [
            "/bin/sh",
            "-c",
            f"'{sys.executable}' -c 'from tenure.cli.main import run; run()' status | head -c 1",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(piped.stdout) == 1
    assert "bug" not in piped.stderr
    assert "Traceback" not in piped.stderr


def test_init_makes_the_tables_of_the_control_database(tmp_path: Path) -> None:
    made = run("init", ".", folder=tmp_path, to="/dev/null")

    assert made.returncode == 0, made.stderr
    assert (tmp_path / "state" / "control.db").stat().st_size > 0
