"""One customer's rows erased from a year of daily snapshots of a CRM (`crmhistory`); no peer can do that.

The whole of `tenure erase` is timed, in this process, so that wrappers stand around the stores: the request recorded,
planned, approved, every live row deleted, the live database rewritten without them (VACUUM), every version in every
snapshot cut, all of it looked for again, and the certificate. Every request to the object store and to both key
stores takes 20 ms longer, and is counted. Threads are those that an installation on S3 has. What holds the customer is
found out beforehand by other means: each chunk of the repository is opened, and the customer's number is looked for
in its text.
"""

import os
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from benchmarks.crmhistory import CUSTOMERS, TABLE, History, customer, opened, prepare
from benchmarks.delayed import DelayedStore
from benchmarks.pairs import Bench
from benchmarks.tenure import SOURCE
from tenure.bootstrap.wiring import MOST_THREADS
from tenure.objectstore.base import ObjectStore
from tenure.objectstore.metered import Meter, MeteredStore, Request
from tenure.operations import erasing
from tenure.operations.erasing import Erased
from tenure.operations.installation import Installation
from tenure.repository import names
from tenure.repository.founding import Place as Stores
from tenure.repository.keystores import KeyStores, NamedStore
from tenure.repository.model import ChunkKind
from tenure.repository.page import open_index
from tenure.repository.places import Place
from tenure.repository.readahead import REQUESTS
from tenure.repository.repository import Repository

DELAY_S = 0.020
MOST_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """One erasure: how long it took, what it asked of the stores, and what it came to."""

    seconds: float
    requests: list[Request]
    pages: int
    done: Erased


def metered(place: Stores, meter: Meter, delay: float, readers: ThreadPoolExecutor) -> Stores:
    """Return the stores of an installation, each request later by `delay` seconds and counted."""

    def around(store: ObjectStore) -> ObjectStore:
        return MeteredStore(DelayedStore(store, delay), meter)

    keys = [NamedStore(name=n.name, store=around(n.store)) for n in place.key_stores.stores]
    return replace(place, objects=around(place.objects), key_stores=KeyStores(keys), readers=readers)


def erased(history: History, number: int, delay: float) -> Spent:
    """Erase one customer through stores that answer late."""
    meter = Meter()
    bare = opened(history.side.scratch)
    rights = bare.open_reading().rights
    with (
        ThreadPoolExecutor(REQUESTS) as readers,
        ThreadPoolExecutor(MOST_THREADS) as threads,
    ):

        def open_reading() -> Repository:
            return Repository.open(metered(bare.where(), meter, delay, readers), bare.pins, rights)

        installation = replace(bare, executor=threads, open_reading=open_reading, open_writing=open_reading)
        begun = time.perf_counter()
        done = erasing.erase(
            installation,
            subject=("customer", str(customer(number))),
            request=f"bench-{number}-{time.time_ns()}",
            received=bare.clock.now().date(),
        )
        seconds = time.perf_counter() - begun
    bare.close()
    if done.done is None:
        raise SystemExit(f"nothing of customer {customer(number)} was found; remove the history's folder")
    return Spent(seconds=seconds, requests=meter.take(), pages=done.done.went.pages, done=done)


def holding(installation: Installation, number: int) -> list[Place]:
    """Return where the chunks lie whose text names a customer: each one of the repository is opened for that."""
    repository, found = installation.open_reading(), list[Place]()
    mark = f"\ti{customer(number)}\t".encode()
    for writer in repository.state.writers_of(SOURCE):
        keys = repository.keys_of(writer)
        reader = repository.chunk_reader(keys)
        firsts = {p.ref.tag: p.ref for p in repository.state.live_pages(frozenset({writer}))}
        for ref in firsts.values():
            cohort, _, _ = open_index(repository.place.key_stores.get(ref), keys)
            for place in reader.index(cohort).places.values() if cohort.data_set == TABLE else ():
                if place.kind is ChunkKind.ROWS and mark in reader.open(cohort, place, reader.read(place)):
                    found.append(place)
            reader.drop(cohort)
    return found


