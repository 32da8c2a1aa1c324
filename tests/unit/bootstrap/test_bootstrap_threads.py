"""How many threads work: one a core, more where a store is far, and never so many that memory is not kept."""

import pytest

from support.clock import FixedClock
from tenure.bootstrap.wiring import MOST_THREADS, WAITING, Machine, threads_for
from tenure.domain.progress import SilentProgress


@pytest.mark.parametrize(
    ("cpus", "addresses", "threads"),
    [
        (1, ["file:repository", "file:keys"], 1),
        (2, ["file:repository"], 2),
        (1, ["file:repository", "s3://keys"], 1 + WAITING),
        (1, ["s3://data", "s3://keys"], 1 + WAITING),
        (64, ["file:repository"], MOST_THREADS),
        (64, ["s3://data"], MOST_THREADS),
    ],
)
def test_threads_by_cores_and_distance(cpus: int, addresses: list[str], threads: int) -> None:
    machine = Machine(clock=FixedClock(), progress=SilentProgress(), cpus=cpus)
    assert threads_for(addresses, machine) == threads
