"""Writes recordings and sidecars into a new folder, which gets its name when it is whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from tenure.domain.errors import ConfigError, IncompleteSnapshotError, IntegrityError, SourceError
from tenure.domain.progress import Progress, ProgressTask
from tenure.objectstore.bulk import write_whole
from tenure.sources.base import Finding, Recording, RowBatch, RowLayout
from tenure.sources.flushing import flush_filesystem, start_writing
from tenure.sources.folderwalk import open_directory, parts_of
from tenure.sources.scratch import claim_folder

_ROOM = "free space there, check permissions, or name another place; nothing was left at the target"


class FolderLoader:
    """Loads one snapshot into one new folder; see `Loader`."""

    def __init__(self, *, live: Path | None = None) -> None:
        """Take the live folder's path, so that nothing is restored into it."""
        self._live = live
        self.findings: list[Finding] = []
        self._temporary: Path | None = None
        self._root = -1
        self._sidecars: set[bytes] = set()
        self._bar: ProgressTask | None = None

    def begin(self, structure: bytes, target: Path, progress: Progress) -> None:
        """Make an empty folder beside the target.

        Raises:
            ConfigError: Something is at the target, or it lies in the live folder.
            IntegrityError: The structure is not that of a folder.
        """
        try:
            kind = msgspec.json.decode(structure, type=dict[str, object]).get("kind")
        except msgspec.MsgspecError as e:
            raise IntegrityError("the structure of this snapshot cannot be read") from e
        if kind != "folder":
            raise IntegrityError("the structure of this snapshot is not that of a folder")
        if self._live is not None and target.resolve().is_relative_to(self._live.resolve()):
            raise ConfigError("the target is, or lies in, the live store", hint="restore to another path")
        if os.path.lexists(target):
            raise ConfigError(
                f"{target.name} exists already at the target", hint="restore to a path where nothing is"
            )
        self._target = target
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            claim = claim_folder(target.parent, f".{target.name}.restoring-")
        except OSError as e:
            raise SourceError(f"{target} cannot be made: {e.strerror}", hint=_ROOM) from e
        self._temporary, self._root = claim.path, claim.fd
        self._bar = progress.begin("write recordings", total=None, unit="bytes")

    def rows(self, data_set: str, layout: RowLayout, batches: Iterator[RowBatch]) -> int:  # noqa: ARG002 - the port's names
        """Refuse: a folder holds no rows.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"data set {data_set} has rows; a folder holds none")

    def recording(self, recording: Recording, pieces: Iterator[bytes | memoryview]) -> None:
        """Write one recording and its sidecar, byte-, mode- and mtime-exact.

        Raises:
            ConfigError: Its path leads out of the folder.
            IncompleteSnapshotError: The pieces do not make up its size.
            SourceError: It could not be written.
        """
        if self._root < 0:
            raise RuntimeError("recordings are written between begin and end")
        self._write(recording, pieces)
        if recording.sidecar is None or recording.sidecar_path is None:
            return
        sidecar = Recording(
            path=recording.sidecar_path,
            size=len(recording.sidecar),
            mtime_ns=recording.sidecar_mtime_ns,
            mode=recording.sidecar_mode,
        )
        if recording.sidecar_path not in self._sidecars:  # two recordings may share one
            self._write(sidecar, iter([recording.sidecar]))
            self._sidecars.add(recording.sidecar_path)

    def _write(self, file: Recording, pieces: Iterator[bytes | memoryview]) -> None:
        *directories, name = parts_of(file.path)
        try:
            directory = self._made(directories)
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(name, flags, 0o600, dir_fd=directory)
                try:
                    self._fill(descriptor, file, pieces)
                except BaseException:
                    os.unlink(name, dir_fd=directory)
                    raise
                finally:
                    os.close(descriptor)
            finally:
                os.close(directory)
        except OSError as e:
            raise SourceError(
                f"a recording could not be written to {self._target}: {e.strerror}", hint=_ROOM
            ) from e

    def _fill(self, descriptor: int, file: Recording, pieces: Iterator[bytes | memoryview]) -> None:
        written = 0
        for piece in pieces:
            content = memoryview(piece).cast("B")
            write_whole(descriptor, content, at=written)
            written += content.nbytes
            if self._bar is not None:
                self._bar.advance(content.nbytes)
        if written != file.size:
            raise IncompleteSnapshotError(f"a recording of {file.size} bytes came as {written}")
        os.fchmod(descriptor, file.mode)
        os.utime(descriptor, ns=(file.mtime_ns, file.mtime_ns))
        start_writing(descriptor)

    def _made(self, directories: list[bytes]) -> int:
        """Open a directory below the new folder, made where it is not there."""
        try:
            return open_directory(self._root, directories)
        except FileNotFoundError:
            parent = self._made(directories[:-1])
        try:
            with suppress(FileExistsError):  # another thread was faster
                os.mkdir(directories[-1], 0o700, dir_fd=parent)
            return open_directory(parent, directories[-1:])
        finally:
            os.close(parent)

    def end(self) -> None:
        """Write everything to disk and give the folder its name.

        Raises:
            ConfigError: The target appeared meanwhile.
            SourceError: The disk did not take it.
        """
        if self._temporary is None:
            raise RuntimeError("nothing was begun")
        try:
            flush_filesystem(self._root)
        except OSError as e:
            raise SourceError(
                f"{self._target} could not be written to the disk: {e.strerror}", hint=_ROOM
            ) from e
        if os.path.lexists(self._target):
            self.abandon()
            raise ConfigError(f"{self._target.name} appeared at the target during the restore")
        self._temporary.rename(self._target)
        self._temporary = None
        self.abandon()

    def abandon(self) -> None:
        """Remove everything written so far; safe to call twice."""
        if self._bar is not None:
            self._bar.end()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None
