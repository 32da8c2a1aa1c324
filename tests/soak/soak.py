"""Random operations on real installations, killed at random moments, against a model of what each snapshot held.

Every operation is a process of its own; about every third is killed (SIGKILL) at a random moment, and while some are
at work the S3 server is killed and started again. After each round
the repository must verify, every snapshot must restore to exactly what the table held when it was taken less what was
erased since, and an erasure that was cut short must complete when it is run again. Nothing here is timed: the more
seconds, the more rounds.

    SOAK_SECONDS=300 SOAK_SEED=1 SOAK_PLACES="folders buckets" python tests/soak/soak.py
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from support.s3server import Server
from support.seaweed import running

KILLED = 0.35
OPERATIONS = ("edit", "snapshot", "edit", "snapshot", "erase", "prune", "rotate", "verify")
SOURCES = """
sources:
  crm:
    kind: sqlite
    path: crm.sqlite
    data_sets:
      customers:
        subjects: {customer: id}
        starting_points: {account closed: closed_at}
keep: {last: 6, daily: 0, weekly: 0, monthly: 0, yearly: 0, verified: 0}
"""
REFUSED = {10}  # nothing to do, or answered before
OUTAGE = 0.2
UNREACHABLE = {22}  # the store did not answer
CUT_OFF = -1000
UNDER_WAY = {20, 21}  # a session of a killed process


class SoakError(AssertionError):
    """Something was lost, or came back."""


@dataclass
class World:
    """One installation and the model beside it."""

    root: Path
    chance: random.Random
    env: dict[str, str]
    rows: dict[int, str] = field(default_factory=dict)
    held: dict[int, dict[int, str]] = field(default_factory=dict)
    erased: set[int] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    outages: int = 0
    requests: int = 0
    server: Server | None = None

    def run(self, *words: str, may_die: bool = False) -> tuple[int, str]:
        """Run a command; return its code (negative where it was killed) and what it printed."""
        process = subprocess.Popen(
            [sys.executable, "-c", "from tenure.cli.main import run; run()", *words],
            cwd=self.root, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self.done[words[0]] += 1
        if may_die and self.server is not None and self.chance.random() < OUTAGE:
            return self._through_an_outage(process, self.server)
        if may_die and self.chance.random() < KILLED:
            try:
                out, _ = process.communicate(timeout=self.chance.uniform(0.2, 2.5))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                self.kills += 1
                out, _ = process.communicate()
        else:
            out, _ = process.communicate(timeout=300)
        return process.returncode, out

    def _through_an_outage(self, process: "subprocess.Popen[str]", server: Server) -> tuple[int, str]:
        """Kill the S3 server while a command is at work, and start it again; the command waits or says that it failed."""
        time.sleep(self.chance.uniform(0.3, 2.0))
        server.kill()
        time.sleep(self.chance.uniform(0.5, 4.0))
        server.start()
        self.outages += 1
        out, _ = process.communicate(timeout=300)
        return (CUT_OFF if process.returncode in UNREACHABLE else process.returncode), out

    def works(self, *words: str, codes: frozenset[int] = frozenset({0})) -> str:
        """Run a command that has to end well."""
        code, out = self.run(*words)
        if code not in codes:
            raise SoakError(f"tenure {' '.join(words)} ended with {code}:\n{out}")
        return out

    # --- operations -------------------------------------------------------------------------------------------

    def edit(self) -> None:
        """Change some rows of the live table."""
        with closing(sqlite3.connect(self.root / "crm.sqlite")) as database:
            for _ in range(self.chance.randint(1, 60)):
                key, text = self.chance.randint(1, 600), f"text {self.chance.random()}"
                if key in self.erased:
                    continue
                if self.chance.random() < 0.2:
                    database.execute("DELETE FROM customers WHERE id = ?", (key,))
                    self.rows.pop(key, None)
                else:
                    database.execute(
                        "INSERT OR REPLACE INTO customers VALUES (?, ?, '2015-01-01')", (key, text)
                    )
                    self.rows[key] = text
            database.commit()

    def snapshot(self) -> None:
        """Take one; whether it was committed, a listing says."""
        self.run("snapshot", "crm", may_die=True)
        self.listing()

    def listing(self) -> None:
        """Take over into the model which snapshots there are."""
        found = json.loads(self.works("snapshots", "--json"))["snapshots"]
        numbers = {int(one["number"]) for one in found}
        for new in numbers - set(self.held):
            self.held[new] = dict(self.rows)
        for gone in set(self.held) - numbers:
            del self.held[gone]

    def erase(self) -> None:
        """Erase a customer, again until it is done, however often it is killed."""
        if not self.rows:
            return
        key = self.chance.choice(sorted(self.rows))
        self.requests += 1
        words = ("erase", "--subject", f"customer={key}", "--request", f"R-{self.requests}", "--received",
                 "2026-03-01", "--yes")  # fmt: skip
        for attempt in range(6):
            code, out = self.run(*words, may_die=attempt < 3)
            if code == 0 or (code in REFUSED and "answered before" in out):
                break
            if code > 0 and code not in {3, *UNDER_WAY}:
                raise SoakError(f"erase ended with {code}:\n{out}")
        else:
            raise SoakError(f"an erasure does not come to its end:\n{out}")
        self.erased.add(key)
        self.rows.pop(key, None)
        for rows in self.held.values():
            rows.pop(key, None)
        if key in self.live():
            raise SoakError(f"customer {key} is in the live store after its erasure")

    def prune(self) -> None:
        """Drop old snapshots; what is gone, a listing says."""
        self.run("prune", "--drop", "50", may_die=True)
        self.listing()

    def rotate(self) -> None:
        """Rotate the keys, sometimes cut short; the next one goes on."""
        if self.chance.random() < 0.4:
            code, out = self.run("keys", "rotate", may_die=True)
            if code > 0 and "tenure snapshot crm" in out:  # one was killed: do as the message says
                self.works("snapshot", "crm")
                self.listing()
                code, out = self.run("keys", "rotate")
            if code > 0 and code != 3:
                raise SoakError(f"rotate ended with {code}:\n{out}")

    def verify(self) -> None:
        """Look through everything; what a prune mends it is given."""
        code, out = self.run("verify", "--read-data", "100%")
        if code == 3:
            self.works("prune", "--mend", codes=frozenset({0, 3}))
            code, out = self.run("verify", "--read-data", "100%")
        if code:
            raise SoakError(f"verify ended with {code}:\n{out}")

    def live(self, path: str = "crm.sqlite") -> dict[int, str]:
        """Return the rows of a database file."""
        with closing(sqlite3.connect(self.root / path)) as database:
            return dict(database.execute("SELECT id, name FROM customers"))

    def check(self) -> None:
        """Hold every snapshot against the model."""
        self.listing()
        self.verify()
        if self.live() != self.rows:
            raise SoakError("the live table is not what the model says")
        for number, rows in self.held.items():
            self.works("restore", str(number), "--to", "back.sqlite")
            if self.live("back.sqlite") != rows:
                raise SoakError(f"snapshot {number} restores to something else than it held")
            (self.root / "back.sqlite").unlink()


def founded(root: Path, chance: random.Random, env: dict[str, str], *stores: str) -> World:
    """Make an installation."""
    world = World(root=root, chance=chance, env=env)
    world.works("init", ".", *stores)
    config = root / "tenure.yaml"
    lines = [line for line in config.read_text().splitlines(keepends=True) if not line.startswith("keep:")]
    text = "".join(lines)
    config.write_text(text[: text.index("\nsources:")] + SOURCES)
    with closing(sqlite3.connect(root / "crm.sqlite")) as database:
        database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, closed_at TEXT)")
        database.commit()
    world.edit()
    world.works("snapshot")
    world.listing()
    return world


def soak(world: World, seconds: float) -> int:
    """Go on for some seconds; return how many rounds there were."""
    until, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        for _ in range(6):
            getattr(world, world.chance.choice(OPERATIONS))()
        world.check()
        rounds += 1
    return rounds


def main() -> None:
    """Soak an installation in folders, then one in buckets; tell what was done."""
    seconds = float(os.environ.get("SOAK_SECONDS", "300"))
    seed = int(os.environ.get("SOAK_SEED", str(random.SystemRandom().randrange(10**6))))
    print(f"SOAK seed={seed} seconds={seconds:.0f}", flush=True)
    places = os.environ.get("SOAK_PLACES", "folders buckets").split()
    for place in places:
        root = Path(tempfile.mkdtemp(prefix="tenure-soak-"))
        world, rounds = one(place, root, random.Random(seed), seconds / len(places))
        told = " ".join(f"{name}={count}" for name, count in sorted(world.done.items()))
        print(
            f"SOAK {place}: rounds={rounds} kills={world.kills} outages={world.outages} {told} lost=0",
            flush=True,
        )
        shutil.rmtree(root)


def one(place: str, root: Path, chance: random.Random, seconds: float) -> tuple[World, int]:
    """Soak one installation. Its folder stays where something was lost."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    if place == "folders":
        world = founded(root, chance, env)
        return world, soak(world, seconds)
    with running() as server:
        world = founded(root, chance, env | credentials(server), *addresses(server))
        world.server = server
        return world, soak(world, seconds)


def credentials(server: Server) -> dict[str, str]:
    """Return what a process needs to ask the server."""
    return {
        "AWS_ACCESS_KEY_ID": server.access.access_key,
        "AWS_SECRET_ACCESS_KEY": server.access.secret_key,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def addresses(server: Server) -> list[str]:
    """Return the options of an installation in three buckets."""
    ways = f"?endpoint={server.endpoint}"
    stores = [f"s3://{server.bucket()}{ways}" for _ in range(3)]
    return ["--object-store", stores[0], "--key-store", f"a={stores[1]}", "--key-store", f"b={stores[2]}"]


if __name__ == "__main__":
    main()
