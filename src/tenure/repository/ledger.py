"""The ledger: one signed, ordered list. Whoever puts the next number has committed.

Reading verifies every entry: its place in the chain, its signature, and that its signer may say this. A writer may
begin, commit and void; only the purge key, pinned in every process's configuration, may say anything else.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import (
    PreconditionFailedError,
    RollbackError,
    TamperedError,
    TruncatedError,
)
from tenure.objectstore.base import ObjectInfo, ObjectStore
from tenure.repository import envelope, names, wire
from tenure.repository.entries import (
    BY_WRITERS,
    Begin,
    Body,
    Checkpoint,
    CheckpointClear,
    Clear,
    Snapshot,
    Void,
)
from tenure.repository.entryobjects import EntryObjects, HeadMemory, numbered
from tenure.repository.envelope import Envelope
from tenure.repository.replay import apply
from tenure.repository.state import State

CHECKPOINT_EVERY = 250
"""Entries between checkpoints (docs/format.md, "Ledger")."""


CLAIM_TOLERANCE_S = 300.0
"""How far ahead of its object's time a writer's entry may say it was made, in seconds: clocks differ a little."""


_MANIFEST = re.compile(names.MANIFESTS + "[0-9]{20}-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom a process believes: pinned in its own configuration, never taken from the repository."""

    repository: bytes
    purge_key: VerifyKey
    least_epoch: int = 1
    ledger_secret: bytes = field(repr=False, default=b"")


def envelopes(store: ObjectStore) -> Iterator[tuple[ObjectInfo, Envelope]]:
    """Yield every entry, taken apart and its hash chain checked; signatures and bodies are the caller's business.

    Raises:
        TamperedError: The chain is broken, or a number is missing.
    """
    previous, expected = bytes(32), 1
    for number, info in numbered(store):
        if number != expected:
            raise TamperedError(
                f"ledger entry {expected} is missing; the ledger goes on with number {number}"
            )
        entry = envelope.parse(store.get(info.name), number=number)
        if entry.header.previous != previous:
            raise TamperedError(
                f"ledger entry {number} does not follow on entry {number - 1}: one of them was exchanged"
            )
        yield info, entry
        previous, expected = entry.hash, number + 1


