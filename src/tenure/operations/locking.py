"""Locks of what snapshots share are extended, and snapshots put under a legal hold, in the object store itself.

What a snapshot puts is locked as it is put. What it shares with older ones was locked for those, and their time runs
out: here it is made to last as long as the newest snapshot's. Needs the right to lock, and no key that opens data.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tenure.control.locks import Locks, PagePacks
from tenure.domain.errors import ConfigError, ObjectNotFoundError, RepositoryNotFoundError
from tenure.evidence.entries import Detail
from tenure.objectstore.base import LockingStore, locking
from tenure.objectstore.split import SplitStore
from tenure.operations.installation import Installation
from tenure.repository import names
from tenure.repository.locks import LockPolicy, with_slack
from tenure.repository.page import open_index
from tenure.repository.reach import Reach
from tenure.repository.repository import Repository
from tenure.repository.state import PageState, State


@dataclass(slots=True, kw_only=True)
class Extended:
    """What an extension did. `objects`: that have to be locked; `extended`: whose lock was made to last longer.

    `least`: until when each of them is locked at least; None where there is nothing. `missing`: names of objects that
    are not there, which `tenure verify` looks into.
    """

    objects: int = 0
    extended: int = 0
    least: datetime | None = None
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An object, until when it has to be locked, and until when it is where that is done now."""

    name: str
    least: datetime
    ends: datetime


def extended(installation: Installation) -> Extended:
    """Make the locks of all that live snapshots need last as long as the newest snapshot's.

    Raises:
        ConfigError: No locks are set, or the store has none.
        StoreDeniedError: This process may not lock.
        IntegrityError: A key page is whole in no key store.
    """
    repository = installation.open_writing()
    policy, store = repository.place.locks, _store_of(repository)
    if not policy.most:
        raise ConfigError(
            "no locks are set",
            hint="set `locks` under `repository` in tenure.yaml; see docs/object-storage.md",
        )
    book, done = Locks(installation.control), Extended()
    wanted = {w.name: w for w in _wanted(repository, policy, book)}
    known = book.known()
    learnt: dict[str, float] = {}

    def one(want: Wanted) -> None:
        try:
            ends = known.get(want.name) or _asked(store, want.name)
            if ends < want.least.timestamp():
                store.lock(want.name, want.ends)
                ends = want.ends.timestamp()
                done.extended += 1
            learnt[want.name] = ends
        except ObjectNotFoundError:
            done.missing.append(want.name)

    for job in [installation.executor.submit(one, w) for w in wanted.values()]:
        job.result()
    book.learn({n: e for n, e in learnt.items() if known.get(n) != e})
    book.forget_others(wanted)
    done.objects = len(wanted)
    if learnt:
        done.least = datetime.fromtimestamp(min(learnt.values()), UTC)
    _attest(
        installation, "locks-extended", "object store", {"objects": done.objects, "extended": done.extended}
    )
    return done


def _asked(store: LockingStore, name: str) -> float:
    until = store.stat(name).until
    return until.timestamp() if until is not None else 0.0


def _store_of(repository: Repository) -> LockingStore:
    return locking(repository.place.objects, "a lock")


def _wanted(repository: Repository, policy: LockPolicy, book: Locks) -> Iterator[Wanted]:
    """Yield all that live snapshots need, with the time of each; an object once, with its latest time."""
    state, ends = repository.state, dict[bytes, tuple[datetime, float]]()
    for page, packs in _packs_of(repository, book):
        base, days = _newest(state, page), policy.of((packs.data_set,))
        for pack in packs.packs:
            before = ends.get(pack)
            if before is None or base + timedelta(days=days) > before[0] + timedelta(days=before[1]):
                ends[pack] = (base, days)
    for pack, (base, days) in sorted(ends.items()):
        yield Wanted(name=names.pack(pack), least=base + timedelta(days=days), ends=base + with_slack(days))
    now = repository.place.objects.now()
    for name in _of_the_ledger(repository):
        yield Wanted(name=name, least=now + timedelta(days=policy.most), ends=now + with_slack(policy.most))


def _of_the_ledger(repository: Repository) -> Iterator[str]:
    """Yield the marker, and the entries from the newest checkpoint on: nobody has to read what came before it.

    Nothing where they lie apart, in a store that locks nothing.
    """
    if isinstance(repository.place.objects, SplitStore):
        return
    yield names.MARKER
    state = repository.state
    for number in range(max(state.checkpoint, 1), state.number + 1):
        yield names.ledger_entry(number)


