"""Finds and deletes key pages that the ledger does not name: what dead sessions and interrupted rewrites left behind.

A page that was just put is not named yet either. So sessions that have lapsed are voided by entry first, after which
no late commit counts, and the pages of rewrites, which have no session, are left alone for `voids.MERGE_LEASE_S`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tenure.domain.errors import IntegrityError, ObjectNotFoundError, ObjectStoreError, UnsupportedFormatError
from tenure.objectstore.base import ObjectInfo
from tenure.repository import names
from tenure.repository.content import NO_SESSION
from tenure.repository.entries import Void
from tenure.repository.keystores import Deletion, NamedStore
from tenure.repository.page import PageHeader, parse_page
from tenure.repository.repository import Repository
from tenure.repository.scopes import SCOPE
from tenure.repository.state import ForgetState, State
from tenure.repository.voids import MERGE_LEASE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Unnamed:
    """A page that the ledger does not name, in one key store. `header` is None where it is no readable page."""

    store: NamedStore
    info: ObjectInfo
    header: PageHeader | None

    def age(self) -> float:
        """Return how long it has been there, in seconds of its store's own clock."""
        return (self.store.store.now() - self.info.modified).total_seconds()


Keep = Callable[[Unnamed], bool]
"""Says of a page that the ledger does not name that it stays all the same."""


def void_lapsed(repository: Repository) -> State:
    """Void every session that has outlived its time, and return the state after that."""
    state = repository.refresh()
    now = repository.place.objects.now().timestamp()
    for session_id, session in list(state.sessions.items()):
        if session.lapsed(now):
            void = Void(
                session=bytes.fromhex(session_id), writer=session.writer, reason="it outlived its time"
            )
            state = repository.ledger.append(void, repository.purge_key)
    return state


def named_pages(state: State) -> frozenset[str]:
    """Return the ids, in hex, of every page that the ledger names, scope pages of open forgettings among them."""
    scopes = (r.page.hex() for f in state.open_forgets() if not f.carried for r in f.scopes)
    return frozenset(state.pages).union(scopes)


def delete_unnamed(
    repository: Repository, kept: Callable[[State], Keep], *, prefix: str = names.PAGES
) -> Deletion:
    """Delete pages that the ledger does not name, but those to keep, in every key store; a failing store is reported.

    What is named and kept, the ledger says as it is after the listings: whoever put a page that is listed had begun by
    then, so its session stands there.
    """
    stores, result = repository.place.key_stores, Deletion()
    listed: list[tuple[NamedStore, list[ObjectInfo]]] = []
    for named in stores.stores:
        try:
            listed.append((named, list(named.store.list(prefix))))
        except ObjectStoreError:
            result.failed.add(named.name)
    state, done = repository.refresh(), set[str]()
    keep, live = kept(state), named_pages(state)
    for named, infos in listed:
        try:
            for found in _unnamed(named, infos, live):
                if found.info.name not in done and not keep(found):
                    done.add(found.info.name)
        except ObjectStoreError:
            result.failed.add(named.name)
    deletion = stores.delete(sorted(done))
    deletion.take(result)
    return deletion


def kept_from_forgetting(forget: ForgetState, state: State) -> Keep:
    """Return what a forgetting spares: other sources' pages, and those of sessions begun after its judging.

    While it is open no rewrite of its sources' pages counts but its own, and no snapshot begun before its judging
    does; so whatever else is unnamed will never be named, and may hold keys of what is to be forgotten.
    """
    writers = {w for source in forget.intent.sources for w in state.writers_of(source)}

    def keep(found: Unnamed) -> bool:
        if found.header is None or found.header.writer not in writers:
            return True
        session = state.sessions.get(found.header.session.hex())
        return session is not None and session.number > forget.judged

    return keep


def kept_from_sweep(repository: Repository, state: State) -> Keep:
    """Return what a sweep spares: pages of sessions under way, and rewrites that may still be named."""
    tags = {repository.keys_of(w.writer).tag(SCOPE) for w in repository.secrets.writers}
    known = {w.writer for w in repository.secrets.writers}

    def keep(found: Unnamed) -> bool:
        header = found.header
        if header is not None and header.session.hex() in state.sessions:
            return True
        if header is not None and header.writer not in known:
            return True  # admitted since this repository was opened
        leased = header is None or header.session == NO_SESSION or header.tag in tags
        return leased and found.age() <= MERGE_LEASE_S

    return keep


def _unnamed(named: NamedStore, infos: Iterable[ObjectInfo], live: frozenset[str]) -> Iterator[Unnamed]:
    for info in infos:
        if info.name.rsplit("/", 1)[-1] in live:
            continue
        try:
            raw = named.store.get(info.name)
        except ObjectNotFoundError:
            continue  # whoever else sweeps was faster
        yield Unnamed(store=named, info=info, header=_header(raw, info.name))


def _header(raw: bytes, name: str) -> PageHeader | None:
    try:
        return parse_page(raw, name=name).header
    except (IntegrityError, UnsupportedFormatError):
        return None
