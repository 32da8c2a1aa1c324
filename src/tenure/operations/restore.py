"""Restore a snapshot, or a part of one, to a new place: less what was forgotten, and never over the live store."""

from collections.abc import Iterator
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import msgspec
import numpy as np

from tenure.domain.catalogue import Source, SourceKind
from tenure.domain.errors import ConfigError, IntegrityError, TenureError
from tenure.domain.progress import Progress, ProgressTask, SilentProgress
from tenure.operations.installation import Installation
from tenure.operations.unfinished import Unfinished
from tenure.repository import rows
from tenure.repository.chunkreader import Place
from tenure.repository.mediacompanion import RecordingMeta
from tenure.repository.model import Cohort
from tenure.repository.readahead import Pending
from tenure.repository.repository import Repository
from tenure.repository.snapshotreader import Balance, SnapshotReader
from tenure.sources.base import Loader, RowBatch
from tenure.sources.folderload import FolderLoader
from tenure.sources.rowtext import facts_from_rows

BATCH_BYTES = 32 * 1024 * 1024
"""How many bytes of recordings are sorted by pack and read in one go; two such batches are in flight."""


class Workplace(Protocol):
    """What loading needs of whoever asks for it: an installation, or a strange machine with a recovery key."""

    @property
    def progress(self) -> Progress:
        """Return what draws progress."""
        ...

    @property
    def executor(self) -> Executor:
        """Return what runs work beside this thread."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What of a snapshot is wanted; empty: everything. `subject`: (kind, id); `record`: key text or path."""

    data_set: str = ""
    subject: tuple[str, str] | None = None
    record: bytes = b""


@dataclass(slots=True, kw_only=True)
class Restored:
    """What a restore brought back.

    `balances`: by data set, what was read and what was forgotten; `passed_over`: how many records of it nobody asked for.
    """

    snapshot: int
    target: Path
    balances: dict[str, Balance] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)
    plain: int = 0

    @property
    def records(self) -> int:
        """Return how many records came back."""
        return sum(map(self.records_of, self.balances))

    def records_of(self, data_set: str) -> int:
        """Return how many records of a data set came back."""
        return self.balances[data_set].records - self.passed_over[data_set]

    @property
    def forgotten(self) -> int:
        """Return how many records did not, because they were forgotten."""
        return sum(b.forgotten for b in self.balances.values())


def restore(installation: Installation, number: int, target: Path, part: Part = Part()) -> Restored:
    """Bring a snapshot back to `target`, which must not exist yet.

    Who asked for it stands in the audit log before the first byte is released (PCI DSS 10.2.1.2).

    Raises:
        ConfigError: The target exists, or is or lies in a live store; or the part names what is not there.
        IntegrityError: Something is missing or damaged that nobody ordered forgotten; nothing is left at the target.
    """
    _check_target(installation, target)
    repository = installation.open_reading()
    reader = repository.read(number, installation.executor)
    installation.evidence.log.append(
        "restore",
        who=installation.officer,
        at=installation.clock.now(),
        subject_of_entry=f"snapshot {number}",
        outcome="begun",
        details={"source": reader.manifest.source, "part": "all" if part == Part() else "some"},
    )
    return load(installation, repository, reader, target, part)


def load(
    installation: Workplace, repository: Repository, reader: SnapshotReader, target: Path, part: Part
) -> Restored:
    """Load a snapshot through its source's loader; see `restore`."""
    source = msgspec.json.decode(reader.manifest.catalogue, type=Source)
    loader = loader_for(source, installation.executor)
    restored = Restored(snapshot=reader.snapshot.number, target=target)
    names = [part.data_set] if part.data_set else list(reader.manifest.data_sets)
    if not set(names) <= set(reader.manifest.data_sets):
        raise ConfigError(
            f"snapshot {restored.snapshot} has no data set {part.data_set!r}",
            hint=f"it has: {', '.join(reader.manifest.data_sets)}",
        )
    _check_subject(reader, source, part)
    # One bar a data set is enough: the loader's own would say the same a second time.
    loader.begin(reader.structure(), target, SilentProgress())
    loading = _Loading(installation, reader, source, loader, Unfinished.of(repository, reader))
    try:
        for name in names:
            loading.load(name, part, restored)
        loader.end()
    except BaseException:
        loader.abandon()
        raise
    return restored


