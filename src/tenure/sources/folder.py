"""A folder of recordings as a source: listed at one instant, each file checked again when it is read.

A folder has no snapshots of its own. So the listing is the view, and a recording that is not what was listed when it
is read, before or after, is reported and left out.
"""

import io
import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from tenure.domain.catalogue import DataSet, DataSetKind, Source
from tenure.domain.clock import Clock
from tenure.domain.errors import ConfigError, IncompleteSnapshotError
from tenure.sources.base import (
    Finding,
    Lookups,
    Recording,
    RecordingBatch,
    Refine,
    RowBatch,
    RowLayout,
    Unchanged,
)
from tenure.sources.folderfacts import RecordingFacts, read_sidecar
from tenure.sources.folderlive import FolderLive
from tenure.sources.folderload import FolderLoader
from tenure.sources.folderwalk import Entry, Naming, open_directory, open_root, parts_of, walk

_BATCH = 1024  # recordings; as many sidecars are in memory at once
_BUFFER = 1 << 20
_LARGEST_SIDECAR = 16 << 20  # bytes; a larger one is not what it says
_NO_LOOKUPS: Lookups = {}


class _Steady(io.RawIOBase):
    """Reads one file and raises where it is not, or no longer, what was listed."""

    def __init__(self, descriptor: int, listed: Recording) -> None:
        super().__init__()
        self._descriptor, self._listed, self._read = descriptor, listed, 0
        self._check()

    def _check(self) -> None:
        now = os.fstat(self._descriptor)
        if not stat.S_ISREG(now.st_mode) or (now.st_size, now.st_mtime_ns) != (
            self._listed.size,
            self._listed.mtime_ns,
        ):
            raise IncompleteSnapshotError(
                "a recording changed while it was read", hint="the next snapshot takes it"
            )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        try:
            count = os.readv(self._descriptor, [buffer])
        except OSError as e:
            raise IncompleteSnapshotError("a recording could not be read to its end") from e
        self._read += count
        if self._read >= self._listed.size or not count:
            self._check()
            if self._read != self._listed.size:
                raise IncompleteSnapshotError("a recording is not as long as it was listed")
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


class FolderSource:
    """A folder of recordings as the catalogue describes it."""

    def __init__(self, source: Source, *, clock: Clock) -> None:
        """Describe the source; nothing is opened yet.

        Raises:
            ConfigError: A data set of it is no set of recordings.
        """
        if any(d.kind is not DataSetKind.RECORDINGS for d in source.data_sets.values()):
            raise ConfigError(f"source {source.name!r} is a folder; its data sets are recordings")
        self._source, self._clock = source, clock

    def begin(self, lookups: Lookups = _NO_LOOKUPS) -> "FolderView":
        """List the folder; `lookups` answer for data sets that links lead to, and live as long as the view.

        Raises:
            SourceUnavailableError: The folder is not there.
            SchemaDriftError, ConfigError: A reference leads nowhere.
        """
        return FolderView(self._source, self._clock.now(), lookups)

    def live(self, lookups: Lookups = _NO_LOOKUPS) -> FolderLive:
        """Return the live side; `lookups` as for `begin`, into the live database."""
        return FolderLive(self._source, lookups)

    def loader(self) -> FolderLoader:
        """Return a loader for snapshots of this kind of source."""
        return FolderLoader(live=Path(self._source.path))


