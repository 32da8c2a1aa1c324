"""Stores recordings: what the base snapshot has unchanged is referred to, the rest is read, sealed and described.

Unchanged is known by a keyed hash of path, size and times that stands in the base's tree, so a writer that can
read nothing back still does not read a file twice.
"""

import threading
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import BinaryIO

from tenure.domain.errors import IncompleteSnapshotError
from tenure.domain.progress import ProgressTask
from tenure.repository import mediacompanion
from tenure.repository.blocks import block
from tenure.repository.chunkwriter import ChunkWriter, Stored, read_exactly
from tenure.repository.mediabase import BaseRecordings
from tenure.repository.mediacompanion import MOST_RECORDINGS, RecordingMeta
from tenure.repository.model import ChunkRef, Cohort
from tenure.repository.nodes import MediaEntry
from tenure.repository.secrets import SourceKeys
from tenure.repository.structure import NewMediaTree
from tenure.sources.base import Finding, Recording, RecordingBatch

IN_FLIGHT = 16
"""Recordings being read at once, or waiting for their companion's turn."""

_local = threading.local()


@dataclass(slots=True)
class _Pending:
    meta: RecordingMeta
    path_hash: bytes
    stored: list[Stored]


@dataclass(slots=True, kw_only=True)
class MediaCounts:
    """What came of a set of recordings. `unchanged`: taken from the base; `left_out`: changed or vanished."""

    records: int = 0
    plain: int = 0
    unchanged: int = 0
    read_bytes: int = 0
    left_out: list[Finding] = field(default_factory=list)


