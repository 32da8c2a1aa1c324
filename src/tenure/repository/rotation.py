"""Rotation: a new epoch, every page sealed anew under a fresh page key for the new recipients, the old epoch closed.

No pack is touched. Resumable: pages of the old epoch that are still live are what is left to do. When none is
left, the private keys of the old epoch open nothing any more and are destroyed by whoever keeps them.
"""

from tenure.domain.errors import LeasedError, StalePlanError
from tenure.domain.progress import Progress
from tenure.repository import bundles, names
from tenure.repository.content import CohortContent, rewriter_of
from tenure.repository.entries import Epoch, Recipient
from tenure.repository.leftovers import delete_unnamed, void_lapsed
from tenure.repository.repository import Repository, wrapper_for
from tenure.repository.state import PageState, State


def open_epoch(repository: Repository, recipients: tuple[Recipient, ...]) -> int:
    """Open a new epoch for these recipients; return its number.

    Where the open epoch is already theirs, an earlier run got so far, and nothing is opened.

    Raises:
        LeasedError: A forgetting is open: its scope pages belong to the old epoch, so it is finished first.
        StalePlanError: A writer was admitted meanwhile, whose secrets the new epoch would lack.
    """
    state = repository.refresh()
    _refuse_forgetting(state)
    if repository.epoch().opened.recipients == recipients:
        return repository.epoch().opened.epoch
    known = {w.writer.hex() for w in repository.secrets.writers}
    epoch = max(state.epochs) + 1
    clear = bundles.epoch_clear(
        repository.secrets,
        repository=repository.id,
        epoch=epoch,
        recipients=recipients,
        wrapper=wrapper_for(recipients),
    )

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


def reseal(repository: Repository, progress: Progress) -> int:
    """Seal the pages of older epochs anew; return how many. The unwrapper must open old and new epochs.

    Raises:
        IntegrityError: A page is whole in no key store.
        StalePlanError: A forgetting is at work, or pages were replaced meanwhile; run it again.
    """
    state = repository.refresh()
    epoch = repository.epoch().opened.epoch
    groups: dict[tuple[bytes, bytes], list[PageState]] = {}
    for page in state.pages.values():
        if page.ref.epoch != epoch:
            groups.setdefault((page.ref.writer, page.ref.tag), []).append(page)
    task = progress.begin("Sealing key pages anew", total=len(groups), unit="cohorts")
    done = 0
    for (writer, _tag), pages in sorted(groups.items()):
        rewriter = rewriter_of(repository)
        content = CohortContent.load(
            pages, repository.keys_of(writer), repository.place.key_stores, repository.unwrapper
        )
        rewriter.replace([content], cause="rotate")
        done += len(pages)
        task.advance(1)
    task.end()
    return done


def close_old_epochs(repository: Repository) -> tuple[int, ...]:
    """Close the epochs of which nothing is left in any key store; return those closed now, whose keys may be destroyed.

    Pages of an old epoch that the ledger no longer names are deleted first. An epoch stays "closing" while a key
    store does not confirm that.

    Raises:
        LeasedError: A session is under way; its commit will be refused, wait for its end.
    """
    state = void_lapsed(repository)
    epoch = repository.epoch().opened.epoch
    if state.sessions:
        raise LeasedError("a snapshot is under way", hint="run `tenure keys rotate` again when it has ended")
    left = {p.ref.epoch for p in state.pages.values()}
    left |= {r.epoch for f in state.open_forgets() for r in f.scopes}
    closed = []
    for number, old in sorted(state.epochs.items()):
        if number >= epoch or old.state == "closed" or number in left:
            continue
        deletion = delete_unnamed(repository, state, lambda _: False, prefix=f"{names.PAGES}{number}/")
        if not deletion.failed:
            repository.ledger.append(Epoch(epoch=number, state="closed"), repository.purge_key)
            closed.append(number)
    return tuple(closed)
