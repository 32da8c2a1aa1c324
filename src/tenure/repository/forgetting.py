"""Forgetting: intent, judging, replacement, done. The operations around it delete the live records in between.

It walks key pages, never manifests: a page holds every version of a record that any snapshot, even one pruned
since, stored. Each step can be run again, by another process too: rewritten pages are newer than the judging and are
not walked twice, figures come from the ledger, and pages that a crash left behind go before anything is called done.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

from tenure.crypto.hashing import random_bytes
from tenure.domain.errors import (
    IntegrityError,
    LeasedError,
    OvertakenError,
    RepositoryError,
    StalePlanError,
)
from tenure.domain.progress import Progress
from tenure.repository import names
from tenure.repository.carrying import Carrying, Groups, Went
from tenure.repository.entries import Amended, Done, Intent, Merge, PageRef
from tenure.repository.keystores import Deletion
from tenure.repository.leftovers import delete_unnamed, kept_from_forgetting, void_lapsed
from tenure.repository.repository import Repository
from tenure.repository.scopes import (
    Scope,
    Sealing,
    get_scope,
    open_fingerprints,
    put_scope,
    seal_fingerprints,
)
from tenure.repository.secrets import SourceKeys
from tenure.repository.state import ForgetState, State
from tenure.repository.voids import MERGE_LEASE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Why records are forgotten. `kind`: "purge" or "erase"; `plan`, `rules`: hashes; `approvals`: as recorded."""

    kind: str
    plan: bytes
    rules: bytes
    approvals: tuple[str, ...]


