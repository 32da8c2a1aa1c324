"""Forgetting: intent, judging, replacement, done. The operations around it delete the live records in between.

It walks key pages, never manifests: a page holds every version of a record that any snapshot, even one pruned
since, stored. Each step can be run again: a second run finds the filters of the first run's replacements empty.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from tenure.crypto.hashing import random_bytes
from tenure.domain.errors import IntegrityError, LeasedError
from tenure.domain.progress import Progress
from tenure.keys.base import Unwrapper
from tenure.repository import companion, layouts, mediacompanion, names, rows, tablereader
from tenure.repository.chunkwriter import NONE, ChunkWriter
from tenure.repository.content import CohortContent, Rewriter
from tenure.repository.entries import Amended, Done, Intent, PageRef
from tenure.repository.keystores import Deletion
from tenure.repository.model import ChunkKind, ChunkRef, Cohort
from tenure.repository.packs import Packer
from tenure.repository.page import open_index
from tenure.repository.repository import Repository
from tenure.repository.rows import Bytes
from tenure.repository.scopes import Scope, Sealing, get_scope, put_scope, seal_fingerprints
from tenure.repository.secrets import SourceKeys
from tenure.repository.state import ForgetState, PageState
from tenure.sources.rowtext import facts_from_rows

REPLACEMENT_PACK = 4 * 1024 * 1024
"""Replacement packs are small: they hold what is left of a few chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Why records are forgotten. `kind`: "purge" or "erase"; `plan`, `rules`: hashes; `approvals`: as recorded."""

    kind: str
    plan: bytes
    rules: bytes
    approvals: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Went:
    """What a forgetting took from the repository. `pages`, `pending`: see `KeyStores.delete`."""

    records: int = 0
    chunks: int = 0
    pages: int = 0
    cohorts: int = 0
    replaced_bytes: int = 0
    pending: set[str] = field(default_factory=set)

    def add(self, deletion: Deletion) -> None:
        """Add up deleted pages."""
        self.pages += deletion.pages
        self.pending |= deletion.failed


class Forgetting:
    """Orders and carries out forgettings. Needs the reading key, the purge key, and delete on the key stores."""

    def __init__(self, repository: Repository, executor: Executor, progress: Progress) -> None:
        self._repository = repository
        self._executor = executor
        self._progress = progress

    def order(self, scopes: Mapping[str, Scope], order: Order) -> ForgetState:
        """Put the intent: from here on the forgetting will be finished, whatever dies.

        Raises:
            LeasedError: Another forgetting of one of these sources is not done yet.
        """
        repository, forget = self._repository, random_bytes(16)
        state = repository.refresh()
        for other in state.open_forgets():
            if set(other.intent.sources) & set(scopes):
                raise LeasedError(
                    "another purge or erasure of this source is not finished",
                    hint="run `tenure purge` to finish it, then run this again",
                )
        pages = tuple(self._put_scopes(scopes, forget))
        intent = Intent(
            forget=forget,
            kind=order.kind,
            plan=order.plan,
            rules=order.rules,
            approvals=order.approvals,
            sources=tuple(sorted(scopes)),
            cohorts=self._tags(scopes),
            scopes=pages,
            fingerprints=seal_fingerprints(scopes, repository.secrets.fingerprint),
        )
        state = repository.ledger.append(intent, repository.purge_key)
        return state.forgets[forget.hex()]

    def scopes(self, forget: ForgetState) -> dict[str, Scope]:
        """Read back what a forgetting takes, source -> scope, as last amended."""
        repository = self._repository
        unwrapper = self._unwrapper()
        refs = forget.amended.scopes if forget.amended is not None else forget.intent.scopes
        return {
            repository.keys_of(ref.writer).source: get_scope(ref, repository.place.key_stores, unwrapper)
            for ref in refs
        }

    def amend(self, forget: ForgetState, scopes: Mapping[str, Scope], *, left: int) -> ForgetState:
        """Record that the live deletion is over, and what remains to be taken from the repository.

        Snapshots that were begun before this entry and did not commit yet never will.
        """
        repository, forget_id = self._repository, forget.intent.forget
        entry = Amended(
            forget=forget_id,
            left=left,
            cohorts=self._tags(scopes),
            scopes=tuple(self._put_scopes(scopes, forget_id)),
            fingerprints=seal_fingerprints(scopes, repository.secrets.fingerprint),
        )
        state = repository.ledger.append(entry, repository.purge_key)
        return state.forgets[forget_id.hex()]

    def carry_out(self, forget: ForgetState) -> Went:
        """Take everything out of every page that was live when the live deletion ended.

        Raises:
            IntegrityError: A page or chunk cannot be read; what was done so far stands, a rerun goes on.
        """
        went = Went()
        scopes = self.scopes(forget)
        went.records = sum(s.count() for s in scopes.values())
        for source, scope in sorted(scopes.items()):
            groups = self._groups(source, forget.judged)
            task = self._progress.begin(
                f"Forgetting in snapshots of {source}", total=len(groups), unit="cohorts"
            )
            for (writer, _tag), pages in groups.items():
                self._cohort(scope, self._repository.keys_of(writer), pages, forget, went)
                task.advance(1)
            task.end()
        return went

    def finish(self, forget: ForgetState, went: Went, *, certificate: str) -> None:
        """Delete the scope pages and say that it is done; key stores that did not confirm stand in the entry."""
        stores = self._repository.place.key_stores
        went.add(stores.delete(names.page(r.epoch, r.tag, r.page) for r in forget.scopes))
        done = Done(
            forget=forget.intent.forget,
            records=went.records,
            chunks=went.chunks,
            pages=went.pages,
            pending=tuple(sorted(went.pending)),
            certificate=certificate,
        )
        self._repository.ledger.append(done, self._repository.purge_key)

    def _cohort(
        self, scope: Scope, keys: SourceKeys, pages: list[PageState], forget: ForgetState, went: Went
    ) -> None:
        cohort, _, _ = open_index(self._repository.place.key_stores.get(pages[0].ref), keys)
        rewriter = self._rewriter()
        forget_id = forget.intent.forget
        if cohort in scope.cohorts:
            content = CohortContent.load(pages, keys, self._repository.place.key_stores, self._unwrapper())
            went.chunks += int((content.entries["kind"] != ChunkKind.COMPANION).sum())
            went.cohorts += 1
            content.keep(np.zeros(len(content.entries), bool))
            content.gone = content.gone[:0]
            went.add(rewriter.replace([content], cause="forget", forget=forget_id))
            return
        drop = scope.records.get(cohort.data_set)
        if drop is None or not len(drop):
            return
        content = CohortContent.load(pages, keys, self._repository.place.key_stores, self._unwrapper())
        if _Cutter(self._repository, self._executor, content, drop).cut(forget.judged, went):
            went.add(rewriter.replace([content], cause="forget", forget=forget_id))

    def _groups(self, source: str, judged: int) -> dict[tuple[bytes, bytes], list[PageState]]:
        """Return the live pages to walk, by writer and cohort tag: those named before the live deletion ended."""
        state = self._repository.refresh()
        groups: dict[tuple[bytes, bytes], list[PageState]] = {}
        for page in state.live_pages(state.writers_of(source)):
            if page.number < judged:
                groups.setdefault((page.ref.writer, page.ref.tag), []).append(page)
        return groups

    def _put_scopes(self, scopes: Mapping[str, Scope], forget: bytes) -> Iterable[PageRef]:
        repository = self._repository
        sealing = Sealing(
            repository=repository.id,
            epoch=repository.epoch().opened.epoch,
            wrapper=repository.wrapper(),
            forget=forget,
        )
        for source, scope in sorted(scopes.items()):
            yield put_scope(scope, self._keys_of_source(source), repository.place.key_stores, sealing)

    def _tags(self, scopes: Mapping[str, Scope]) -> tuple[tuple[bytes, bytes], ...]:
        found = []
        for source, scope in sorted(scopes.items()):
            for writer in sorted(self._repository.state.writers_of(source)):
                keys = self._repository.keys_of(writer)
                found += [(writer, keys.tag(cohort)) for cohort in sorted(scope.cohorts)]
        return tuple(found)

    def _keys_of_source(self, source: str) -> SourceKeys:
        writers = sorted(self._repository.state.writers_of(source))
        if not writers:
            raise IntegrityError(f"the ledger knows no writer of source {source!r}")
        return self._repository.keys_of(writers[-1])

    def _unwrapper(self) -> Unwrapper:
        return self._repository.unwrapper

    def _rewriter(self) -> Rewriter:
        return rewriter_of(self._repository)


def rewriter_of(repository: Repository) -> Rewriter:
    """Return what puts cohorts' contents back."""
    return Rewriter(
        ledger=repository.ledger,
        stores=repository.place.key_stores,
        key=repository.purge_key,
        wrapper=repository.wrapper(),
        repository=repository.id,
        epoch=repository.epoch().opened.epoch,
    )


