"""Cuts records out of cohorts' chunks: filters, unsealing, replacement chunks. Changes no page by itself."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from tenure.domain.errors import IntegrityError
from tenure.repository import companion, layouts, mediacompanion, rows, tablereader
from tenure.repository.chunkwriter import ChunkWriter
from tenure.repository.content import CohortContent, touched
from tenure.repository.keystores import PageSource
from tenure.repository.model import ChunkKind, ChunkRef, Cohort, holds_recordings
from tenure.repository.packs import Packer
from tenure.repository.page import open_index
from tenure.repository.places import Place, Places
from tenure.repository.recutting import recut_rows
from tenure.repository.repository import Repository
from tenure.repository.rows import Bytes
from tenure.repository.scopes import Recut
from tenure.repository.secrets import SourceKeys
from tenure.repository.session import Uploads
from tenure.repository.state import PageState
from tenure.repository.suspects import Companions, Suspect, of_records
from tenure.sources.rowtext import facts_from_rows

REPLACEMENT_PACK = 4 * 1024 * 1024
"""Replacement packs are small: they hold what is left of a few chunks."""


CUT_TOGETHER = 256 * 1024 * 1024
"""Bytes of replacement chunks, before compression, that one `merge` names: what a death loses."""

ENTRIES_TOGETHER = 100_000
"""Entries of cohorts' pages that one `merge` replaces: their keys are in memory until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What is cut from a cohort. `drop`: identities that go (uint8, n x 16, sorted); `recut`: see there."""

    cohort: Cohort
    drop: Bytes
    recut: Recut | None = None