class FolderView:
    """A listing of a folder; see `View`."""

    def __init__(self, source: Source, taken_at: datetime, lookups: Lookups) -> None:
        """List the folder of `source`.

        Raises:
            SourceUnavailableError: It is not there.
            SchemaDriftError, ConfigError: A reference leads nowhere.
        """
        self.taken_at = taken_at
        self.findings: list[Finding] = []
        self._source = source
        self._facts = {n: RecordingFacts(d, source.time_zone, lookups) for n, d in source.data_sets.items()}
        namings = {n: Naming(d.files, d.sidecar) for n, d in source.data_sets.items()}
        self._root = open_root(Path(source.path), source.name)
        listing = walk(Path(source.path), self.findings)
        self._pairs = {name: list(naming.pairs(listing)) for name, naming in namings.items()}

    def data_sets(self) -> tuple[str, ...]:
        """Return the names of every data set."""
        return tuple(self._source.data_sets)

    def structure(self) -> bytes:
        """Return the kind of this source; a folder has no schema."""
        return msgspec.json.encode({"kind": "folder"})

    def _of(self, data_set: str) -> DataSet:
        if data_set not in self._source.data_sets:
            raise ConfigError(f"source {self._source.name!r} has no data set {data_set}")
        return self._source.data_sets[data_set]

    def layout(self, data_set: str) -> RowLayout:
        """Refuse: recordings have no lines.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"data set {data_set} is a set of recordings")

    def rows(self, data_set: str, refine: Refine | None = None) -> Iterator[RowBatch]:  # noqa: ARG002 - the port's names
        """Refuse: recordings have no rows.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"data set {data_set} is a set of recordings")

    def count(self, data_set: str) -> int:
        """Return how many recordings were listed.

        Raises:
            ConfigError: There is no such data set.
        """
        return len(self._pairs[self._of(data_set).name])

    def recordings(self, data_set: str, unchanged: Unchanged | None = None) -> Iterator[RecordingBatch]:
        """Yield recordings in the order of their paths, sidecars read, with facts.

        `unchanged`: see `View.recordings`.

        Raises:
            ConfigError: There is no such data set.
        """
        name = self._of(data_set).name
        pairs = self._pairs[name]
        ask = unchanged if self._facts[name].are_settled else None
        for start in range(0, len(pairs), _BATCH):
            part = pairs[start : start + _BATCH]
            if ask is not None:
                part = [pair for pair in part if not _asked(ask, *pair)]
            if part:
                found = tuple(self._recording(e, s) for e, s in part)
                yield RecordingBatch(recordings=found, facts=self._facts[name].of(found))

    def _recording(self, entry: Entry, sidecar: Entry | None) -> Recording:
        text = None if sidecar is None else self._sidecar(sidecar)
        known = sidecar is not None and text is not None
        return Recording(
            path=entry.path,
            size=entry.size,
            mtime_ns=entry.mtime_ns,
            mode=entry.mode,
            sidecar_path=sidecar.path if known and sidecar is not None else None,
            sidecar=text,
            sidecar_mtime_ns=sidecar.mtime_ns if known and sidecar is not None else 0,
            sidecar_mode=sidecar.mode if known and sidecar is not None else 0,
        )

    def _sidecar(self, entry: Entry) -> bytes | None:
        """Read a sidecar; what cannot be read or understood is reported, and its recording kept without facts."""
        if entry.size > _LARGEST_SIDECAR:
            self.findings.append(
                Finding(reason="a sidecar is too large to be one, left out", where=entry.path)
            )
            return None
        listed = Recording(path=entry.path, size=entry.size, mtime_ns=entry.mtime_ns, mode=entry.mode)
        try:
            with self.open(listed) as file:
                text = file.read()
        except IncompleteSnapshotError:
            self.findings.append(
                Finding(reason="a sidecar could not be read as it was listed", where=entry.path)
            )
            return None
        if read_sidecar(text) is None:
            self.findings.append(
                Finding(reason="a sidecar is no JSON object; its recording has no facts", where=entry.path)
            )
        return text

    def open(self, recording: Recording) -> BinaryIO:
        """Open a recording; reading to its end raises if it changed since it was listed.

        Raises:
            IncompleteSnapshotError: It vanished, changed, or may not be read.
        """
        *directories, name = parts_of(recording.path)
        try:
            directory = open_directory(self._root, directories)
            try:  # O_NONBLOCK: a pipe put in the file's place must not make us wait
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
                descriptor = os.open(name, flags, dir_fd=directory)
            finally:
                os.close(directory)
        except OSError as e:
            raise IncompleteSnapshotError(
                "a recording vanished or may not be read", hint="check its permissions"
            ) from e
        try:
            steady = _Steady(descriptor, recording)
        except BaseException:
            os.close(descriptor)
            raise
        return cast("BinaryIO", io.BufferedReader(steady, _BUFFER))

    def close(self) -> None:
        """Let go of the folder; safe to call twice."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1


def _asked(unchanged: Unchanged, entry: Entry, sidecar: Entry | None) -> bool:
    beside = (0, 0) if sidecar is None else (sidecar.mtime_ns, sidecar.size)
    return unchanged(entry.path, entry.size, entry.mtime_ns, *beside)
