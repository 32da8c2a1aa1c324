"""Whether stores keep their promises: tried on an object of its own, and read off what a bucket says of itself."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from tenure.crypto.hashing import random_bytes
from tenure.domain.clock import Clock
from tenure.domain.errors import (
    ConfigError,
    ObjectLockedError,
    ObjectStoreError,
    PreconditionFailedError,
    TenureError,
)
from tenure.objectstore.abilities import Abilities, TellingStore, telling
from tenure.objectstore.base import ObjectStore, locking
from tenure.objectstore.split import SplitStore
from tenure.operations.installation import Installation
from tenure.repository import marker
from tenure.repository.founding import Place

PROBE_BYTES = 64 * 1024
MOST_SKEW_S = 60.0
"""Seconds that a store's clock may differ from this machine's before it is worth a word."""

LEAST_FREE = 0.05
"""Share of a disk that should be free."""

_PROBES = "probe/"
_WRITE = "write"
_LOCK_S = 3  # a lock that is tried ends after so many seconds, and the object goes


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One promise of one store, and whether it was kept; `note` in words.

    `needed`: without it nothing is safe there, and `init` refuses the store. `idle`: nothing relies on it there; it is
    looked at because another use of the store would. `error`: why it could not be tried.
    """

    store: str
    what: str
    kept: bool
    note: str = ""
    needed: bool = True
    idle: bool = False
    error: TenureError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What was tried. `told`: by store, what those in buckets say of themselves, in words."""

    probes: tuple[Probe, ...]
    told: dict[str, dict[str, str]]

    def require(self) -> None:
        """Refuse stores that break a promise which a repository needs.

        Raises:
            ConfigError: One does; the message names every one.
            ObjectStoreError: One cannot be reached, or refuses.
        """
        for found in self.probes:
            if found.what == _WRITE and found.error is not None:
                raise found.error
        broken = [p for p in self.probes if p.needed and not p.kept]
        if broken:
            lines = "\n".join(f"  {p.store}: {p.what}: {p.note or 'not kept'}" for p in broken)
            raise ConfigError(
                f"a repository cannot be kept here, and nothing was made:\n{lines}",
                hint="see docs/object-storage.md: what a server must do, and what to do where one does not",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Role:
    """A store, and what it has to be good for."""

    name: str
    store: ObjectStore
    once: bool = False  # names that must be written once lie here
    locks: bool = False
    keys: bool = False
    shred: timedelta = timedelta(0)


def probe(place: Place, clock: Clock, *, recorded: dict[str, dict[str, str]] | None = None) -> Probed:
    """Try what every store promises, on objects of its own that are removed again.

    Args:
        place: The stores.
        clock: This machine's.
        recorded: What stores said when the repository was made; a change is worth a word.
    """
    probes: list[Probe] = []
    told: dict[str, dict[str, str]] = {}
    for role in _roles(place):
        probes += _tries(role, clock)
        asked = telling(role.store)
        if asked is None:
            continue
        try:
            found = asked.abilities()
        except TenureError as e:
            probes.append(Probe(store=role.name, what="settings", kept=False, note=str(e)))
            continue
        told[role.name] = found.in_words()
        probes += _judged(role, found)
        before = (recorded or {}).get(role.name)
        if before is not None and before != told[role.name]:
            probes.append(_changed(role, before, told[role.name]))
    return Probed(probes=tuple(probes), told=told)


def probed(installation: Installation) -> Probed:
    """Try an installation's stores, and compare with what they said when its repository was made.

    Raises:
        StoreUnavailableError: A store is not there at all.
    """
    place = installation.where()
    try:
        recorded = marker.read(place.objects, trust=installation.pins.purge_key).found
    except TenureError:
        recorded = {}  # `tenure verify` tells what is wrong with it
    return probe(place, installation.clock, recorded=recorded)


def _roles(place: Place) -> Iterator[_Role]:
    objects, locks = place.objects, place.locks.most > 0
    if isinstance(objects, SplitStore):
        yield _Role(name="object store", store=objects.main, locks=locks)
        yield _Role(name="ledger store", store=objects.apart, once=True)
    else:
        yield _Role(name="object store", store=objects, once=True, locks=locks)
    for named in place.key_stores.stores:
        yield _Role(
            name=named.name, store=named.store, keys=True, shred=place.shred, locks=place.locks.page_days > 0
        )


def _tries(role: _Role, clock: Clock) -> Iterator[Probe]:
    store, name, content = role.store, f"{_PROBES}{random_bytes(16).hex()}", random_bytes(PROBE_BYTES)
    try:
        store.put(name, content)
    except TenureError as e:
        yield Probe(store=role.name, what=_WRITE, kept=False, note=str(e), error=e)
        return
    yield _once(role)
    yield _tried(role, "read after write", lambda: store.get(name) == content)
    yield _tried(role, "range", lambda: store.get(name, offset=100, length=50) == content[100:150])
    yield _tried(role, "listing", lambda: [i.name for i in store.list(_PROBES)].count(name) == 1)
    yield _tried(role, "delete", lambda: _is_gone(store, name), needed=role.keys)
    asked = telling(store)
    if role.keys and asked is not None and not role.shred:
        yield _tried(role, "delete every version", lambda: _leaves_nothing(asked, name), broken=_LEFT)
    if role.locks and (asked is not None or not role.keys):
        yield _tried(role, "locks", lambda: _locks(store), broken="an object under a lock was deleted")
    skew = abs((store.now() - clock.now()).total_seconds())
    note = f"{skew:.1f} s from this machine's"
    yield Probe(store=role.name, what="clock", kept=skew <= MOST_SKEW_S, note=note, needed=False)
    yield from _space(role)


def _tried(
    role: _Role, what: str, work: Callable[[], bool], *, needed: bool = True, broken: str = ""
) -> Probe:
    """Try a promise; `broken`: what to say where it is not kept."""
    try:
        kept = work()
        return Probe(store=role.name, what=what, kept=kept, note="" if kept else broken, needed=needed)
    except TenureError as e:
        return Probe(store=role.name, what=what, kept=False, note=str(e), needed=needed)


def _once(role: _Role) -> Probe:
    """Try to write a name twice; only the ledger relies on it that this fails, for no other name is used again."""
    found = _tried(
        role, "written once", lambda: _refuses_again(role.store), needed=role.once, broken=_REPLACES
    )
    if role.once:
        return found if found.kept else replace(found, note=f"{found.note}: {_APART}")
    return replace(found, idle=True, note=f"{found.note}: of no matter here" if found.note else "")


_REPLACES = "the server replaces objects although it is told not to (If-None-Match)"
_LEFT = "versions of what was deleted are left"
_APART = "keep the ledger in a bucket without versions (--ledger-store)"


def _refuses_again(store: ObjectStore) -> bool:
    # An object of its own: a server that does not refuse has replaced it.
    name = f"{_PROBES}{random_bytes(16).hex()}"
    store.put(name, b"a content")
    try:
        store.put(name, b"another content")
    except PreconditionFailedError:
        return True
    finally:
        with suppress(ObjectStoreError):
            store.delete(name)
    return False


def _is_gone(store: ObjectStore, name: str) -> bool:
    store.delete(name)
    return all(info.name != name for info in store.list(_PROBES))


def _leaves_nothing(store: TellingStore, name: str) -> bool:
    return store.left_of(name) == 0


def _locks(store: ObjectStore) -> bool:
    """Lock an object for some seconds; it must outlast a deletion, and go afterwards."""
    name = f"{_PROBES}{random_bytes(16).hex()}"
    until = store.now() + timedelta(seconds=_LOCK_S)
    locking(store, "`locks`").put(name, b"locked", until=until)
    try:
        store.delete(name)
    except ObjectLockedError:
        # S3 counts whole seconds; the clock of a store is known to one more.
        time.sleep(_LOCK_S + 2)
        with suppress(ObjectStoreError):
            store.delete(name)
        return True
    return False


def _judged(role: _Role, found: Abilities) -> Iterator[Probe]:
    """Say what a bucket's settings mean for what it is used for."""
    yield Probe(
        store=role.name,
        what="nothing ends by itself",
        kept=found.ends_days is None and found.moves_days is None,
        note=_ending_in_words(found),
    )
    if role.keys:
        yield from _judged_keys(role, found)
    elif role.locks:
        yield Probe(store=role.name, what="object lock", kept=found.locks is not False)
    if found.untold:
        yield Probe(store=role.name, what="settings", kept=False, note="; ".join(found.untold), needed=False)


