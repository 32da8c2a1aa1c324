"""Carries a judged forgetting through the key pages of a source: several cohorts are cut, and then named, together."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from tenure.domain.errors import IntegrityError
from tenure.domain.progress import ProgressTask
from tenure.repository.cohortnames import Group, of_cohorts
from tenure.repository.content import CohortContent, Rewriter, rewriter_of
from tenure.repository.cutting import Cut, Cutter
from tenure.repository.keystores import Deletion
from tenure.repository.model import ChunkKind
from tenure.repository.page import open_index
from tenure.repository.pagesahead import PagesAhead
from tenure.repository.repository import Repository
from tenure.repository.scopes import Scope
from tenure.repository.secrets import SourceKeys
from tenure.repository.state import ForgetState, PageState

Key = tuple[bytes, bytes, int]
"""Writer, cohort tag and view."""

Groups = dict[Key, list[PageState]]
"""Pages by these."""

WHOLE_TOGETHER = 256
"""Cohorts that go whole with one `merge`."""


@dataclass(slots=True, kw_only=True)
class Went:
    """What a forgetting took from the repository. `pending`: key stores that did not confirm every deletion.

    `locked`: those of them that a lock keeps from it, and when the last of these ends.
    """

    records: int = 0
    chunks: int = 0
    pages: int = 0
    cohorts: int = 0
    replaced_bytes: int = 0
    pending: set[str] = field(default_factory=set)
    locked: dict[str, datetime] = field(default_factory=dict)

    def add(self, deletion: Deletion) -> None:
        """Note the stores that did not confirm a deletion."""
        self.pending |= deletion.failed
        for name, until in deletion.locked.items():
            self.locked[name] = max(until, self.locked.get(name, until))

    def pending_in_words(self) -> list[str]:
        """Return each store that did not confirm, with when its lock ends where one is in the way."""
        ends = {name: f" (locked until {until:%Y-%m-%d %H:%M} UTC)" for name, until in self.locked.items()}
        return [f"{name}{ends.get(name, '')}" for name in sorted(self.pending)]


class Carrying:
    """One forgetting's way through one source."""

    def __init__(self, repository: Repository, executor: Executor, forget: ForgetState, went: Went) -> None:
        self._repository = repository
        self._executor = executor
        self._forget = forget
        self._went = went
        place = repository.place
        self._pages = PagesAhead(place.key_stores, place.readers, repository.kept)
        self._rewriter: Rewriter | None = None
        self._cutter: Cutter | None = None
        self._whole: list[CohortContent] = []
        self._whole_chunks = 0
        self._damage: IntegrityError | None = None

    def through(self, scope: Scope, groups: Groups, task: ProgressTask) -> None:
        """Take what the scope names out of all these pages, and delete them.

        Raises:
            IntegrityError: A page or chunk cannot be read; what the other cohorts hold is gone all the same.
            StalePlanError: Somebody else rewrote the same pages meanwhile.
        """
        # By writer: what one cutter cuts is named together.
        concerned = self._concerned(scope, sorted(groups.items()))
        task.advance(len(groups) - len(concerned))
        wanted = [((key, states), [s.ref for s in states]) for key, states in concerned]
        try:
            for batch in self._pages.batches(wanted):
                self._batch(scope, batch, task)
            self._switch()
        finally:
            if self._cutter is not None:
                self._cutter.close()
        if self._damage is not None:
            raise self._damage

    def _concerned(self, scope: Scope, groups: list[Group[Key]]) -> list[Group[Key]]:
        """Return the groups that may lose something; the pages of all others are not read."""
        if not scope.records and not scope.recut:
            return [group for group in groups if group[0][1] in self._tags_of(scope, group[0][0])]
        names = {*scope.records, *scope.recut, *(cohort.data_set for cohort in scope.cohorts)}
        return of_cohorts(self._repository, self._pages, groups, lambda cohort: cohort.data_set in names)

    def _tags_of(self, scope: Scope, writer: bytes) -> set[bytes]:
        keys = self._repository.keys_of(writer)
        return {keys.tag(cohort) for cohort in scope.cohorts}

    def _batch(
        self,
        scope: Scope,
        batch: Sequence[Group[Key]],
        task: ProgressTask,
    ) -> None:
        for _, some in groupby(batch, key=lambda group: group[0][0]):
            group = list(some)
            cuts = [self._cut_of(scope, key, states) for key, states in group]
            for (_, states), cut in zip(group, cuts, strict=True):
                if cut is not None:
                    self._cut(cut, states)
                task.advance(1)
        if self._cutter is not None:
            self._cutter.companions.clear()

    def _cut_of(self, scope: Scope, key: Key, states: list[PageState]) -> Cut | None:
        """Return what to cut from a cohort; None where nothing is, or where it goes whole."""
        keys = self._repository.keys_of(key[0])
        if key[1] in self._tags_of(scope, key[0]):
            self._begin()
            self._whole.append(CohortContent.nothing([s.ref for s in states], keys))
            self._whole_chunks += sum(self._chunks_in(s, keys) for s in states)
            if len(self._whole) >= WHOLE_TOGETHER:
                self._switch()
            return None
        with self._noting_damage():
            cohort, _, _ = open_index(self._pages.get(states[0].ref), keys)
            drop = scope.seen_by(cohort.data_set, key[2])
            recut = scope.recut.get(cohort.data_set) if cohort.is_quarantine else None
            if len(drop) or recut is not None:
                self._cutter_of(states).offer(cohort)
                return Cut(cohort=cohort, drop=drop, recut=recut)
        return None

    def _cut(self, cut: Cut, states: list[PageState]) -> None:
        cutter = self._cutter_of(states)
        if cutter.has(cut.cohort) or cutter.is_full:
            self._switch()
            cutter = self._cutter_of(states)
        with self._noting_damage():
            cutter.cut(cut, states, self._forget.judged)

    @contextmanager
    def _noting_damage(self) -> Iterator[None]:
        """Go on after damage in one cohort: the others lose what they have to. The first is raised in the end."""
        try:
            yield
        except IntegrityError as e:
            self._damage = self._damage or e

    def _begin(self) -> None:
        """Note when what is named next was read: a merge counts only for so long."""
        if self._rewriter is None:
            self._rewriter = rewriter_of(self._repository)

    def _cutter_of(self, states: list[PageState]) -> Cutter:
        keys = self._repository.keys_of(states[0].ref.writer)
        if self._cutter is not None and self._cutter.writer != keys.writer:
            self._switch()
        if self._cutter is None:
            self._begin()
            self._cutter = Cutter(self._repository, self._executor, keys, self._pages)
        return self._cutter

    def _switch(self) -> None:
        """Name what was cut so far in place of the old pages, and have those deleted."""
        cutter, self._cutter = self._cutter, None
        whole, self._whole = self._whole, []
        contents, chunks = list(whole), self._whole_chunks
        self._whole_chunks = 0
        if cutter is not None:
            contents += cutter.finish()
            chunks += cutter.chunks
            self._went.replaced_bytes += cutter.replaced_bytes
        rewriter, self._rewriter = self._rewriter, None
        if contents and rewriter is not None:
            forget_id = self._forget.intent.forget
            self._went.add(rewriter.replace(contents, cause="forget", forget=forget_id, chunks=chunks))

    def _chunks_in(self, page: PageState, keys: SourceKeys) -> int:
        """Return how many chunks a page holds, companions not counted; 0 where it is damaged: it goes all the same."""
        try:
            _, entries, _ = open_index(self._pages.get(page.ref), keys)
        except IntegrityError:
            return 0
        return int((entries["kind"] != ChunkKind.COMPANION).sum())
