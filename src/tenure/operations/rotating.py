"""Rotation of the keys that read: a new epoch and recovery pair, every key page sealed anew, the old keys destroyed.

Destroying the old private keys is what makes every forgetting before it final: no copy of an old key page opens any
more. Before the new epoch is opened, and again before the old one is closed, both new keys have proven that they open
what is theirs. A rotation that was cut short goes on where it stopped when it is run again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.errors import KeyMismatchError, KeyUnavailableError
from tenure.domain.progress import Progress
from tenure.keys.local import (
    PROVIDER,
    KeyFile,
    KeyKind,
    LocalKeyring,
    destroy_key_file,
    read_key_file,
    write_key_file,
)
from tenure.operations.installation import Installation
from tenure.repository.entries import Recipient
from tenure.repository.model import ChunkKind
from tenure.repository.page import open_index
from tenure.repository.repository import Pins, Repository, Rights
from tenure.repository.rotation import close_old_epochs, open_epoch, reseal
from tenure.repository.state import PageState, State

SAMPLE = 3
"""Chunks of each cohort that a new key, or the recovery key, has to open."""

EVERY_KIND = (KeyKind.READER, KeyKind.RECOVERY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrecy:
    """How key files are read and written. `ask`: for the passphrase of one; `protect`: passphrase of new ones.

    `reader`: passphrase of reading keys, old and new, as settings give it. The recovery key is never put under it: it
    has to open where this machine and its settings are gone.
    """

    ask: Callable[[], bytes] | None = None
    protect: bytes | None = field(default=None, repr=False)
    reader: bytes | None = field(default=None, repr=False)

    def asking(self, path: Path) -> Callable[[], bytes] | None:
        """Return whom to ask for the passphrase of a key file."""
        reader = self.reader
        return self.ask if reader is None or not path.name.startswith("epoch-") else lambda: reader

    def protecting(self, kind: KeyKind) -> bytes | None:
        """Return the passphrase of a new key file."""
        return self.reader if self.reader is not None and kind is KeyKind.READER else self.protect


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a key opened: cohorts, and a sample of their chunks."""

    cohorts: int
    chunks: int


