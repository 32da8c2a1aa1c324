"""Pairs of runs, ours and the peer's, and the line that comes of them.

Both sides are run as a user runs them, as processes, on the same warm files; their runs alternate, and which goes
first alternates too, so that a machine that slows down slows both. Reported are medians of wall-clock seconds;
the ratio is the peer's seconds by ours, so 2.0 means twice as fast.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.processes import Run
from benchmarks.restic import Restic
from benchmarks.tenure import Tenure

# Least ratio that is promised for each measure.
TARGETS = {
    "recordings-first": 4.0,
    "recordings-unchanged": 1.0,
    "recordings-restore": 1.0,
    "small-first": 1.0,
    "small-unchanged": 1.0,
    "forget": 1.0,
    "forget-wholly": 1.0,
    "s3-first": 2.0,
    "s3-unchanged": 1.0,
    "s3-restore": 2.0,
    "s3-first-of-plain-puts": 0.9,
    "sqlite-first": 1.0,
    "sqlite-changed": 1.0,
    "sqlite-restore": 1.0,
}


class Stored(Protocol):
    """What the lines below a measure tell of a side."""

    def stored(self) -> int:
        """Return the bytes of the repository."""
        ...


S = TypeVar("S", bound=Stored)


class Side(Stored, Protocol):
    """A tool under test, on one source."""

    @property
    def scratch(self) -> Path:
        """Return the folder this side's files are kept in."""
        ...

    def begin(self) -> None:
        """Make an empty repository, not timed."""
        ...

    def snapshot(self) -> Run:
        """Take a snapshot."""
        ...

    def restore(self, to: Path) -> Run:
        """Restore the newest snapshot into a folder that is not there yet."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every benchmark is handed: a folder for its files, the peer, how many pairs, how much data.

    `snapshots`, `recordings`: how many of them the histories have in which something is forgotten.
    `recordings_a_day`, `days`: of the history of hourly snapshots.
    """

    folder: Path
    peer: Path
    pairs: int
    megabytes: int
    snapshots: int = 365
    recordings: int = 2_000
    recordings_a_day: int = 100_000
    days: int = 1_095

    def sides(self, source: Path, declaration: dict[str, object]) -> tuple[Side, Side]:
        """Return ours and the peer, both on `source`."""
        ours = Tenure(scratch=self.folder / "ours", source=source, declaration=declaration)
        return ours, Restic(binary=self.peer, scratch=self.folder / "peer", source=source)

    def compare(
        self,
        name: str,
        sides: tuple[S, S],
        timed: Callable[[S], Run],
        *,
        before_pair: Callable[[int], None] = lambda _: None,
        before_run: Callable[[S], None] = lambda _: None,
    ) -> None:
        """Time both sides `pairs` times and print the measure; what runs before is not timed."""
        runs: tuple[list[Run], list[Run]] = ([], [])
        for pair in range(self.pairs):
            before_pair(pair)
            for index in (0, 1) if pair % 2 == 0 else (1, 0):
                before_run(sides[index])
                runs[index].append(timed(sides[index]))
        self._print(name, sides, runs)

    @staticmethod
    def _print(name: str, sides: tuple[Stored, Stored], runs: tuple[list[Run], list[Run]]) -> None:
        ours, peer = (statistics.median(r.seconds for r in side) for side in runs)
        ratio, target = peer / ours, TARGETS[name]
        met = "yes" if ratio >= target else "no"
        print(
            f"BENCH name={name} ours={ours:.2f}s peer={peer:.2f}s ratio={ratio:.2f} target={target:.2f} met={met}"
        )
        for label, side, its in zip(("ours", "peer"), sides, runs, strict=True):
            spread = f"{min(r.seconds for r in its):.2f}-{max(r.seconds for r in its):.2f} s"
            peak = max(r.peak for r in its) / 1e6
            print(
                f"  {label}: {spread} in {len(its)} runs, peak {peak:.0f} MB, stored {side.stored() / 1e6:.0f} MB"
            )
