"""What a repository is made of and opened with: rights, pins, places; and how one is made."""

from collections.abc import Collection, Hashable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from tenure.crypto.hashing import random_bytes
from tenure.crypto.hpke import RecipientPublic
from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import KeyMismatchError, PreconditionFailedError, TamperedError
from tenure.keys.base import ServiceKey, Unwrapper, Wrapper
from tenure.keys.local import PROVIDER, LocalRecipients
from tenure.keys.services import NO_SERVICES, KeyServices, ServiceRecipients, Together
from tenure.objectstore.base import ObjectStore
from tenure.repository import bundles, marker, names
from tenure.repository.entries import Epoch, EpochClear, Recipient
from tenure.repository.entryobjects import HeadMemory, numbered
from tenure.repository.envelope import parse
from tenure.repository.keystores import KeyStores
from tenure.repository.ledger import Ledger, Trust
from tenure.repository.locks import NONE, LockPolicy, data_sets_of
from tenure.repository.marker import Marker, Parameters
from tenure.repository.secrets import ReaderSecrets, WriterSecrets
from tenure.repository.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """The right to add snapshots of one source."""

    secrets: WriterSecrets
    ledger_secret: bytes = field(repr=False)
    key: SigningKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a process was given. A writer-only process has neither unwrapper nor purge key.

    `services`: ways to key services, which wrap for whoever writes; who may unwrap there is theirs to say.
    """

    writers: Mapping[str, Writer] = field(default_factory=dict)
    unwrapper: Unwrapper | None = None
    purge: SigningKey | None = None
    services: KeyServices = NO_SERVICES


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Whom this process trusts, from its own configuration."""

    repository: bytes
    purge_key: VerifyKey
    least_epoch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a repository lies, and where this process remembers how far it has seen it.

    `locks`: for how long what is put there is locked; the stores do that by themselves where data sets do not differ.
    `shred`: for how long key stores keep old versions of what is deleted; they end them by themselves.
    `readers`: ask for many ranges at once, where the stores are across a network (`readahead`).
    `cache`: folder of what snapshots read before (`structurecache`); None keeps nothing.
    """

    objects: ObjectStore
    key_stores: KeyStores
    memory: HeadMemory
    locks: LockPolicy = NONE
    shred: timedelta = timedelta(0)
    readers: Executor | None = None
    cache: Path | None = None

    def until(self, groups: Collection[Hashable]) -> datetime | None:
        """Return when the lock of a new pack with chunks of these groups ends; None: as the store does by itself."""
        if not self.locks.data_sets:
            return None
        return self.locks.until(data_sets_of(groups), self.objects.now())


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What `create` needs to know. `repository`: the id it gets, 16 bytes; drawn here where nobody says which.

    `found`: see `Marker`.
    """

    purge: SigningKey
    recipients: tuple[Recipient, ...]
    created: datetime
    one_person: bool
    parameters: Parameters
    found: Mapping[str, dict[str, str]] = field(default_factory=dict)
    services: KeyServices = NO_SERVICES
    repository: bytes = field(default_factory=lambda: random_bytes(16))


PROVIDERS = {PROVIDER, "awskms", "vault"}
"""Whom this version wraps for."""


def wrapper_for(recipients: tuple[Recipient, ...], services: KeyServices = NO_SERVICES) -> Wrapper:
    """Return what wraps for an epoch's recipients; `services`: the ways to those of them that are key services.

    Raises:
        KeyMismatchError: A recipient of a provider this version does not know, one without a usable key, or a key
            service that nobody told the way to.
    """
    unknown = {r.provider for r in recipients} - PROVIDERS
    if unknown:
        raise KeyMismatchError(
            f"the epoch wraps for a provider this version does not know: {', '.join(sorted(unknown))}"
        )
    if len({r.key_id for r in recipients}) != len(recipients):
        raise KeyMismatchError("the epoch wraps for somebody twice")
    there = [service_key(r) for r in recipients if r.provider != PROVIDER]
    here = [r for r in recipients if r.provider == PROVIDER]
    try:
        local = LocalRecipients([RecipientPublic(r.public) for r in here])
    except ValueError as e:
        raise KeyMismatchError(
            "the epoch wraps for no local key, for somebody twice, or for what is no public key"
        ) from e
    return Together(wrappers=(local, ServiceRecipients(there, services))) if there else local


