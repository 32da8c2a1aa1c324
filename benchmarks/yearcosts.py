"""What an hour, a prune and opening ask for at the end of three years (`years`), against what docs/format.md says."""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks import bulk
from benchmarks.crmhistory import keep_all
from benchmarks.pairs import Bench
from benchmarks.tenure import SOURCE
from benchmarks.years import CHANGED_COHORTS, HOUR, POLICY, Scale, SetClock, Years
from tenure.domain.progress import SilentProgress
from tenure.objectstore.base import ObjectStore
from tenure.objectstore.metered import Meter, MeteredStore, Request, counts
from tenure.repository import names
from tenure.repository.basis import LOOKED_AT
from tenure.repository.founding import Place
from tenure.repository.keeping import plan_prune
from tenure.repository.keystores import KeyStores, NamedStore
from tenure.repository.nodes import NODE_ENTRIES
from tenure.repository.pruning import Pruner
from tenure.repository.readahead import REQUESTS
from tenure.repository.repository import Repository
from tenure.repository.secrets import STRUCTURE


@dataclass(slots=True, kw_only=True)
class Cost:
    """What one operation asked for, and how long it took. `bounds`: requests by (method, kind), from docs/format.md."""

    name: str
    seconds: float
    requests: list[Request]
    bounds: dict[tuple[str, str], int]

    def told(self) -> str:
        """Return it in words."""
        what = ", ".join(
            f"{n} {method} {kind}" for (method, kind), n in sorted(counts(self.requests).items())
        )
        put = sum(r.length for r in self.requests if r.method == "put")
        got = sum(r.length for r in self.requests if r.method == "get")
        return (
            f"{self.name}: {self.seconds:.1f} s, {len(self.requests)} requests,"
            f" {put / 1e6:.2f} MB put, {got / 1e6:.1f} MB read ({what})"
        )

    def exceeded(self) -> list[str]:
        """Return what is more than docs/format.md says, one line each."""
        found = counts(self.requests)
        return [
            f"{self.name}: {found[which]} {' '.join(which)}, not {most}"
            for which, most in self.bounds.items()
            if found[which] > most
        ]


def bounds_of(name: str, scale: Scale, repository: Repository) -> dict[tuple[str, str], int]:
    """Return how many requests an operation may take (docs/format.md, "What years cost"); `repository`: as it is before."""
    state, stores = repository.state, len(repository.place.key_stores.stores)
    (writer,) = state.writers_of(SOURCE)
    tag = repository.keys_of(writer).tag(STRUCTURE)
    structure = len(state.live_pages(frozenset({writer}), tag))
    since = state.number - state.checkpoint
    found = {("get", "ledger"): since + 16, ("list", "ledger"): 4}
    if name == "snapshot":
        changed = scale.tables * CHANGED_COHORTS
        found |= {
            ("put", "keys"): (changed + 2) * stores,
            ("get", "keys"): LOOKED_AT + structure,
            ("get", "data"): 2 * LOOKED_AT + 2 * changed + scale.tables + 16,
            ("put", "data"): 2,
            ("put", "ledger"): 2,
            ("put", names.MANIFESTS.strip("/")): 1,
        }
    if name == "prune":
        live = len(state.pages)
        found |= {
            ("get", "keys"): live + 4 * structure + stores * LOOKED_AT + 64,
            ("get", "data"): live // 8 + 4 * len(state.snapshots) + scale.tables * len(state.snapshots) + 64,
            ("get", names.MANIFESTS.strip("/")): len(state.snapshots),
        }
    return found


def _metered(place: Place, meter: Meter, readers: ThreadPoolExecutor) -> Place:
    def around(store: ObjectStore) -> ObjectStore:
        return MeteredStore(store, meter)

    keys = KeyStores([NamedStore(name=n.name, store=around(n.store)) for n in place.key_stores.stores])
    return replace(place, objects=around(place.objects), key_stores=keys, readers=readers)


def measure(bench: Bench) -> None:
    """Make the years, then see what an hour, a prune and opening ask for."""
    scale = Scale(recordings_a_day=bench.recordings_a_day, days=bench.days)
    folder = bench.folder / f"years-{scale.recordings_a_day}-{scale.days}"
    years = made(folder, scale)
    exceeded = [line for cost in run(years, bench.pairs) for line in cost.exceeded()]
    print("".join(f"  beyond docs/format.md: {line}\n" for line in exceeded), end="")
    for name in ("repository", "key-store-1", "key-store-2", "state"):
        files = [path for path in (years.side.scratch / name).rglob("*") if path.is_file()]
        print(f"  {name}: {len(files)} objects, {sum(f.stat().st_size for f in files) / 1e6:.0f} MB")
    met = "no" if exceeded else "yes"
    print(f"BENCH name=years ours={len(exceeded)} peer=none ratio=1.00 target=0 met={met}")
    shutil.rmtree(folder)


def made(folder: Path, scale: Scale) -> Years:
    """Make an installation with its years."""
    shutil.rmtree(folder, ignore_errors=True)
    side = bulk.installed(folder)
    keep_all(side.scratch / "tenure.yaml")
    years = Years(side, scale, SetClock(datetime.now(UTC) + timedelta(minutes=1)))
    years.build()
    return years


def run(years: Years, hours: int) -> list[Cost]:
    """Take hourly snapshots, open, and prune, as a new process each; return what each cost."""
    installation, found = years.installation(), list[Cost]()
    rights = installation.open_reading().rights
    with ThreadPoolExecutor(REQUESTS) as readers:

        def timed(name: str, work: Callable[[Repository], object]) -> None:
            years.clock.at += HOUR
            meter, begin = Meter(), time.perf_counter()
            place = _metered(installation.where(), meter, readers)
            repository = Repository.open(place, installation.pins, rights)
            bounds = bounds_of(name, years.scale, repository)
            if name == "snapshot" and not any(cost.name == name for cost in found):
                # Its nodes were not read here before: some 20 MB of them lie in two requests.
                bounds["get", "data"] += years.scale.recordings // NODE_ENTRIES // 128
            work(repository)
            seconds = time.perf_counter() - begin
            found.append(Cost(name=name, seconds=seconds, requests=meter.take(), bounds=bounds))
            print(f"  {found[-1].told()}")

        for _ in range(hours):
            timed("open", lambda _: None)
            timed("snapshot", lambda repository: years.hour(repository, installation))
        years.clock.at += 3 * HOUR
        for _ in range(2):
            timed("prune", _prune)
        timed("open", lambda _: None)
    installation.close()
    return found


def _prune(repository: Repository) -> None:
    Pruner(repository, SilentProgress()).prune(plan_prune(repository.state, POLICY))