def _check_subject(reader: SnapshotReader, source: Source, part: Part) -> None:
    known = sorted({kind for d in source.data_sets.values() for kind in d.subjects})
    if part.subject is not None and part.subject[0] not in known:
        raise ConfigError(
            f"snapshot {reader.snapshot.number} knows no kind of subject {part.subject[0]!r}",
            hint=f"it knows: {', '.join(known)}" if known else "its catalogue names no subjects",
        )


def loader_for(source: Source, executor: Executor | None = None) -> Loader:
    """Return the loader for a source as its snapshot describes it; `executor`: works beside this thread."""
    live = Path(source.path)
    if source.kind is SourceKind.FOLDER:
        return FolderLoader(live=live)
    from tenure.sources.sqliteload import SqliteLoader  # noqa: PLC0415 - a folder of recordings needs none of it

    return SqliteLoader(live=live, executor=executor)


def _check_target(installation: Installation, target: Path) -> None:
    """Refuse a target that is there, or lies where something lives.

    Raises:
        ConfigError: It does.
    """
    if target.exists() or target.is_symlink():
        raise ConfigError(f"{target} exists already", hint="name a place that does not exist yet")
    wanted = target.resolve()
    for source in installation.catalogue.sources.values():
        live = Path(source.path).resolve()
        if wanted == live or live in wanted.parents:
            raise ConfigError(
                f"{target} is, or lies in, the live store of source {source.name!r}",
                hint="restore to another place and move what you need from there",
            )
    for own in installation.own:
        if own.resolve() in (wanted, *wanted.parents):
            raise ConfigError(
                f"{target} lies in {own.name}, a folder that belongs to Tenure itself",
                hint="restore to another place",
            )


