"""Restore a snapshot, or a part of one, to a new place: less what was forgotten, and never over the live store."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import msgspec
import numpy as np

from tenure.domain.catalogue import Source, SourceKind
from tenure.domain.errors import ConfigError, IntegrityError
from tenure.domain.progress import Progress, ProgressTask, SilentProgress
from tenure.operations.installation import Installation
from tenure.operations.unfinished import Unfinished
from tenure.repository import rows
from tenure.repository.mediacompanion import RecordingMeta
from tenure.repository.model import Cohort
from tenure.repository.places import Place
from tenure.repository.readahead import Pending
from tenure.repository.repository import Repository
from tenure.repository.snapshotreader import Balance, SnapshotReader
from tenure.sources.base import Loader, RowBatch
from tenure.sources.folderload import FolderLoader
from tenure.sources.rowtext import facts_from_rows

BATCH_RECORDINGS = 8192
"""How many recordings are sorted by pack before they are read: neighbours in a pack share a request."""

FLYING_BYTES = 128 * 1024 * 1024
"""The most plaintext that was asked for and is not written yet: what fills `readahead.REQUESTS` requests."""


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
    """Jobs under way, in bounds: who adds one waits until there is room for it.

    Left only when no job runs any more, whatever happened: nobody may write into a folder that is being removed.
    """

    def __init__(self, task: ProgressTask) -> None:
        self._task = task
        self._jobs: deque[tuple[int, Future[None]]] = deque()
        self._flying = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            while kind is None and self._jobs:
                self._land()
        finally:
            for _, job in self._jobs:
                job.cancel()
            wait([job for _, job in self._jobs])

    def make_room(self, size: int) -> None:
        """Wait until a job of `size` bytes may begin; one larger than all the room begins alone.

        Raises:
            TenureError: A recording could not be written.
        """
        while self._jobs and self._flying + size > FLYING_BYTES:
            self._land()

    def add(self, size: int, job: Future[None]) -> None:
        """Take a job of `size` bytes."""
        self._jobs.append((size, job))
        self._flying += size

    def _land(self) -> None:
        size, job = self._jobs[0]
        job.result()
        self._jobs.popleft()
        self._flying -= size
        self._task.advance(size)


class _Wanted(NamedTuple):
    """A recording to write, and where its chunks lie; None for one that was forgotten."""

    cohort: Cohort
    meta: RecordingMeta
    places: Sequence[Place | None]


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
        batch: list[_Wanted] = []
        done = 0
        with _Flight(task) as flight:
            for cohort, meta in self._reader.recordings(data_set, balance):
                if self._unfinished.takes(data_set, meta.recording.path, balance):
                    continue
                if not self._wants(meta):
                    restored.passed_over[data_set] += 1
                    continue
                # Looked up at once: the keys of a cohort go when the next one is read.
                batch.append(_Wanted(cohort, meta, self._reader.places(cohort, meta)))
                done += meta.recording.size
                if len(batch) == BATCH_RECORDINGS:
                    self._write(batch, flight)
                    batch = []
            self._write(batch, flight)
        task.end()
        return done

    def _wants(self, meta: RecordingMeta) -> bool:
        part = self._part
        if part.record and meta.recording.path != part.record:
            return False
        return part.subject is None or meta.subjects.get(part.subject[0]) == part.subject[1]

    def _write(self, batch: list[_Wanted], flight: _Flight) -> None:
        """Write recordings: those of one chunk in the order of packs, whole ranges; those of several one by one."""
        single: dict[Place, _Wanted] = {}
        for wanted in batch:
            if len(wanted.places) == 1 and wanted.places[0] is not None:
                single[wanted.places[0]] = wanted
                continue
            size = wanted.meta.recording.size
            flight.make_room(size)
            flight.add(size, self._in.executor.submit(self._one, wanted))
        ahead = self._reader.ahead
        for group in ahead.groups(single):
            size = sum(place.plain for place in group)
            flight.make_room(size)
            read = ahead.begin(group)
            flight.add(size, self._in.executor.submit(self._span, group, read, single))

    def _one(self, wanted: _Wanted) -> None:
        pieces = self._reader.ahead.pieces(wanted.cohort, wanted.meta.chunks, wanted.places)
        self._loader.recording(wanted.meta.recording, pieces)

    def _span(self, group: list[Place], read: Pending, all_wanted: dict[Place, _Wanted]) -> None:
        for place in group:
            wanted = all_wanted[place]
            try:
                plain = self._reader.chunks.view(wanted.cohort, place, read.of(place))
            except IntegrityError:  # looked for where a prune may have moved it; what is lost says so there
                self._one(wanted)
            else:
                self._loader.recording(wanted.meta.recording, iter((plain,)))