def _reads_of(requests: list[Request], places: list[Place]) -> Counter[tuple[bytes, int]]:
    """Return how often each of these chunks was read."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for request in requests:
        if request.method == "get" and request.name.startswith(names.PACKS):
            ranges.setdefault(request.name, []).append((request.offset, request.offset + request.length))
    return Counter(
        {
            (p.pack, p.offset): sum(a <= p.offset < b for a, b in ranges.get(names.pack(p.pack), ()))
            for p in places
        }
    )


def _line(name: str, ours: float, least: float, unit: str = "") -> str:
    met = "yes" if ours <= least else "no"
    return f"BENCH name={name} ours={ours:.4g}{unit} peer=none ratio={least / max(ours, 1e-9):.2f} target={least:.4g}{unit} met={met}"


def measure(bench: Bench) -> None:
    """Erase one customer after another; the last of each run is told in full."""
    kept, numbers = prepare(bench), iter(range(CUSTOMERS))
    spent: list[Spent] = []
    for _ in range(bench.pairs):
        number = next(numbers)
        history = copied(kept)
        installation = opened(history.side.scratch)
        places = holding(installation, number)
        installation.close()
        spent.append(erased(history, number, DELAY_S))
        _tell(spent[-1], places)
    middle = sorted(s.seconds for s in spent)[len(spent) // 2]
    shutil.rmtree(history.side.scratch.parent)
    print(_line("erase", middle, MOST_S, "s"))
    spread = f"{min(s.seconds for s in spent):.2f}-{max(s.seconds for s in spent):.2f} s"
    print(f"  {spread} in {len(spent)} runs, {DELAY_S * 1000:.0f} ms added to every request")


def copied(kept: History) -> History:
    """Return a history for one run: objects, which are written once, by links to them; all else by copies."""
    whole = kept.side.scratch.parent
    folder = whole.with_name(f"{whole.name}-run")
    shutil.rmtree(folder, ignore_errors=True)
    objects = {kept.side.scratch / name for name in ("repository", "key-store-1", "key-store-2")}
    for path in sorted(whole.rglob("*")):
        to = folder / path.relative_to(whole)
        if path.is_dir():
            to.mkdir(parents=True, mode=0o700)
        elif objects & set(path.parents):
            os.link(path, to)
        else:
            shutil.copy2(path, to)
    side = replace(kept.side, scratch=folder / "ours", source=folder / "live" / "crm.sqlite")
    side.name_source()
    return replace(kept, side=side, database=side.source)


def _tell(spent: Spent, places: list[Place]) -> None:
    asked = spent.requests
    reads = _reads_of(asked, places)
    data = [r for r in asked if r.method == "get" and r.kind == "data"]
    written = Counter(r.kind for r in asked if r.method == "put")
    gone = spent.done.done.went if spent.done.done else None
    print(_line("erase-reads-of-a-chunk", max(reads.values(), default=0), 1))
    allowed = _allowed(spent, written)
    print(_line("erase-writes", sum(written.values()), allowed))
    kinds = Counter((r.method, r.kind) for r in asked)
    told = ", ".join(f"{n} {method} {kind}" for (method, kind), n in sorted(kinds.items()))
    print(
        f"  {spent.seconds:.2f} s; {len(places)} chunk versions hold the customer; {gone.records if gone else 0} records,"
    )
    print(
        f"  {gone.pages if gone else 0} key pages replaced; {len(data)} ranged reads of {sum(r.length for r in data) / 1e6:.1f} MB"
    )
    print(f"  {len(asked)} requests: {told}")


def _allowed(spent: Spent, written: Counter[str]) -> int:
    """Return pages x key stores + replacement packs + ledger entries; the intent and the judging have a page each, too."""
    return (spent.pages + 2) * 2 + written["data"] + written["ledger"]
