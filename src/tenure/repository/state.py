"""What the ledger adds up to: the state after reading it from its start, or from a checkpoint.

*What the ledger does not name does not exist.* `apply` is the only thing that changes a state; it is given one
verified entry after the other and refuses what its signer may not say.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tenure.domain.errors import TamperedError
from tenure.repository import entries as e

DROPPING = ("forget", "prune")
"""Causes of a `merge` after which entries are missing that were there before; all others keep every entry."""


class EpochState(msgspec.Struct, kw_only=True):
    """`opened`: the clear part of its opening entry, which wraps the shared secrets."""

    state: str
    opened: e.EpochClear


class WriterState(msgspec.Struct, kw_only=True):
    """A writer, and whether it may still add snapshots."""

    source: str
    admitted: e.AdmitClear
    removed: bool = False


class SessionState(msgspec.Struct, kw_only=True):
    """A session that neither committed nor was voided. `began_at`: the store's time, seconds since the epoch."""

    number: int
    writer: bytes
    source: str
    base: int
    began_at: float
    expires: int

    def lapsed(self, now: float) -> bool:
        """Whether it has outlived its time."""
        return now > self.began_at + self.expires


class SnapshotState(msgspec.Struct, kw_only=True):
    """A snapshot that was committed and not pruned. `committed_at`: the store's time."""

    number: int
    entry: e.Snapshot
    committed_at: float


class PageState(msgspec.Struct, kw_only=True):
    """A live key page and the ledger number that made it live."""

    ref: e.PageRef
    number: int


