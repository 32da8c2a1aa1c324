"""Cuts records out of one cohort's chunks: filters, unsealing, replacement chunks. Changes no page by itself."""

from concurrent.futures import Executor

from tenure.domain.errors import IntegrityError
from tenure.repository import companion, layouts, mediacompanion, rows, tablereader
from tenure.repository.chunkwriter import NONE, ChunkWriter
from tenure.repository.content import CohortContent
from tenure.repository.model import ChunkKind, ChunkRef, Cohort, holds_recordings
from tenure.repository.packs import Packer
from tenure.repository.recutting import recut_rows
from tenure.repository.repository import Repository
from tenure.repository.rows import Bytes
from tenure.repository.scopes import Recut
from tenure.repository.session import Uploads
from tenure.sources.rowtext import facts_from_rows

REPLACEMENT_PACK = 4 * 1024 * 1024
"""Replacement packs are small: they hold what is left of a few chunks."""


class Cutter:
    """Cuts records out of one cohort's chunks: of the pages in `content`, and of no later ones."""

    def __init__(
        self,
        repository: Repository,
        executor: Executor,
        content: CohortContent,
        drop: Bytes,
        recut: Recut | None = None,
    ) -> None:
        self._recut = recut
        self._content = content
        self._mine = content.refs_of_entries()
        self._keys = content.keys
        self._drop = drop
        self._reader = repository.chunk_reader(content.keys)
        self._uploads = Uploads()
        self._chunks = ChunkWriter(
            keys=content.keys,
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
        self.replaced_bytes = 0

    def cut(self, judged: int) -> int:
        """Cut, and change the content; return how many chunks went, companions among them.

        Raises:
            IntegrityError: A chunk or companion cannot be read.
        """
        try:
            if holds_recordings(self._content.entries["kind"].tolist()):
                self._cut_recordings()
            else:
                self._cut_rows()
            if self._gone:
                self._content.forget(self._gone, judged)
                self._content.add(self._chunks)
                self.replaced_bytes = self._chunks.stored_plain
            return len(self._gone)
        finally:
            self._uploads.close()

    def _cut_rows(self) -> None:
        cohort = self._content.cohort
        places = self._reader.index(cohort).places
        for ref in self._mine:
            place = places[ref]
            if place.kind not in {ChunkKind.ROWS, ChunkKind.DELETES}:
                continue
            raw = None if place.companion == NONE else self._reader.fetch(cohort, place.companion)
            if raw is None:
                raise IntegrityError(
                    f"chunk {ref.id.hex()} has no companion; nothing says what records it holds"
                )
            about = companion.decode(raw)
            wanted = self._drop[about.may_hold_keys(self._drop)]
            if len(wanted) or (self._recut is not None and place.kind is ChunkKind.ROWS):
                self._cut_chunk(cohort, ref, place.kind, about)

    def _cut_chunk(self, cohort: Cohort, ref: ChunkRef, kind: ChunkKind, about: companion.Companion) -> None:
        plain = self._reader.fetch(cohort, ref)
        if plain is None:
            return
        expressions = layouts.decode(about.expressions)
        if kind is ChunkKind.ROWS:
            kept, lacks = tablereader.filter_rows(
                plain, expressions.layout.key_cells, self._keys.identity, self._drop
            )
            if self._recut is not None:
                name, key = cohort.data_set, self._keys.finding
                kept = recut_rows(kept, name, expressions.layout, key, self._recut)
        else:
            kept, lacks = tablereader.filter_deletes(plain, self._drop)
        if kept == plain:
            return
        replacement = self._put(cohort, kind, kept, about, expressions) if kept else None
        self._gone[ref] = (replacement, lacks)
        self._gone[self._reader.index(cohort).places[ref].companion] = (None, 0)

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

    def _cut_recordings(self) -> None:
        cohort = self._content.cohort
        drop = {i.tobytes() for i in self._drop}
        mine, places = frozenset(self._mine), self._reader.index(cohort).places
        for ref in self._mine:
            if places[ref].kind is not ChunkKind.COMPANION:
                continue
            raw = self._reader.fetch(cohort, ref)
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
