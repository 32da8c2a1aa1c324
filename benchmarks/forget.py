"""One recording forgotten that 365 snapshots share, against `restic rewrite --exclude --forget` and `restic prune`.

The history: 2,000 recordings of 64 to 256 KB by the end, two new ones a day, a snapshot after each day; both sides
snapshot the very same files. Ours takes them in this process, by the operation that `tenure snapshot` calls: 365
starts of an interpreter would only add their time. Every pair forgets another recording, one of the first day's. Ours
is `tenure erase` of a customer with that one recording: it also deletes the live file, looks for it again everywhere
and writes a certificate. The peer rewrites its snapshots without the file and prunes as it does by default, which
leaves the bytes of so small a file in their pack; `forget-wholly` has it drop them, too (`--max-unused 0`).
"""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.pairs import Bench, Stored
from benchmarks.processes import Run, run, size_of
from benchmarks.recordings import DECLARATION
from benchmarks.restic import Restic
from benchmarks.tenure import SOURCE, Tenure
from tenure.bootstrap.clock import SystemClock
from tenure.bootstrap.wiring import Machine, build
from tenure.domain.progress import SilentProgress
from tenure.operations import snapshot
from tenure.operations.sample_voice import wav

NEW_A_DAY = 2
LEAST, MOST = 64_000, 256_000  # bytes of a recording


def _recording(rng: np.random.Generator) -> bytes:
    samples = int(rng.integers(LEAST, MOST)) // 2
    return wav(np.cumsum(rng.standard_normal(samples)) % 0.4 - 0.2)


def _add(folder: Path, rng: np.random.Generator, numbers: range) -> None:
    """Write recordings, each of a customer of its own."""
    for number in numbers:
        place = folder / f"{number % 100:02d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"call-{number:06d}.wav").write_bytes(_recording(rng))
        said = {
            "customer_id": number,
            "ended_at": f"2026-{1 + number % 12:02d}-{1 + number % 28:02d} 10:00:00",
        }
        (place / f"call-{number:06d}.json").write_text(json.dumps(said), encoding="utf-8")


class Forgets(Stored, Protocol):
    """A side that takes something out of its history."""

    def forget(self, number: int) -> Run:
        """Forget a recording."""
        ...


@dataclass(slots=True, kw_only=True)
class TenureForgets(Tenure):
    """Tenure, which erases the one customer of a recording."""

    def forget(self, number: int) -> Run:
        """Forget a customer's recording."""
        return self._call(
            "erase", "--subject", f"customer={number}", "--request", f"bench-{number}", "--received", "2026-03-01",
            "--yes",
        )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class ResticForgets(Restic):
    """restic, which rewrites its snapshots."""

    prune: tuple[str, ...] = ()

    def forget(self, number: int) -> Run:
        """Rewrite every snapshot without the file and its sidecar, drop the old ones, and prune."""
        stem = f"{self.source.name}/{number % 100:02d}/call-{number:06d}"
        excluded = [word for end in ("wav", "json") for word in ("--exclude", f"{stem}.{end}")]
        parts = (["rewrite", *excluded, "--forget", "--quiet"], ["prune", "--quiet", *self.prune])
        runs = [run([str(self.binary), *words], env=self.environment()) for words in parts]
        self._check(Path(stem).name)
        return Run(seconds=sum(r.seconds for r in runs), peak=max(r.peak for r in runs))

    def _check(self, stem: str) -> None:
        """Look for the files again, not timed; ours does that itself, timed.

        Raises:
            SystemExit: The peer has them still: what it did takes no time to be compared with.
        """
        command = [str(self.binary), "find", "--quiet", "--json", f"{stem}.*"]
        env = {**os.environ, **self.environment()}
        found = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
        if json.loads(found or "[]"):
            raise SystemExit(f"{stem} is still in snapshots of the peer")


@dataclass(slots=True, kw_only=True)
class Days:
    """What is there after each day, the same for both sides."""

    total: int
    days: int
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(20260303))
    made: int = 0

    def make(self, folder: Path, day: int) -> None:
        """Write what is new on a day; the first day's are most of them."""
        first = self.total - NEW_A_DAY * (self.days - 1)
        until = first + NEW_A_DAY * day
        _add(folder, self.rng, range(self.made, until))
        self.made = until


def measure(bench: Bench) -> None:
    """Build the history on both sides, then forget one recording after another, in pairs."""
    source = bench.folder / "forget-recordings"
    shutil.rmtree(source, ignore_errors=True)
    ours = TenureForgets(scratch=bench.folder / "ours", source=source, declaration=DECLARATION)
    peer = ResticForgets(binary=bench.peer, scratch=bench.folder / "peer", source=source)
    _history(ours, peer, source, bench)
    sides: tuple[Forgets, Forgets] = (ours, peer)
    victims = iter(range(7, 1_000_000, 13))

    def compare(name: str) -> None:
        pair = [0]

        def chosen(_: int) -> None:
            pair[0] = next(victims)

        bench.compare(name, sides, lambda side: side.forget(pair[0]), before_pair=chosen)

    compare("forget")
    peer.prune = ("--max-unused", "0")
    compare("forget-wholly")
    shutil.rmtree(source, ignore_errors=True)


def _history(ours: TenureForgets, peer: ResticForgets, source: Path, bench: Bench) -> None:
    """Take a snapshot with both sides after each day."""
    source.mkdir()
    days = Days(total=bench.recordings, days=bench.snapshots)
    ours.begin()
    peer.begin()
    installation = build(
        ours.scratch / "tenure.yaml", Machine(clock=SystemClock(), progress=SilentProgress())
    )
    begun, taken = time.perf_counter(), [0.0, 0.0]
    try:
        for day in range(bench.snapshots):
            days.make(source, day)
            before = time.perf_counter()
            snapshot.take(installation, [SOURCE])
            taken[0] += time.perf_counter() - before
            taken[1] += peer.snapshot().seconds
    finally:
        installation.close()
    print(
        f"  {bench.snapshots} snapshots of up to {bench.recordings} recordings, {size_of(source) / 1e6:.0f} MB:"
        f" made in {time.perf_counter() - begun:.0f} s (ours {taken[0]:.0f} s, peer {taken[1]:.0f} s)"
    )
