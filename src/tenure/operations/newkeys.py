"""The keys of a rotation: those of the one to finish, or new ones; key files are durable before they are used."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.errors import KeyMismatchError, KeyUnavailableError
from tenure.keys.base import Keyring, ServiceKey
from tenure.keys.local import PROVIDER, KeyFile, KeyKind, LocalKeyring, read_key_file, write_key_file
from tenure.keys.services import Keyrings, KeyServices, ServiceKeyring
from tenure.operations import retiring
from tenure.operations.installation import Installation
from tenure.repository.entries import EpochClear, Recipient
from tenure.repository.founding import recipient_of, service_key
from tenure.repository.repository import Repository
from tenure.repository.state import State

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
class NewKeys:
    """Whom `epoch` wraps for: key services, a reading key in a file, and the recovery key.

    `reader` is None where services alone read. `recovery` is None where no proof needs it any more and its file is
    elsewhere.
    """

    epoch: int
    services: tuple[ServiceKey, ...]
    reader: RecipientPrivate | None
    recovery: RecipientPrivate | None
    reader_file: Path
    recovery_file: Path

    def halves(self) -> list[tuple[str, Path, RecipientPrivate]]:
        """Return (role, file, key) of every private half that is here."""
        found = (("reader", self.reader_file, self.reader), ("recovery", self.recovery_file, self.recovery))
        return [(role, path, private) for role, path, private in found if private is not None]

    def recipients(self) -> tuple[Recipient, ...]:
        """Return whom the epoch's opening names."""
        local = (
            Recipient(role=role, provider=PROVIDER, key_id=k.key_id, public=k.public().raw)
            for role, _, k in self.halves()
        )
        return (*(recipient_of(key) for key in self.services), *local)

    def prover(self, services: KeyServices) -> Keyring:
        """Return what unwraps as each of them."""
        local = LocalKeyring([private for _, _, private in self.halves()])
        return Keyrings(keyrings=(local, ServiceKeyring(services=services))) if self.services else local


def new_keys(
    installation: Installation, repository: Repository, secrecy: Secrecy, handed: Path | None
) -> NewKeys:
    """Return the keys of the rotation to finish, or of a new one.

    Args:
        installation: Where.
        repository: Opened for reading.
        secrecy: How key files are read and written.
        handed: The new recovery key's file, where it is not in the key folder.

    Raises:
        KeyUnavailableError: Part of them is not at hand; nothing was written.
        KeyMismatchError: A key is not the one it must be; nothing was written.
    """
    state, opened = repository.refresh(), repository.epoch().opened
    unclosed = any(n < opened.epoch and e.state != "closed" for n, e in state.epochs.items())
    begun = (
        unclosed or bool(destroyable(installation, state, secrecy)) or retiring.is_due(installation, state)
    )
    epoch = opened.epoch if begun else max(state.epochs) + 1
    services = _of(opened) if begun else _fresh(installation, state)
    in_file = _reads_by_file(opened) if begun else installation.reader_in_file
    folder = installation.place.keys
    reader_file, recovery_file = folder / f"epoch-{epoch}.key", handed or folder / f"recovery-{epoch}.key"
    reader = _kept(installation, reader_file, KeyKind.READER, secrecy, make=not begun) if in_file else None
    recovery = _kept(installation, recovery_file, KeyKind.RECOVERY, secrecy, make=not (begun or handed))
    if reader is None and in_file:
        raise _lacking(epoch, reader_file, "put the key file back, then run `tenure keys rotate` again")
    if recovery is None and (handed or unclosed or not begun):
        raise _lacking(epoch, recovery_file, "name its file: `tenure keys rotate --recovery-key FILE`")
    keys = NewKeys(
        epoch=epoch,
        services=services,
        reader=reader,
        recovery=recovery,
        reader_file=reader_file,
        recovery_file=recovery_file,
    )
    _refuse_strangers(state, keys)
    return keys


def _of(opened: EpochClear) -> tuple[ServiceKey, ...]:
    return tuple(service_key(r) for r in opened.recipients if r.provider != PROVIDER)


def _reads_by_file(opened: EpochClear) -> bool:
    return any(r.role == "reader" and r.provider == PROVIDER for r in opened.recipients)


def _fresh(installation: Installation, state: State) -> tuple[ServiceKey, ...]:
    """Return a key of every service that new epochs wrap for; each has shown that it wraps and unwraps."""
    used = [key for epoch in state.epochs.values() for key in _of(epoch.opened)]
    services = installation.key_services
    return tuple(
        services.service(way).fresh([key for key in used if way.covers(key)])
        for way in services.ways
        if not way.leaving
    )


def _lacking(epoch: int, path: Path, hint: str) -> KeyUnavailableError:
    return KeyUnavailableError(
        f"the rotation to epoch {epoch} cannot go on: {path} is not here, and nothing was written", hint=hint
    )


def _refuse_strangers(state: State, keys: NewKeys) -> None:
    """Refuse private keys that are not the ones which the epoch wraps for, or that were another epoch's.

    A key of an older epoch must not come back: it would open new pages, and stay alive when the old epoch's is gone.
    """
    recipients = {n: {r.key_id for r in e.opened.recipients} for n, e in state.epochs.items()}
    mine = recipients.pop(keys.epoch, None)
    for _, path, private in keys.halves():
        if mine is not None and private.key_id not in mine:
            raise KeyMismatchError(
                f"{path} is no key of epoch {keys.epoch}, which is open: nothing was written",
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


def destroyable(installation: Installation, state: State, secrecy: Secrecy) -> list[Path]:
    """Return the key files here that belong to no epoch in use, whose epochs are closed."""
    ids = {True: set[bytes](), False: set[bytes]()}
    for epoch in state.epochs.values():
        ids[epoch.state == "closed"] |= {r.key_id for r in epoch.opened.recipients}
    old = ids[True] - ids[False]
    return [
        path for path, private in sorted(key_files(installation, secrecy).items()) if private.key_id in old
    ]


def key_files(installation: Installation, secrecy: Secrecy) -> dict[Path, RecipientPrivate]:
    """Return every reading and recovery key in the key folder."""
    found = {}
    for path in sorted(
        {*installation.place.keys.glob("epoch-*.key"), *installation.place.keys.glob("recovery*.key")}
    ):
        key = read(installation, path, secrecy)
        if key.kind in EVERY_KIND:
            found[path] = RecipientPrivate.from_raw(key.fields["private"])
    return found


def read(installation: Installation, path: Path, secrecy: Secrecy) -> KeyFile:
    """Return a key file of this installation's repository."""
    return read_key_file(path, passphrase=secrecy.asking(path), repository=installation.pins.repository.hex())
