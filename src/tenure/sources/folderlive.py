"""The live side of a folder: facts, deletion judged again from the sidecar as it is now, rewriting of sidecars."""

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tenure.domain.catalogue import DataSet, Source
from tenure.domain.errors import ConfigError, SourceUnavailableError
from tenure.rules.facts import Facts
from tenure.sources.base import Finding, Judge, Lookups, Recording, Removal
from tenure.sources.folderfacts import RecordingFacts, read_sidecar
from tenure.sources.folderwalk import Naming, entry_of, open_directory, open_root, parts_of, walk

_BATCH = 256  # recordings judged and removed together


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    """A data set of the folder, open."""

    root: int
    naming: Naming
    facts: RecordingFacts


class FolderLive:
    """Looks up, removes and rewrites recordings of the live folder; see `LiveStore`."""

    def __init__(self, source: Source, lookups: Lookups) -> None:
        """Describe the store; `lookups` answer for data sets that links lead to."""
        self._source, self._lookups = source, lookups

    def _bound(self, data_set: str) -> DataSet:
        if data_set not in self._source.data_sets:
            raise ConfigError(f"source {self._source.name!r} has no data set {data_set}")
        return self._source.data_sets[data_set]

    def _open(self, data_set: str) -> _Set:
        bound = self._bound(data_set)
        return _Set(
            naming=Naming(bound.files, bound.sidecar),
            facts=RecordingFacts(bound, self._source.time_zone, self._lookups),
            root=open_root(Path(self._source.path), self._source.name),
        )

    def facts(self, data_set: str, keys: Sequence[bytes] | None = None) -> Iterator[Facts]:
        """Yield facts of all recordings, or of those with these paths.

        Raises:
            SourceUnavailableError: The folder is not there.
            ConfigError: A path leads out of the folder.
        """
        opened = self._open(data_set)
        try:
            if keys is None:
                unseen: list[Finding] = []
                listing = walk(Path(self._source.path), unseen)
                keys = [entry.path for entry, _ in opened.naming.pairs(listing)]
            for start in range(0, len(keys), _BATCH):
                found = [
                    r
                    for r in (_look(opened, k) for k in keys[start : start + _BATCH])
                    if r is not None and r.mode >= 0
                ]
                if found:
                    yield opened.facts.of(found)
        finally:
            os.close(opened.root)

    def _act(
        self, data_set: str, keys: Sequence[bytes], judge: Judge, act: Callable[[_Set, Recording], None]
    ) -> Removal:
        gone: list[bytes] = []
        left: list[bytes] = []
        absent: list[bytes] = []
        opened = self._open(data_set)
        try:
            for start in range(0, len(keys), _BATCH):
                looked = {k: _look(opened, k) for k in keys[start : start + _BATCH]}
                absent += [k for k, r in looked.items() if r is None]
                found = [r for r in looked.values() if r is not None]
                falls = np.asarray(judge(opened.facts.of(found)), bool) if found else np.zeros(0, bool)
                for recording, fall in zip(found, falls, strict=True):
                    if fall:
                        act(opened, recording)
                    (gone if fall else left).append(recording.path)
        except OSError as e:
            raise SourceUnavailableError(
                f"source {self._source.name!r}: a recording could not be removed or changed",
                hint="check its permissions",
            ) from e
        finally:
            os.close(opened.root)
        return Removal(gone=tuple(gone), left=tuple(left), absent=tuple(absent))

    def remove(self, data_set: str, keys: Sequence[bytes], judge: Judge) -> Removal:
        """Delete recordings and their sidecars, judged from the sidecars as they are now.

        The recording goes first: a sidecar alone can still be judged when an interrupted run is done again.

        Raises:
            SourceUnavailableError: The folder is not there or may not be changed.
            ConfigError: A path leads out of the folder.
        """
        return self._act(data_set, keys, judge, _remove)

    def rewrite(
        self, data_set: str, keys: Sequence[bytes], judge: Judge, edits: Mapping[str, Callable[[Any], Any]]
    ) -> Removal:
        """Change fields of sidecars (``sidecar.FIELD``); a field that is not there stays so.

        Raises:
            SourceUnavailableError: The folder is not there or may not be changed.
            ConfigError: An edit is of no sidecar field, or a path leads out of the folder.
        """
        if wrong := [e for e in edits if not e.startswith("sidecar.")]:
            raise ConfigError(f"data set {data_set}: only sidecar fields can be changed, not {wrong[0]}")
        return self._act(data_set, keys, judge, lambda opened, r: _rewrite(opened, r, edits))


