"""`python -m benchmarks.harness [NAME...]`: make the test data where it is missing, then run the comparisons."""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    cohort,
    erase,
    forget,
    index,
    recordings,
    restic,
    restore,
    rotate,
    s3,
    small,
    sqlite,
    tenure,
    yearcosts,
)
from benchmarks.pairs import Bench

BENCHMARKS: dict[str, Callable[[Bench], None]] = {
    "recordings": recordings.measure,
    "restore": restore.measure,
    "sqlite": sqlite.measure,
    "s3": s3.measure,
    "forget": forget.measure,
    "erase": erase.measure,
    "cohort": cohort.measure,
    "index": index.measure,
    "rotate": rotate.measure,
    "small": small.measure,
    "years": yearcosts.measure,
}


def main() -> None:
    """Run the benchmarks named on the command line, all where none is."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(BENCHMARKS))
    parser.add_argument("--pairs", type=int, default=5, help="runs of each side (5)")
    parser.add_argument("--megabytes", type=int, default=1_000, help="size of each set of data (1000)")
    parser.add_argument("--snapshots", type=int, default=365, help="snapshots of long histories (365)")
    parser.add_argument("--recordings", type=int, default=2_000, help="recordings in long histories (2000)")
    parser.add_argument(
        "--recordings-a-day", type=int, default=100_000, help="in the years of hourly snapshots (100000)"
    )
    parser.add_argument("--days", type=int, default=1_095, help="of these years (1095)")
    parser.add_argument(
        "--folder", type=Path, default=Path("bench-data"), help="where data and repositories go"
    )
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(BENCHMARKS)
    if unknown:
        parser.error(
            f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    folder = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    peer = restic.find(folder)
    print(
        f"ours: {tenure.version()}; peer: restic {'.'.join(map(str, restic.version(peer)))}, compression auto, cache on"
    )
    bench = Bench(
        folder=folder,
        peer=peer,
        pairs=chosen.pairs,
        megabytes=chosen.megabytes,
        snapshots=chosen.snapshots,
        recordings=chosen.recordings,
        recordings_a_day=chosen.recordings_a_day,
        days=chosen.days,
    )
    for name in chosen.names or BENCHMARKS:
        BENCHMARKS[name](bench)
    for left in ("ours", "peer", "restored"):
        shutil.rmtree(folder / left, ignore_errors=True)


if __name__ == "__main__":
    main()