def service_key(recipient: Recipient) -> ServiceKey:
    """Return the key of a service that an epoch wraps for.

    Raises:
        KeyMismatchError: Its id is not that of its address.
    """
    try:
        key = ServiceKey(provider=recipient.provider, address=recipient.public.decode("utf-8"))
    except UnicodeDecodeError as e:
        raise KeyMismatchError(f"the epoch wraps for a {recipient.provider} key without an address") from e
    if key.key_id != recipient.key_id:
        raise KeyMismatchError(f"the epoch wraps for {key} under an id that is not its own")
    return key


def recipient_of(key: ServiceKey) -> Recipient:
    """Return a reader that is a key of a service."""
    return Recipient(role="reader", provider=key.provider, key_id=key.key_id, public=key.address.encode())


def create(place: Place, founding: Founding) -> Marker:
    """Make a repository: the marker, then the opening of epoch 1.

    Where a run with the same purge key died in between, or just after, this completes what it began, under the
    repository id that its marker says. Such a run stored nothing that anybody could have used.

    Raises:
        PreconditionFailedError: There is one already: in use, or another purge key's. Nothing was changed.
    """
    found = _marked(place.objects, founding, len(place.key_stores.stores))
    if _is_open(place.objects, founding):
        return found
    secrets = ReaderSecrets(ledger=random_bytes(32), fingerprint=random_bytes(32))
    trust = Trust(
        repository=found.repository_id, purge_key=founding.purge.public(), ledger_secret=secrets.ledger
    )
    clear = bundles.epoch_clear(
        secrets,
        repository=found.repository_id,
        epoch=1,
        recipients=founding.recipients,
        wrapper=wrapper_for(founding.recipients, founding.services),
    )
    ledger = Ledger(place.objects, trust, place.memory)
    ledger.append(Epoch(epoch=1, state="open"), founding.purge, clear=clear, check=_refuse_a_second)
    return found


def _marked(objects: ObjectStore, founding: Founding, key_stores: int) -> Marker:
    """Put the marker, or return the one that an earlier run with this purge key put."""
    wanted = Marker(
        format=marker.FORMAT,
        repository=founding.repository.hex(),
        created=founding.created,
        purge_key=founding.purge.public().raw.hex(),
        one_person=founding.one_person,
        key_stores=key_stores,
        parameters=founding.parameters,
        found=dict(founding.found),
    )
    try:
        marker.write(objects, wanted, founding.purge)
    except PreconditionFailedError:
        try:
            return marker.read(objects, trust=founding.purge.public())
        except TamperedError as e:
            hint = "choose another place, or open it with its own keys"
            if next(numbered(objects), None) is None:
                hint = f"nothing was ever stored in it: remove {names.MARKER} from the object store, then run this again"
            raise PreconditionFailedError(
                f"there is a {names.MARKER} already, signed by another purge key", hint=hint
            ) from e
    return wanted


def _is_open(objects: ObjectStore, founding: Founding) -> bool:
    """Whether an earlier run opened epoch 1 for these recipients, after which nothing happened yet."""
    numbers = [number for number, _ in numbered(objects)]
    if not numbers:
        return False
    if numbers == [1]:
        entry = parse(objects.get(names.ledger_entry(1)), number=1)
        entry.verify(founding.purge.public())
        clear = entry.header.clear
        if isinstance(clear, EpochClear) and clear.recipients == founding.recipients:
            return True
    raise PreconditionFailedError(
        "there is a repository already, and it is in use",
        hint="choose another place, or put its tenure.yaml back",
    )


def _refuse_a_second(state: State) -> None:
    if state.number:
        raise PreconditionFailedError("another process is making a repository here; nothing was changed")
