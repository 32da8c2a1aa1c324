"""The repository as one thing: make it, open it, and hand out sessions and readers.

What a process may do follows from the keys it was given: a `Writer` takes snapshots and reads nothing back; an
unwrapper reads; the purge key orders. See docs/format.md, "Keys".
"""

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime

from tenure.crypto.hashing import random_bytes
from tenure.crypto.hpke import RecipientPublic
from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import (
    ConfigError,
    KeyMismatchError,
    LeasedError,
    ObjectNotFoundError,
    RepositoryNotFoundError,
    RollbackError,
    TamperedError,
)
from tenure.keys.base import Unwrapper, Wrapper
from tenure.keys.local import LocalRecipients
from tenure.objectstore.base import ObjectStore
from tenure.repository import bundles, marker
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.entries import Admit, Begin, Epoch, Recipient, Void
from tenure.repository.keystores import KeyStores
from tenure.repository.ledger import HeadMemory, Ledger, Trust
from tenure.repository.manifest import Manifest, parse_manifest
from tenure.repository.marker import Marker, Parameters
from tenure.repository.secrets import ReaderSecrets, SourceKeys, WriterSecrets
from tenure.repository.session import Session, SessionParts
from tenure.repository.snapshotreader import SnapshotReader
from tenure.repository.state import EpochState, SnapshotState, State

CLOCK_TOLERANCE_S = 300.0
"""How far behind the newest ledger entry the store's clock may be before nothing is done any more, in seconds."""


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