class MediaWriter:
    """The recordings of one data set in one session."""

    def __init__(
        self,
        *,
        chunks: ChunkWriter,
        keys: SourceKeys,
        base: BaseRecordings,
        executor: Executor,
        chunk_bytes: int,
        open_recording: Callable[[Recording], BinaryIO],
        returning: Callable[[Cohort], dict[bytes, ChunkRef]],
        progress: ProgressTask,
    ) -> None:
        """Begin with nothing. `returning`: says what of a cohort is stored though the base lacks it, by id."""
        self._chunks = chunks
        self._keys = keys
        self._base = base
        self._executor = executor
        self._chunk_bytes = chunk_bytes
        self._open = open_recording
        self._returning = returning
        self._progress = progress
        self._jobs: list[tuple[Cohort, Future[_Pending | Finding]]] = []
        self._waiting: dict[Cohort, list[_Pending]] = {}
        self._entries: dict[Cohort, list[MediaEntry]] = {}
        self._stored: dict[Cohort, dict[bytes, ChunkRef]] = {}
        self.counts = MediaCounts()

    def feed(self, batch: RecordingBatch, cohorts: Sequence[Cohort]) -> None:
        """Take recordings; `cohorts[i]` is the cohort of the i-th."""
        facts = list(_facts_rows(batch))
        for recording, cohort, meta_facts in zip(batch.recordings, cohorts, facts, strict=True):
            path_hash = self._keys.path_hash(
                recording.path,
                recording.size,
                recording.mtime_ns,
                recording.sidecar_mtime_ns,
                len(recording.sidecar or b""),
            )
            number = self._base.find(path_hash)
            if number is not None:
                before = self._base.cohort(number)
                # Without a starting point it stays in the month it was first seen in, see `openspans`.
                if before == cohort or (before.is_open and cohort.is_open):
                    self._keep(number)
                    continue
            known = self._known(cohort, path_hash)
            job = self._executor.submit(self._read, recording, cohort, path_hash, (meta_facts, known))
            self._jobs.append((cohort, job))
            while len(self._jobs) > IN_FLIGHT:
                self._collect()

    def unchanged(
        self, path: bytes, size: int, mtime_ns: int, sidecar_mtime_ns: int, sidecar_bytes: int
    ) -> bool:
        """Take a recording from the base if that has it, by its cohort there (`sources.base.Unchanged`).

        For who knows that the base was taken by the same rules. One without a starting point is left to `feed`.
        """
        path_hash = self._keys.path_hash(path, size, mtime_ns, sidecar_mtime_ns, sidecar_bytes)
        number = self._base.find(path_hash)
        if number is None or self._base.cohort(number).is_open:
            return False
        self._keep(number)
        return True

    def end(self) -> tuple[NewMediaTree, ...]:
        """Wait for the rest, write the last companions, and return the trees."""
        while self._jobs:
            self._collect()
        for cohort in list(self._waiting):
            self._describe(cohort)
        return self._base.trees(self._entries)

    def _keep(self, number: int) -> None:
        if not self._base.keep(number):
            return
        size = self._base.size(number)
        self.counts.records += 1
        self.counts.unchanged += 1
        self.counts.plain += size
        self._progress.advance(size)

    def _known(self, cohort: Cohort, path_hash: bytes) -> Mapping[bytes, ChunkRef]:
        """Return what is stored of a recording that is there with other times or another sidecar, by id."""
        if cohort not in self._stored:
            self._stored[cohort] = self._returning(cohort)
        same = [n for n in self._base.of_path(path_hash) if self._base.cohort(n) == cohort]
        older = {ref.id: ref for n in same for ref in self._base.entry(n).chunks}
        return ChainMap(older, self._stored[cohort]) if older else self._stored[cohort]

    def _collect(self) -> None:
        cohort, job = self._jobs.pop(0)
        result = job.result()
        if isinstance(result, Finding):
            self.counts.left_out.append(result)
            return
        self.counts.records += 1
        self.counts.plain += result.meta.recording.size
        self.counts.read_bytes += result.meta.recording.size
        waiting = self._waiting.setdefault(cohort, [])
        waiting.append(result)
        if len(waiting) == MOST_RECORDINGS:
            self._describe(cohort)

    def _read(
        self,
        recording: Recording,
        cohort: Cohort,
        path_hash: bytes,
        more: tuple[tuple[dict[str, str], ...], Mapping[bytes, ChunkRef]],
    ) -> _Pending | Finding:
        facts, known = more
        stored: list[Stored] = []
        refs: list[ChunkRef] = []
        try:
            with self._open(recording) as stream:
                for position, view in _pieces(stream, recording.size, self._chunk_bytes):
                    new, ref = self._chunks.put_media(cohort, recording.path, position, view, known)
                    refs.append(ref)
                    if new is not None:
                        stored.append(new)
                    self._progress.advance(len(view))
        except IncompleteSnapshotError as e:
            self._chunks.forget_unfinished(cohort, stored)
            return Finding(reason=str(e), where=recording.path)
        subjects, starting, attributes = facts
        meta = RecordingMeta(
            recording=recording,
            chunks=tuple(refs),
            subjects=subjects,
            starting=starting,
            attributes=attributes,
        )
        return _Pending(meta, path_hash, stored)

    def _describe(self, cohort: Cohort) -> None:
        waiting = self._waiting.pop(cohort)
        companion = self._chunks.put_companion(cohort, mediacompanion.encode([p.meta for p in waiting]))
        entries = self._entries.setdefault(cohort, [])
        for place, pending in enumerate(waiting):
            self._chunks.attach(pending.stored, companion)
            entries.append(
                MediaEntry(
                    path_hash=pending.path_hash,
                    chunks=pending.meta.chunks,
                    companion=companion,
                    place=place,
                    size=pending.meta.recording.size,
                )
            )


def _pieces(stream: BinaryIO, size: int, chunk_bytes: int) -> Iterator[tuple[int, memoryview]]:
    """Yield (position, bytes) into a buffer this thread uses again; a file that grew is an error too."""
    buffer = getattr(_local, "buffer", None)
    if buffer is None or len(buffer) < chunk_bytes:
        buffer = _local.buffer = block(chunk_bytes)
    for position in range(0, max(size, 1), chunk_bytes):
        piece = buffer[: min(chunk_bytes, size - position)]
        read_exactly(stream, piece, what="a recording")
        if position + chunk_bytes >= size and stream.read(1):
            raise IncompleteSnapshotError("a recording grew while it was read")
        if len(piece):
            yield position, piece


def _facts_rows(batch: RecordingBatch) -> Iterator[tuple[dict[str, str], ...]]:
    facts = batch.facts
    subjects = {name: column.to_pylist() for name, column in facts.subjects.items()}
    starting = {
        name: column.astype("datetime64[s]").astype(str).tolist() for name, column in facts.starting.items()
    }
    attributes = {name: column.to_pylist() for name, column in facts.attributes.items()}
    for i in range(len(batch.recordings)):
        yield (
            {k: v[i] for k, v in subjects.items() if v[i] is not None},
            {k: v[i] for k, v in starting.items() if v[i] != "NaT"},
            {k: v[i] for k, v in attributes.items() if v[i] is not None},
        )