class Ledger:
    """Reads and appends. One instance belongs to one thread at a time."""

    def __init__(
        self, store: ObjectStore, trust: Trust, memory: HeadMemory, objects: EntryObjects | None = None
    ) -> None:
        """Take where it lies; `objects`: what was read of it already."""
        self._store = store
        self._objects = objects or EntryObjects(store, memory)
        self._trust = trust
        self._memory = memory
        self._state = State()
        self._listed = 0
        self._read_any = False

    @property
    def state(self) -> State:
        """Return the state as last read; `refresh` reads on."""
        return self._state

    def refresh(self) -> State:
        """Read what was added since, and return the state.

        Raises:
            TamperedError: An entry is forged, missing, or not its signer's to say.
            RollbackError: The ledger is shorter than, or differs from, what was last seen.
        """
        if not self._read_any:
            self._start()
        while (found := self._objects.take(self._state.number + 1)) is not None:
            self._take(*found)
        if self._state.number < self._listed:
            raise TamperedError(
                f"ledger entry {self._state.number + 1} is missing, and entry {self._listed} is there",
                hint="restore the object from a version; nothing is written until it is back",
            )
        self._check_rollback()
        return self._state

    def append(
        self,
        body: Body,
        key: SigningKey,
        *,
        clear: Clear = None,
        check: Callable[[State], None] | None = None,
    ) -> State:
        """Commit an entry at the next free number and return the state after it.

        `check` is called with the newest state before each try, and raises where the entry may no longer be made.
        Under the purge key a checkpoint may follow; then the state is the one after that.
        """
        self._append(body, key, clear, check)
        if key.key_id == self._trust.purge_key.key_id and self.checkpoint_due():
            self.checkpoint(key)
        return self._state

    def checkpoint_due(self) -> bool:
        """Whether the purger should append a checkpoint; `append` does it by itself under the purge key."""
        return self._state.number - self._state.checkpoint >= CHECKPOINT_EVERY

    def checkpoint(self, key: SigningKey) -> State:
        """Append a checkpoint, so that nobody has to read what came before it."""
        while True:
            state = self.refresh()
            clear = CheckpointClear(
                epochs=tuple(s.opened for _, s in sorted(state.epochs.items()) if s.state != "closed"),
                admits=tuple(w.admitted for _, w in sorted(state.writers.items())),
            )
            number, body = state.number, Checkpoint(state=wire.encode(state))
            try:
                self._append(body, key, clear, partial(_only_if_at, number))
            except _MovedOnError:
                continue
            return self._state

    def _append(
        self, body: Body, key: SigningKey, clear: Clear, check: Callable[[State], None] | None
    ) -> None:
        while True:
            state = self.refresh()
            if check is not None:
                check(state)
            name = names.ledger_entry(state.number + 1)
            raw = envelope.make(
                body,
                repository=self._trust.repository,
                number=state.number + 1,
                previous=state.hash,
                checkpoint=state.checkpoint,
                at=max(state.at, self._store.now().timestamp()),
                ledger_secret=self._trust.ledger_secret,
                key=key,
                clear=clear,
            )
            try:
                info = self._store.put(name, raw)
            except PreconditionFailedError:
                # Lost the race, or our own put was answered with an error after it had worked.
                if self._store.get(name) != raw:
                    continue
                info = self._store.stat(name)
            self._take(raw, info)
            self._memory.store(self._state.number, self._state.hash)
            return

    def _start(self) -> None:
        """Find the newest checkpoint, which the newest entry names, and begin there.

        Whoever signed the newest entry may lie about it; then the ledger is read from its start, or from an older
        checkpoint, which the purge key did sign.
        """
        self._read_any = True
        self._listed = self._objects.newest()
        if not self._listed:
            return
        number = envelope.parse(self._objects.raw(self._listed), number=self._listed).header.checkpoint
        if not 0 < number < self._listed:
            return
        entry = envelope.parse(self._objects.raw(number), number=number)
        purge = self._trust.purge_key
        if (entry.header.signer, entry.header.repository) != (purge.key_id, self._trust.repository):
            return
        entry.verify(purge)
        body = entry.open(self._trust.ledger_secret)
        if isinstance(body, Checkpoint):
            self._state = wire.decode(body.state, State, what=f"checkpoint {number}")
            self._state.number, self._state.hash, self._state.checkpoint = number, entry.hash, number
            self._state.at = max(self._state.at, entry.header.at)

    def _take(self, raw: bytes, info: ObjectInfo) -> None:
        number = self._state.number + 1
        entry = envelope.parse(raw, number=number)
        if entry.header.repository != self._trust.repository:
            raise TamperedError(f"ledger entry {number} belongs to another repository")
        if entry.header.previous != self._state.hash:
            raise TamperedError(
                f"ledger entry {number} does not follow on entry {number - 1}: one of them was exchanged"
            )
        seen = self._memory.load()
        if seen is not None and seen[0] == number and seen[1] != entry.hash:
            raise RollbackError(
                f"ledger entry {number} is not the one that was seen here before: it was exchanged"
            )
        body, refusal = self._body(entry)
        # Never before the entry before it: whoever signs cannot claim an earlier time than is settled.
        at = max(self._state.at, min(entry.header.at, self._latest(entry, info)))
        if body is None:
            self._state.refused[number] = refusal
        else:
            apply(self._state, body, entry.header.clear, number=number, at=at)
        self._state.number, self._state.hash = number, entry.hash
        self._state.at = at

    def _latest(self, entry: Envelope, info: ObjectInfo) -> float:
        """Return the latest time an entry may claim.

        A stolen writer that claimed a time in the future would stop everybody whose clock is right, so a writer's
        entry is of the time its object has at the latest; a copy of a repository only has later ones. The purge
        key is believed: no store may move a hold or a forgetting by what it says of an object.
        """
        if entry.header.signer == self._trust.purge_key.key_id:
            return entry.header.at
        return info.modified.timestamp() + CLAIM_TOLERANCE_S

    def _body(self, entry: Envelope) -> tuple[Body | None, str]:
        """Return what an entry says, or None and why it counts for nothing.

        An entry that a known writer did sign but may not say is passed over: a stolen writer key orders nothing,
        and does not stop the ledger for the others either. A signature of nobody we know may as well be damage to
        an honest entry, a hold perhaps, so that stops everything.
        """
        if entry.header.signer == self._trust.purge_key.key_id:
            entry.verify(self._trust.purge_key)
            return entry.open(self._trust.ledger_secret), ""
        for writer_id, writer in self._state.writers.items():
            key = VerifyKey(writer.admitted.public)
            if key.key_id != entry.header.signer:
                continue
            entry.verify(key)
            try:
                body = entry.open(self._trust.ledger_secret)
            except (TamperedError, TruncatedError):
                return None, f"the writer of {writer.source!r} signed what does not open"
            if not isinstance(body, BY_WRITERS) or body.writer.hex() != writer_id:
                return None, f"the writer of {writer.source!r} signed what only the purge key may say"
            if not _is_possible(body):
                return None, f"the writer of {writer.source!r} signed values that no entry has"
            if writer.removed:
                return None, f"the writer of {writer.source!r} was removed before"
            return body, ""
        raise TamperedError(
            f"ledger entry {entry.header.number} is signed by a key that this repository does not know",
            hint="somebody forged an entry, or the store damaged one: tell security, and restore the object from a version",
        )

    def _check_rollback(self) -> None:
        seen = self._memory.load()
        if seen is not None and seen[0] > self._state.number:
            raise RollbackError(
                f"the ledger ends at entry {self._state.number}, but entry {seen[0]} was seen here before:"
                " somebody put an old state back"
            )
        if self._state.epochs and self._state.open_epoch().opened.epoch < self._trust.least_epoch:
            raise RollbackError(
                f"the repository is at an epoch below {self._trust.least_epoch}, which is pinned here"
            )
        if seen is None or seen[0] < self._state.number:
            self._memory.store(self._state.number, self._state.hash)


def _is_possible(body: Begin | Snapshot | Void) -> bool:
    """Whether a writer's entry holds only values that those who read it later can use: names, times, lengths."""
    if len(body.session) != 16:
        return False
    if not isinstance(body, Snapshot):
        return True
    return (
        _MANIFEST.fullmatch(body.manifest) is not None
        and body.manifest.endswith(f"-{body.session.hex()}")
        and len(body.manifest_hash) == 32
        and wire.is_time(body.taken_at)
        and min(body.rows, body.plain) >= 0
        and all(len(finding) == 16 for finding in body.findings)
        and all(
            (len(p.tag), len(p.page), len(p.hash)) == (16, 16, 32) and 0 <= p.epoch < 1 << 63
            for p in body.pages
        )
    )


class _MovedOnError(Exception):
    """The ledger moved on between reading and appending."""


def _only_if_at(number: int, state: State) -> None:
    if state.number != number:
        raise _MovedOnError
