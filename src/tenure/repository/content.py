"""One cohort's key pages, opened and put together, to be written anew: for forgetting, pruning, merging, rotation.

Old pages are never changed. New ones, each under a fresh page key, are put first; one `merge` entry then makes
the new live and the old not; then the old are deleted in every key store.
"""

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from tenure.domain.errors import StalePlanError
from tenure.keys.base import Unwrapper, Wrapper
from tenure.repository import names, voids
from tenure.repository.chunkwriter import ChunkWriter
from tenure.repository.entries import Merge, PageRef
from tenure.repository.inflight import PAGES_AHEAD, all_of, each
from tenure.repository.keystores import Deletion, PageSource
from tenure.repository.model import NO_CHUNK, ChunkRef, Cohort
from tenure.repository.page import (
    ENTRY,
    GONE,
    MOST_ENTRIES,
    Array,
    PageHeader,
    PagePlain,
    open_index,
    open_keys,
    pages_of,
    seal_page,
)
from tenure.repository.reach import Reached
from tenure.repository.repository import Repository
from tenure.repository.secrets import SourceKeys
from tenure.repository.state import PageState

NO_SESSION = bytes(16)
"""Stands in the header of pages that no session wrote."""


@dataclass(slots=True, kw_only=True)
class CohortContent:
    """A cohort's entries, keys and gone list, of all its pages. `refs`: the pages it was read from."""

    cohort: Cohort
    keys: SourceKeys
    refs: list[PageRef]
    entries: Array
    gone: Array
    packs: list[bytes]
    deks: Array = field(repr=False)

    @classmethod
    def load(
        cls,
        pages: Iterable[PageState],
        keys: SourceKeys,
        stores: PageSource,
        unwrapper: Unwrapper,
        readers: Executor | None = None,
    ) -> "CohortContent":
        """Open pages of one cohort; an entry that two pages have is kept once.

        `readers`: read and unwrap some at once; None: one after the other.

        Raises:
            IntegrityError: A page is whole in no key store.
        """
        parts: list[tuple[Array, Array, Array]] = []
        refs: list[PageRef] = []
        packs: dict[bytes, int] = {}
        cohort = Cohort(data_set="", rule_class="", span="")

        def opened(ref: PageRef) -> tuple[PageRef, PageHeader, tuple[Cohort, Array, Array], Array]:
            page = stores.get(ref)
            return ref, page.header, open_index(page, keys), open_keys(page, unwrapper)

        for ref, header, (cohort, entries, gone), deks in each(  # noqa: B007 - the last one's cohort is all theirs
            readers, opened, (state.ref for state in pages), ahead=PAGES_AHEAD
        ):
            numbers = np.array([packs.setdefault(p, len(packs)) for p in header.packs] or [0], np.uint16)
            mine = entries.copy()
            mine["pack"] = numbers[entries["pack"]] if len(entries) else entries["pack"]
            parts.append((mine, deks, gone))
            refs.append(ref)
        found = cls(
            cohort=cohort,
            keys=keys,
            refs=refs,
            entries=np.concatenate([np.zeros(0, ENTRY), *(p[0] for p in parts)]),
            deks=np.concatenate([np.zeros((0, 32), np.uint8), *(p[1] for p in parts)]),
            gone=np.concatenate([np.zeros(0, GONE), *(p[2] for p in parts)]),
            packs=list(packs),
        )
        found.keep(_first_of_each(found.entries))
        found.gone = found.gone[_first_of_each(found.gone)]
        return found

    @classmethod
    def nothing(cls, refs: list[PageRef], keys: SourceKeys) -> "CohortContent":
        """Return what is left of pages that go whole; they need not be readable for that."""
        return cls(
            cohort=Cohort(data_set="", rule_class="", span=""),
            keys=keys,
            refs=refs,
            entries=np.zeros(0, ENTRY),
            gone=np.zeros(0, GONE),
            packs=[],
            deks=np.zeros((0, 32), np.uint8),
        )

    def refs_of_entries(self) -> list[ChunkRef]:
        """Return the reference of every entry, in order."""
        columns = zip(self.entries["id"].tolist(), self.entries["inc"].tolist(), strict=True)
        return [ChunkRef(chunk_id, inc) for chunk_id, inc in columns]

    def keep(self, mask: Array) -> None:
        """Drop the entries, and the keys, where `mask` is False."""
        self.entries, self.deks = self.entries[mask], self.deks[mask]

    def keep_reached(self, reached: Reached) -> int:
        """Drop entries, and explanations of gone ones, that no snapshot reaches; return how many entries that was."""
        mask = reached.of(self.entries)
        lost = int((~mask).sum())
        self.keep(mask)
        self.gone = self.gone[reached.of(self.gone)]
        return lost

    def forget(self, gone: Mapping[ChunkRef, tuple[ChunkRef | None, int]], number: int) -> None:
        """Take entries out and say so: ref -> (replacement, records it lacks); `number`: the judging's."""
        refs = self.refs_of_entries()
        rows = np.zeros(len(gone), GONE)
        kinds = dict(zip(refs, self.entries["kind"].tolist(), strict=True))
        for i, (ref, (replacement, lacks)) in enumerate(gone.items()):
            other = replacement or NO_CHUNK
            rows[i] = (ref.id, ref.incarnation, other.id, other.incarnation, number, lacks, kinds.get(ref, 0))
        self.gone = np.concatenate([self.gone, rows])
        self.keep(np.array([ref not in gone for ref in refs], bool))

    def add(self, chunks: ChunkWriter) -> None:
        """Take in what a chunk writer stored for this cohort, its packs put."""
        self.add_pages(chunks.end())

    def add_pages(self, pages: Iterable[PagePlain]) -> None:
        """Take in those of a chunk writer's pages that are this cohort's, its packs put."""
        for page in pages:
            if page.cohort != self.cohort:
                continue
            base = len(self.packs)
            self.packs += page.packs
            mine = page.entries.copy()
            mine["pack"] += base
            self.entries = np.concatenate([self.entries, mine])
            self.deks = np.concatenate([self.deks, page.deks])

    def pages(self) -> list[PagePlain]:
        """Return the new pages; none where nothing is left to say."""
        if not len(self.entries) and not len(self.gone):
            return []
        return pages_of(self.cohort, self.entries, self.deks, self.gone, self.packs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriter:
    """Puts cohorts' contents back as new pages, and has the old ones gone.

    Made before the contents are loaded: `head` and `begun` say what they are read at (see `voids.merge`).
    """

    repository: Repository
    wrapper: Wrapper
    epoch: int
    head: int
    begun: float

    def replace(
        self, contents: Iterable[CohortContent], *, cause: str, forget: bytes = b"", chunks: int = 0
    ) -> Deletion:
        """Write new pages, switch, delete the old ones everywhere and read back that they are gone.

        A crash before the switch leaves the old pages live and the new ones unnamed; after it, the old ones
        unnamed: the next run deletes what is unnamed.

        Raises:
            StalePlanError: The pages were replaced meanwhile, or something else that `voids.merge` names.
        """
        every = list(contents)
        removed = [ref for content in every for ref in content.refs]
        result = Deletion()
        if not removed:
            return result
        added = self._put(every, result, must_be_everywhere=cause != "forget")
        merge = Merge(
            cause=cause,
            forget=forget,
            removed=tuple(r.page for r in removed),
            added=tuple(added),
            head=self.head,
            begun=self.begun,
            chunks=chunks,
        )
        self._switch(merge)
        place = self.repository.place
        deletion = place.key_stores.delete(
            (names.page(r.epoch, r.tag, r.page) for r in removed), place.readers
        )
        deletion.take(result)
        return deletion

    def _switch(self, merge: Merge) -> None:
        objects = self.repository.place.objects
        state = self.repository.ledger.append(
            merge,
            self.repository.purge_key,
            check=lambda newest: _refuse(voids.merge(newest, merge, at=objects.now().timestamp())),
        )
        if any(page.hex() in state.pages for page in merge.removed):
            _refuse("it was too late")  # so the old pages are what is live, and stay

    def _put(
        self, contents: Iterable[CohortContent], result: Deletion, *, must_be_everywhere: bool
    ) -> list[PageRef]:
        place = self.repository.place
        plain = [(page, content.keys) for content in contents for page in content.pages()]
        # Sealed by those that put: wrapping a page's key may be a request to a service, too.
        if must_be_everywhere:
            return all_of(place.readers, self._seal_and_put, plain)
        sealed = all_of(place.readers, self._seal, plain)
        result.failed |= place.key_stores.put_where_possible(sealed, place.readers)
        return [ref for ref, _ in sealed]

    def _seal_and_put(self, page: tuple[PagePlain, SourceKeys]) -> PageRef:
        ref, raw = self._seal(page)
        self.repository.place.key_stores.put(ref, raw)
        return ref

    def _seal(self, page: tuple[PagePlain, SourceKeys]) -> tuple[PageRef, bytes]:
        plain, keys = page
        return seal_page(
            plain,
            keys=keys,
            repository=self.repository.id,
            epoch=self.epoch,
            session=NO_SESSION,
            wrapper=self.wrapper,
        )


def rewriter_of(repository: Repository) -> Rewriter:
    """Return what puts contents back that are read from now on."""
    return Rewriter(
        repository=repository,
        wrapper=repository.wrapper(),
        epoch=repository.epoch().opened.epoch,
        head=repository.state.number,
        begun=repository.place.objects.now().timestamp(),
    )


def _refuse(why: str) -> None:
    if why:
        raise StalePlanError(f"key pages were not replaced: {why}", hint="run the command again")


def fits(pages: int, entries: int) -> bool:
    """Whether pages are worth merging: more than 16 of a cohort, less than half full on the whole."""
    return pages > 16 and entries * 2 < pages * MOST_ENTRIES


def _first_of_each(rows: Array) -> Array:
    mask = np.ones(len(rows), bool)
    first = _first_bits(rows)
    if len(np.unique(first)) == len(first):  # so no two are alike, which is nearly always so
        return mask
    seen: set[bytes] = set()
    for i, (chunk_id, inc) in enumerate(zip(rows["id"].tolist(), rows["inc"].tolist(), strict=True)):
        mask[i] = chunk_id + inc not in seen
        seen.add(chunk_id + inc)
    return mask


def _first_bits(rows: Array) -> Array:
    """Return the first 64 bits of ids: equal ids have equal ones, others hardly ever."""
    return rows["id"].copy().view("<u8")[::2]


def touched(
    pages: Iterable[PageState], gone: Collection[ChunkRef], keys: SourceKeys, stores: PageSource
) -> list[PageState]:
    """Return the pages that hold some of these chunks: only they have to be written anew.

    Raises:
        IntegrityError: A page is whole in no key store.
    """
    wanted = np.frombuffer(b"".join(ref.id for ref in gone), "<u8")[::2]
    found = ((page, open_index(stores.get(page.ref), keys)[1]) for page in pages)
    return [page for page, entries in found if np.isin(_first_bits(entries), wanted).any()]