@dataclass(slots=True, kw_only=True)
class Rotated:
    """What a rotation did.

    `recovery`: where the new recovery key lies, None where it was not at hand: its epoch was closed by an earlier run
    then, which had proven it. `final_at`: from when nothing here opens what was forgotten before; None while an old
    epoch is not closed yet.
    """

    epoch: int
    pages: int = 0
    closed: tuple[int, ...] = ()
    proven: Opened | None = None
    recovery_proven: bool = False
    destroyed: list[Path] = field(default_factory=list)
    reader: Path | None = None
    recovery: Path | None = None
    final_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The private halves of `epoch`. `recovery` is None where no proof needs it any more and its file is elsewhere."""

    epoch: int
    reader: RecipientPrivate
    recovery: RecipientPrivate | None
    reader_file: Path
    recovery_file: Path


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
        pair = _pair(installation, repository, secrecy, recovery)
        epoch = _open(repository, pair)
        repository = installation.open_reading()  # its keyring has the new key now
        done = Rotated(epoch=epoch, reader=pair.reader_file)
        done.pages = reseal(repository, installation.progress)
        done.proven = proven(repository, installation.pins, pair.reader, installation.progress)
        if pair.recovery is not None:
            proven(repository, installation.pins, pair.recovery, installation.progress)
            done.recovery_proven, done.recovery = True, pair.recovery_file
        done.closed = close_old_epochs(repository)
        done.destroyed = _destroy_old(installation, repository, secrecy)
        if all(e.state == "closed" for n, e in repository.refresh().epochs.items() if n < epoch):
            done.final_at = installation.clock.now()
        _attest(installation, done)
        return done


def _pair(installation: Installation, repository: Repository, secrecy: Secrecy, handed: Path | None) -> _Pair:
    """Return the pair of the rotation to finish, or of a new one; its files are durable before it is used."""
    state = repository.refresh()
    number = repository.epoch().opened.epoch
    unclosed = any(n < number and e.state != "closed" for n, e in state.epochs.items())
    begun = unclosed or bool(_destroyable(installation, repository, secrecy))
    epoch = number if begun else max(state.epochs) + 1
    folder = installation.place.keys
    reader_file, recovery_file = folder / f"epoch-{epoch}.key", handed or folder / f"recovery-{epoch}.key"
    reader = _kept(installation, reader_file, KeyKind.READER, secrecy, make=not begun)
    recovery = _kept(installation, recovery_file, KeyKind.RECOVERY, secrecy, make=not (begun or handed))
    if reader is None:
        raise _lacking(epoch, reader_file, "put the key file back, then run `tenure keys rotate` again")
    if recovery is None and (handed or unclosed or not begun):
        raise _lacking(epoch, recovery_file, "name its file: `tenure keys rotate --recovery-key FILE`")
    pair = _Pair(
        epoch=epoch, reader=reader, recovery=recovery, reader_file=reader_file, recovery_file=recovery_file
    )
    _refuse_strangers(state, pair)
    return pair


def _lacking(epoch: int, path: Path, hint: str) -> KeyUnavailableError:
    return KeyUnavailableError(
        f"the rotation to epoch {epoch} cannot go on: {path} is not here, and nothing was written", hint=hint
    )


def _refuse_strangers(state: State, pair: _Pair) -> None:
    """Refuse keys that are not the ones which the epoch wraps for, or that were another epoch's.

    A key of an older epoch must not come back: it would open new pages, and stay alive when the old epoch's is gone.
    """
    recipients = {n: {r.key_id for r in e.opened.recipients} for n, e in state.epochs.items()}
    mine = recipients.pop(pair.epoch, None)
    for path, private in ((pair.reader_file, pair.reader), (pair.recovery_file, pair.recovery)):
        if private is None:
            continue
        if mine is not None and private.key_id not in mine:
            raise KeyMismatchError(
                f"{path} is no key of epoch {pair.epoch}, which is open: nothing was written",
                hint="put back the file that the rotation made, or name it with --recovery-key",
            )
        older = [n for n, ids in recipients.items() if private.key_id in ids]
        if older:
            raise KeyMismatchError(
                f"{path} is a key of epoch {older[0]}, which the rotation replaces: nothing was written",
                hint="leave --recovery-key out, or move the file away if you did not name it: a new key is made",
            )


def _kept(
    installation: Installation, path: Path, kind: KeyKind, secrecy: Secrecy, *, make: bool
) -> RecipientPrivate | None:
    """Return the key in a file, made first where there is none and `make` says so."""
    repository = installation.pins.repository.hex()
    if path.exists():
        found = read_key_file(path, passphrase=secrecy.asking(path), kind=kind, repository=repository)
        if (
            found.fields.get("purge_public", installation.pins.purge_key.raw)
            != installation.pins.purge_key.raw
        ):
            raise KeyMismatchError(f"{path} trusts another purge key than this installation")
        return RecipientPrivate.from_raw(found.fields["private"])
    if not make:
        return None
    private = RecipientPrivate.generate()
    fields = {"private": private.raw}
    if kind is KeyKind.RECOVERY:
        fields["purge_public"] = installation.pins.purge_key.raw
    key = KeyFile(
        kind=kind, repository=repository, name=path.stem, created=installation.clock.now(), fields=fields
    )
    write_key_file(path, key, passphrase=secrecy.protecting(kind))
    return private


def _open(repository: Repository, pair: _Pair) -> int:
    """Open the pair's epoch, each half proven; where an earlier run did, return its number."""
    if repository.epoch().opened.epoch == pair.epoch or pair.recovery is None:
        return pair.epoch
    halves = (("reader", pair.reader), ("recovery", pair.recovery))
    recipients = tuple(
        Recipient(role=role, provider=PROVIDER, key_id=k.key_id, public=k.public().raw) for role, k in halves
    )
    return open_epoch(repository, recipients, LocalKeyring([k for _, k in halves]))


