"""The ledger: one signed, ordered list. Whoever puts the next number has committed.

Reading verifies every entry: its place in the chain, its signature, and that its signer may say this. A writer may
begin, commit and void; only the purge key, pinned in every process's configuration, may say anything else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import ObjectNotFoundError, PreconditionFailedError, RollbackError, TamperedError
from tenure.objectstore.base import ObjectInfo, ObjectStore
from tenure.repository import envelope, names
from tenure.repository.entries import BY_WRITERS, Body, Checkpoint, Clear
from tenure.repository.envelope import Envelope
from tenure.repository.state import State, apply

CHECKPOINT_EVERY = 1_000
"""Entries between checkpoints (docs/format.md, "Ledger")."""


class HeadMemory(Protocol):
    """Remembers, outside the repository, the last ledger entry this installation has seen."""

    def load(self) -> tuple[int, bytes] | None:
        """Return (number, hash), or None where nothing was seen yet."""
        ...

    def store(self, number: int, entry_hash: bytes) -> None:
        """Remember (number, hash), durably."""
        ...


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
    for info in store.list(names.LEDGER):
        number = names.ledger_number(info.name)
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

    def __init__(self, store: ObjectStore, trust: Trust, memory: HeadMemory) -> None:
        self._store = store
        self._trust = trust
        self._memory = memory
        self._state = State()
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
        while True:
            name = names.ledger_entry(self._state.number + 1)
            try:
                raw = self._store.get(name)
            except ObjectNotFoundError:
                break
            self._take(raw, self._store.stat(name))
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
        """
        while True:
            state = self.refresh()
            if check is not None:
                check(state)
            number = state.number + 1
            raw = envelope.make(
                body,
                repository=self._trust.repository,
                number=number,
                previous=state.hash,
                ledger_secret=self._trust.ledger_secret,
                key=key,
                clear=clear,
            )
            try:
                info = self._store.put(names.ledger_entry(number), raw)
            except PreconditionFailedError:
                # Lost the race, or our own put was answered with an error after it had worked.
                if self._store.get(names.ledger_entry(number)) == raw:
                    return self.refresh()
                continue
            self._take(raw, info)
            self._memory.store(self._state.number, self._state.hash)
            return self._state

    def checkpoint_due(self) -> bool:
        """Whether the purger should append a checkpoint."""
        return self._state.number % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1

    def _start(self) -> None:
        """Find the newest checkpoint this process can open, and begin there."""
        self._read_any = True
        newest = 0
        for info in self._store.list(names.LEDGER):
            newest = max(newest, names.ledger_number(info.name))
        for number in range(newest - newest % CHECKPOINT_EVERY, 0, -CHECKPOINT_EVERY):
            name = names.ledger_entry(number)
            raw = self._store.get(name)
            entry = envelope.parse(raw, number=number)
            if entry.header.signer != self._trust.purge_key.key_id:
                continue
            entry.verify(self._trust.purge_key)
            body = entry.open(self._trust.ledger_secret)
            if isinstance(body, Checkpoint):
                self._state = msgspec.msgpack.decode(body.state, type=State)
                self._state.number, self._state.hash = number, entry.hash
                self._state.at = self._store.stat(name).modified.timestamp()
                return

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
        body = entry.open(self._trust.ledger_secret)
        refusal = self._refusal(entry, body)
        at = info.modified.timestamp()
        if refusal:
            self._state.refused[number] = refusal
        else:
            apply(self._state, body, entry.header.clear, number=number, at=at)
        self._state.number, self._state.hash = number, entry.hash
        self._state.at = max(at, self._state.at)

    def _refusal(self, entry: Envelope, body: Body) -> str:
        """Return why an entry counts for nothing, or "".

        An entry that a known writer did sign but may not say is passed over: a stolen writer key orders nothing,
        and does not stop the ledger for the others either. A signature of nobody we know may as well be damage to
        an honest entry, a hold perhaps, so that stops everything.
        """
        if entry.header.signer == self._trust.purge_key.key_id:
            entry.verify(self._trust.purge_key)
            return ""
        for writer_id, writer in self._state.writers.items():
            key = VerifyKey(writer.admitted.public)
            if key.key_id != entry.header.signer:
                continue
            entry.verify(key)
            if not isinstance(body, BY_WRITERS) or body.writer.hex() != writer_id:
                return f"the writer of {writer.source!r} signed what only the purge key may say"
            return f"the writer of {writer.source!r} was removed before" if writer.removed else ""
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