class ForgetState(msgspec.Struct, kw_only=True):
    """A forgetting. `judged`: number of its `amended` entry, 0 before; `done`: number of its `done`, 0 before."""

    number: int
    at: float
    intent: e.Intent
    judged: int = 0
    amended: e.Amended | None = None
    done: int = 0

    @property
    def cohorts(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the (writer, tag) of cohorts that go whole."""
        return self.amended.cohorts if self.amended is not None else self.intent.cohorts

    @property
    def fingerprints(self) -> bytes:
        """Return the sealed fingerprints of what goes."""
        return self.amended.fingerprints if self.amended is not None else self.intent.fingerprints

    @property
    def scopes(self) -> tuple[e.PageRef, ...]:
        """Return every scope page that must still be there, or be deleted when done."""
        return self.intent.scopes + (self.amended.scopes if self.amended is not None else ())


class State(msgspec.Struct, kw_only=True):
    """Everything the ledger says, after entry `number` whose hash is `hash`. Dict keys are hex where ids are bytes."""

    number: int = 0
    hash: bytes = bytes(32)
    at: float = 0.0
    epochs: dict[int, EpochState] = {}
    writers: dict[str, WriterState] = {}
    sessions: dict[str, SessionState] = {}
    snapshots: dict[int, SnapshotState] = {}
    pages: dict[str, PageState] = {}
    forgets: dict[str, ForgetState] = {}
    holds: dict[str, e.Hold] = {}
    rules: e.Rules | None = None
    cohorts_gone: dict[str, int] = {}
    drops: dict[str, int] = {}
    refused: dict[int, str] = {}

    def open_epoch(self) -> EpochState:
        """Return the epoch that new pages belong to.

        Raises:
            TamperedError: There is none, which no honest ledger says.
        """
        for epoch in sorted(self.epochs, reverse=True):
            if self.epochs[epoch].state == "open":
                return self.epochs[epoch]
        raise TamperedError("the ledger names no open epoch")

    def live_pages(self, writer_ids: frozenset[bytes], tag: bytes | None = None) -> list[PageState]:
        """Return the live pages of a source's writers, of one cohort where `tag` is given."""
        return [p for p in self.pages.values() if p.ref.writer in writer_ids and tag in {None, p.ref.tag}]

    def writers_of(self, source: str) -> frozenset[bytes]:
        """Return the ids of every writer a source ever had."""
        return frozenset(bytes.fromhex(w) for w, s in self.writers.items() if s.source == source)

    def snapshots_of(self, source: str | None) -> list[SnapshotState]:
        """Return live snapshots, oldest first."""
        found = [s for s in self.snapshots.values() if source in {None, s.entry.source}]
        return sorted(found, key=lambda s: s.number)

    def forgets_touching(self, source: str) -> Iterator[ForgetState]:
        """Yield the forgettings that name a source."""
        return (f for f in self.forgets.values() if source in f.intent.sources)

    def open_forgets(self) -> list[ForgetState]:
        """Return the forgettings that are not done."""
        return [f for f in self.forgets.values() if not f.done]

    def last_word_on(self, source: str) -> int:
        """Return the highest number at which a forgetting of this source began or was judged; 0 for none."""
        return max((max(f.number, f.judged) for f in self.forgets_touching(source)), default=0)

    def overtaken(self, source: str, writer: bytes, view: int) -> bool:
        """Whether a snapshot with this view must not commit.

        Its view may hold what a forgetting deleted, or it may build on chunks that a forgetting or a pruning
        dropped since.
        """
        return view < max(self.last_word_on(source), self.drops.get(writer.hex(), 0))


def apply(state: State, body: e.Body, clear: e.Clear, *, number: int, at: float) -> None:
    """Take one entry into the state; `at` is the store's time of it.

    Raises:
        TamperedError: It contradicts what is there.
    """
    _APPLY[type(body)](state, body, clear, number, at)


def _epoch(state: State, body: e.Epoch, clear: e.Clear, number: int, _at: float) -> None:
    if body.state == "open":
        if not isinstance(clear, e.EpochClear) or clear.epoch != body.epoch or body.epoch in state.epochs:
            raise TamperedError(
                f"ledger entry {number} opens an epoch that it does not describe, or opens it twice"
            )
        for other in state.epochs.values():
            other.state = "closing" if other.state == "open" else other.state
        state.epochs[body.epoch] = EpochState(state="open", opened=clear)
    else:
        if body.epoch not in state.epochs:
            raise TamperedError(f"ledger entry {number} closes an epoch that was never opened")
        state.epochs[body.epoch].state = body.state


def _admit(state: State, body: e.Admit, clear: e.Clear, number: int, _at: float) -> None:
    if (
        not isinstance(clear, e.AdmitClear)
        or clear.writer != body.writer
        or body.writer.hex() in state.writers
    ):
        raise TamperedError(
            f"ledger entry {number} admits a writer that it does not describe, or admits it twice"
        )
    state.writers[body.writer.hex()] = WriterState(source=body.source, admitted=clear)


def _remove(state: State, body: e.Remove, _clear: e.Clear, _number: int, _at: float) -> None:
    state.writers[body.writer.hex()].removed = True


def _rules(state: State, body: e.Rules, _clear: e.Clear, _number: int, _at: float) -> None:
    state.rules = body


def _hold(state: State, body: e.Hold, _clear: e.Clear, _number: int, _at: float) -> None:
    state.holds[body.hold] = body


def _begin(state: State, body: e.Begin, _clear: e.Clear, number: int, at: float) -> None:
    state.sessions[body.session.hex()] = SessionState(
        number=number,
        writer=body.writer,
        source=body.source,
        base=body.base,
        began_at=at,
        expires=body.expires,
    )


def _snapshot(state: State, body: e.Snapshot, _clear: e.Clear, number: int, at: float) -> None:
    session = state.sessions.pop(body.session.hex(), None)
    # A commit that came after its session was voided or lapsed, or whose view a forgetting has overtaken, or that
    # names an epoch no longer open, never happened: its pages stay unnamed and are deleted on sight.
    epoch = state.open_epoch().opened.epoch
    if (
        session is None
        or session.lapsed(at)
        or session.writer != body.writer
        or session.source != body.source
    ):
        return
    if state.overtaken(body.source, body.writer, body.view) or any(p.epoch != epoch for p in body.pages):
        return
    state.snapshots[number] = SnapshotState(number=number, entry=body, committed_at=at)
    for page in body.pages:
        state.pages[page.page.hex()] = PageState(ref=page, number=number)


def _void(state: State, body: e.Void, _clear: e.Clear, _number: int, _at: float) -> None:
    state.sessions.pop(body.session.hex(), None)


def _intent(state: State, body: e.Intent, _clear: e.Clear, number: int, at: float) -> None:
    state.forgets[body.forget.hex()] = ForgetState(number=number, at=at, intent=body)


def _amended(state: State, body: e.Amended, _clear: e.Clear, number: int, _at: float) -> None:
    forget = state.forgets[body.forget.hex()]
    forget.judged = number
    forget.amended = body


def _merge(state: State, body: e.Merge, _clear: e.Clear, number: int, _at: float) -> None:
    for page in body.removed:
        gone = state.pages.pop(page.hex(), None)
        if gone is not None and body.cause in DROPPING:
            state.drops[gone.ref.writer.hex()] = number
    if body.cause == "forget":
        for _writer, tag in state.forgets[body.forget.hex()].cohorts:
            state.cohorts_gone[tag.hex()] = number
    for ref in body.added:
        state.pages[ref.page.hex()] = PageState(ref=ref, number=number)


def _done(state: State, body: e.Done, _clear: e.Clear, number: int, _at: float) -> None:
    state.forgets[body.forget.hex()].done = number


def _prune(state: State, body: e.Prune, _clear: e.Clear, _number: int, _at: float) -> None:
    for snapshot in body.snapshots:
        state.snapshots.pop(snapshot, None)


def _nothing(_state: State, _body: e.Body, _clear: e.Clear, _number: int, _at: float) -> None:
    pass


_APPLY: dict[type[Any], Callable[[State, Any, e.Clear, int, float], None]] = {
    e.Epoch: _epoch,
    e.Admit: _admit,
    e.Remove: _remove,
    e.Rules: _rules,
    e.Hold: _hold,
    e.Begin: _begin,
    e.Snapshot: _snapshot,
    e.Void: _void,
    e.Intent: _intent,
    e.Amended: _amended,
    e.Merge: _merge,
    e.Done: _done,
    e.Prune: _prune,
    e.Sweep: _nothing,
    e.Checkpoint: _nothing,
}
