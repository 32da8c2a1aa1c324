"""A month's cohort forgotten whole, after 1 snapshot and after 365: whole cohorts fall by their key pages alone.

The recordings of 2025 are there from the first day on, their months closed; each further day adds two of 2026. Forgotten
is a month of 2025, from the order to the last key page gone from both key stores; every request takes 20 ms longer.
"""

import json
import shutil
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.crmhistory import keep_all, opened
from benchmarks.erase import DELAY_S, metered
from benchmarks.pairs import Bench
from benchmarks.recordings import DECLARATION
from benchmarks.tenure import SOURCE, Tenure
from tenure.domain.progress import SilentProgress
from tenure.objectstore.metered import Meter, counts
from tenure.operations import snapshot
from tenure.operations.installation import Installation
from tenure.repository.forgetting import Forgetting, Order
from tenure.repository.model import Cohort
from tenure.repository.page import open_index
from tenure.repository.readahead import REQUESTS
from tenure.repository.repository import Repository
from tenure.repository.scopes import Scope

A_MONTH = 150
NEW_A_DAY = 2
MOST_RATIO = 1.2  # the ledger is longer after a year: that much is read


def measure(bench: Bench) -> None:
    """Forget one month after another, in pairs, after a day and after a year."""
    day, year = _history(bench.folder / "cohort-1", 1), _history(bench.folder / "cohort-365", bench.snapshots)
    spent: dict[str, list[float]] = {"day": [], "year": []}
    for month in range(1, bench.pairs + 1):
        for name, side in (("day", day), ("year", year)):
            seconds, told = _forgotten(side, f"2025-{month:02d}")
            spent[name].append(seconds)
            print(f"  {name}: {seconds:.2f} s, {told}")
    one, many = statistics.median(spent["day"]), statistics.median(spent["year"])
    met = "yes" if many <= one * MOST_RATIO else "no"
    print(
        f"BENCH name=cohort ours={many:.2f}s peer={one:.2f}s ratio={one / many:.2f} target={1 / MOST_RATIO:.2f} met={met}"
    )
    print(f"  (peer: the same after 1 snapshot; ours: after {bench.snapshots})")
    for side in (day, year):
        shutil.rmtree(side.scratch.parent)


def _history(folder: Path, days: int) -> Tenure:
    shutil.rmtree(folder, ignore_errors=True)
    live, rng = folder / "live", np.random.default_rng(20260308)
    side = Tenure(scratch=folder / "ours", source=live, declaration=DECLARATION)
    for month in range(12):
        for number in range(A_MONTH):
            _call(live, rng, f"2025-{1 + month:02d}-{1 + number % 28:02d}", f"{month:02d}{number:04d}")
    side.begin()
    keep_all(side.scratch / "tenure.yaml")
    installation = opened(side.scratch)
    begun = time.perf_counter()
    for day in range(days):
        for number in range(NEW_A_DAY if day else 0):
            _call(live, rng, f"2026-{1 + day % 12:02d}-01", f"new{day:03d}{number}")
        snapshot.take(installation, [SOURCE])
    installation.close()
    print(f"  {days} snapshots made in {time.perf_counter() - begun:.0f} s")
    return side


def _call(live: Path, rng: np.random.Generator, day: str, name: str) -> None:
    place = live / day[:7]
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.wav").write_bytes(rng.bytes(20_000))
    said = {"customer_id": name, "ended_at": f"{day} 10:00:00"}
    (place / f"{name}.json").write_text(json.dumps(said), encoding="utf-8")


def _cohort(installation: Installation, span: str) -> Cohort:
    repository = installation.open_reading()
    for page in repository.state.pages.values():
        cohort, _, _ = open_index(
            repository.place.key_stores.get(page.ref), repository.keys_of(page.ref.writer)
        )
        if cohort.span == span:
            return cohort
    raise SystemExit(f"no cohort of {span} is there")


def _forgotten(side: Tenure, span: str) -> tuple[float, str]:
    bare, meter = opened(side.scratch), Meter()
    cohort, rights = _cohort(bare, span), bare.open_reading().rights
    with ThreadPoolExecutor(REQUESTS) as readers:
        place = metered(bare.where(), meter, DELAY_S, readers)
        begun = time.perf_counter()
        repository = Repository.open(place, bare.pins, rights)
        work = Forgetting(repository, bare.executor, SilentProgress())
        scope = {SOURCE: Scope(records={}, cohorts=(cohort,))}
        order = Order(kind="purge", plan=bytes(32), rules=bytes(32), approvals=())
        judged = work.amend(work.order(scope, order), scope, left=0)
        went = work.carry_out(judged)
        work.finish(judged, went, certificate="benchmark")
        seconds = time.perf_counter() - begun
    bare.close()
    asked = counts(meter.take())
    told = ", ".join(f"{n} {method} {kind}" for (method, kind), n in sorted(asked.items()))
    return seconds, f"{went.pages} pages; {told}"