def _newest(state: State, page: PageState) -> datetime:
    """Return when the newest snapshot was committed that may need a page."""
    source = state.source_of(page.ref.writer)
    found = [s.committed_at for s in state.snapshots.values() if s.entry.source == source]
    return datetime.fromtimestamp(max(found, default=state.at), UTC)


def _packs_of(repository: Repository, book: Locks) -> Iterator[tuple[PageState, PagePacks]]:
    """Yield every live page with the packs it names; each page is read once in its life."""
    known, fresh = book.pages(), list[PagePacks]()
    live = {p.ref.page: p for p in repository.state.pages.values()}
    for page_id, page in live.items():
        if page_id not in known:
            raw = repository.place.key_stores.get(page.ref)
            cohort, _, _ = open_index(raw, repository.keys_of(page.ref.writer))
            known[page_id] = PagePacks(page=page_id, data_set=cohort.data_set, packs=raw.header.packs)
            fresh.append(known[page_id])
        yield page, known[page_id]
    book.learn_pages(fresh, drop=[p for p in known if p not in live])


def hold(installation: Installation, number: int, reason: str) -> int:
    """Put a snapshot under a legal hold: nobody deletes what it needs until it is lifted; return how many objects.

    Keys are not held: what rules and erasures forget becomes unreadable all the same. An order not to forget is a hold
    of Tenure's own (`tenure hold place`).

    Raises:
        RepositoryNotFoundError: There is no such snapshot.
        ConfigError: The store has no locks.
        IntegrityError: What the snapshot needs cannot be read whole; what is known of it is held.
    """
    repository = installation.open_writing()
    store, objects = _store_of(repository), _needed(repository, (number,))
    Locks(installation.control).hold(
        number, reason, installation.clock.now()
    )  # first: a death leaves too much held
    _each(installation, objects, lambda name: store.hold(name, on=True))
    _attest(installation, "legal-hold", f"snapshot {number}", {"objects": len(objects), "reason": reason})
    return len(objects)


def release(installation: Installation, number: int) -> int:
    """Lift a snapshot's legal hold from what no other held snapshot needs; return from how many objects.

    Raises:
        RepositoryNotFoundError: It is under none.
        ConfigError: The store has no locks.
        IntegrityError: What another held snapshot needs cannot be read whole; nothing is lifted then.
    """
    repository, book = installation.open_writing(), Locks(installation.control)
    held = book.held()
    if number not in held:
        raise RepositoryNotFoundError(
            f"snapshot {number} is under no legal hold", hint="`tenure locks status` lists those that are"
        )
    live = repository.state.snapshots
    others = _needed(repository, [n for n in held if n != number and n in live])
    objects = (_needed(repository, (number,)) if number in live else set()) - others
    store = _store_of(repository)
    _each(installation, objects, lambda name: store.hold(name, on=False))
    book.release(number)
    _attest(installation, "legal-hold-lifted", f"snapshot {number}", {"objects": len(objects)})
    return len(objects)


def _needed(repository: Repository, numbers: Iterable[int]) -> set[str]:
    """Return the names of all objects in the object store that these snapshots need."""
    needed: set[str] = set()
    for number in numbers:
        snapshot = repository.snapshot(number)
        writer = snapshot.entry.writer
        reach = Reach(repository, writer).add([snapshot])
        reader = repository.structure_reader(repository.keys_of(writer))
        needed |= {snapshot.entry.manifest, *_of_the_ledger(repository)}
        for cohort in reach.cohorts:
            index = reader.index(cohort)
            reached = reach.closed(cohort, index)
            needed |= {names.pack(index.places[ref].pack) for ref in reached if ref in index.places}
            reader.drop(cohort)
    return needed


def _each(installation: Installation, objects: Iterable[str], work: Callable[[str], None]) -> None:
    jobs = [installation.executor.submit(work, name) for name in sorted(objects)]
    for job in jobs:
        job.result()


def _attest(installation: Installation, kind: str, what: str, details: Mapping[str, Detail]) -> None:
    installation.evidence.log.append(
        kind,
        who=installation.officer,
        at=installation.clock.now(),
        subject_of_entry=what,
        outcome="done",
        details=details,
    )
