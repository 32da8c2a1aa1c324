"""Proves that the recovery key opens a repository alone: a sample of every epoch's and every cohort's pages, in every store.

Nothing is written to the repository. Each key store is asked for itself, so that one which would be the last one left
is known to be good before the day it is.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import islice

from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.errors import (
    IntegrityError,
    KeyMismatchError,
    KeyProviderError,
    ObjectNotFoundError,
    StoreUnavailableError,
    TamperedError,
    TenureError,
)
from tenure.domain.progress import Progress
from tenure.keys.local import KeyFile, LocalKeyring
from tenure.operations.installation import Installation
from tenure.repository import names
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.entries import PageRef
from tenure.repository.keystores import KeyStores, NamedStore
from tenure.repository.page import PageBytes, open_index, open_keys, parse_page
from tenure.repository.repository import Repository, Rights
from tenure.repository.state import PageState, State

PAGES = 2
"""Pages of a cohort and epoch that are opened in each key store: its oldest and its newest."""

CHUNKS = 3
"""Chunks of a cohort that are read back with what its pages hold."""

_HOW: tuple[tuple[type[TenureError], str], ...] = (
    (ObjectNotFoundError, "missing"),
    (StoreUnavailableError, "away"),
    (KeyMismatchError, "closed"),
)

_Group = tuple[int, bytes, bytes]  # epoch, writer, cohort tag


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """One key store. `opened`, `missing`, `damaged`: pages of the sample; `problem`: why it could not be asked, or ""."""

    name: str
    opened: int
    missing: int
    damaged: int
    problem: str

    @property
    def is_whole(self) -> bool:
        """Whether it could be the last one left, as far as the sample says."""
        return not (self.missing or self.damaged or self.problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochCheck:
    """One epoch. `pages`: of the sample; `sealed_for_others`: those of them that are not for this key."""

    epoch: int
    state: str
    pages: int
    sealed_for_others: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryCheck:
    """What a recovery key opened. `closed`: what it does not open, with no store's help; `lost`: what no store has whole."""

    cohorts: int
    chunks: int
    stores: tuple[StoreCheck, ...]
    epochs: tuple[EpochCheck, ...]
    closed: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """Return 0 for proven everywhere, 3 where one key store alone would not do, else that of the error it is."""
        if self.closed:
            return KeyMismatchError.exit_code
        if self.lost:
            return IntegrityError.exit_code
        return 0 if all(s.is_whole for s in self.stores) else 3

    @property
    def outcome(self) -> str:
        """Return how evidence calls it."""
        return {0: "passed", 3: "a key store lacks pages"}.get(self.exit_code, "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """One page in one store. `how`: "opened", "missing", "damaged", "closed", "away"; `error`: of the last four."""

    store: str
    epoch: int
    page: str
    how: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sampled:
    """One cohort in one epoch. `chunks`: read back; `lost`: what could not be."""

    looked: tuple[_Looked, ...]
    chunks: int
    lost: tuple[str, ...]


def check_recovery(installation: Installation, read: Callable[[], KeyFile]) -> RecoveryCheck:
    """Prove an installation's recovery key; the result stands in evidence, a failure too.

    Args:
        installation: Whose; no other key of it is used.
        read: Returns the recovery key, from its file or from sheets.

    Raises:
        KeyMismatchError: It is another repository's, or a rotation replaced it.
        KeyUnavailableError: It cannot be read.
        ObjectStoreError: The object store, or every key store, is away.
    """
    outcome, counts = "failed", {"cohorts": 0, "chunks": 0}
    try:
        key = read()
        if key.repository != installation.pins.repository.hex():
            raise KeyMismatchError(f"this recovery key belongs to repository {key.repository}")
        if key.fields["purge_public"] != installation.pins.purge_key.raw:
            raise KeyMismatchError("this recovery key trusts another purge key than this installation")
        private = RecipientPrivate.from_raw(key.fields["private"])
        rights = Rights(unwrapper=LocalKeyring([private]))
        alone = Repository.open(installation.where(), installation.pins, rights)
        found = checked(alone, private.key_id, installation.executor, installation.progress)
        outcome, counts = found.outcome, {"cohorts": found.cohorts, "chunks": found.chunks}
    finally:
        installation.evidence.log.append(
            "recovery-check",
            who=installation.officer,
            at=installation.clock.now(),
            subject_of_entry="recovery key",
            outcome=outcome,
            details=counts,
        )
    return found


def checked(alone: Repository, key_id: bytes, executor: Executor, progress: Progress) -> RecoveryCheck:
    """Open a sample of everything with what `alone` was given.

    Args:
        alone: The repository, opened with the recovery key and nothing else.
        key_id: Of the recovery key.
        executor: Cohorts are looked at side by side.
        progress: Told of each cohort.

    Raises:
        KeyMismatchError: The key is no recovery key of the epoch in use.
    """
    recipients = alone.epoch().opened.recipients
    if key_id not in {r.key_id for r in recipients if r.role == "recovery"}:
        raise KeyMismatchError(
            "this is no recovery key of the epoch in use", hint="a rotation replaced it: use the newest one"
        )
    for writer in alone.state.writers:
        _ = alone.keys_of(bytes.fromhex(writer))  # derived here: the threads only look up
    away, groups = _away(alone.place.key_stores), _groups(alone.state)
    task = progress.begin("Opening a sample of every cohort", total=len(groups), unit="cohorts")
    found: dict[_Group, _Sampled] = {}
    order = sorted(groups)
    sampled = executor.map(partial(_sample, alone, away), (groups[g] for g in order))
    for group, one in zip(order, sampled, strict=True):
        found[group] = one
        task.advance(1)
    task.end()
    _look_again(alone, away, found)
    return _summed(alone, away, found)


def _groups(state: State) -> dict[_Group, list[PageState]]:
    groups: dict[_Group, list[PageState]] = {}
    for page in sorted(state.pages.values(), key=lambda p: p.number):
        groups.setdefault((page.ref.epoch, page.ref.writer, page.ref.tag), []).append(page)
    return groups


def _look_again(alone: Repository, away: dict[str, str], found: dict[_Group, _Sampled]) -> None:
    """Look again at what was not as it should be, where the ledger went on: a prune replaces pages meanwhile."""
    number = alone.state.number
    troubled = [g for g, s in found.items() if s.lost or any(one.how != "opened" for one in s.looked)]
    if not troubled or alone.refresh().number == number:
        return
    groups = _groups(alone.state)
    for group in troubled:
        del found[group]
        if group in groups:
            found[group] = _sample(alone, away, groups[group])


def _away(stores: KeyStores) -> dict[str, str]:
    """Return why key stores cannot be asked at all: asking for each page would wait as often."""
    found = {}
    for named in stores.stores:
        try:
            next(iter(named.store.list(names.PAGES)), None)
        except TenureError as e:
            found[named.name] = str(e)
    return found


def _sample(alone: Repository, away: dict[str, str], pages: Sequence[PageState]) -> _Sampled:
    chosen = [pages[0], *pages[1:][-(PAGES - 1) :]]
    looked = tuple(
        _look(alone, named, page, away) for page in chosen for named in alone.place.key_stores.stores
    )
    if not any(one.how == "opened" for one in looked):
        return _Sampled(looked=looked, chunks=0, lost=_nowhere(looked))
    try:
        chunks, lost = _chunks(alone, chosen[-1])
    except KeyProviderError:
        chunks, lost = 0, ()  # a page of another epoch, whose own sample tells that
    except TenureError as e:
        chunks, lost = 0, (str(e),)
    return _Sampled(looked=looked, chunks=chunks, lost=lost)


def _nowhere(looked: Sequence[_Looked]) -> tuple[str, ...]:
    """Return what no store has whole, in words; pages that are whole and sealed for others are none of it."""
    by_page: dict[str, list[_Looked]] = {}
    for one in looked:
        by_page.setdefault(one.page, []).append(one)
    return tuple(
        f"key page {page}: " + "; ".join(f"{one.store}: {one.error}" for one in some)
        for page, some in by_page.items()
        if not any(one.how == "closed" for one in some)
    )


def _look(alone: Repository, named: NamedStore, page: PageState, away: dict[str, str]) -> _Looked:
    ref = page.ref
    name = names.page(ref.epoch, ref.tag, ref.page)
    told = partial(_Looked, store=named.name, epoch=ref.epoch, page=name)
    if named.name in away:
        return told(how="away", error=away[named.name])
    try:
        found = parse_page(named.store.get(name), name=name)
        _require(found, ref)
        open_index(found, alone.keys_of(ref.writer))
        open_keys(found, alone.unwrapper)
    except TenureError as e:
        how = next((word for kind, word in _HOW if isinstance(e, kind)), "damaged")
        return told(how=how, error="missing" if how == "missing" else str(e))
    return told(how="opened")


def _require(page: PageBytes, ref: PageRef) -> None:
    if page.hash != ref.hash:
        raise TamperedError("another page under this name")


def _chunks(alone: Repository, page: PageState) -> tuple[int, tuple[str, ...]]:
    """Read chunks of a cohort back, spread over all its pages; return how many, and which pages no store has whole."""
    keys = alone.keys_of(page.ref.writer)
    cohort, _, _ = open_index(alone.place.key_stores.get(page.ref), keys)
    reader = ChunkReader(
        objects=alone.place.objects,
        key_stores=alone.place.key_stores,
        keys=keys,
        repository=alone.id,
        state=alone.state,
        unwrapper=alone.unwrapper,
    )
    index = reader.index(cohort)
    chosen = list(islice(index.places.values(), 0, None, max(1, len(index.places) // CHUNKS)))[:CHUNKS]
    for place in chosen:
        reader.open(cohort, place, reader.read(place))
    return len(chosen), index.damaged


def _summed(alone: Repository, away: dict[str, str], found: dict[_Group, _Sampled]) -> RecoveryCheck:
    looked = [one for sampled in found.values() for one in sampled.looked]
    opened = {one.page for one in looked if one.how == "opened"}
    closed = {one.page for one in looked if one.how == "closed"} - opened
    stores = alone.place.key_stores.stores
    return RecoveryCheck(
        cohorts=len({(writer, tag) for _, writer, tag in found}),
        chunks=sum(sampled.chunks for sampled in found.values()),
        stores=tuple(_store(named, looked, away.get(named.name, "")) for named in stores),
        epochs=tuple(_epochs(alone.state, looked, closed)),
        closed=tuple(sorted(closed)),
        lost=tuple(words for sampled in found.values() for words in sampled.lost),
    )


def _store(named: NamedStore, looked: Sequence[_Looked], problem: str) -> StoreCheck:
    mine = [one for one in looked if one.store == named.name]
    return StoreCheck(
        name=named.name,
        opened=sum(one.how == "opened" for one in mine),
        missing=sum(one.how == "missing" for one in mine),
        damaged=sum(one.how == "damaged" for one in mine),
        problem=problem or next((one.error for one in mine if one.how == "away"), ""),
    )


def _epochs(state: State, looked: Sequence[_Looked], closed: set[str]) -> Iterator[EpochCheck]:
    for number, epoch in sorted(state.epochs.items()):
        pages = {one.page for one in looked if one.epoch == number}
        yield EpochCheck(
            epoch=number, state=epoch.state, pages=len(pages), sealed_for_others=len(pages & closed)
        )
