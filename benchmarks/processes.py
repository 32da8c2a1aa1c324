"""Runs of a command, timed, with the most memory it held."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: wall-clock seconds; peak resident bytes of the largest process in it."""

    seconds: float
    peak: int


# Runs the command and reports from a small process of its own: the peak that Linux tells of a child includes the
# memory of the process it was forked from, and ours has just made a gigabyte of test data.
_LAUNCHER = """
import json, resource, subprocess, sys, time
begun = time.perf_counter()
code = subprocess.call(sys.argv[2:], stdin=subprocess.DEVNULL)
seconds = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
with open(sys.argv[1], "w") as report:
    json.dump({"code": code, "seconds": seconds, "peak": peak}, report)
"""


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Run:
    """Run a command to its end, its output kept aside.

    Raises:
        SystemExit: It failed; its last lines are in the message.
    """
    with (
        tempfile.NamedTemporaryFile(mode="r", encoding="utf-8") as report,
        tempfile.TemporaryFile() as output,
    ):
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, report.name, *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            check=True,
        )
        told = json.load(report)
        if told["code"] != 0:
            output.seek(0)
            last = output.read().decode(errors="replace")[-2_000:]
            raise SystemExit(f"`{' '.join(command)}` ended with {told['code']}:\n{last}")
    return Run(seconds=told["seconds"], peak=told["peak"])


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def warm(folder: Path) -> None:
    """Read every file once, so that neither side is the one that waits for the disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 22):
                    pass
