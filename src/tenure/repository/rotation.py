"""Rotation: a new epoch, every page sealed anew under a fresh page key for the new recipients, the old epoch closed.

No pack is touched. Resumable: pages of the old epoch that are still live are what is left to do. When none is
left, the private keys of the old epoch open nothing any more and are destroyed by whoever keeps them.
"""

from tenure.domain.errors import LeasedError
from tenure.domain.progress import Progress
from tenure.repository import bundles
from tenure.repository.content import CohortContent, Rewriter
from tenure.repository.entries import Epoch, Recipient
from tenure.repository.repository import Repository, wrapper_for
from tenure.repository.state import PageState


def open_epoch(repository: Repository, recipients: tuple[Recipient, ...]) -> int:
    """Open a new epoch for these recipients; return its number.

    Raises:
        LeasedError: A forgetting is open: its scope pages belong to the old epoch, so it is finished first.
    """
    state = repository.refresh()
    if state.open_forgets():
        raise LeasedError(
            "a purge or erasure is not finished", hint="run `tenure purge` to finish it, then rotate"
        )
    epoch = max(state.epochs) + 1
    clear = bundles.epoch_clear(
        repository.secrets,
        repository=repository.id,
        epoch=epoch,
        recipients=recipients,
        wrapper=wrapper_for(recipients),
    )
    repository.ledger.append(Epoch(epoch=epoch, state="open"), repository.purge_key, clear=clear)
    return epoch


def reseal(repository: Repository, progress: Progress) -> int:
    """Seal the pages of older epochs anew; return how many. The unwrapper must open old and new epochs."""
    state = repository.refresh()
    epoch = repository.epoch().opened.epoch
    groups: dict[tuple[bytes, bytes], list[PageState]] = {}
    for page in state.pages.values():
        if page.ref.epoch != epoch:
            groups.setdefault((page.ref.writer, page.ref.tag), []).append(page)
    rewriter = Rewriter(
        ledger=repository.ledger,
        stores=repository.place.key_stores,
        key=repository.purge_key,
        wrapper=repository.wrapper(),
        repository=repository.id,
        epoch=epoch,
    )
    task = progress.begin("Sealing key pages anew", total=len(groups), unit="cohorts")
    done = 0
    for (writer, _tag), pages in sorted(groups.items()):
        content = CohortContent.load(
            pages, repository.keys_of(writer), repository.place.key_stores, repository.unwrapper
        )
        rewriter.replace([content], cause="rotate")
        done += len(pages)
        task.advance(1)
    task.end()
    return done


def close_old_epochs(repository: Repository) -> tuple[int, ...]:
    """Close the epochs of which nothing is left; return those that can now be destroyed.

    Raises:
        LeasedError: A session of an old epoch is under way; its commit will be refused, wait for its end.
    """
    state = repository.refresh()
    epoch = repository.epoch().opened.epoch
    now = repository.place.objects.now().timestamp()
    opened_at = [s for s in state.sessions.values() if not s.lapsed(now)]
    if opened_at:
        raise LeasedError("a snapshot is under way", hint="run `tenure keys rotate` again when it has ended")
    left = {p.ref.epoch for p in state.pages.values()}
    closed = []
    for number, old in sorted(state.epochs.items()):
        if number < epoch and old.state != "closed" and number not in left:
            repository.ledger.append(Epoch(epoch=number, state="closed"), repository.purge_key)
            closed.append(number)
    return tuple(closed)