class Cutter:
    """Cuts records out of cohorts of one writer, several together: what is left of their chunks shares packs."""

    def __init__(
        self, repository: Repository, executor: Executor, keys: SourceKeys, pages: PageSource
    ) -> None:
        """Begin with no cohort. `pages`: where key pages are read."""
        self._repository = repository
        self._keys = keys
        self._pages = pages
        self._reader = repository.chunk_reader(keys, pages=pages, keeps=True)
        self.companions = Companions(self._reader, repository.place.readers)
        self._uploads = Uploads()
        self._chunks = ChunkWriter(
            keys=keys,
            repository=repository.id,
            packer=Packer(
                repository.place.objects,
                self._uploads,
                pack_bytes=REPLACEMENT_PACK,
                buffers=2,
                until=repository.place.until,
            ),
            executor=executor,
        )
        self._gone: dict[ChunkRef, tuple[ChunkRef | None, int]] = {}
        self._contents: dict[Cohort, CohortContent] = {}
        self.chunks = 0

    @property
    def writer(self) -> bytes:
        """Return whose cohorts these are."""
        return self._keys.writer

    @property
    def replaced_bytes(self) -> int:
        """Return how many bytes the replacement chunks have, before compression."""
        return self._chunks.stored_plain

    @property
    def is_full(self) -> bool:
        """Whether what was cut should be named before more is."""
        entries = sum(len(content.entries) for content in self._contents.values())
        return self.replaced_bytes >= CUT_TOGETHER or entries >= ENTRIES_TOGETHER

    def has(self, cohort: Cohort) -> bool:
        """Whether something was cut from a cohort already."""
        return cohort in self._contents

    def offer(self, cohort: Cohort) -> None:
        """Say that a cohort is cut soon, so that its companions come with others'."""
        self.companions.offer(cohort, self._reader.index(cohort).places)

    def cut(self, cut: Cut, pages: Sequence[PageState], judged: int) -> None:
        """Cut what these pages of a cohort hold; chunks of its other pages are left alone.

        Raises:
            IntegrityError: A chunk or companion cannot be read.
        """
        self._gone = {}
        mine = self._places(cut.cohort, pages)
        if holds_recordings(mine.kinds):
            self._cut_recordings(cut, mine)
        else:
            self._cut_rows(cut, mine)
        self._reader.drop(cut.cohort)
        if self._gone:
            holding = touched(pages, self._gone, self._keys, self._pages)
            content = CohortContent.load(holding, self._keys, self._pages, self._repository.unwrapper)
            content.forget(self._gone, judged)
            self._contents[cut.cohort] = content
            self.chunks += len(self._gone)

    def finish(self) -> list[CohortContent]:
        """Put what is left and return the changed contents; nothing more can be cut then.

        Raises:
            ObjectStoreError: A pack could not be put.
        """
        try:
            pages = self._chunks.end() if self._contents else []
            for content in self._contents.values():
                content.add_pages(pages)
            return list(self._contents.values())
        finally:
            self.close()

    def close(self) -> None:
        """End the threads that put packs; safe to call twice."""
        self._uploads.close()

    def _places(self, cohort: Cohort, pages: Sequence[PageState]) -> Places:
        """Return the chunks that these pages name."""
        every = self._reader.index(cohort).places
        live = self._repository.state.live_pages(frozenset({self._keys.writer}), pages[0].ref.tag)
        if {p.ref.page for p in live} == {p.ref.page for p in pages}:
            return every
        refs: dict[ChunkRef, None] = {}
        for page in pages:
            _, entries, _ = open_index(self._pages.get(page.ref), self._keys)
            refs |= dict.fromkeys(map(ChunkRef, entries["id"].tolist(), entries["inc"].tolist()))
        return every.part(refs)

    def _cut_rows(self, cut: Cut, mine: Places) -> None:
        kinds = (ChunkKind.ROWS, ChunkKind.DELETES)
        looked = self.companions.look(cut.cohort, mine.of_kinds(kinds), of_records(cut.drop), kinds=kinds)
        suspects = {s.place.ref: s for s in looked.suspects}
        for place in looked.mute or ():
            raise _undescribed(place)
        for place in mine.of_kinds((ChunkKind.ROWS,)) if cut.recut is not None else ():
            if place.ref not in suspects:
                about = self.companions.of(cut.cohort, place)
                if about is None:
                    raise _undescribed(place)
                suspects[place.ref] = Suspect(place=place, about=about)
        for suspect in suspects.values():
            self._cut_chunk(cut, suspect)

    def _cut_chunk(self, cut: Cut, suspect: Suspect) -> None:
        place, about, cohort = suspect.place, suspect.about, cut.cohort
        plain = self._reader.fetch(cohort, place.ref)
        if plain is None:
            return
        expressions = layouts.decode(about.expressions)
        if place.kind is ChunkKind.ROWS:
            kept, lacks = tablereader.filter_rows(
                plain, expressions.layout.key_cells, self._keys.identity, cut.drop
            )
            if cut.recut is not None:
                name, key = cohort.data_set, self._keys.finding
                kept = recut_rows(kept, name, expressions.layout, key, cut.recut)
        else:
            kept, lacks = tablereader.filter_deletes(plain, cut.drop)
        if kept == plain:
            return
        replacement = self._put(cohort, place.kind, kept, about, expressions) if kept else None
        self._gone[place.ref] = (replacement, lacks)
        self._gone[place.companion] = (None, 0)

    def _put(
        self,
        cohort: Cohort,
        kind: ChunkKind,
        kept: bytes,
        about: companion.Companion,
        expressions: layouts.Expressions,
    ) -> ChunkRef:
        if kind is ChunkKind.DELETES:
            found = companion.of_deletes(
                tablereader.deleted(kept), expressions=about.expressions, detector=about.detector
            )
        else:
            found = self._describe(cohort, kept, about, expressions)
        return self._chunks.put(cohort, kind, kept, lambda: companion.encode(found))[0]

    def _describe(
        self, cohort: Cohort, kept: bytes, about: companion.Companion, expressions: layouts.Expressions
    ) -> companion.Companion:
        batch, cells = rows.batch_of(kept), expressions.layout.key_cells
        data_set = expressions.data_set(cohort.data_set)
        facts = facts_from_rows(expressions.layout, data_set, batch, expressions.zone)
        subjects = {
            kind: companion.subject_hash(v, self._keys.identity) for kind, v in facts.subjects.items()
        }
        return companion.of_rows(
            batch,
            key_cells=cells,
            identities=rows.identities(batch, cells, self._keys.identity),
            hashes=rows.row_hashes(batch, self._keys.row_seed),
            subjects=subjects,
            expressions=about.expressions,
            detector=about.detector,
        )

    def _cut_recordings(self, cut: Cut, mine: Places) -> None:
        cohort, drop = cut.cohort, {i.tobytes() for i in cut.drop}
        for ref in [place.ref for place in mine.of_kinds((ChunkKind.COMPANION,))]:
            raw = self.companions.raw(cohort, ref)
            metas = mediacompanion.decode(raw) if raw is not None else ()
            falls = [
                m is not None and rows.identity_of(m.recording.path, self._keys.identity) in drop
                for m in metas
            ]
            if not any(falls):
                continue
            kept = [None if fall else meta for fall, meta in zip(falls, metas, strict=True)]
            left = any(m is not None for m in kept)
            replacement = self._chunks.put_companion(cohort, mediacompanion.encode(kept)) if left else None
            self._gone[ref] = (replacement, sum(falls))
            for fall, meta in zip(falls, metas, strict=True):
                if fall and meta is not None:
                    self._gone.update((c, (None, 0)) for c in meta.chunks if c in mine)


def _undescribed(place: Place) -> IntegrityError:
    return IntegrityError(f"chunk {place.ref.id.hex()} has no companion; nothing says what records it holds")
