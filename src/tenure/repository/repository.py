"""The repository as one thing: make it, open it, and hand out sessions and readers.

What a process may do follows from the keys it was given: a `Writer` takes snapshots and reads nothing back; an
unwrapper reads; the purge key orders. See docs/format.md, "Keys".
"""

from concurrent.futures import Executor
from dataclasses import replace

from tenure.crypto.hashing import content_hash, random_bytes
from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import (
    ConfigError,
    IntegrityError,
    KeyMismatchError,
    LeasedError,
    ObjectNotFoundError,
    RepositoryNotFoundError,
    RollbackError,
    TamperedError,
    TruncatedError,
    UnsupportedFormatError,
)
from tenure.keys.base import Unwrapper, Wrapper
from tenure.repository import bundles, marker
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.entries import Admit, Begin, Remove, Void
from tenure.repository.entryobjects import EntryObjects
from tenure.repository.founding import Founding, Pins, Place, Rights, Writer, create, wrapper_for
from tenure.repository.kept import Kept
from tenure.repository.keystores import PageSource
from tenure.repository.ledger import Ledger, Trust
from tenure.repository.manifest import Manifest, parse_manifest
from tenure.repository.marker import Marker
from tenure.repository.secrets import ReaderSecrets, SourceKeys, WriterSecrets
from tenure.repository.session import Session, SessionParts
from tenure.repository.snapshotreader import SnapshotReader
from tenure.repository.state import EpochState, SnapshotState, State
from tenure.repository.voids import MOST_SESSION_S

__all__ = [
    "CLOCK_TOLERANCE_S",
    "Founding",
    "Pins",
    "Place",
    "Repository",
    "Rights",
    "Writer",
    "create",
    "wrapper_for",
]

CLOCK_TOLERANCE_S = 300.0
"""How far behind the newest ledger entry the store's clock may be before nothing is done any more, in seconds."""


