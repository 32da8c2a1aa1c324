"""100,000 small recordings: the first snapshot, and one where nothing changed.

Voicemails and holds of some kilobytes, with a sidecar each, so that what is paid for a file outweighs what is paid for
its bytes: twice as many files as recordings, in folders of a day each.
"""

import json
import shutil
from pathlib import Path

import numpy as np

from benchmarks.pairs import Bench
from benchmarks.processes import warm
from benchmarks.recordings import DECLARATION

RECORDINGS = 100_000
LEAST, MOST = 2_000, 6_000  # bytes
DAYS = 100


def make(folder: Path) -> None:
    """Fill a folder, the same each time."""
    rng = np.random.default_rng(20260307)
    for day in range(DAYS):
        place = folder / f"2026-{1 + day // 28:02d}-{1 + day % 28:02d}"
        place.mkdir(parents=True)
        for number in range(day * RECORDINGS // DAYS, (day + 1) * RECORDINGS // DAYS):
            stem = place / f"call-{number:06d}"
            stem.with_suffix(".wav").write_bytes(rng.bytes(int(rng.integers(LEAST, MOST))))
            said = {"customer_id": number % 50_000, "ended_at": f"{place.name} 10:00:00"}
            stem.with_suffix(".json").write_text(json.dumps(said), encoding="utf-8")


def measure(bench: Bench) -> None:
    """Time the first snapshot, into an empty repository each time, and one of the same files again."""
    folder = bench.folder / f"small-{RECORDINGS}"
    if not folder.exists():
        draft = folder.with_suffix(".part")
        shutil.rmtree(draft, ignore_errors=True)
        make(draft)
        draft.rename(folder)
    warm(folder)
    sides = bench.sides(folder, DECLARATION)
    bench.compare("small-first", sides, lambda side: side.snapshot(), before_run=lambda side: side.begin())
    bench.compare("small-unchanged", sides, lambda side: side.snapshot())
