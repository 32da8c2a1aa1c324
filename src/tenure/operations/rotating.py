"""Rotation of the keys that read: a new epoch and recovery key, every key page sealed anew, the old keys destroyed.

Destroying the old private keys is what makes every forgetting before it final: no copy of an old key page opens any
more. Before the new epoch is opened, and again before the old one is closed, both new keys have proven that they open
what is theirs. A rotation that was cut short goes on where it stopped when it is run again.
"""

from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path

from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.progress import Progress
from tenure.keys.base import Unwrapper
from tenure.keys.local import LocalKeyring, destroy_key_file
from tenure.keys.services import KeyServices, ServiceKeyring
from tenure.operations.installation import Installation
from tenure.operations.newkeys import EVERY_KIND, NewKeys, Secrecy, destroyable, new_keys
from tenure.operations.retiring import Ended, retire
from tenure.repository.page import open_index
from tenure.repository.repository import Pins, Repository, Rights
from tenure.repository.rotation import close_old_epochs, open_epoch, reseal
from tenure.repository.secrets import STRUCTURE
from tenure.repository.state import PageState, State

__all__ = ["EVERY_KIND", "Opened", "Rotated", "Secrecy", "opened_with", "proven", "rotate"]

SAMPLE = 3
"""Chunks of each cohort that a new key, or the recovery key, has to open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a key opened: cohorts, and a sample of their chunks."""

    cohorts: int
    chunks: int


@dataclass(slots=True, kw_only=True)
class Rotated:
    """What a rotation did.

    `recovery`: where the new recovery key lies, None where it was not at hand: its epoch was closed by an earlier run
    then, which had proven it. `complete`: every older epoch is closed. `ended`: what became of old keys of services.
    `final_at`: from when nothing opens what was forgotten before, the latest of these dates; None while an old epoch is
    not closed yet, or an old key of a service lives.
    """

    epoch: int
    pages: int = 0
    closed: tuple[int, ...] = ()
    proven: Opened | None = None
    recovery_proven: bool = False
    destroyed: list[Path] = field(default_factory=list)
    reader: Path | None = None
    recovery: Path | None = None
    ended: tuple[Ended, ...] = ()
    complete: bool = False
    final_at: datetime | None = None


def rotate(installation: Installation, secrecy: Secrecy, *, recovery: Path | None = None) -> Rotated:
    """Rotate the reading and the recovery key, or finish a rotation that was cut short.

    Args:
        installation: Where.
        secrecy: How key files are read and written.
        recovery: The new epoch's recovery key file, where it is not in the key folder: it was taken elsewhere
            between two runs.

    Raises:
        LeasedError: A snapshot, a purge or an erasure is under way; run it again afterwards.
        KeyUnavailableError: Half of the new pair is not at hand; nothing was written.
        KeyMismatchError: A new key is not the one it must be (nothing was written), or does not open everything
            (the old ones are still there).
        IntegrityError: A key page is whole in no key store.
    """
    with installation.alone("forgetting"):
        repository = installation.open_reading()
        keys = new_keys(installation, repository, secrecy, recovery)
        epoch = _open(repository, keys, installation.key_services)
        repository = installation.open_reading()  # its keyring has the new key now
        done = Rotated(epoch=epoch, reader=keys.reader_file if keys.reader else None)
        done.pages = reseal(repository, installation.progress)
        _prove_again(installation, repository, keys, done)
        done.closed = close_old_epochs(repository)
        done.destroyed = _destroy_old(installation, repository, secrecy)
        _finish(installation, repository.refresh(), done)
        _attest(installation, done)
        return done


def _finish(installation: Installation, state: State, done: Rotated) -> None:
    """Have old keys of services destroyed, and tell from when what was forgotten before is final."""
    done.ended = retire(installation, state)
    done.complete = all(e.state == "closed" for n, e in state.epochs.items() if n < done.epoch)
    dates = [ended.at for ended in done.ended]
    known = [at for at in dates if at is not None]
    if done.complete and len(known) == len(dates):
        done.final_at = max([installation.clock.now(), *known])