class Repository:
    """An opened repository. One instance belongs to one thread at a time; readers may use an executor."""

    def __init__(
        self,
        place: Place,
        found: Marker,
        trust: Trust,
        rights: Rights,
        *,
        secrets: ReaderSecrets | None,
        entries: EntryObjects,
    ) -> None:
        self.place = place
        self.marker = found
        self.rights = rights
        self._trust = trust
        self._secrets = secrets
        self._keys: dict[bytes, SourceKeys] = {}
        self.kept = Kept()
        self.ledger = Ledger(place.objects, trust, place.memory, entries)

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
        entries = EntryObjects(place.objects, place.memory)
        if rights.unwrapper is not None:
            secrets = bundles.reader_secrets(
                entries,
                repository=pins.repository,
                unwrapper=rights.unwrapper,
                purge_key=pins.purge_key,
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
        repository = cls(place, found, trust, rights, secrets=secrets, entries=entries)
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
        return wrapper_for(self.epoch().opened.recipients, self.rights.services)

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
            KeyMismatchError: It had one before, and this process has no reading key.
        """
        if any(w.source == source and not w.removed for w in self.refresh().writers.values()):
            raise ConfigError(f"source {source!r} has a writer already")
        had = any(w.source == source for w in self.state.writers.values())
        # Its cohorts keep their tags, which forgetting goes by.
        secrets = self.secrets.generation_of(source) if had else WriterSecrets.generate(source)
        key = SigningKey.generate()
        clear = bundles.admit_clear(secrets, key.public().raw, repository=self.id, wrapper=self.wrapper())
        self.ledger.append(Admit(writer=secrets.writer, source=source), self.purge_key, clear=clear)
        if self._secrets is not None:
            self._secrets = replace(self._secrets, writers=(*self._secrets.writers, secrets))
        return Writer(secrets=secrets, ledger_secret=self._trust.ledger_secret, key=key)

    def remove(self, source: str, reason: str) -> None:
        """Take away a source's writer: what it signs from now on counts for nothing; its snapshots stay.

        Raises:
            ConfigError: The source has no writer.
        """
        for writer_id, writer in self.refresh().writers.items():
            if writer.source == source and not writer.removed:
                body = Remove(writer=bytes.fromhex(writer_id), reason=reason)
                self.ledger.append(body, self.purge_key)
                return
        raise ConfigError(f"source {source!r} has no writer to remove")

    def structure_reader(self, keys: SourceKeys) -> ChunkReader:
        """Return a reader of a source's structure and indexes, which opens no page key."""
        return ChunkReader(
            objects=self.place.objects,
            key_stores=self.place.key_stores,
            keys=keys,
            repository=self.id,
            state=self.state,
            unwrapper=None,
            readers=self.place.readers,
        )

    def chunk_reader(
        self, keys: SourceKeys, *, as_of: int = 0, pages: PageSource | None = None, keeps: bool = False
    ) -> ChunkReader:
        """Return a reader of a source's chunks at the ledger's head; `as_of` as in `ChunkReader`.

        `pages`: where key pages are read, None: in the key stores; `keeps`: what is read is kept for the next reader.
        """
        return ChunkReader(
            objects=self.place.objects,
            key_stores=pages or self.place.key_stores,
            keys=keys,
            repository=self.id,
            state=self.state,
            unwrapper=self.rights.unwrapper,
            as_of=as_of,
            refresh=self.refresh,
            kept=self.kept if keeps else None,
            readers=None if pages else self.place.readers,  # pages that are at hand belong to one thread
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
            raise IntegrityError(
                f"{entry.manifest}, the manifest of snapshot {snapshot.number}, is missing"
            ) from e
        if content_hash(raw) != entry.manifest_hash:
            raise _what_is_wrong(raw, entry.manifest)(
                f"{entry.manifest}, the manifest of snapshot {snapshot.number}, is not the one that was committed"
            )
        found = parse_manifest(raw, name=entry.manifest)
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
        return SnapshotReader(snapshot, self.manifest(snapshot), chunks, executor, self.place.readers)

    def begin(self, source: str, executor: Executor, *, expires: int, alone: bool = False) -> Session:
        """Begin a session that may last `expires` seconds.

        `alone`: the caller holds this source's lock, so an older session is a dead process's and is voided.

        Raises:
            LeasedError: Another session of this source is under way.
            ObjectStoreError: A key store is not there.
            ConfigError: This process has no writer's key for the source, or `expires` is too long.
        """
        writer = self.rights.writers.get(source)
        if writer is None:
            raise ConfigError(
                f"there is no writer's key for source {source!r}", hint="see `keys.writers` in tenure.yaml"
            )
        if not 1 <= expires <= MOST_SESSION_S:
            raise ConfigError(f"a session lasts 1 to {MOST_SESSION_S} seconds, not {expires}")
        self.place.key_stores.require_all()
        state = self.refresh()
        now = self.place.objects.now().timestamp()
        for session_id, session in list(state.sessions.items()):
            if session.source != source:
                continue
            if not alone and not session.lapsed(now):
                raise LeasedError(
                    f"source {source!r} is being snapshotted by another run (session {session_id[:8]})"
                )
            void = Void(
                session=bytes.fromhex(session_id), writer=writer.secrets.writer, reason="its process is dead"
            )
            state = self.ledger.append(void, writer.key)
        return self._begin(writer, executor, expires)

    def _begin(self, writer: Writer, executor: Executor, expires: int) -> Session:
        keys = self.keys_of(writer.secrets.writer)
        base = self._base(writer)
        entry = Begin(
            session=random_bytes(16),
            writer=writer.secrets.writer,
            source=writer.secrets.source,
            base=base[0].number if base else 0,
            expires=expires,
        )
        state = self.ledger.append(entry, writer.key)
        if entry.session.hex() not in state.sessions:
            raise LeasedError(
                f"the ledger passed over this session: {state.refused.get(state.number, 'no reason given')}",
                hint="`tenure keys status` says whether this writer was removed",
            )
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
            until=self.place.until,
            executor=executor,
            reader=self.chunk_reader(keys, as_of=base[0].number if base else 0),
            base=base,
            cache=self.place.cache and self.place.cache / f"{keys.writer.hex()}.nodes",
        )
        return Session(parts, entry, state.number)

    def _base(self, writer: Writer) -> tuple[SnapshotState, Manifest] | None:
        """Return the newest of the writer's snapshots; none where its manifest is damaged: the next is whole then."""
        found = self.state.snapshots_of(writer.secrets.source)
        mine = [s for s in found if s.entry.writer == writer.secrets.writer]
        try:
            return (mine[-1], self.manifest(mine[-1])) if mine else None
        except IntegrityError:
            return None


def _what_is_wrong(raw: bytes, name: str) -> type[IntegrityError]:
    try:
        parse_manifest(raw, name=name)
    except TruncatedError:
        return TruncatedError
    except (IntegrityError, UnsupportedFormatError):
        return TamperedError
    return TamperedError
