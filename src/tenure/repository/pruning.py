"""Prune drops old snapshots; sweep frees what nothing names any more.

Prune is a plan (which snapshots, why) and an entry; then entries that no live snapshot reaches leave their pages,
and pages of many half-empty ones are merged. Sweep deletes objects that the ledger does not name: pages and
manifests at once, packs only when they are older than the oldest session that may still name them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from tenure.domain.errors import HoldViolationError, ObjectLockedError, StalePlanError
from tenure.domain.progress import Progress
from tenure.objectstore.base import ObjectInfo
from tenure.repository import names
from tenure.repository.content import CohortContent, fits
from tenure.repository.entries import Prune, Sweep
from tenure.repository.forgetting import rewriter_of
from tenure.repository.page import open_index, parse_page
from tenure.repository.reach import Reach
from tenure.repository.repository import Repository
from tenure.repository.state import PageState, State


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepPolicy:
    """How many snapshots of a source stay: the newest `last`, and the newest of each of so many periods, UTC."""

    last: int = 3
    daily: int = 7
    weekly: int = 5
    monthly: int = 12
    yearly: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """Which snapshots go and which stay, each with its reason; good for one use at ledger number `head`."""

    head: int
    drop: tuple[tuple[int, str], ...]
    keep: tuple[tuple[int, str], ...]


@dataclass(slots=True, kw_only=True)
class Freed:
    """What a prune or sweep freed. `retained`: objects that a lock keeps; no error."""

    snapshots: int = 0
    entries: int = 0
    pages: int = 0
    packs: int = 0
    manifests: int = 0
    bytes: int = 0
    retained: int = 0
    pending: set[str] = field(default_factory=set)


def plan_prune(state: State, policy: KeepPolicy, *, source: str | None = None) -> PrunePlan:
    """Decide which snapshots go: pure, on the times the store stamped the commits with.

    The newest snapshot of every source always stays; while a hold is in force, all do.
    """
    held = [h for h in state.holds.values() if not h.released]
    keep: list[tuple[int, str]] = []
    drop: list[tuple[int, str]] = []
    for name in sorted({s.entry.source for s in state.snapshots.values()} if source is None else {source}):
        snapshots = state.snapshots_of(name)[::-1]
        times = np.array([s.committed_at for s in snapshots]).astype("datetime64[s]")
        reasons = _reasons(times, policy)
        for i, snapshot in enumerate(snapshots):
            reason = f"hold {held[0].matter!r}" if held else "newest" if i == 0 else reasons.get(i, "")
            (keep if reason else drop).append((snapshot.number, reason or "no period keeps it"))
    return PrunePlan(head=state.number, drop=tuple(sorted(drop)), keep=tuple(sorted(keep)))


def _reasons(times: "np.ndarray[tuple[int], np.dtype[np.datetime64]]", policy: KeepPolicy) -> dict[int, str]:
    """Return index -> reason; `times` newest first."""
    reasons = dict.fromkeys(range(min(policy.last, len(times))), "among the last")
    # datetime64[W] begins its weeks on Thursdays; shifted by three days they begin on Mondays (ISO 8601).
    weeks = (times + np.timedelta64(3, "D")).astype("datetime64[W]")
    periods = (
        ("daily", policy.daily, times.astype("datetime64[D]")),
        ("weekly", policy.weekly, weeks),
        ("monthly", policy.monthly, times.astype("datetime64[M]")),
        ("yearly", policy.yearly, times.astype("datetime64[Y]")),
    )
    for word, count, keys in periods:
        _, firsts = np.unique(keys, return_index=True)
        newest = sorted(firsts.tolist())[:count]
        for i in newest:
            reasons.setdefault(i, f"newest of its {word} period")
    return reasons


class Pruner:
    """Executes prune plans and sweeps. Needs the reading key, the purge key and delete on every store."""

    def __init__(self, repository: Repository, progress: Progress) -> None:
        self._repository = repository
        self._progress = progress

    def prune(self, plan: PrunePlan) -> Freed:
        """Drop the plan's snapshots, then the entries that nothing reaches any more, then sweep.

        Raises:
            StalePlanError: The ledger moved on since the plan was made.
            HoldViolationError: A hold was placed since.
        """
        freed = Freed(snapshots=len(plan.drop))
        if plan.drop:
            entry = Prune(snapshots=tuple(n for n, _ in plan.drop), reasons=tuple(r for _, r in plan.drop))

            def check(state: State) -> None:
                if any(not h.released for h in state.holds.values()):
                    raise HoldViolationError("a hold is in force: no snapshot is pruned until it is released")
                if state.number != plan.head:
                    raise StalePlanError("the repository changed since the plan was made")

            self._repository.ledger.append(entry, self._repository.purge_key, check=check)
        self.drop_unreached(freed)
        self.sweep(freed)
        return freed

    def drop_unreached(self, freed: Freed) -> None:
        """Write pages anew without the entries that no live snapshot reaches; merge small ones."""
        state = self._repository.refresh()
        for writer_id in sorted(state.writers):
            writer = bytes.fromhex(writer_id)
            source = state.writers[writer_id].source
            if not any(s.source == source for s in state.sessions.values()):
                self._drop_of(writer, freed)

    def _drop_of(self, writer: bytes, freed: Freed) -> None:
        repository = self._repository
        state = repository.state
        head = state.number
        snapshots = [s for s in state.snapshots.values() if s.entry.writer == writer]
        reach = Reach(repository, writer).add(snapshots)
        by_tag: dict[bytes, list[PageState]] = {}
        for page in state.live_pages(frozenset({writer})):
            by_tag.setdefault(page.ref.tag, []).append(page)
        task = self._progress.begin("Looking for what no snapshot reaches", total=len(by_tag), unit="cohorts")
        for pages in by_tag.values():
            self._drop_in(writer, pages, reach, freed, head)
            task.advance(1)
        task.end()

    def _drop_in(self, writer: bytes, pages: list[PageState], reach: Reach, freed: Freed, head: int) -> None:
        repository = self._repository
        keys = repository.keys_of(writer)
        indexes = [open_index(repository.place.key_stores.get(p.ref), keys) for p in pages]
        cohort = indexes[0][0]
        entries = sum(len(e) for _, e, _ in indexes)
        reached = reach.closed(cohort)
        named = {
            chunk_id + inc
            for _, e, _ in indexes
            for chunk_id, inc in zip(e["id"].tolist(), e["inc"].tolist(), strict=True)
        }
        if named <= {r.id + r.incarnation for r in reached} and not fits(len(pages), entries):
            return
        content = CohortContent.load(pages, keys, repository.place.key_stores, repository.unwrapper)
        mask = np.array([ref in reached for ref in content.refs_of_entries()], bool)
        lost = int((~mask).sum())
        content.keep(mask)
        if not len(content.entries):
            content.gone = content.gone[:0]
        # Dropping is only right while no snapshot came that may reach what we saw nobody reach.
        before = repository.state.number
        deletion = rewriter_of(repository).replace(
            [content], cause="prune" if lost else "merge", check=lambda s: _unchanged(s, head, before)
        )
        freed.entries += lost
        freed.pages += deletion.pages
        freed.pending |= deletion.failed

    def sweep(self, freed: Freed) -> None:
        """Delete objects that the ledger does not name."""
        repository, state = self._repository, self._repository.refresh()
        now = repository.place.objects.now().timestamp()
        alive = {bytes.fromhex(s) for s, session in state.sessions.items() if not session.lapsed(now)}
        oldest = min((s.began_at for s in state.sessions.values() if not s.lapsed(now)), default=now)
        scopes = {r.page for f in state.open_forgets() for r in f.scopes}
        named_packs = self._sweep_pages(state, alive, scopes, freed)
        wanted = {s.entry.manifest for s in state.snapshots.values()}
        for info in list(repository.place.objects.list(names.MANIFESTS)):
            session = bytes.fromhex(info.name.rsplit("-", 1)[-1])
            if info.name not in wanted and session not in alive:
                self._delete(info, freed)
                freed.manifests += 1
        for info in list(repository.place.objects.list(names.PACKS)):
            young = info.modified.timestamp() >= oldest
            if info.name not in named_packs and not young:
                self._delete(info, freed)
                freed.packs += 1
        entry = Sweep(packs=freed.packs, pages=freed.pages, bytes=freed.bytes)
        if freed.packs or freed.pages or freed.manifests:
            repository.ledger.append(entry, repository.purge_key)

    def _sweep_pages(self, state: State, alive: set[bytes], scopes: set[bytes], freed: Freed) -> set[str]:
        """Delete unnamed pages in every key store; return the names of packs that live pages name."""
        stores = self._repository.place.key_stores
        packs: set[str] = set()
        for named in stores.stores:
            for info in list(named.store.list(names.PAGES)):
                page_id = bytes.fromhex(info.name.rsplit("/", 1)[-1])
                if page_id.hex() in state.pages or page_id in scopes:
                    continue
                if parse_page(named.store.get(info.name), name=info.name).header.session in alive:
                    continue
                deletion = stores.delete([info.name])
                freed.pages += 1
                freed.pending |= deletion.failed
        for page in state.pages.values():
            packs.update(names.pack(p) for p in stores.get(page.ref).header.packs)
        return packs

    def _delete(self, info: ObjectInfo, freed: Freed) -> None:
        try:
            self._repository.place.objects.delete(info.name)
            freed.bytes += info.size
        except ObjectLockedError:
            freed.retained += 1


def _unchanged(state: State, head: int, before: int) -> None:
    newer: Iterable[int] = (n for n in state.snapshots if n > max(head, 0))
    sessions = [s.number for s in state.sessions.values() if s.number > before]
    if list(newer) or sessions:
        raise StalePlanError(
            "a snapshot was taken while unreached entries were looked for", hint="run `tenure prune` again"
        )