def _status(directory: int, name: bytes) -> os.stat_result | None:
    """Return what stat says of a regular file; None where there is none."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _read(directory: int, name: bytes) -> bytes | None:
    if _status(directory, name) is None:
        return None
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with os.fdopen(os.open(name, flags, dir_fd=directory), "rb") as file:
        return file.read()


def _directory(opened: _Set, path: bytes) -> tuple[int, bytes] | None:
    """Open the directory a file lies in; None where a step of the way is missing or no directory."""
    *directories, name = parts_of(path)
    try:
        return open_directory(opened.root, directories), name
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        if e.errno == errno.ELOOP:  # a symbolic link stands in the way
            return None
        raise


def _look(opened: _Set, path: bytes) -> Recording | None:
    """Return a recording as it is now, sidecar included.

    Where only the sidecar is left, of a run that was cut short, `mode` is -1. None: neither is there.
    """
    place = _directory(opened, path)
    if place is None:
        return None
    directory, name = place
    try:
        status = _status(directory, name)
    finally:
        os.close(directory)
    sidecar_path = opened.naming.sidecar_of(path)
    text = None if sidecar_path is None else _read_at(opened, sidecar_path)
    if status is None and (text is None or _shared(opened, path)):
        return None
    entry = None if status is None else entry_of(path, status)
    return Recording(
        path=path,
        size=entry.size if entry else 0,
        mtime_ns=entry.mtime_ns if entry else 0,
        mode=entry.mode if entry else -1,
        sidecar_path=sidecar_path if text is not None else None,
        sidecar=text,
    )


def _read_at(opened: _Set, path: bytes) -> bytes | None:
    place = _directory(opened, path)
    if place is None:
        return None
    directory, name = place
    try:
        return _read(directory, name)
    finally:
        os.close(directory)


def _shared(opened: _Set, path: bytes) -> bool:
    """Whether another recording of the directory has the same sidecar."""
    place = _directory(opened, path)
    if place is None:
        return False
    directory, name = place
    prefix = path[: len(path) - len(name)]
    sidecar = opened.naming.sidecar_of(path)
    try:
        others = [prefix + os.fsencode(n) for n in os.listdir(directory)]  # noqa: PTH208 - by descriptor
    finally:
        os.close(directory)
    same = (o for o in others if o not in {path, sidecar} and opened.naming.matches(o))
    return any(opened.naming.sidecar_of(o) == sidecar for o in same)


def _unlink(opened: _Set, path: bytes) -> None:
    place = _directory(opened, path)
    if place is None:
        return
    directory, name = place
    try:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        os.fsync(directory)
    finally:
        os.close(directory)


def _remove(opened: _Set, recording: Recording) -> None:
    _unlink(opened, recording.path)
    if recording.sidecar_path is not None and not _shared(opened, recording.path):
        _unlink(opened, recording.sidecar_path)


def _rewrite(opened: _Set, recording: Recording, edits: Mapping[str, Callable[[Any], Any]]) -> None:
    fields = read_sidecar(recording.sidecar)
    if fields is None or recording.sidecar_path is None or recording.sidecar is None:
        return  # no sidecar, or none that has fields: nothing stands in it to change
    for name, edit in edits.items():
        _edit(fields, name.removeprefix("sidecar.").split("."), edit)
    text = msgspec.json.encode(fields)
    if b"\n" in recording.sidecar.strip():
        text = msgspec.json.format(text, indent=2)
    _replace(opened, recording.sidecar_path, text)


def _edit(fields: Any, way: Sequence[str], edit: Callable[[Any], Any]) -> None:
    for part in way[:-1]:
        fields = fields.get(part) if isinstance(fields, dict) else None
    if isinstance(fields, dict) and way[-1] in fields:
        fields[way[-1]] = edit(fields[way[-1]])


def _replace(opened: _Set, path: bytes, text: bytes) -> None:
    """Put new bytes in a sidecar's place at once, its mode kept."""
    place = _directory(opened, path)
    status = None if place is None else _status(*place)
    if place is None or status is None:
        return
    directory, name = place
    temporary = b"." + name + b"." + secrets.token_hex(6).encode()
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=directory), "wb") as file:
            file.write(text)
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        os.close(directory)