class Forgetting:
    """Orders and carries out forgettings. Needs the reading key, the purge key, and delete on the key stores."""

    def __init__(self, repository: Repository, executor: Executor, progress: Progress) -> None:
        self._repository = repository
        self._executor = executor
        self._progress = progress

    def order(self, scopes: Mapping[str, Scope], order: Order) -> ForgetState:
        """Put the intent: from here on the forgetting will be finished, whatever dies.

        Raises:
            LeasedError: Another forgetting of one of these sources is not done yet.
            StalePlanError: Keys were rotated meanwhile, or putting the scopes took too long.
        """
        repository, forget = self._repository, random_bytes(16)
        _refuse_second(repository.refresh(), scopes)
        epoch, begun = repository.epoch().opened.epoch, repository.place.objects.now().timestamp()
        pages = tuple(self._put_scopes(scopes, forget))
        intent = Intent(
            forget=forget,
            kind=order.kind,
            plan=order.plan,
            rules=order.rules,
            approvals=order.approvals,
            sources=tuple(sorted(scopes)),
            cohorts=self._tags(scopes),
            scopes=pages,
            fingerprints=seal_fingerprints(scopes, repository.secrets.fingerprint),
            recut=sum(scope.count_recut() for scope in scopes.values()),
        )

        def check(state: State) -> None:
            _refuse_second(state, scopes)
            # A sweep deletes scope pages that no intent names for longer than the lease.
            late = repository.place.objects.now().timestamp() > begun + MERGE_LEASE_S / 2
            if late or state.open_epoch().opened.epoch != epoch:
                raise StalePlanError(
                    "keys were rotated, or the order took too long", hint="run the command again"
                )

        state = repository.ledger.append(intent, repository.purge_key, check=check)
        return state.forgets[forget.hex()]

    def scopes(self, forget: ForgetState) -> dict[str, Scope]:
        """Read back what a forgetting takes, source -> scope, as last amended."""
        repository = self._repository
        refs = forget.amended.scopes if forget.amended is not None else forget.intent.scopes
        return {
            repository.keys_of(ref.writer).source: get_scope(
                ref, repository.place.key_stores, repository.unwrapper
            )
            for ref in refs
        }

    def amend(
        self, forget: ForgetState, scopes: Mapping[str, Scope], *, left: int, head: int | None = None
    ) -> ForgetState:
        """Record that the live deletion is over, and what remains to be taken from the repository.

        Snapshots that were begun before this entry and did not commit yet never will. A forgetting is judged once:
        where it was already, nothing is changed.

        `head`: the ledger number at which whole cohorts were proven; where another snapshot of their sources was
        committed since, in which there may be more, nothing goes whole. None: no proof is needed.
        """
        repository, forget_id = self._repository, forget.intent.forget
        if repository.refresh().forgets[forget_id.hex()].judged:
            return repository.state.forgets[forget_id.hex()]
        entry = Amended(
            forget=forget_id,
            left=left,
            cohorts=self._tags(scopes),
            scopes=tuple(self._put_scopes(scopes, forget_id)),
            fingerprints=seal_fingerprints(scopes, repository.secrets.fingerprint),
        )

        def check(newest: State) -> None:
            late = [s for s in newest.snapshots.values() if head is not None and s.number > head]
            if entry.cohorts and any(s.entry.source in scopes for s in late):
                raise OvertakenError("a snapshot was committed after whole cohorts were proven")

        try:
            state = repository.ledger.append(entry, repository.purge_key, check=check)
        except OvertakenError:
            singly = {source: replace(scope, cohorts=()) for source, scope in scopes.items()}
            return self.amend(forget, singly, left=left)
        return state.forgets[forget_id.hex()]

    def carry_out(self, forget: ForgetState) -> Went:
        """Take everything out of every page that was live when the live deletion ended, and delete the old pages.

        Raises:
            IntegrityError: A page or chunk cannot be read; what was done so far stands, a rerun goes on.
            RepositoryError: The forgetting was not judged yet.
            StalePlanError: Somebody else rewrote the same pages meanwhile; run it again.
        """
        went, forget = Went(), self._judged(forget)
        if not forget.carried:
            for source, scope in sorted(self.scopes(forget).items()):
                groups = self._groups(source, forget)
                task = self._progress.begin(
                    f"Forgetting in snapshots of {source}", total=len(groups), unit="cohorts"
                )
                Carrying(self._repository, self._executor, forget, went).through(scope, groups, task)
                task.end()
            went.add(self._delete_leftovers(forget))
        return self._figures(forget, went)

    def finish(self, forget: ForgetState, went: Went, *, certificate: str) -> None:
        """Delete the scope pages and say that it is done; key stores that did not confirm stand in the entry.

        Raises:
            RepositoryError: Pages that must go are still named.
        """
        repository, forget = self._repository, self._judged(forget)
        if forget.done:
            return
        forget_id = forget.intent.forget
        if not forget.carried:
            # From here on no rerun needs the scopes, so they may go before `done`.
            self._refuse_unfinished(forget)
            entry = Merge(
                cause="scopes",
                forget=forget_id,
                removed=tuple(r.page for r in forget.scopes),
                added=(),
                head=repository.state.number,
                begun=repository.place.objects.now().timestamp(),
            )
            repository.ledger.append(entry, repository.purge_key)
        went.add(
            repository.place.key_stores.delete(
                (names.page(r.epoch, r.tag, r.page) for r in forget.scopes), repository.place.readers
            )
        )
        went.add(self._delete_leftovers(forget))
        self._figures(forget, went)
        done = Done(
            forget=forget_id,
            records=went.records,
            chunks=went.chunks,
            pages=went.pages,
            pending=tuple(sorted(went.pending)),
            certificate=certificate,
        )
        repository.ledger.append(done, repository.purge_key)

    def _judged(self, forget: ForgetState) -> ForgetState:
        found = self._repository.refresh().forgets[forget.intent.forget.hex()]
        if not found.judged:
            raise RepositoryError(
                "this purge or erasure was not judged yet: the live records are not gone",
                hint="run `tenure purge` to go on with it",
            )
        return found

    def _figures(self, forget: ForgetState, went: Went) -> Went:
        """Fill in what went, from the ledger: a run before this one may have done most of it."""
        repository = self._repository
        found = repository.state.forgets[forget.intent.forget.hex()]
        prints = open_fingerprints(found.fingerprints, repository.secrets.fingerprint)
        whole = {tag.hex() for _, tag in found.cohorts}
        went.records = sum(len(some) for some in prints.values()) + found.intent.recut
        went.chunks = found.chunks
        went.pages = found.pages
        went.cohorts = sum(repository.state.cohorts_gone.get(tag) == found.judged for tag in whole)
        return went

    def _delete_leftovers(self, forget: ForgetState) -> Deletion:
        """Delete what crashes and dead writers left of these sources: such pages may hold keys of what goes."""
        void_lapsed(self._repository)
        return delete_unnamed(self._repository, partial(kept_from_forgetting, forget))

    def _refuse_unfinished(self, forget: ForgetState) -> None:
        left = [
            p
            for p in self._repository.state.pages.values()
            if p.number < forget.judged and (p.ref.writer, p.ref.tag) in forget.cohorts
        ]
        if left:
            raise RepositoryError(
                "pages that this forgetting takes are still there", hint="run `tenure purge` again"
            )

    def _groups(self, source: str, forget: ForgetState) -> Groups:
        """Return the live pages to walk, those named before the live deletion ended, by writer, cohort tag and view.

        The view is that of a snapshot begun since the intent, which builds on nothing, so what its pages hold is its
        own; 0 for all that is older.
        """
        state = self._repository.refresh()
        groups: Groups = {}
        for page in state.live_pages(state.writers_of(source)):
            if page.number < forget.judged:
                key = (page.ref.writer, page.ref.tag, state.view_since(page, forget.number))
                groups.setdefault(key, []).append(page)
        return groups

    def _put_scopes(self, scopes: Mapping[str, Scope], forget: bytes) -> Iterable[PageRef]:
        repository = self._repository
        sealing = Sealing(
            repository=repository.id,
            epoch=repository.epoch().opened.epoch,
            wrapper=repository.wrapper(),
            forget=forget,
            readers=repository.place.readers,
        )
        for source, scope in sorted(scopes.items()):
            yield put_scope(scope, self._keys_of_source(source), repository.place.key_stores, sealing)

    def _tags(self, scopes: Mapping[str, Scope]) -> tuple[tuple[bytes, bytes], ...]:
        found = []
        for source, scope in sorted(scopes.items()):
            for writer in sorted(self._repository.state.writers_of(source)):
                keys = self._repository.keys_of(writer)
                found += [(writer, keys.tag(cohort)) for cohort in sorted(scope.cohorts)]
        return tuple(found)

    def _keys_of_source(self, source: str) -> SourceKeys:
        writers = sorted(self._repository.state.writers_of(source))
        if not writers:
            raise IntegrityError(f"the ledger knows no writer of source {source!r}")
        return self._repository.keys_of(writers[-1])


def _refuse_second(state: State, scopes: Mapping[str, Scope]) -> None:
    for other in state.open_forgets():
        if set(other.intent.sources) & set(scopes):
            raise LeasedError(
                "another purge or erasure of this source is not finished",
                hint="run `tenure purge` to finish it, then run this again",
            )
