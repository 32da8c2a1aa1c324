"""What the ledger adds up to: the state after reading it from its start, or from a checkpoint.

*What the ledger does not name does not exist.* Only `replay.apply` changes a state, one verified entry after the
other; `voids` says which entries count for nothing.
"""

from collections.abc import Iterator

import msgspec

from tenure.domain.errors import TamperedError
from tenure.repository import entries as e


class EpochState(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`opened`: the clear part of its opening entry, which wraps the shared secrets."""

    state: str
    opened: e.EpochClear


class WriterState(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A writer, and whether it may still add snapshots."""

    source: str
    admitted: e.AdmitClear
    removed: bool = False


class SessionState(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A session that neither committed nor was voided. `began_at`: the store's time, seconds since the epoch.

    `fresh`: a forgetting of its source was open when it began, so it builds on nothing that was stored before.
    """

    number: int
    writer: bytes
    source: str
    base: int
    began_at: float
    expires: int
    fresh: bool = False

    def lapsed(self, now: float) -> bool:
        """Whether it has outlived its time."""
        return now > self.began_at + self.expires


class SnapshotState(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A snapshot that was committed and not pruned. `committed_at`: the store's time."""

    number: int
    entry: e.Snapshot
    committed_at: float


class PageState(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A live key page and the ledger number that made it live."""

    ref: e.PageRef
    number: int


class ForgetState(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A forgetting. `judged`, `carried`, `done`: numbers of the entries that say so, 0 before.

    `carried`: every page was rewritten, and the scope pages are no longer named. `pages`, `chunks`: how many of
    them its merges took out so far; unlike what a process counts, that survives a crash.
    """

    number: int
    at: float
    intent: e.Intent
    judged: int = 0
    amended: e.Amended | None = None
    carried: int = 0
    done: int = 0
    pages: int = 0
    chunks: int = 0

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


class FindingState(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Likely card data. `first`: when the first entry named it, seconds since the epoch; `answer`: "" for none yet."""

    source: str
    first: float
    answer: str = ""


class State(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Everything the ledger says, after entry `number` whose hash is `hash`. Dict keys are hex where ids are bytes.

    `cohorts_gone`, `cohorts_cut`: by tag, the number of the judging that took a cohort whole, and of the last `merge` by
    which a forgetting took something out of it.
    """

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
    cohorts_cut: dict[str, int] = {}
    drops: dict[str, int] = {}
    refused: dict[int, str] = {}
    findings: dict[str, FindingState] = {}
    checkpoint: int = 0

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

    def view_since(self, page: PageState, number: int) -> int:
        """Return the view of the snapshot that put a page, where it is later than a ledger number; else 0."""
        snapshot = self.snapshots.get(page.number)
        return snapshot.entry.view if snapshot is not None and snapshot.entry.view > number else 0

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

    def overtaken(self, source: str, writer: bytes, view: int, *, fresh: bool = False) -> bool:
        """Whether a snapshot with this view must not commit.

        Its view may hold what a forgetting deleted, or it may build on chunks that a forgetting or a pruning
        dropped since; a `fresh` session builds on none.
        """
        dropped = 0 if fresh else self.drops.get(writer.hex(), 0)
        return view < max(self.last_word_on(source), dropped)

    def source_of(self, writer: bytes) -> str | None:
        """Return a writer's source, None where the ledger never admitted it."""
        found = self.writers.get(writer.hex())
        return None if found is None else found.source