def _ending_in_words(found: Abilities) -> str:
    if found.ends_days is not None:
        return f"a lifecycle rule deletes objects after {found.ends_days} days, needed ones among them"
    if found.moves_days is not None:
        return f"a lifecycle rule moves objects after {found.moves_days} days to where no restore reads them"
    return ""


def _judged_keys(role: _Role, found: Abilities) -> Iterator[Probe]:
    """Say whether keys that are deleted here are gone in time."""
    lock = found.default_lock
    days = role.shred.days
    yield Probe(
        store=role.name,
        what="keys can be deleted",
        kept=lock is None or lock <= role.shred,
        note=""
        if lock is None
        else f"the bucket locks every object for {lock.days} days; keys must be gone after {days}",
    )
    copies = ", ".join(found.copied_to)
    yield Probe(
        store=role.name,
        what="no copies of keys",
        kept=not found.copied_to,
        note=f"it is replicated to {copies}: what is deleted here lives on there" if copies else "",
    )
    if not found.versions or not role.shred:
        return
    ends = found.ends_old_days
    yield Probe(
        store=role.name,
        what="old versions end",
        kept=ends is not None and ends <= days,
        note=f"a lifecycle rule has to end old versions after {days} days (shred_window_days); "
        + ("there is none" if ends is None else f"the one that is there does after {ends}"),
    )


def _changed(role: _Role, before: dict[str, str], now: dict[str, str]) -> Probe:
    names = sorted(n for n in before.keys() | now.keys() if before.get(n) != now.get(n))
    told = "; ".join(f"{n} was {before.get(n, 'not set')}, is {now.get(n, 'not set')}" for n in names)
    return Probe(store=role.name, what="as when it was made", kept=False, note=told, needed=False)


def _space(role: _Role) -> Iterator[Probe]:
    root = getattr(role.store, "root", None)
    if isinstance(root, Path):
        usage = shutil.disk_usage(root)
        share = usage.free / usage.total if usage.total else 0.0
        note = f"{usage.free // 1_000_000} MB free, {share:.0%} of the disk"
        yield Probe(store=role.name, what="space", kept=share >= LEAST_FREE, note=note, needed=False)
