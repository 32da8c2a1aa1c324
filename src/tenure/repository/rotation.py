"""Rotation: a new epoch, every page sealed anew under a fresh page key for the new recipients, the old epoch closed.

No pack is touched. Resumable: pages of the old epoch that are still live are what is left to do. When none is
left, the private keys of the old epoch open no page any more and are destroyed by whoever keeps them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from tenure.domain.errors import KeyMismatchError, LeasedError, StalePlanError
from tenure.domain.progress import Progress
from tenure.keys.base import Purpose, Unwrapper, WrappedKey, Wrapper
from tenure.keys.local import PROVIDER
from tenure.repository import bundles, names
from tenure.repository.content import NO_SESSION, CohortContent, rewriter_of
from tenure.repository.entries import Epoch, EpochClear, Recipient
from tenure.repository.founding import service_key
from tenure.repository.leftovers import delete_unnamed, void_lapsed
from tenure.repository.page import PagePlain, open_keys, parse_page, seal_page
from tenure.repository.repository import Repository, wrapper_for
from tenure.repository.secrets import STRUCTURE, SourceKeys
from tenure.repository.state import PageState, State

PAGES_AT_ONCE = 64
"""Pages that one `merge` entry replaces, more only where one cohort has more: full ones are 50 MB in memory, and take
far less than the 3,600 s that new pages may wait for their entry (`voids.MERGE_LEASE_S`)."""

_Key = tuple[bytes, bytes]  # writer, cohort tag


def open_epoch(repository: Repository, recipients: tuple[Recipient, ...], prover: Unwrapper) -> int:
    """Open a new epoch for these recipients; return its number.

    Where the open epoch is already theirs, an earlier run got so far, and nothing is opened.

    Args:
        repository: Opened with the reading and the purge key.
        recipients: Of the new epoch.
        prover: Has the private half of each of them: before anything is put, every secret that the epoch hands on,
            and a sample page of every writer, is opened with each half alone and compared.

    Raises:
        KeyMismatchError: A private half does not open what was wrapped for its recipient; nothing was put.
        IntegrityError: A page to try it on is whole in no key store; nothing was put.
        LeasedError: A forgetting is open: its scope pages belong to the old epoch, so it is finished first.
        StalePlanError: A writer was admitted meanwhile, whose secrets the new epoch would lack.
    """
    state = repository.refresh()
    _refuse_forgetting(state)
    if repository.epoch().opened.recipients == recipients:
        return repository.epoch().opened.epoch
    known = {w.writer.hex() for w in repository.secrets.writers}
    epoch = max(state.epochs) + 1
    wrapper = wrapper_for(recipients, repository.rights.services)
    clear = bundles.epoch_clear(
        repository.secrets, repository=repository.id, epoch=epoch, recipients=recipients, wrapper=wrapper
    )
    _prove(repository, clear, wrapper, prover)

    def check(newest: State) -> None:
        _refuse_forgetting(newest)
        if set(newest.writers) - known or max(newest.epochs) != epoch - 1:
            raise StalePlanError(
                "a writer was admitted, or keys were rotated, by somebody else", hint="run it again"
            )

    repository.ledger.append(Epoch(epoch=epoch, state="open"), repository.purge_key, clear=clear, check=check)
    return epoch


def _refuse_forgetting(state: State) -> None:
    if state.open_forgets():
        raise LeasedError(
            "a purge or erasure is not finished", hint="run `tenure purge` to finish it, then rotate"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alone:
    """Unwraps as one recipient only (`keys.base.Unwrapper`), so that a sound key cannot stand in for a wrong one."""

    prover: Unwrapper
    recipient: bytes

    def unwrap(self, wrapped: Sequence[WrappedKey], *, context: Purpose) -> bytes:
        """See `Unwrapper.unwrap`."""
        return self.prover.unwrap([w for w in wrapped if w.recipient == self.recipient], context=context)


def _prove(repository: Repository, clear: EpochClear, wrapper: Wrapper, prover: Unwrapper) -> None:
    """Open what a new epoch hands on, and sample pages of it, as each recipient alone."""
    sealed = [
        (plain, seal_page(
            plain, keys=keys, repository=repository.id, epoch=clear.epoch, session=NO_SESSION, wrapper=wrapper
        )[1])
        for plain, keys in _samples(repository)
    ]  # fmt: skip
    for recipient in clear.recipients:
        alone = _Alone(prover=prover, recipient=recipient.key_id)
        try:
            opened = bundles.open_epoch(clear, repository=repository.id, unwrapper=alone)
            pages = [
                (plain, open_keys(parse_page(raw, name="a sample page"), alone)) for plain, raw in sealed
            ]
        except KeyMismatchError as e:
            raise _unproven(recipient) from e
        if opened != repository.secrets or not all(np.array_equal(plain.deks, deks) for plain, deks in pages):
            raise _unproven(recipient)


def _unproven(recipient: Recipient) -> KeyMismatchError:
    if recipient.provider != PROVIDER:
        return KeyMismatchError(
            f"{service_key(recipient)} does not give back what the new epoch wraps with it: no epoch was opened",
            hint="check the key at its service, then run `tenure keys rotate` again",
        )
    return KeyMismatchError(
        f"the private half at hand does not open what the new epoch wraps for its {recipient.role} key"
        f" {recipient.key_id.hex()}: no epoch was opened",
        hint="move the new epoch's key files away, then run `tenure keys rotate` again",
    )


def _samples(repository: Repository) -> Iterator[tuple[PagePlain, SourceKeys]]:
    """Yield one page of each writer that has any; one with DEKs in it where there is one."""
    for writer_id in sorted(repository.state.writers):
        writer = bytes.fromhex(writer_id)
        pages = repository.state.live_pages(frozenset({writer}))
        if not pages:
            continue
        keys = repository.keys_of(writer)
        structure = keys.tag(STRUCTURE)
        sample = min(pages, key=lambda p: (p.ref.tag == structure, p.number))
        content = CohortContent.load([sample], keys, repository.place.key_stores, repository.unwrapper)
        yield from ((plain, keys) for plain in content.pages()[:1])


def reseal(repository: Repository, progress: Progress, *, at_once: int = PAGES_AT_ONCE) -> int:
    """Seal the pages of older epochs anew; return how many. The unwrapper must open old and new epochs.

    One `merge` entry stands for about `at_once` pages, of as many cohorts as that takes. A run that dies leaves the
    groups before it done and the others of the old epoch, which is what the next run finds.

    Raises:
        IntegrityError: A page is whole in no key store.
        StalePlanError: A forgetting is at work, or pages were replaced meanwhile; run it again.
    """
    state, place = repository.refresh(), repository.place
    epoch = repository.epoch().opened.epoch
    groups: dict[_Key, list[PageState]] = {}
    for page in state.pages.values():
        if page.ref.epoch != epoch:
            groups.setdefault((page.ref.writer, page.ref.tag), []).append(page)
    task = progress.begin("Sealing key pages anew", total=len(groups), unit="cohorts")
    done = 0
    for batch in _batches(groups, at_once):
        rewriter = rewriter_of(repository)  # before the pages are read: it says what they are read at
        contents = [
            CohortContent.load(
                groups[key], repository.keys_of(key[0]), place.key_stores, repository.unwrapper, place.readers
            )
            for key in batch
        ]
        rewriter.replace(contents, cause="rotate")
        done += sum(len(groups[key]) for key in batch)
        task.advance(len(batch))
    task.end()
    return done


def _batches(groups: dict[_Key, list[PageState]], at_once: int) -> Iterator[list[_Key]]:
    """Yield cohorts, (writer, tag), together until they have `at_once` pages; a cohort's pages stay together."""
    batch: list[_Key] = []
    pages = 0
    for key in sorted(groups):
        if batch and pages + len(groups[key]) > at_once:
            yield batch
            batch, pages = [], 0
        batch.append(key)
        pages += len(groups[key])
    if batch:
        yield batch


