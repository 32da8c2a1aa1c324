"""What a repository is made of and opened with: rights, pins, places; and how one is made."""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tenure.crypto.hashing import random_bytes
from tenure.crypto.hpke import RecipientPublic
from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import KeyMismatchError, PreconditionFailedError, TamperedError
from tenure.keys.base import Unwrapper, Wrapper
from tenure.keys.local import LocalRecipients
from tenure.objectstore.base import ObjectStore
from tenure.repository import bundles, marker, names
from tenure.repository.entries import Epoch, EpochClear, Recipient
from tenure.repository.envelope import parse
from tenure.repository.keystores import KeyStores
from tenure.repository.ledger import HeadMemory, Ledger, Trust, numbered
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
    """What a process was given. A writer-only process has neither unwrapper nor purge key."""

    writers: Mapping[str, Writer] = field(default_factory=dict)
    unwrapper: Unwrapper | None = None
    purge: SigningKey | None = None


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
    """

    objects: ObjectStore
    key_stores: KeyStores
    memory: HeadMemory
    locks: LockPolicy = NONE
    shred: timedelta = timedelta(0)

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
    repository: bytes = field(default_factory=lambda: random_bytes(16))


def wrapper_for(recipients: tuple[Recipient, ...]) -> Wrapper:
    """Return what wraps for an epoch's recipients.

    Raises:
        KeyMismatchError: A recipient of a provider this version does not know, or one without a usable key.
    """
    unknown = {r.provider for r in recipients} - {"local"}
    if unknown:
        raise KeyMismatchError(
            f"the epoch wraps for a provider this version does not know: {', '.join(sorted(unknown))}"
        )
    try:
        return LocalRecipients([RecipientPublic(r.public) for r in recipients])
    except ValueError as e:
        raise KeyMismatchError(
            "the epoch wraps for nobody, for somebody twice, or for what is no public key"
        ) from e


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
        wrapper=wrapper_for(founding.recipients),
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
