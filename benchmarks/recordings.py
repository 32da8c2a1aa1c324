"""A folder of call recordings: the first snapshot, and one where nothing changed.

The files are what a recording store holds: WAV, 8 kHz, 16 bit, mono, some seconds to many minutes long, each with a
JSON sidecar. Speech is synthesised once and mixed with line noise at levels of its own for every call, so no two
files share bytes; zstd -3 brings them to about 0.8 of their size.
"""

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.pairs import Bench
from benchmarks.processes import warm
from tenure.operations.sample_voice import SAMPLE_RATE, speech, wav

MEDIAN_BYTES = 2_600_000  # under 3 minutes; sizes are spread log-normally, from some 100 kB to over 10 MB
DECLARATION: dict[str, object] = {
    "kind": "folder",
    "time_zone": "Europe/Berlin",
    "data_sets": {
        "call_recordings": {
            "files": "**/*.wav",
            "sidecar": "{stem}.json",
            "subjects": {"customer": "sidecar.customer_id"},
            "starting_points": {"call ended": "sidecar.ended_at"},
        }
    },
}


def _call(
    rng: np.random.Generator, pool: NDArray[np.float64], noise: NDArray[np.float64], size: int
) -> bytes:
    samples = size // 2
    start, noise_start = rng.integers(0, len(pool) - 1), rng.integers(0, len(noise) - 1)
    voice = np.take(pool, np.arange(start, start + samples), mode="wrap") * rng.uniform(0.1, 0.6)
    hiss = np.take(noise, np.arange(noise_start, noise_start + samples), mode="wrap") * rng.uniform(
        0.0005, 0.002
    )
    return wav(voice + hiss)


def make(folder: Path, *, megabytes: int) -> None:
    """Fill `folder` with recordings, `megabytes` in all, the same each time."""
    rng = np.random.default_rng(20260301)
    pool = np.concatenate([speech(rng, seconds=60) for _ in range(10)])
    noise = rng.standard_normal(20 * SAMPLE_RATE + 7)
    written, number = 0, 0
    while written < megabytes * 1_000_000:
        size = int(np.clip(rng.lognormal(np.log(MEDIAN_BYTES), 0.7), 100_000, 16_000_000))
        place = folder / f"{2020 + number % 6}" / f"{1 + number % 12:02d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"call-{number:06d}.wav").write_bytes(_call(rng, pool, noise, size))
        day = f"{2020 + number % 6}-{1 + number % 12:02d}-{1 + number % 28:02d}"
        sidecar = {
            "customer_id": int(rng.integers(1, 50_000)),
            "started_at": f"{day} 09:00:00",
            "ended_at": f"{day} 10:00:00",
        }
        (place / f"call-{number:06d}.json").write_text(json.dumps(sidecar), encoding="utf-8")
        written, number = written + size, number + 1


def prepare(bench: Bench) -> Path:
    """Return the folder of recordings, made where it is missing, its pages warm."""
    folder = bench.folder / f"recordings-{bench.megabytes}"
    if not folder.exists():
        draft = folder.with_suffix(".part")
        shutil.rmtree(draft, ignore_errors=True)
        make(draft, megabytes=bench.megabytes)
        draft.rename(folder)  # so that a broken run leaves no half folder that looks whole
    warm(folder)
    return folder


def measure(bench: Bench) -> None:
    """Time the first snapshot, into an empty repository each time, and one of the same files again."""
    sides = bench.sides(prepare(bench), DECLARATION)
    bench.compare(
        "recordings-first", sides, lambda side: side.snapshot(), before_run=lambda side: side.begin()
    )
    bench.compare("recordings-unchanged", sides, lambda side: side.snapshot())