class _Flight:
    """Batches being written: two at most, so that workers have the next one at hand while the last one ends.

    Left only when no job runs any more, whatever happened: nobody may write into a folder that is being removed.
    """

    def __init__(self, task: ProgressTask) -> None:
        self._task = task
        self._batches: list[tuple[int, list[Future[None]]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            while kind is None and self._batches:
                self._land()
        finally:
            for _, jobs in self._batches:
                for job in jobs:
                    job.cancel()
                wait(jobs)

    def add(self, size: int, jobs: list[Future[None]]) -> None:
        """Take a batch of `size` bytes; waits for the one before the last.

        Raises:
            TenureError: A recording of an earlier batch could not be written.
        """
        self._batches.append((size, jobs))
        if len(self._batches) > 2:
            self._land()

    def _land(self) -> None:
        size, jobs = self._batches[0]
        wait(jobs)
        errors = [e for e in (job.exception() for job in jobs) if e is not None]
        if errors:
            raise next((e for e in errors if isinstance(e, TenureError)), errors[0])
        self._batches.pop(0)
        self._task.advance(size)


class _Loading:
    """Loads data sets."""

    def __init__(
        self,
        installation: Workplace,
        reader: SnapshotReader,
        source: Source,
        loader: Loader,
        unfinished: Unfinished,
    ) -> None:
        self._in = installation
        self._reader = reader
        self._source = source
        self._loader = loader
        self._unfinished = unfinished
        self._part = Part()

    def load(self, data_set: str, part: Part, restored: Restored) -> None:
        """Load what is wanted of a data set, less what an unfinished forgetting takes out."""
        self._part = part
        balance = restored.balances[data_set] = Balance()
        restored.passed_over[data_set] = 0
        line = self._reader.manifest.data_sets[data_set]
        if line.kind == "recordings":
            restored.plain += self._recordings(data_set, restored, line.plain)
            return
        layout = self._reader.layout(data_set)
        task = self._in.progress.begin(f"Restoring {data_set}", total=line.records, unit="rows")

        def batches() -> Iterator[RowBatch]:
            for batch in self._reader.rows(data_set, balance):
                task.advance(len(batch))
                left = self._unfinished.filter(data_set, batch, layout.key_cells, balance)
                kept = self._wanted(data_set, left)
                restored.passed_over[data_set] += len(left) - len(kept)
                restored.plain += len(kept.text)
                if len(kept):
                    yield kept

        self._loader.rows(data_set, layout, batches())
        task.end()

    def _wanted(self, data_set: str, batch: RowBatch) -> RowBatch:
        part, layout = self._part, self._reader.layout(data_set)
        if part.record:
            starts, ends = rows.key_spans(batch, layout.key_cells)
            text = bytes(batch.text)
            spans = zip(starts.tolist(), ends.tolist(), strict=True)
            batch = rows.take(batch, np.array([text[a:b] == part.record for a, b in spans], bool))
        if part.subject is not None:
            kind, value = part.subject
            declared = self._source.data_sets.get(data_set)
            if declared is None or kind not in declared.subjects:
                return rows.take(batch, np.zeros(len(batch), bool))
            column = facts_from_rows(layout, declared, batch, self._source.time_zone).subjects[kind]
            batch = rows.take(batch, np.array([v == value for v in column.to_pylist()], bool))
        return batch

    def _recordings(self, data_set: str, restored: Restored, total: int) -> int:
        balance = restored.balances[data_set]
        task = self._in.progress.begin(f"Restoring {data_set}", total=total, unit="bytes")
        batch: list[tuple[Cohort, RecordingMeta]] = []
        size = done = 0
        with _Flight(task) as flight:
            for cohort, meta in self._reader.recordings(data_set, balance):
                if self._unfinished.takes(data_set, meta.recording.path, balance):
                    continue
                if not self._wants(meta):
                    restored.passed_over[data_set] += 1
                    continue
                batch.append((cohort, meta))
                size += meta.recording.size
                done += meta.recording.size
                if size >= BATCH_BYTES:
                    flight.add(size, self._write(batch))
                    batch, size = [], 0
            flight.add(size, self._write(batch))
        task.end()
        return done

    def _wants(self, meta: RecordingMeta) -> bool:
        part = self._part
        if part.record and meta.recording.path != part.record:
            return False
        return part.subject is None or meta.subjects.get(part.subject[0]) == part.subject[1]

    def _write(self, batch: list[tuple[Cohort, RecordingMeta]]) -> list[Future[None]]:
        """Begin to write recordings: those of one chunk in the order of packs, whole ranges; large ones singly."""
        single: dict[Place, tuple[Cohort, RecordingMeta]] = {}
        jobs: list[Future[None]] = []
        for cohort, meta in batch:
            places = self._reader.places(cohort, meta)
            if len(places) == 1:
                single[places[0]] = (cohort, meta)
            else:
                jobs.append(self._in.executor.submit(self._one, cohort, meta))
        ahead = self._reader.ahead
        asked = [(group, ahead.begin(group)) for group in ahead.groups(single)]
        jobs.extend(self._in.executor.submit(self._span, group, read, single) for group, read in asked)
        return jobs

    def _one(self, cohort: Cohort, meta: RecordingMeta) -> None:
        self._loader.recording(meta.recording, self._reader.pieces(cohort, meta))

    def _span(
        self, group: list[Place], read: Pending, wanted: dict[Place, tuple[Cohort, RecordingMeta]]
    ) -> None:
        for place in group:
            cohort, meta = wanted[place]
            try:
                plain = self._reader.chunks.view(cohort, place, read.of(place))
            except IntegrityError:  # looked for where a prune may have moved it; what is lost says so there
                self._one(cohort, meta)
            else:
                self._loader.recording(meta.recording, iter((plain,)))