def _open(repository: Repository, keys: NewKeys, services: KeyServices) -> int:
    """Open the epoch of new keys, each of them proven; where an earlier run did, return its number."""
    if repository.epoch().opened.epoch == keys.epoch or keys.recovery is None:
        return keys.epoch
    return open_epoch(repository, keys.recipients(), keys.prover(services))


def _prove_again(installation: Installation, repository: Repository, keys: NewKeys, done: Rotated) -> None:
    """Open a sample of every cohort with each new key alone."""
    pins, progress = installation.pins, installation.progress
    for role, path, private in keys.halves():
        done.proven = proven(repository, pins, private, progress)
        if role == "recovery":
            done.recovery_proven, done.recovery = True, path
    for key in keys.services:
        way = installation.key_services.way_to(key)
        alone = KeyServices([way] if way is not None else [])
        done.proven = opened_with(repository, pins, ServiceKeyring(services=alone), progress)


def proven(repository: Repository, pins: Pins, private: RecipientPrivate, progress: Progress) -> Opened:
    """Open a sample of every cohort with one private key and nothing else.

    Raises:
        KeyMismatchError: It does not open something; it is not (or no longer) a key of this repository.
        IntegrityError: Something is missing or damaged.
    """
    return opened_with(repository, pins, LocalKeyring([private]), progress)


def opened_with(repository: Repository, pins: Pins, unwrapper: Unwrapper, progress: Progress) -> Opened:
    """Open a sample of every cohort with what unwraps and nothing else; raises as `proven` does."""
    alone = Repository.open(repository.place, pins, Rights(unwrapper=unwrapper))
    groups: dict[tuple[bytes, bytes], list[PageState]] = {}
    for page in alone.state.pages.values():
        groups.setdefault((page.ref.writer, page.ref.tag), []).append(page)
    task = progress.begin("Opening a sample of every cohort", total=len(groups), unit="cohorts")
    chunks = 0
    for (writer, _), pages in sorted(groups.items()):
        chunks += _sampled(alone, writer, pages)
        task.advance(1)
    task.end()
    return Opened(cohorts=len(groups), chunks=chunks)


def _sampled(alone: Repository, writer: bytes, pages: list[PageState]) -> int:
    keys = alone.keys_of(writer)
    cohort, _, _ = open_index(alone.place.key_stores.get(pages[0].ref), keys)
    reader = alone.chunk_reader(keys)
    if cohort == STRUCTURE:
        return 0
    places = reader.index(cohort).places
    chosen = list(islice(places.values(), 0, None, max(1, len(places) // SAMPLE)))[:SAMPLE]
    for place in chosen:
        reader.open(cohort, place, reader.read(place))
    return len(chosen)


def _destroy_old(installation: Installation, repository: Repository, secrecy: Secrecy) -> list[Path]:
    """Destroy the key files here that belong to no epoch in use; only once their epochs are closed."""
    destroyed = destroyable(installation, repository.refresh(), secrecy)
    for path in destroyed:
        destroy_key_file(path)
    return destroyed


def _attest(installation: Installation, done: Rotated) -> None:
    installation.evidence.log.append(
        "key-rotation",
        who=installation.officer,
        at=installation.clock.now(),
        subject_of_entry=f"epoch {done.epoch}",
        outcome="done" if done.complete else "old epochs still open",
        details={
            "pages": done.pages,
            "closed": [str(n) for n in done.closed],
            "destroyed": [p.name for p in done.destroyed],
            "recovery_key_proven": done.recovery_proven,
            "keys_ended": [f"{e.key} {e.at.isoformat() if e.at else 'not yet'}" for e in done.ended],
            "final_at": done.final_at.isoformat() if done.final_at else "",
        },
    )
