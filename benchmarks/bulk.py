"""Repositories with millions of chunks, made in bulk: real key pages, manifests and ledger entries, and no packs.

A page's entries are random where a real one's are keyed hashes and random keys, so pages have their true size and
everything that reads pages, and no chunk, does its true work.
"""

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.crmhistory import keep_all, opened
from benchmarks.recordings import DECLARATION, make
from benchmarks.tenure import SOURCE, Tenure
from tenure.operations import snapshot
from tenure.operations.installation import Installation
from tenure.repository.model import ChunkKind, Cohort
from tenure.repository.page import ENTRY, GONE, MOST_ENTRIES, Array, PagePlain, pages_of
from tenure.repository.session import Outcome

RECORDINGS_A_COMPANION = 256
CHUNKS_A_PACK = 160  # of 100 KB in 16 MiB
PAGES_A_SESSION = 256


def installed(folder: Path) -> Tenure:
    """Make an installation with one small snapshot, so that its source has a writer."""
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "live"
    source.mkdir(parents=True)
    make(source, megabytes=1)
    side = Tenure(scratch=folder / "ours", source=source, declaration=DECLARATION)
    side.begin()
    keep_all(side.scratch / "tenure.yaml")
    installation = opened(side.scratch)
    try:
        snapshot.take(installation, [SOURCE])
    finally:
        installation.close()
    return side


def cohort(number: int) -> Cohort:
    """Return one month's cohort of recordings."""
    return Cohort(
        data_set="call_recordings", rule_class="", span=f"{2000 + number // 12}-{1 + number % 12:02d}"
    )


def entries_of(rng: np.random.Generator, chunks: int) -> tuple[Array, Array, list[bytes]]:
    """Return entries, keys (uint8, n x 32) and packs of as many chunks, one in 257 of them a companion."""
    entries = np.frombuffer(rng.bytes(chunks * ENTRY.itemsize), ENTRY).copy()
    packs = [rng.bytes(32) for _ in range(-(-chunks // CHUNKS_A_PACK))]
    numbers = np.arange(chunks)
    companions = numbers % (RECORDINGS_A_COMPANION + 1) == 0
    mine = np.maximum.accumulate(np.where(companions, numbers, 0))
    for name, beside in (("id", "cid"), ("inc", "cinc")):
        entries[beside] = entries[name][mine]
        entries[beside][companions] = bytes(entries[beside].dtype.itemsize)
    entries["pack"] = numbers // CHUNKS_A_PACK
    entries["kind"] = np.where(companions, ChunkKind.COMPANION, ChunkKind.MEDIA)
    entries["coding"] = 0
    entries["offset"] = numbers % CHUNKS_A_PACK * 100_000
    entries["length"], entries["plain"] = 100_000, 99_984
    deks = np.frombuffer(rng.bytes(chunks * 32), np.uint8).reshape(-1, 32)
    return entries, deks, packs


def pages(rng: np.random.Generator, cohorts: int, pages_each: int) -> Iterator[PagePlain]:
    """Yield full pages, cohort by cohort."""
    for number in range(cohorts):
        for _ in range(pages_each):
            entries, deks, packs = entries_of(rng, MOST_ENTRIES)
            yield from pages_of(cohort(number), entries, deks, np.zeros(0, GONE), packs)


def store(installation: Installation, plain: Iterator[PagePlain]) -> int:
    """Put pages and commit them, some at a time, each time as the pages of a snapshot; return how many."""
    done, left = 0, True
    while left:
        some = list(islice(plain, PAGES_A_SESSION))
        left = len(some) == PAGES_A_SESSION
        repository = installation.open_writing()
        session = repository.begin(SOURCE, installation.executor, expires=3600, alone=True)
        ended = session.chunks.end
        session.chunks.end = lambda ended=ended, some=some: [*ended(), *some]  # type: ignore[method-assign,misc]
        session.commit(
            Outcome(
                group=bytes(16), taken_at=installation.clock.now().timestamp(), tool="benchmark", catalogue=b"{}",
                settings=b"{}", detector="", rules=b"",
            )
        )  # fmt: skip
        done += len(some)
    return done
