"""Prune drops old snapshots; sweep frees what nothing names any more.

Prune is a plan (which snapshots, why; see `keeping`) and an entry; then entries that no live snapshot reaches leave their pages,
and pages of many half-empty ones are merged. Sweep deletes objects that the ledger does not name: pages and
manifests of sessions that are over at once, packs only when they are older than the oldest session, and than any
rewrite, that may still name them. Key stores that lack a live page get it back from another. What is left in packs
that are mostly dead is then moved together (`repacking`), and those packs go too.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import numpy as np

from tenure.crypto.hashing import content_hash, random_bytes
from tenure.domain.errors import (
    HoldViolationError,
    ObjectLockedError,
    ObjectStoreError,
    StalePlanError,
)
from tenure.domain.progress import Progress
from tenure.objectstore.base import ObjectInfo
from tenure.repository import names
from tenure.repository.basis import LOOKED_AT
from tenure.repository.content import CohortContent, Rewriter, fits, rewriter_of
from tenure.repository.entries import Prune, Sweep
from tenure.repository.inflight import each
from tenure.repository.keeping import PrunePlan
from tenure.repository.keystores import NamedStore
from tenure.repository.leftovers import delete_unnamed, kept_from_sweep, void_lapsed
from tenure.repository.page import Array, open_index
from tenure.repository.pagesahead import PagesAhead
from tenure.repository.reach import Marks, Reach, Reached
from tenure.repository.repacking import Repacker, at_rest
from tenure.repository.repository import Repository
from tenure.repository.state import PageState, State
from tenure.repository.survey import Survey
from tenure.repository.voids import MERGE_LEASE_S

CLOCK_MARGIN_S = 300.0
"""Packs this much older than the oldest session are still left alone: a store's servers may differ, in seconds."""


@dataclass(slots=True, kw_only=True)
class Freed:
    """What a prune or sweep freed. `bytes`: of deleted objects; `mended`: pages copied back.

    `retained`: objects that a lock keeps, which is no error, and `retained_until`: when the last of these locks ends,
    where the store says so. `repacked`: worn packs that were emptied, and `copied`: bytes put for that. `unsound`:
    names of packs that were to be repacked and were left alone, because their bytes are not what was written.
    """

    snapshots: int = 0
    entries: int = 0
    pages: int = 0
    packs: int = 0
    manifests: int = 0
    bytes: int = 0
    retained: int = 0
    retained_until: datetime | None = None
    mended: int = 0
    repacked: int = 0
    copied: int = 0
    unsound: list[str] = field(default_factory=list)
    pending: set[str] = field(default_factory=set)

    @property
    def is_whole(self) -> bool:
        """Whether all that was to be done was done."""
        return not self.pending and not self.unsound