def close_old_epochs(repository: Repository) -> tuple[int, ...]:
    """Close the epochs of which nothing is left in any key store; return those closed now, whose keys may be destroyed.

    Pages of an old epoch that the ledger no longer names are deleted first. An epoch stays "closing" while a key
    store does not confirm that.

    Raises:
        LeasedError: A session is under way; its commit will be refused, wait for its end.
    """
    state = void_lapsed(repository)
    epoch = repository.epoch().opened.epoch
    for session in state.sessions.values():
        began = datetime.fromtimestamp(session.began_at, UTC)
        raise LeasedError(
            f"a snapshot of {session.source!r}, begun at {began:%Y-%m-%d %H:%M} UTC, is under way: the old keys stay until"
            " it has ended",
            hint="run `tenure keys rotate` again then; one whose process died ends with the next `tenure snapshot"
            f" {session.source}`",
        )
    left = {p.ref.epoch for p in state.pages.values()}
    left |= {r.epoch for f in state.open_forgets() for r in f.scopes}
    closed = []
    for number, old in sorted(state.epochs.items()):
        if number >= epoch or old.state == "closed" or number in left:
            continue
        deletion = delete_unnamed(repository, lambda _: lambda _: False, prefix=f"{names.PAGES}{number}/")
        if not deletion.failed:
            repository.ledger.append(Epoch(epoch=number, state="closed"), repository.purge_key)
            closed.append(number)
    return tuple(closed)