def proven(repository: Repository, pins: Pins, private: RecipientPrivate, progress: Progress) -> Opened:
    """Open a sample of every cohort with one private key and nothing else.

    Raises:
        KeyMismatchError: It does not open something; it is not (or no longer) a key of this repository.
        IntegrityError: Something is missing or damaged.
    """
    alone = Repository.open(repository.place, pins, Rights(unwrapper=LocalKeyring([private])))
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
    places = [p for p in reader.index(cohort).places.values() if p.kind is not ChunkKind.STRUCTURE]
    for place in places[:: max(1, len(places) // SAMPLE)][:SAMPLE]:
        reader.open(cohort, place, reader.read(place))
    return min(len(places), SAMPLE)


def _destroy_old(installation: Installation, repository: Repository, secrecy: Secrecy) -> list[Path]:
    """Destroy the key files here that belong to no epoch in use; only once their epochs are closed."""
    destroyed = _destroyable(installation, repository, secrecy)
    for path in destroyed:
        destroy_key_file(path)
    return destroyed


def _destroyable(installation: Installation, repository: Repository, secrecy: Secrecy) -> list[Path]:
    state = repository.refresh()
    ids = {True: set[bytes](), False: set[bytes]()}
    for epoch in state.epochs.values():
        ids[epoch.state == "closed"] |= {r.key_id for r in epoch.opened.recipients}
    old = ids[True] - ids[False]
    return [
        path for path, private in sorted(_key_files(installation, secrecy).items()) if private.key_id in old
    ]


def _key_files(installation: Installation, secrecy: Secrecy) -> dict[Path, RecipientPrivate]:
    """Return every reading and recovery key in the key folder."""
    found = {}
    for path in sorted(
        {*installation.place.keys.glob("epoch-*.key"), *installation.place.keys.glob("recovery*.key")}
    ):
        key = _read(installation, path, secrecy)
        if key.kind in EVERY_KIND:
            found[path] = RecipientPrivate.from_raw(key.fields["private"])
    return found


def _read(installation: Installation, path: Path, secrecy: Secrecy) -> KeyFile:
    return read_key_file(path, passphrase=secrecy.asking(path), repository=installation.pins.repository.hex())


def _attest(installation: Installation, done: Rotated) -> None:
    installation.evidence.log.append(
        "key-rotation",
        who=installation.officer,
        at=installation.clock.now(),
        subject_of_entry=f"epoch {done.epoch}",
        outcome="done" if done.final_at else "old epochs still open",
        details={
            "pages": done.pages,
            "closed": [str(n) for n in done.closed],
            "destroyed": [p.name for p in done.destroyed],
            "recovery_key_proven": done.recovery_proven,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientStatus:
    """A key that an epoch wraps for; `file` and `created`: of its private half, None where that is not here."""

    epoch: int
    state: str
    role: str
    key_id: bytes
    file: Path | None
    created: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStatus:
    """A writer that was admitted."""

    source: str
    writer: bytes
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysStatus:
    """Every key the ledger knows; `pages`, `old_pages`: key pages in the open epoch and in older ones."""

    recipients: tuple[RecipientStatus, ...]
    writers: tuple[WriterStatus, ...]
    pages: int
    old_pages: int


def keys_status(installation: Installation, secrecy: Secrecy) -> KeysStatus:
    """Return what the ledger says of keys, and which key files are here.

    Raises:
        KeyMismatchError: A key file here is damaged or another repository's.
    """
    repository = installation.open_writing()
    state, epoch = repository.state, repository.epoch().opened.epoch
    files = {private.key_id: path for path, private in _key_files(installation, secrecy).items()}
    made = {key_id: _read(installation, path, secrecy).created for key_id, path in files.items()}
    recipients = [
        RecipientStatus(
            epoch=n,
            state=e.state,
            role=r.role,
            key_id=r.key_id,
            file=files.get(r.key_id),
            created=made.get(r.key_id),
        )
        for n, e in sorted(state.epochs.items())
        for r in e.opened.recipients
    ]
    writers = [
        WriterStatus(source=w.source, writer=bytes.fromhex(i), removed=w.removed)
        for i, w in sorted(state.writers.items(), key=lambda pair: (pair[1].source, pair[0]))
    ]
    old = sum(p.ref.epoch != epoch for p in state.pages.values())
    return KeysStatus(
        recipients=tuple(recipients), writers=tuple(writers), pages=len(state.pages) - old, old_pages=old
    )
