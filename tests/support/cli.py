"""Tenure's command line as processes of its own, on small real installations.

`run` asks a warm process (`warmcli`) to fork one for each command, since loading the program takes longer than most
commands; `run_cold` starts the installed program as a user does.
"""

import atexit
import functools
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PERSONAL = ("Anna", "Berg", "example.org", "Lindenweg")
"""What stands in the sample's rows and must stand in no message."""

LIMIT_S = 60.0
_jobs = itertools.count()

SOURCES = """\
sources:
  crm:
    kind: sqlite
    path: crm.sqlite
    data_sets:
      customers:
        subjects: {customer: id}
        starting_points: {account closed: closed_at}
        columns: {name: [personal]}
      notes:
        subjects: {customer: customer_id}
        columns: {body: [free text]}
        links: [{to: customers, by: [customer_id]}]
  calls:
    kind: folder
    path: recordings
    data_sets:
      call_recordings:
        files: "**/*.wav"
        sidecar: "{stem}.json"
        subjects: {customer: sidecar.customer_id}
        starting_points: {call ended: sidecar.ended_at}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended. `code` is minus the signal's number where one killed it."""

    args: tuple[str, ...]
    code: int
    out: str = field(repr=False)
    err: str = field(repr=False)

    @property
    def document(self) -> Any:
        """Return the one JSON document on stdout."""
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"tenure {' '.join(self.args)} -> {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"

    def refused(self, code: int, *says: str) -> "Done":
        """Assert that it ended with this code, said all of these (regular expressions), and nothing it must not."""
        text = " ".join(self.err.split())
        assert self.code == code, str(self)
        for pattern in says:
            assert re.search(pattern, text), f"{pattern!r} is not in what it said\n{self}"
        assert "next:" in text, f"no hint\n{self}"
        self.clean()
        return self

    def worked(self, code: int = 0) -> "Done":
        """Assert that it ended well."""
        assert self.code == code, str(self)
        self.clean()
        return self

    def clean(self) -> None:
        """Assert that nothing it printed is a traceback, a bug, or personal."""
        both = self.out + self.err
        for banned in ("Traceback", "bug in Tenure", "Errno", *PERSONAL):
            assert banned not in both, f"{banned!r} stands in what it printed\n{self}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command under way."""

    args: tuple[str, ...]
    folder: Path

    @property
    def pid(self) -> int:
        """Return its process."""
        _until((self.folder / "pid").exists)
        return int((self.folder / "pid").read_text())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing where it is over already."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return (self.folder / "code").exists()

    def done(self) -> Done:
        """Wait for its end."""
        try:
            _until(lambda: self.over)
        except AssertionError:
            self.signal(signal.SIGKILL)
            raise
        out, err = ((self.folder / n).read_text("utf-8", "replace") for n in ("out", "err"))
        return Done(args=self.args, code=int((self.folder / "code").read_text()), out=out, err=err)