class _Cutter:
    """Cuts records out of one cohort's chunks."""

    def __init__(
        self, repository: Repository, executor: Executor, content: CohortContent, drop: Bytes
    ) -> None:
        self._content = content
        self._keys = content.keys
        self._drop = drop
        self._reader = repository.chunk_reader(content.keys)
        self._uploads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pack-put")
        self._chunks = ChunkWriter(
            keys=content.keys,
            repository=repository.id,
            packer=Packer(repository.place.objects, self._uploads, pack_bytes=REPLACEMENT_PACK, buffers=2),
            executor=executor,
        )
        self._gone: dict[ChunkRef, tuple[ChunkRef | None, int]] = {}

    def cut(self, judged: int, went: Went) -> bool:
        """Cut, and change the content; return whether there was anything."""
        try:
            kinds = set(self._content.entries["kind"].tolist())
            if ChunkKind.MEDIA in kinds:
                self._cut_recordings()
            else:
                self._cut_rows()
            if not self._gone:
                return False
            went.chunks += len(self._gone)
            self._content.forget(self._gone, judged)
            self._content.add(self._chunks)
            went.replaced_bytes += self._chunks.stored_plain
            return True
        finally:
            self._uploads.shutdown(wait=True)

    def _cut_rows(self) -> None:
        cohort = self._content.cohort
        places = self._reader.index(cohort).places
        for ref, place in places.items():
            if place.kind not in {ChunkKind.ROWS, ChunkKind.DELETES}:
                continue
            raw = None if place.companion == NONE else self._reader.fetch(cohort, place.companion)
            if raw is None:
                raise IntegrityError(
                    f"chunk {ref.id.hex()} has no companion; nothing says what records it holds"
                )
            about = companion.decode(raw)
            wanted = self._drop[about.may_hold_keys(self._drop)]
            if len(wanted):
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
        else:
            kept, lacks = tablereader.filter_deletes(plain, self._drop)
        if not lacks:
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
        for ref, place in self._reader.index(cohort).places.items():
            if place.kind is not ChunkKind.COMPANION:
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
                    self._gone.update(dict.fromkeys(meta.chunks, (None, 0)))