class Pruner:
    """Executes prune plans and sweeps. Needs the reading key, the purge key and delete on every store."""

    def __init__(self, repository: Repository, progress: Progress) -> None:
        self._repository = repository
        self._progress = progress
        self._survey = Survey(repository)

    def prune(self, plan: PrunePlan, *, repack: bool = True, every_page: bool = False) -> Freed:
        """Drop the plan's snapshots, then the entries that nothing reaches any more, then sweep, then repack.

        `every_page`: as for `sweep`.

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
        self.sweep(freed, every_page=every_page)
        if repack:
            self.repack(freed)
        return freed

    def drop_unreached(self, freed: Freed) -> None:
        """Write pages anew without the entries that no live snapshot reaches; merge small ones.

        Sources that are being snapshotted, or of which something is being forgotten, wait for the next run.

        Raises:
            IntegrityError: What snapshots reach cannot be read whole; nothing of that source is dropped.
            StalePlanError: A snapshot or a forgetting began meanwhile; run it again.
        """
        for writer in sorted(at_rest(void_lapsed(self._repository))):
            self._drop_of(writer, freed)

    def _drop_of(self, writer: bytes, freed: Freed) -> None:
        repository = self._repository
        state = repository.state
        rewriter = rewriter_of(repository)
        snapshots = [s for s in state.snapshots.values() if s.entry.writer == writer]
        reach = Reach(repository, writer).add(snapshots)
        by_tag: dict[bytes, list[PageState]] = {}
        for page in state.live_pages(frozenset({writer})):
            by_tag.setdefault(page.ref.tag, []).append(page)
        task = self._progress.begin("Looking for what no snapshot reaches", total=len(by_tag), unit="cohorts")
        place, keys = repository.place, repository.keys_of(writer)
        by_reach = {keys.tag(cohort): cohort for cohort in reach.cohorts}
        ahead = PagesAhead(place.key_stores, place.readers)
        for batch in ahead.batches([(tag, [p.ref for p in by_tag[tag]]) for tag in sorted(by_tag)]):
            marks = reach.marks([by_reach[tag] for tag in batch if tag in by_reach])
            for tag in batch:
                now = replace(rewriter, begun=place.objects.now().timestamp())
                named = marks.get(by_reach[tag]) if tag in by_reach else None
                self._drop_in(by_tag[tag], ahead, named, freed, now)
                task.advance(1)
        task.end()

    def _drop_in(
        self,
        pages: list[PageState],
        ahead: PagesAhead,
        named: Marks | None,
        freed: Freed,
        rewriter: Rewriter,
    ) -> None:
        """Write a cohort's pages anew without what no snapshot reaches; `named`: what snapshots' nodes name of it."""
        keys = self._repository.keys_of(pages[0].ref.writer)
        parts: list[tuple[Array, Array]] = []
        for state in pages:
            page = ahead.get(state.ref)
            _, entries, gone = open_index(page, keys)
            parts.append((entries, gone))
            self._survey.take(state.ref, page, entries)
        every, gone = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        reached = Reached(np.zeros(0, np.uint64) if named is None else named, every, gone)
        if reached.of(every).all() and not fits(len(pages), len(every)):
            return
        content = CohortContent.load(pages, keys, ahead, self._repository.unwrapper)
        lost = content.keep_reached(reached)
        deletion = rewriter.replace([content], cause="prune" if lost else "merge")
        freed.entries += lost
        freed.pages += deletion.pages
        freed.pending |= deletion.failed

    def sweep(self, freed: Freed, *, every_page: bool = False) -> None:
        """Delete objects that the ledger does not name, and mend key stores that lack pages it does name.

        `every_page`: read every page in every key store, to find those that are there and damaged, too.

        A key store that is down is reported in `freed`; objects under a lock are kept and counted.

        Raises:
            IntegrityError: A live page is whole in no key store, so nobody knows which packs are needed.
        """
        repository = self._repository
        objects = repository.place.objects
        void_lapsed(repository)
        now = objects.now().timestamp()
        deletion = delete_unnamed(repository, partial(kept_from_sweep, repository))
        freed.pages += deletion.pages
        freed.pending |= deletion.failed
        manifests, listed = list(objects.list(names.MANIFESTS)), list(objects.list(names.PACKS))
        # Read after the listings: whoever put what is listed had begun by then, and stands here.
        state = repository.refresh()
        for named in repository.place.key_stores.stores:
            self._mend(state, named, freed, every_page=every_page)
        wanted = {s.entry.manifest for s in state.snapshots.values()}
        for info in manifests:
            if info.name not in wanted and info.name.rsplit("-", 1)[-1] not in state.sessions:
                freed.manifests += self._delete(info, freed)
        packs = {names.pack(p) for live in self._survey.of(state.pages.values()).values() for p in live}
        oldest = min((s.began_at - CLOCK_MARGIN_S for s in state.sessions.values()), default=now)
        for info in listed:
            if info.name not in packs and info.modified.timestamp() < min(oldest, now - MERGE_LEASE_S):
                freed.packs += self._delete(info, freed)
        if freed.packs or freed.pages or freed.manifests:
            entry = Sweep(packs=freed.packs, pages=freed.pages, bytes=freed.bytes)
            repository.ledger.append(entry, repository.purge_key)

    def repack(self, freed: Freed) -> None:
        """Move what lives in worn packs into new ones, and delete the old.

        Raises:
            StalePlanError: A forgetting began meanwhile; run it again.
        """
        repacker, before = (
            Repacker(self._repository, self._progress, self._survey),
            (freed.packs, freed.bytes),
        )
        for info in repacker.repack():
            freed.packs += self._delete(info, freed)
        freed.repacked += repacker.done.packs
        freed.copied += repacker.done.copied
        freed.unsound += repacker.done.unsound
        freed.pending |= repacker.done.pending
        if repacker.done.packs:
            entry = Sweep(packs=freed.packs - before[0], pages=0, bytes=freed.bytes - before[1])
            self._repository.ledger.append(entry, self._repository.purge_key)

    def _mend(self, state: State, named: NamedStore, freed: Freed, *, every_page: bool) -> None:
        """Put right the live pages that a key store lacks or has damaged: it was down, or it lost them.

        What a listing does not show is looked for, and of the others so many, each time others: all of them would be
        the whole key store, read at each prune.
        """
        stores = self._repository.place.key_stores
        try:
            there = {info.name.rsplit("/", 1)[-1] for info in named.store.list(names.PAGES)}
            pages = list(state.pages.values())  # a list: the state goes on when the ledger is read on
            salt = random_bytes(16)
            shown = sorted(
                (p for p in pages if p.ref.page.hex() in there), key=lambda p: content_hash(salt, p.ref.page)
            )
            looked_at = len(shown) if every_page else LOOKED_AT
            wanted = [p for p in pages if p.ref.page.hex() not in there] + shown[:looked_at]
            whole = each(self._repository.place.readers, lambda p: stores.has_whole(p.ref, named), wanted)
            for page, is_whole in zip(wanted, whole, strict=True):
                if not is_whole:
                    self._mend_page(page, named, freed)
        except ObjectStoreError:
            freed.pending.add(named.name)

    def _mend_page(self, page: PageState, named: NamedStore, freed: Freed) -> None:
        ref = page.ref
        self._repository.place.key_stores.mend(ref, named)
        if ref.page.hex() not in self._repository.refresh().pages:  # forgotten meanwhile
            named.store.delete(names.page(ref.epoch, ref.tag, ref.page))
        else:
            freed.mended += 1

    def _delete(self, info: ObjectInfo, freed: Freed) -> int:
        try:
            self._repository.place.objects.delete(info.name)
        except ObjectLockedError as e:
            freed.retained += 1
            if e.until is not None:
                freed.retained_until = max(e.until, freed.retained_until or e.until)
            return 0
        freed.bytes += info.size
        return 1
