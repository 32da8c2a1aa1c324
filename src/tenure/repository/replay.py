"""Takes one verified ledger entry after the other into a state. The only thing that changes one."""

from collections.abc import Callable
from typing import Any

from tenure.domain.errors import TamperedError
from tenure.repository import entries as e
from tenure.repository import voids
from tenure.repository.state import (
    EpochState,
    FindingState,
    ForgetState,
    PageState,
    SessionState,
    SnapshotState,
    State,
    WriterState,
)

DROPPING = ("forget", "prune")
"""Causes of a `merge` after which entries are missing that were there before; all others keep every entry."""


def apply(state: State, body: e.Body, clear: e.Clear, *, number: int, at: float) -> None:
    """Take one entry into the state; `at` is the store's time of it.

    An entry that counts for nothing stands in `State.refused` with the reason.

    Raises:
        TamperedError: It contradicts what is there.
    """
    try:
        refusal = _APPLY[type(body)](state, body, clear, number, at)
    except KeyError as e:
        raise TamperedError(f"ledger entry {number} speaks of something that the ledger never named") from e
    if refusal:
        state.refused[number] = refusal


def _epoch(state: State, body: e.Epoch, clear: e.Clear, number: int, _at: float) -> str:
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
    return ""


def _admit(state: State, body: e.Admit, clear: e.Clear, number: int, _at: float) -> str:
    if (
        not isinstance(clear, e.AdmitClear)
        or clear.writer != body.writer
        or body.writer.hex() in state.writers
    ):
        raise TamperedError(
            f"ledger entry {number} admits a writer that it does not describe, or admits it twice"
        )
    state.writers[body.writer.hex()] = WriterState(source=body.source, admitted=clear)
    return ""


def _remove(state: State, body: e.Remove, _clear: e.Clear, _number: int, _at: float) -> str:
    state.writers[body.writer.hex()].removed = True
    for session_id in [i for i, s in state.sessions.items() if s.writer == body.writer]:
        del state.sessions[session_id]
    return ""


def _rules(state: State, body: e.Rules, _clear: e.Clear, _number: int, _at: float) -> str:
    state.rules = body
    return ""


def _hold(state: State, body: e.Hold, _clear: e.Clear, _number: int, _at: float) -> str:
    state.holds[body.hold] = body
    return ""


def _begin(state: State, body: e.Begin, _clear: e.Clear, number: int, at: float) -> str:
    refusal = voids.begin(state, body)
    if not refusal:
        state.sessions[body.session.hex()] = SessionState(
            number=number,
            writer=body.writer,
            source=body.source,
            base=body.base,
            began_at=at,
            expires=body.expires,
            fresh=any(not f.done for f in state.forgets_touching(body.source)),
        )
    return refusal


def _snapshot(state: State, body: e.Snapshot, _clear: e.Clear, number: int, at: float) -> str:
    refusal = voids.snapshot(state, body, at=at)
    session = state.sessions.get(body.session.hex())
    if session is not None and session.writer == body.writer:
        del state.sessions[body.session.hex()]
    if not refusal:
        state.snapshots[number] = SnapshotState(number=number, entry=body, committed_at=at)
        for page in body.pages:
            state.pages[page.page.hex()] = PageState(ref=page, number=number)
        for finding in body.findings:
            state.findings.setdefault(finding.hex(), FindingState(source=body.source, first=at))
    return refusal


def _void(state: State, body: e.Void, _clear: e.Clear, _number: int, _at: float) -> str:
    refusal = voids.void(state, body)
    if not refusal:
        state.sessions.pop(body.session.hex(), None)
    return refusal


def _intent(state: State, body: e.Intent, _clear: e.Clear, number: int, at: float) -> str:
    state.forgets[body.forget.hex()] = ForgetState(number=number, at=at, intent=body)
    return ""


def _amended(state: State, body: e.Amended, _clear: e.Clear, number: int, _at: float) -> str:
    forget = state.forgets[body.forget.hex()]
    if forget.judged:
        # Judged later, it would reach records that were new after the live deletion, under old numbers.
        return "its forgetting was judged before"
    forget.judged = number
    forget.amended = body
    return ""


def _merge(state: State, body: e.Merge, _clear: e.Clear, number: int, at: float) -> str:
    refusal = voids.merge(state, body, at=at)
    if refusal:
        return refusal
    forget = state.forgets[body.forget.hex()] if body.forget else None
    if forget is not None and body.cause == "scopes":
        forget.carried = number
        return ""
    whole = frozenset(forget.cohorts) if forget is not None else frozenset()
    for page in body.removed:
        gone = state.pages.pop(page.hex()).ref
        if body.cause in DROPPING:
            state.drops[gone.writer.hex()] = number
        if body.cause == "forget":
            state.cohorts_cut[gone.tag.hex()] = number
        if forget is not None and (gone.writer, gone.tag) in whole:
            # The judging's number: a snapshot that came after it lost nothing by this, so its gaps are damage.
            state.cohorts_gone[gone.tag.hex()] = forget.judged
    for ref in body.added:
        state.pages[ref.page.hex()] = PageState(ref=ref, number=number)
    if forget is not None:
        forget.pages += len(body.removed)
        forget.chunks += body.chunks
    return ""


def _done(state: State, body: e.Done, _clear: e.Clear, number: int, _at: float) -> str:
    forget = state.forgets[body.forget.hex()]
    if not forget.carried or forget.done:
        return "its forgetting is not at that step"
    forget.done = number
    return ""


def _answer(state: State, body: e.Answer, _clear: e.Clear, _number: int, at: float) -> str:
    refusal = voids.answer(state, body)
    for finding in body.findings if not refusal else ():
        new = FindingState(source=body.source, first=at)
        state.findings.setdefault(finding.hex(), new).answer = body.answer
    return refusal


def _prune(state: State, body: e.Prune, _clear: e.Clear, _number: int, _at: float) -> str:
    for snapshot in body.snapshots:
        state.snapshots.pop(snapshot, None)
    return ""


def _sweep(_state: State, _body: e.Sweep, _clear: e.Clear, _number: int, _at: float) -> str:
    return ""


def _checkpoint(state: State, _body: e.Checkpoint, _clear: e.Clear, number: int, _at: float) -> str:
    state.checkpoint = number
    return ""


_APPLY: dict[type[Any], Callable[[State, Any, e.Clear, int, float], str]] = {
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
    e.Answer: _answer,
    e.Prune: _prune,
    e.Sweep: _sweep,
    e.Checkpoint: _checkpoint,
}
