"""The folder of recordings brought back into an empty place, and compared with the original."""

import filecmp
import shutil
from pathlib import Path

from benchmarks.pairs import Bench, Side
from benchmarks.processes import Run
from benchmarks.recordings import DECLARATION, prepare


def restored_file(folder: Path, name: str) -> Path:
    """Return the one file called `name` below a folder, wherever a tool put it.

    Raises:
        SystemExit: There is none, or more than one.
    """
    found = list(folder.rglob(name))
    if len(found) != 1:
        raise SystemExit(
            f"the restore into {folder} has {len(found)} files called {name}; it should have one"
        )
    return found[0]


def compare_folders(source: Path, target: Path) -> None:
    """Compare what was restored with the original.

    Raises:
        SystemExit: Something came back changed, or not at all.
    """
    for original in source.rglob("*"):
        if original.is_file() and not filecmp.cmp(
            original, restored_file(target, original.name), shallow=False
        ):
            raise SystemExit(f"{original.name} came back changed; its speed does not count")


def measure(bench: Bench) -> None:
    """Time the restore of the newest snapshot; a side that brings back other bytes ends the benchmark."""
    source = prepare(bench)
    sides = bench.sides(source, DECLARATION)
    target = bench.folder / "restored"
    for side in sides:
        side.begin()
        side.snapshot()
        shutil.rmtree(target, ignore_errors=True)
        side.restore(target)
        compare_folders(source, target)

    def empty(_: Side) -> None:
        shutil.rmtree(target, ignore_errors=True)

    def restore(side: Side) -> Run:
        return side.restore(target)

    bench.compare("recordings-restore", sides, restore, before_run=empty)
    shutil.rmtree(target, ignore_errors=True)