class Site:
    """One installation in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def config(self) -> Path:
        """Return its configuration file."""
        return self.root / "tenure.yaml"

    @property
    def crm(self) -> Path:
        """Return its live database."""
        return self.root / "crm.sqlite"

    @property
    def recordings(self) -> Path:
        """Return its live folder."""
        return self.root / "recordings"

    def start(self, *args: str, **options: Any) -> Job:
        """Start a command in the installation's folder."""
        folder = _scratch() / f"job-{next(_jobs)}"
        folder.mkdir()
        request = {"args": args, "cwd": str(self.root), "job": str(folder), **options}
        server = _server()
        assert server.stdin is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return Job(args=args, folder=folder)

    def run(self, *args: str, **options: Any) -> Done:
        """Run a command to its end."""
        return self.start(*args, **options).done()

    def run_cold(self, *args: str, before: Sequence[str] = ()) -> Done:
        """Run the installed program as a user does; `before`: what it is started through."""
        program = [*before, sys.executable, "-c", "from tenure.cli.main import run; run()", *args]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ended = subprocess.run(
            program,
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return Done(args=args, code=ended.returncode, out=ended.stdout, err=ended.stderr)

    def numbers(self, source: str) -> list[int]:
        """Return the numbers of a source's snapshots."""
        listed = self.run("snapshots", source, "--json").worked().document
        return [s["number"] for s in listed["snapshots"]]

    def objects(self, folder: str, under: str) -> list[Path]:
        """Return the objects of a store below a prefix, largest last."""
        found = (p for p in (self.root / folder / under).rglob("*") if p.is_file())
        return sorted(found, key=lambda p: (p.stat().st_size, p.name))

    def configure(self, *replaced: tuple[str, str]) -> None:
        """Change the configuration."""
        text = self.config.read_text()
        for old, new in replaced:
            assert old in text, old
            text = text.replace(old, new)
        self.config.write_text(text)

    def still_whole(self) -> None:
        """Assert that the first snapshots restore to the byte, and that verification finds nothing."""
        self.run("verify", "--read-data", "100%").worked()
        self.still_restores()

    def still_restores(self) -> None:
        """Assert that the first snapshots restore to the byte."""
        known = _template()[1]
        for source, number in known.first.items():
            target = self.root / f"again-{source}"
            self.run("restore", str(number), "--to", str(target)).worked()
            assert fingerprint(target) == known.prints[source], f"{source} came back otherwise"
            shutil.rmtree(target) if target.is_dir() else target.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the sample holds: numbers of the first snapshots, and what they restore to."""

    first: dict[str, int]
    prints: dict[str, str]


def fingerprint(path: Path) -> str:
    """Return a hash of a database's rows and schema, or of every file's path and bytes."""
    state = hashlib.blake2b()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            state.update(repr((str(file.relative_to(path)), file.read_bytes())).encode())
        return state.hexdigest()
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        for line in connection.iterdump():
            state.update(line.encode() + b"\n")
    finally:
        connection.close()
    return state.hexdigest()


def make_sources(root: Path, *, rows: int = 400, files: int = 12) -> None:
    """Write a small CRM and a folder of recordings."""
    database = sqlite3.connect(root / "crm.sqlite")
    database.executescript(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, street TEXT, closed_at TEXT);"
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers, body TEXT);"
    )
    people = ((i, f"Anna Berg {i}", f"Lindenweg {i}", f"2024-01-{i % 28 + 1:02}") for i in range(rows))
    database.executemany("INSERT INTO customers VALUES (?, ?, ?, ?)", people)
    database.executemany(
        "INSERT INTO notes VALUES (?, ?, ?)", ((i, i, f"Anna called about bill {i}") for i in range(rows))
    )
    database.commit()
    database.close()
    folder, random_ = root / "recordings" / "2024", random.Random(7)
    folder.mkdir(parents=True)
    for i in range(files):
        (folder / f"call-{i:03}.wav").write_bytes(random_.randbytes(20_000))
        (folder / f"call-{i:03}.json").write_text(
            json.dumps({"customer_id": i, "ended_at": "2024-03-01T10:00:00Z"})
        )


def site(folder: Path) -> Site:
    """Return a fresh installation with a small CRM and recordings, of which one snapshot each was taken."""
    root = folder / "centre"
    shutil.copytree(_template()[0], root, symlinks=True)
    return Site(root)


@functools.cache
def _template() -> tuple[Path, Known]:
    root = _scratch() / "template"
    root.mkdir()
    made = Site(root)
    made.run("init").worked()
    text = made.config.read_text()
    made.config.write_text(text[: text.index("sources:")] + SOURCES)
    make_sources(root)
    made.run("snapshot").worked()
    known = Known(
        first={name: made.numbers(name)[0] for name in ("crm", "calls")},
        prints={"crm": fingerprint(made.crm), "calls": fingerprint(made.recordings)},
    )
    return root, known


@functools.cache
def _scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tenure-cli-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _server() -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (_scratch() / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warmcli.py"))],
            stdin=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
    atexit.register(server.kill)
    return server


def _until(condition: Any) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert _server().poll() is None, f"the warm process died: {(_scratch() / 'server.log').read_text()}"
        assert time.monotonic() < deadline, "the command did not end in time"
        time.sleep(0.003)