class Repository:
    """An opened repository. One instance belongs to one thread at a time; readers may use an executor."""

    def __init__(
        self, place: Place, found: Marker, trust: Trust, rights: Rights, secrets: ReaderSecrets | None
    ) -> None:
        self.place = place
        self.marker = found
        self.rights = rights
        self._trust = trust
        self._secrets = secrets
        self._keys: dict[bytes, SourceKeys] = {}
        self.ledger = Ledger(place.objects, trust, place.memory)

    @classmethod
    def open(cls, place: Place, pins: Pins, rights: Rights) -> "Repository":
        """Open a repository and read its ledger to the head.

        Raises:
            RepositoryNotFoundError: There is none.
            TamperedError: The marker or the ledger is not signed by the pinned purge key.
            RollbackError: An old state was put back, or the store's clock went backwards.
            KeyMismatchError: The keys are another repository's.
        """
        found = marker.read(place.objects, trust=pins.purge_key)
        if found.repository_id != pins.repository:
            raise TamperedError(
                "this is another repository than the one pinned in the configuration",
                hint="check `repository` in tenure.yaml; if somebody put another marker there, tell security",
            )
        secrets, ledger_secret = None, b""
        if rights.unwrapper is not None:
            secrets = bundles.reader_secrets(
                place.objects, repository=pins.repository, unwrapper=rights.unwrapper
            )
            ledger_secret = secrets.ledger
        elif rights.writers:
            ledger_secret = next(iter(rights.writers.values())).ledger_secret
        else:
            raise ConfigError("no key was given: neither a reading key nor a writer's key")
        trust = Trust(
            repository=pins.repository,
            purge_key=pins.purge_key,
            least_epoch=pins.least_epoch,
            ledger_secret=ledger_secret,
        )
        repository = cls(place, found, trust, rights, secrets)
        repository.refresh()
        return repository

    @property
    def id(self) -> bytes:
        """Return the repository id, 16 bytes."""
        return self._trust.repository

    @property
    def state(self) -> State:
        """Return the state as last read."""
        return self.ledger.state

    def refresh(self) -> State:
        """Read the ledger to its head.

        Raises:
            RollbackError: An old state was put back, or the store's clock went backwards.
        """
        state = self.ledger.refresh()
        now = self.place.objects.now().timestamp()
        if now < state.at - CLOCK_TOLERANCE_S:
            raise RollbackError(
                f"the store's clock is {state.at - now:.0f} seconds behind the newest ledger entry: it went backwards",
                hint="correct the clock of the store (for a folder, of this machine), then run the command again",
            )
        return state

    @property
    def secrets(self) -> ReaderSecrets:
        """Return what readers know.

        Raises:
            KeyMismatchError: This process was given no reading key.
        """
        if self._secrets is None:
            raise KeyMismatchError(
                "this needs the reading key, which this process was not given",
                hint="run it where `keys.reader` names the reading key file",
            )
        return self._secrets

    @property
    def unwrapper(self) -> Unwrapper:
        """Return what unwraps.

        Raises:
            KeyMismatchError: This process was given no reading key.
        """
        if self.rights.unwrapper is None:
            raise KeyMismatchError("this needs the reading key, which this process was not given")
        return self.rights.unwrapper

    @property
    def purge_key(self) -> SigningKey:
        """Return the purge key.

        Raises:
            KeyMismatchError: This process was not given it.
        """
        if self.rights.purge is None:
            raise KeyMismatchError(
                "this needs the purge key, which this process was not given",
                hint="run it where `keys.purge` names the purge key file",
            )
        return self.rights.purge

    def epoch(self) -> EpochState:
        """Return the open epoch."""
        return self.state.open_epoch()

    def wrapper(self) -> Wrapper:
        """Return what wraps for the open epoch."""
        return wrapper_for(self.epoch().opened.recipients)

    def keys_of(self, writer: bytes) -> SourceKeys:
        """Return the derived keys of one writer generation.

        Raises:
            KeyMismatchError: This process knows no such writer's secret.
        """
        found = self._keys.get(writer)
        if found is None:
            known = [w.secrets for w in self.rights.writers.values()]
            known += self._secrets.writers if self._secrets is not None else ()
            match = [s for s in known if s.writer == writer]
            if not match:
                raise KeyMismatchError("this process was not given the secret of the writer that made this")
            found = self._keys[writer] = SourceKeys(match[0])
        return found

    def admit(self, source: str) -> Writer:
        """Admit a writer for a source and return its rights, to be written into its key file.

        Raises:
            ConfigError: The source has a writer already.
        """
        if any(w.source == source and not w.removed for w in self.refresh().writers.values()):
            raise ConfigError(f"source {source!r} has a writer already")
        secrets, key = WriterSecrets.generate(source), SigningKey.generate()
        clear = bundles.admit_clear(secrets, key.public().raw, repository=self.id, wrapper=self.wrapper())
        self.ledger.append(Admit(writer=secrets.writer, source=source), self.purge_key, clear=clear)
        if self._secrets is not None:
            self._secrets = ReaderSecrets(
                ledger=self._secrets.ledger,
                fingerprint=self._secrets.fingerprint,
                writers=(*self._secrets.writers, secrets),
            )
        return Writer(secrets=secrets, ledger_secret=self._trust.ledger_secret, key=key)

    def chunk_reader(self, keys: SourceKeys, *, as_of: int = 0) -> ChunkReader:
        """Return a reader of a source's chunks at the ledger's head; `as_of` as in `ChunkReader`."""
        return ChunkReader(
            objects=self.place.objects,
            key_stores=self.place.key_stores,
            keys=keys,
            repository=self.id,
            state=self.state,
            unwrapper=self.rights.unwrapper,
            as_of=as_of,
        )

    def manifest(self, snapshot: SnapshotState) -> Manifest:
        """Return a snapshot's manifest, checked against the ledger and its writer's signature.

        Raises:
            IntegrityError: Missing, damaged or forged.
        """
        entry = snapshot.entry
        try:
            raw = self.place.objects.get(entry.manifest)
        except ObjectNotFoundError as e:
            raise TamperedError(f"the manifest of snapshot {snapshot.number} is missing") from e
        found = parse_manifest(raw, name=entry.manifest)
        if found.hash != entry.manifest_hash:
            raise TamperedError(
                f"the manifest of snapshot {snapshot.number} is not the one that was committed"
            )
        writer = VerifyKey(self.state.writers[entry.writer.hex()].admitted.public)
        return found.open(self.keys_of(entry.writer), writer)

    def snapshot(self, number: int) -> SnapshotState:
        """Return a live snapshot.

        Raises:
            RepositoryNotFoundError: There is none of this number.
        """
        found = self.state.snapshots.get(number)
        if found is None:
            raise RepositoryNotFoundError(
                f"there is no snapshot {number}", hint="`tenure snapshots` lists them by number"
            )
        return found

    def read(self, number: int, executor: Executor) -> SnapshotReader:
        """Open a snapshot for reading."""
        snapshot = self.snapshot(number)
        chunks = self.chunk_reader(self.keys_of(snapshot.entry.writer), as_of=number)
        return SnapshotReader(snapshot, self.manifest(snapshot), chunks, executor)

    def begin(self, source: str, executor: Executor, *, expires: int, alone: bool = False) -> Session:
        """Begin a session that may last `expires` seconds.

        `alone`: the caller holds this source's lock, so an older session is a dead process's and is voided.

        Raises:
            LeasedError: Another session of this source is under way.
            ConfigError: This process has no writer's key for the source.
        """
        writer = self.rights.writers.get(source)
        if writer is None:
            raise ConfigError(
                f"there is no writer's key for source {source!r}", hint="see `keys.writers` in tenure.yaml"
            )
        state = self.refresh()
        now = self.place.objects.now().timestamp()
        for session_id, session in list(state.sessions.items()):
            if session.source != source or session.lapsed(now):
                continue
            if not alone:
                raise LeasedError(
                    f"source {source!r} is being snapshotted by another run (session {session_id[:8]})"
                )
            void = Void(
                session=bytes.fromhex(session_id), writer=writer.secrets.writer, reason="its process is dead"
            )
            state = self.ledger.append(void, writer.key)
        return self._begin(writer, executor, expires)

    def _begin(self, writer: Writer, executor: Executor, expires: int) -> Session:
        source, state = writer.secrets.source, self.state
        mine = [s for s in state.snapshots_of(source) if s.entry.writer == writer.secrets.writer]
        base = mine[-1] if mine else None
        entry = Begin(
            session=random_bytes(16),
            writer=writer.secrets.writer,
            source=source,
            base=base.number if base else 0,
            expires=expires,
        )
        number = self.ledger.append(entry, writer.key).number
        keys = self.keys_of(writer.secrets.writer)
        parts = SessionParts(
            objects=self.place.objects,
            key_stores=self.place.key_stores,
            ledger=self.ledger,
            keys=keys,
            key=writer.key,
            repository=self.id,
            wrapper=self.wrapper(),
            epoch=self.epoch().opened.epoch,
            parameters=self.marker.parameters,
            executor=executor,
            reader=self.chunk_reader(keys, as_of=base.number if base else 0),
            base=self.manifest(base) if base else None,
        )
        return Session(parts, entry, number)
