"""What the index of one cohort with five million chunks costs in memory, as a restore, a purge or a verify loads it.

A process of its own opens the repository, loads the index with the keys of all chunks, and looks some of them up.
"""

import json
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks import bulk
from benchmarks.crmhistory import opened
from benchmarks.pairs import Bench
from benchmarks.tenure import SOURCE
from tenure.repository.page import GONE, MOST_ENTRIES, pages_of

CHUNKS = 5_000_000
LOOKED_UP = 100_000
MOST_BYTES = 100  # a chunk


def measure(bench: Bench) -> None:
    """Make the repository where it is missing, and have its index loaded."""
    folder = bench.folder / f"index-{CHUNKS}"
    if not (folder / "whole").exists():
        installation = opened(bulk.installed(folder).scratch)
        entries, deks, packs = bulk.entries_of(np.random.default_rng(20260305), CHUNKS)
        bulk.store(installation, iter(pages_of(bulk.cohort(0), entries, deks, np.zeros(0, GONE), packs)))
        installation.close()
        (folder / "whole").touch()
    command = [sys.executable, "-m", "benchmarks.index", str(folder / "ours")]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    each = told["held"] / told["chunks"]
    met = "yes" if each <= MOST_BYTES else "no"
    print(
        f"BENCH name=index ours={each:.1f}B peer=none ratio={MOST_BYTES / each:.2f} target={MOST_BYTES}B met={met}"
    )
    print(
        f"  {told['chunks']} chunks in {-(-CHUNKS // MOST_ENTRIES)} pages loaded in {told['seconds']:.1f} s, at most"
        f" {told['peak'] / told['chunks']:.1f} bytes each meanwhile; {told['lookup'] * 1e6:.1f} microseconds for one looked up"
    )


def _resident(what: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {what}")


def main() -> None:
    """Load the index of the installation named on the command line and tell what it took."""
    installation = opened(Path(sys.argv[1]))
    repository = installation.open_reading()
    (writer,) = repository.state.writers_of(SOURCE)
    reader = repository.chunk_reader(repository.keys_of(writer))
    reader.index(bulk.cohort(1))  # so that what is loaded once for all cohorts is there
    before, begun = _resident("VmRSS"), time.perf_counter()
    places = reader.index(bulk.cohort(0)).places
    seconds = time.perf_counter() - begun
    held, peak = _resident("VmRSS") - before, _resident("VmHWM") - before
    refs = [place.ref for place in islice(places.values(), LOOKED_UP)]
    begun = time.perf_counter()
    found = sum(ref in places for ref in refs)
    lookup = (time.perf_counter() - begun) / found
    installation.close()
    print(
        json.dumps({"chunks": len(places), "held": held, "peak": peak, "seconds": seconds, "lookup": lookup})
    )


if __name__ == "__main__":
    main()
