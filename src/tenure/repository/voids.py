"""What makes an entry count for nothing, though it is well signed: the rules that races are decided by.

Each rule is a pure function of the state before the entry, the entry, and the store's time of it, so every reader of
the ledger decides alike. Whoever appends asks the same function first.
"""

from collections import Counter

from tenure.domain.errors import UnsupportedFormatError
from tenure.repository import entries as e
from tenure.repository.state import State

MOST_SESSION_S = 7 * 24 * 3600
"""The longest session, in seconds; a stolen writer must not keep sweeps waiting for ever."""

MERGE_LEASE_S = 3600
"""How long new pages and packs may wait for the `merge` that names them; sweeps leave them alone that long."""

CAUSES = ("forget", "scopes", "prune", "rotate", "merge", "repack")


ANSWERS = ("keep", "redact")
"""What an officer may say of likely card data."""


def begin(state: State, body: e.Begin) -> str:
    """Return why a session does not begin, or ""."""
    if state.source_of(body.writer) != body.source:
        return "a session of a source that is not its writer's"
    if not 1 <= body.expires <= MOST_SESSION_S:
        return f"a session that would last {body.expires} seconds; the most is {MOST_SESSION_S}"
    if body.session.hex() in state.sessions:
        return "a session that began before"
    return ""


def void(state: State, body: e.Void) -> str:
    """Return why a session is not voided, or ""."""
    session = state.sessions.get(body.session.hex())
    if session is not None and state.source_of(body.writer) != session.source:
        return "a writer may not void another source's session"
    return ""


def answer(state: State, body: e.Answer) -> str:
    """Return why an answer about card data changes nothing, or "".

    Raises:
        UnsupportedFormatError: An answer that this version does not know.
    """
    if body.answer not in ANSWERS:
        raise UnsupportedFormatError(
            f"the ledger holds the answer {body.answer!r}, which this version does not know"
        )
    known = (state.findings.get(finding.hex()) for finding in body.findings)
    if any(found is not None and found.source != body.source for found in known):
        return "it answers for what was found in another source"
    return ""


def snapshot(state: State, body: e.Snapshot, *, at: float) -> str:
    """Return why a snapshot does not exist, or "". Its pages stay unnamed then, and are deleted on sight."""
    session = state.sessions.get(body.session.hex())
    if session is None or session.lapsed(at):
        return "its session was voided, had ended or had lapsed"
    if (session.writer, session.source, session.number) != (body.writer, body.source, body.view):
        return "it is not of the writer, the source or the view of its session"
    if state.overtaken(body.source, body.writer, body.view, fresh=session.fresh):
        return "a forgetting or a pruning has overtaken it"
    return _pages(state, body.pages, frozenset({body.writer}))


def merge(state: State, body: e.Merge, *, at: float) -> str:
    """Return why pages are not replaced, or "".

    New pages may be deleted as unnamed by whoever sweeps, so a merge counts only within `MERGE_LEASE_S`, and only
    while the pages it replaces are what it was made from: else it would bring back what was dropped meanwhile.

    Raises:
        UnsupportedFormatError: A cause that this version does not know.
    """
    if body.cause not in CAUSES:
        raise UnsupportedFormatError(
            f"the ledger holds a merge for {body.cause!r}, which this version does not know"
        )
    if at > body.begun + MERGE_LEASE_S:
        return "its new pages waited too long for it"
    if body.cause == "scopes":
        return _forgets(state, body)
    gone = [page for page in body.removed if page.hex() not in state.pages]
    if gone or len(set(body.removed)) != len(body.removed):
        return "a page that it replaces was replaced before"
    removed = [state.pages[page.hex()] for page in body.removed]
    writers = frozenset(p.ref.writer for p in removed)
    refusal = _pages(state, body.added, writers)
    if refusal:
        return refusal
    if body.cause == "forget":
        judged = state.forgets[body.forget.hex()].judged if body.forget.hex() in state.forgets else 0
        late = any(p.number >= judged for p in removed)
        return "it replaces pages that the forgetting does not reach" if late else _forgets(state, body)
    return _others(state, body, writers, at)


def _others(state: State, body: e.Merge, writers: frozenset[bytes], at: float) -> str:
    sources = {state.source_of(w) for w in writers}
    for forget in state.forgets.values():
        if sources & set(forget.intent.sources) and (not forget.done or forget.done > body.head):
            return "a forgetting of the source was at work"
    if body.cause == "prune":
        if any(s.source in sources and not s.lapsed(at) for s in state.sessions.values()):
            return "a snapshot of the source is under way"
        if any(s.number > body.head and s.entry.source in sources for s in state.snapshots.values()):
            return "a snapshot of the source was taken meanwhile"
    return ""


def _forgets(state: State, body: e.Merge) -> str:
    forget = state.forgets.get(body.forget.hex())
    if forget is None or not forget.judged or forget.carried or forget.done:
        return "its forgetting is not at that step"
    sources = {state.pages[p.hex()].ref.writer for p in body.removed if p.hex() in state.pages}
    if any(state.source_of(w) not in forget.intent.sources for w in sources):
        return "its forgetting does not name that source"
    return ""


def _pages(state: State, pages: tuple[e.PageRef, ...], writers: frozenset[bytes]) -> str:
    epoch = state.open_epoch().opened.epoch
    if any(p.epoch != epoch for p in pages):
        return "its pages are of an epoch that is not open"
    if any(p.writer not in writers for p in pages):
        return "it names pages of another writer"
    ids = Counter(p.page for p in pages)
    if any(count > 1 for count in ids.values()) or any(i.hex() in state.pages for i in ids):
        return "it names a page that is live already"
    return ""
