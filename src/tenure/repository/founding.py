"""What a repository is made of and opened with: rights, pins, places; and how one is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tenure.crypto.hashing import random_bytes
from tenure.crypto.hpke import RecipientPublic
from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import KeyMismatchError
from tenure.keys.base import Unwrapper, Wrapper
from tenure.keys.local import LocalRecipients
from tenure.objectstore.base import ObjectStore
from tenure.repository import bundles, marker
from tenure.repository.entries import Epoch, Recipient
from tenure.repository.keystores import KeyStores
from tenure.repository.ledger import HeadMemory, Ledger, Trust
from tenure.repository.marker import Marker, Parameters
from tenure.repository.secrets import ReaderSecrets, WriterSecrets


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
    """Where a repository lies, and where this process remembers how far it has seen it."""

    objects: ObjectStore
    key_stores: KeyStores
    memory: HeadMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What `create` needs to know."""

    purge: SigningKey
    recipients: tuple[Recipient, ...]
    created: datetime
    one_person: bool
    parameters: Parameters


def wrapper_for(recipients: tuple[Recipient, ...]) -> Wrapper:
    """Return what wraps for an epoch's recipients.

    Raises:
        KeyMismatchError: A recipient of a provider this version does not know.
    """
    unknown = {r.provider for r in recipients} - {"local"}
    if unknown:
        raise KeyMismatchError(
            f"the epoch wraps for a provider this version does not know: {', '.join(sorted(unknown))}"
        )
    return LocalRecipients([RecipientPublic(r.public) for r in recipients])


def create(place: Place, founding: Founding) -> tuple[Marker, ReaderSecrets]:
    """Make a repository: the marker, then the opening of epoch 1.

    Raises:
        PreconditionFailedError: There is one already.
    """
    found = Marker(
        format=marker.FORMAT,
        repository=random_bytes(16).hex(),
        created=founding.created,
        purge_key=founding.purge.public().raw.hex(),
        one_person=founding.one_person,
        key_stores=len(place.key_stores.stores),
        parameters=founding.parameters,
    )
    marker.write(place.objects, found, founding.purge)
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
    ledger.append(Epoch(epoch=1, state="open"), founding.purge, clear=clear)
    return found, secrets
