"""Runs the command line many times over: loads it once, then forks a process for every request.

Each line on stdin is a request (JSON): `args`, `cwd`, `job` (a folder). The job's folder gets ``pid``, ``out``, ``err``,
and, when the process is over, ``code``. Options: `columns` (width of the terminal), `file_bytes` (no file may grow
beyond), `shift` (seconds to add to the clock), `env` (added to the environment).
"""

import importlib
import json
import os
import resource
import signal
import sys
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tenure.bootstrap.clock import SystemClock
from tenure.cards import prefilter
from tenure.cli import main
from tenure.sources.startingpoints import local_time


def _write(path: Path, text: str) -> None:
    beside = path.with_suffix(".tmp")
    beside.write_text(text)
    beside.rename(path)


def _run(request: dict[str, Any], job: Path) -> None:
    """Become the command; never returns."""
    os.chdir(request["cwd"])
    os.environ.update(request.get("env", {}))
    for number, name, flags in (
        (0, "/dev/null", os.O_RDONLY),
        (1, job / "out", os.O_CREAT | os.O_WRONLY),
        (2, job / "err", os.O_CREAT | os.O_WRONLY),
    ):
        fd = os.open(name, flags, 0o600)
        os.dup2(fd, number)
    if limit := request.get("file_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if shift := request.get("shift"):
        SystemClock.now = lambda self: datetime.now(UTC) + timedelta(seconds=shift)  # type: ignore[method-assign]
    sys.argv = ["tenure", *request["args"]]
    code = 1
    try:
        main.run()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter does at its top
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watch(request: dict[str, Any], job: Path) -> None:
    """Start the command, wait for its end, and say how it ended; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        _run(request, job)
    _write(job / "pid", str(pid))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    _write(job / "code", str(code))
    os._exit(0)


def serve() -> None:
    """Serve until stdin ends."""
    for names in main.MODULES:
        try:
            importlib.import_module(f"tenure.cli.{names}")
        except (ImportError, SyntaxError):
            continue  # it is told where its command is run
    prefilter.scan(b"warm\n", np.array([0, 5], np.int64))  # compiles its patterns, which takes half a second
    local_time(np.zeros(1, np.int64), "UTC")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        if os.fork() == 0:
            os.setsid()
            _watch(request, Path(request["job"]))


if __name__ == "__main__":
    serve()
