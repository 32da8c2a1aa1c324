"""A rotation of 5,000 full key pages, killed on its way and run again: every page under a fresh key for a new reader.

It is what `tenure keys rotate` does: new keys, a new epoch, every page sealed anew into both key stores and the old ones
deleted there, the old epoch closed, its keys destroyed; the killed run's time counts. Only the chunks that it opens with
the new keys at the end, some of each cohort, are left out: a repository made in bulk has none.
"""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import bulk
from benchmarks.crmhistory import opened
from benchmarks.pairs import Bench
from tenure.operations import rotating
from tenure.repository.page import MOST_ENTRIES

COHORTS, PAGES_EACH = 100, 50
KILLED_AFTER_S = 20.0
MOST_S = 300.0


def measure(bench: Bench) -> None:
    """Make the repository, rotate it in two processes of which the first is killed, and look at what is left."""
    folder = bench.folder / "rotate"
    scratch = bulk.installed(folder).scratch
    installation = opened(scratch)
    begun = time.perf_counter()
    made = bulk.store(installation, bulk.pages(np.random.default_rng(20260306), COHORTS, PAGES_EACH))
    installation.close()
    print(f"  {made} pages of {MOST_ENTRIES} chunks made in {time.perf_counter() - begun:.0f} s")
    command = [sys.executable, "-m", "benchmarks.rotate", str(scratch)]
    begun = time.perf_counter()
    first = subprocess.Popen(command)
    time.sleep(KILLED_AFTER_S)
    first.send_signal(signal.SIGKILL)
    first.wait()
    left = _left(scratch)
    again = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = KILLED_AFTER_S + time.perf_counter() - again
    after = _left(scratch)
    met = "yes" if seconds <= MOST_S and not after and 0 < left < made else "no"
    print(
        f"BENCH name=rotate ours={seconds:.1f}s peer=none ratio={MOST_S / seconds:.2f} target={MOST_S:.0f}s met={met}"
    )
    print(
        f"  killed after {KILLED_AFTER_S:.0f} s with {left} pages of the old epoch left; {after} when run again"
    )
    shutil.rmtree(folder)


def _left(scratch: Path) -> int:
    """Return how many pages of older epochs are live."""
    installation = opened(scratch)
    repository = installation.open_reading()
    epoch = repository.epoch().opened.epoch
    installation.close()
    return sum(page.ref.epoch != epoch for page in repository.state.pages.values())


def main() -> None:
    """Rotate the installation named on the command line, or go on with that."""
    rotating._sampled = lambda *_: 0  # noqa: SLF001 - no pack was made for its chunks
    installation = opened(Path(sys.argv[1]))
    try:
        rotating.rotate(installation, rotating.Secrecy())
    finally:
        installation.close()


if __name__ == "__main__":
    main()
