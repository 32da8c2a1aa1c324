"""Finds chunks by reference and opens them: index in key pages, bytes in packs, forgotten ones explained.

A reference that no live page holds is either explained (its page says `gone`, or its cohort was forgotten whole)
or it is damage. Damage is never taken for forgetting.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from tenure.domain.errors import (
    IntegrityError,
    KeyMismatchError,
    ObjectNotFoundError,
    TamperedError,
    TruncatedError,
)
from tenure.keys.base import Unwrapper
from tenure.objectstore.base import ObjectStore
from tenure.repository import chunks, codings, names
from tenure.repository.cohortindex import CohortIndex, Gone, gone_in
from tenure.repository.entries import PageRef
from tenure.repository.inflight import PAGES_AHEAD, each
from tenure.repository.kept import IndexKey, Kept
from tenure.repository.keystores import PageSource
from tenure.repository.model import ChunkKind, ChunkRef, Cohort
from tenure.repository.page import PageBytes, open_index, open_keys
from tenure.repository.places import Place
from tenure.repository.placesbuilder import PlacesBuilder
from tenure.repository.secrets import STRUCTURE, SourceKeys
from tenure.repository.spans import in_spans
from tenure.repository.state import State

T = TypeVar("T")

TOGETHER = 256
"""Structure chunks that are read together, of some 80 KB before compression."""


class ChunkReader:
    """Reads one source's chunks. Without an unwrapper only structure can be opened, which is a writer's case.

    `as_of`: number of the snapshot that is read, so that only later forgettings explain what it lacks; 0 lets every
    forgetting explain it. `refresh` reads the ledger again: a prune may move chunks while somebody restores them, and
    what is not where it was is looked for once more where the ledger says by then. `kept`: what was read before is
    taken from there. `readers`: threads that only wait for stores; pages come through them, several at a time.
    """

    def __init__(
        self,
        *,
        objects: ObjectStore,
        key_stores: PageSource,
        keys: SourceKeys,
        repository: bytes,
        state: State,
        unwrapper: Unwrapper | None,
        as_of: int = 0,
        refresh: Callable[[], State] | None = None,
        kept: Kept | None = None,
        readers: Executor | None = None,
    ) -> None:
        self._objects = objects
        self._key_stores = key_stores
        self.keys = keys
        self._repository = repository
        self._state = state
        self._unwrapper = unwrapper
        self._as_of = as_of
        self._refresh = refresh
        self.kept = kept
        self._readers = readers
        self._number = state.number
        self._lock = threading.Lock()
        self._indexes: dict[Cohort, CohortIndex] = {}

    def index(self, cohort: Cohort) -> CohortIndex:
        """Return what the live pages of a cohort say."""
        found = self._indexes.get(cohort)
        if found is None:
            found = self._indexes[cohort] = self._load(cohort)
        return found

    def drop(self, cohort: Cohort) -> None:
        """Let go of a cohort's index, and so of its keys."""
        self._indexes.pop(cohort, None)

    def forgotten_at(self, cohort: Cohort) -> int:
        """Return the number of the judging that took the cohort whole out of the snapshot that is read; 0 for none."""
        number = self.index(cohort).forgotten_at
        # A cohort forgotten whole before this snapshot was taken explains nothing that is missing from it.
        return number if number > self._as_of else 0

    def read_as_of(self, number: int) -> None:
        """Go on reading another snapshot."""
        self._as_of = number

    def locate(self, cohort: Cohort, ref: ChunkRef) -> Place | None:
        """Return where a chunk, or what replaced it, lies; None where it was forgotten.

        Raises:
            IntegrityError: No live page holds it and nothing explains that.
        """
        return self._twice(lambda: self._locate(cohort, ref))

    def lacks(self, cohort: Cohort, ref: ChunkRef) -> tuple[int, int]:
        """Return (records that replacements of a chunk lack, highest ledger number that took some); (0, 0) for none."""
        index, lacking, number = self.index(cohort), 0, 0
        gone = index.gone.get(ref)
        while gone is not None:
            lacking, number = lacking + gone.lacks, max(number, gone.number)
            gone = index.gone.get(gone.replacement) if gone.replacement is not None else None
        return lacking, number

    def fetch_view(self, cohort: Cohort, ref: ChunkRef) -> memoryview | None:
        """As `fetch`, as `view`.

        Raises:
            IntegrityError: As `fetch`.
        """

        def once() -> memoryview | None:
            place = self._locate(cohort, ref)
            return None if place is None else self.view(cohort, place, self.read(place))

        return self._twice(once)

    def fetch(self, cohort: Cohort, ref: ChunkRef) -> bytes | None:
        """Return a chunk's plaintext; None where it was forgotten.

        Raises:
            IntegrityError: Missing or damaged.
        """

        def once() -> bytes | None:
            place = self._locate(cohort, ref)
            return None if place is None else self._opened(cohort, place)

        return self._twice(once)

    def _opened(self, cohort: Cohort, place: Place) -> bytes:
        sealed = None if self.kept is None else self.kept.sealed(place)
        if sealed is None:
            sealed = self.read(place)
            if self.kept is not None:
                self.kept.keep(place, sealed)
        try:
            return self.open(cohort, place, sealed)
        except IntegrityError:
            if self.kept is not None:
                self.kept.drop(place)
            raise

    def _twice(self, once: Callable[[], T]) -> T:
        number = self._number
        try:
            return once()
        except IntegrityError:
            if not self._overtaken(number):
                raise
            return once()

    def read(self, place: Place) -> bytes:
        """Return the sealed bytes of a chunk.

        Raises:
            IntegrityError: Its pack is missing or cut short.
        """
        try:
            return self._objects.get(names.pack(place.pack), offset=place.offset, length=place.length)
        except ObjectNotFoundError as e:
            raise IntegrityError(f"pack {place.pack.hex()} is missing from the object store") from e

    def open(self, cohort: Cohort, place: Place, sealed: bytes | memoryview) -> bytes:
        """Unseal and decode a chunk, and check that it is the one asked for.

        Raises:
            TamperedError: It is not.
        """
        dek, aad = self._opening(cohort, place)
        try:
            return chunks.open_chunk(sealed, dek, coding=place.coding, plain=place.plain, aad=aad)
        except (TamperedError, TruncatedError) as e:
            raise _changed(place, e) from e

    def view(self, cohort: Cohort, place: Place, sealed: bytes | memoryview) -> memoryview:
        """As `open`, into memory of this thread's own that begins at a page; good until the thread's next call.

        Raises:
            TamperedError: As `open`.
        """
        dek, aad = self._opening(cohort, place)
        out = codings.scratch("view", place.plain)
        try:
            chunks.open_chunk_into(sealed, dek, out, coding=place.coding, plain=place.plain, aad=aad)
        except (TamperedError, TruncatedError) as e:
            raise _changed(place, e) from e
        return out

    def _opening(self, cohort: Cohort, place: Place) -> tuple[bytes, bytes]:
        """Return a chunk's key and what it is bound to."""
        dek = self.keys.structure_key(place.ref) if place.kind is ChunkKind.STRUCTURE else place.dek
        if not dek:
            raise KeyMismatchError("this process has no right to read: it was given no reading key")
        tag = self.keys.tag(cohort)
        return dek, chunks.bound_to(
            self._repository, tag, place.ref, kind=place.kind, coding=place.coding, plain=place.plain
        )

    def structure(self, ref: ChunkRef) -> bytes:
        """Return a structure chunk.

        Raises:
            IntegrityError: Missing or damaged; structure is never forgotten.
        """
        raw = self.fetch(STRUCTURE, ref)
        if raw is None:
            raise IntegrityError(
                "a part of the repository's structure is marked as forgotten, which never happens"
            )
        return raw

    def structure_in(self, ref: ChunkRef, sealed: bytes | memoryview) -> bytes:
        """Return a structure chunk of which somebody has the sealed bytes.

        Raises:
            IntegrityError: It is named by no page, or these bytes are not it.
        """
        place = self.locate(STRUCTURE, ref)
        if place is None:
            raise IntegrityError("structure is marked as forgotten, which never happens")
        return self.open(STRUCTURE, place, sealed)

    def structures(
        self, refs: Sequence[ChunkRef], told: Callable[[ChunkRef, bytes | memoryview], None] | None = None
    ) -> Iterator[tuple[ChunkRef, bytes | None]]:
        """Yield many structure chunks in order, ranges that lie together in one request; None for what is damaged.

        `told`: is given the sealed bytes of those that are whole.
        """
        for at in range(0, len(refs), TOGETHER):
            some = refs[at : at + TOGETHER]
            places = {
                ref: place for ref in some if (place := self._place_or_none(STRUCTURE, ref)) is not None
            }
            sealed: dict[tuple[bytes, int], memoryview] = {}
            for found in each(self._readers, self.span_or_nothing, in_spans(places.values())):
                sealed |= {(place.pack, place.offset): view for place, view in found}
            for ref in some:
                raw = None
                with suppress(IntegrityError):
                    place = places.get(ref)
                    view = None if place is None else sealed.get((place.pack, place.offset))
                    if view is None:
                        raw = self.structure(ref)
                    else:
                        raw = self.structure_in(ref, view)
                        if told is not None:
                            told(ref, view)
                yield ref, raw

    def are_whole(self, refs: Sequence[PageRef]) -> Iterator[tuple[PageRef, bool]]:
        """Yield key pages and whether some key store has them whole."""
        pages = each(self._readers, self._page, refs, ahead=PAGES_AHEAD)
        for ref, page in zip(refs, pages, strict=True):
            yield ref, not isinstance(page, IntegrityError)

    def _place_or_none(self, cohort: Cohort, ref: ChunkRef) -> Place | None:
        with suppress(IntegrityError):
            return self.locate(cohort, ref)
        return None

    def span_or_nothing(self, group: Sequence[Place]) -> list[tuple[Place, memoryview]]:
        """As `read_span`; nothing where the pack is not there, for who asks for each chunk afterwards."""
        try:
            return self.read_span(group)
        except IntegrityError:
            return []

    def fetch_many(
        self, wanted: Sequence[tuple[Cohort, ChunkRef]], executor: Executor, *, ahead: int = 4
    ) -> Iterator[bytes | None]:
        """Yield plaintexts in the order asked for, reading ahead."""
        pending: list[object] = []
        for cohort, ref in wanted:
            self.index(cohort)  # loaded here, so that workers only look up
            pending.append(executor.submit(self.fetch, cohort, ref))
            if len(pending) > ahead:
                yield pending.pop(0).result()  # type: ignore[attr-defined]
        for job in pending:
            yield job.result()  # type: ignore[attr-defined]

    def read_span(self, group: Sequence[Place]) -> list[tuple[Place, memoryview]]:
        """Read one range and return each place's sealed bytes.

        Raises:
            IntegrityError: The pack is not there: damage, or it was emptied since (`fetch` tells).
        """
        start = group[0].offset
        end = group[-1].offset + group[-1].length
        try:
            raw = memoryview(self._objects.get(names.pack(group[0].pack), offset=start, length=end - start))
        except ObjectNotFoundError as e:
            raise IntegrityError(f"pack {group[0].pack.hex()} is missing from the object store") from e
        return [(place, raw[place.offset - start : place.offset - start + place.length]) for place in group]

    def _overtaken(self, number: int) -> bool:
        """Read the ledger again; whether it went on since entry `number`, so that another look is worth it."""
        with self._lock:
            if self._refresh is not None and self._number == number:
                self._state = self._refresh()
                self._number = self._state.number
                if self._number != number:
                    self._indexes.clear()
            return self._number != number

    def _locate(self, cohort: Cohort, ref: ChunkRef) -> Place | None:
        index = self.index(cohort)
        seen = set()
        while ref not in index.places:
            gone = index.gone.get(ref)
            if gone is None and self.forgotten_at(cohort):
                return None
            if gone is None and index.damaged:
                raise IntegrityError(f"chunk {ref.id.hex()} cannot be found: {'; '.join(index.damaged)}")
            if gone is None or ref in seen:
                raise IntegrityError(
                    f"chunk {ref.id.hex()} of cohort {self.keys.tag(cohort).hex()} is in no key page, and the ledger"
                    " does not say that it was forgotten"
                )
            if gone.replacement is None:
                return None
            seen.add(ref)
            ref = gone.replacement
        return index.places[ref]

    def _load(self, cohort: Cohort) -> CohortIndex:
        tag = self.keys.tag(cohort)
        unwrapper = None if cohort == STRUCTURE else self._unwrapper
        # A snapshot names chunks of its own writer only: another generation's pages open under another index key.
        refs = [page.ref for page in self._state.live_pages(frozenset({self.keys.writer}), tag)]
        pages = each(self._readers, self._page, refs, ahead=PAGES_AHEAD)
        if self.kept is None:
            found = self._together(pages, unwrapper)
        else:
            # Each page is asked for all the same: what is kept is what those say that are there.
            key: IndexKey = (unwrapper is not None, *(ref.hash for ref in refs))
            read = list(pages)
            kept = None if any(isinstance(page, IntegrityError) for page in read) else self.kept.index(key)
            found = kept or self._together(read, unwrapper)
            if kept is None and not found.damaged:
                self.kept.keep_index(key, found)
        forgotten_at = self._state.cohorts_gone.get(tag.hex(), 0)
        return replace(found, forgotten_at=forgotten_at) if forgotten_at else found

    def _together(
        self, pages: Iterable[PageBytes | IntegrityError], unwrapper: Unwrapper | None
    ) -> CohortIndex:
        """Return what pages say, but for how their cohort stands in the ledger."""
        places, gone = PlacesBuilder(keyed=unwrapper is not None), dict[ChunkRef, Gone]()
        damaged = list[str]()
        for page in pages:
            try:
                if isinstance(page, IntegrityError):
                    raise page
                _, entries, left = open_index(page, self.keys)
                deks = None if unwrapper is None else open_keys(page, unwrapper)
            except IntegrityError as e:
                damaged.append(str(e))
            else:
                places.add(entries, page.header.packs, deks)
                gone.update(gone_in(left))
        return CohortIndex(places=places.end(), gone=gone, damaged=tuple(damaged))

    def _page(self, ref: PageRef) -> PageBytes | IntegrityError:
        try:
            return self._key_stores.get(ref)
        except IntegrityError as e:
            return e


def _changed(place: Place, e: TamperedError | TruncatedError) -> IntegrityError:
    return type(e)(
        f"a chunk at bytes {place.offset}-{place.offset + place.length} of pack {place.pack.hex()} was changed"
    )
