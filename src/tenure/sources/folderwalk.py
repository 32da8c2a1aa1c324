"""Lists a folder of recordings: which files, which sidecars, never through a symbolic link."""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tenure.domain.errors import ConfigError, SourceUnavailableError
from tenure.sources.base import Finding

_PLACES = re.compile(r"\{(stem|name)\}")


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A regular file as it was listed; `path` relative to the root, raw bytes; times in nanoseconds."""

    path: bytes
    size: int
    mtime_ns: int
    mode: int


def entry_of(path: bytes, status: os.stat_result) -> Entry:
    """Make an entry of what stat said."""
    return Entry(
        path=path, size=status.st_size, mtime_ns=status.st_mtime_ns, mode=stat.S_IMODE(status.st_mode)
    )


def parts_of(path: bytes) -> list[bytes]:
    """Split a relative path.

    Raises:
        ConfigError: It is absolute, empty, or leads out of its folder.
    """
    parts = path.split(b"/")
    if b"\0" in path or any(p in {b"", b".", b".."} for p in parts):
        raise ConfigError(
            "the path of a recording leads out of its folder", hint="do not use this snapshot or key list"
        )
    return parts


def open_directory(root: int, parts: Iterable[bytes]) -> int:
    """Open a directory below `root`, step by step, following no symbolic link; the caller closes it.

    Raises:
        OSError: It is not there, or a step is no directory.
    """
    at = os.dup(root)
    try:
        for part in parts:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = below
    except BaseException:
        os.close(at)
        raise
    return at


def open_root(path: Path, name: str) -> int:
    """Open the folder of source `name`.

    Raises:
        SourceUnavailableError: It is not there or may not be read.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise SourceUnavailableError(
            f"source {name!r}: its folder {path} cannot be opened: {e.strerror}",
            hint="check `path` of this source in tenure.yaml, and whether its disk is mounted",
        ) from e


def walk(root: Path, findings: list[Finding]) -> list[Entry]:
    """List every regular file below `root`, sorted by path; what is skipped goes to `findings`."""
    found: list[Entry] = []
    waiting = [b""]
    base = os.fsencode(root)
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(base + b"/" + prefix) as listing:
                for item in listing:
                    _take(item, prefix + item.name, found, waiting, findings)
        except OSError as e:
            reason = (
                "a directory may not be read"
                if isinstance(e, PermissionError)
                else "a directory vanished while listed"
            )
            findings.append(Finding(reason=reason, where=prefix))
    found.sort(key=lambda entry: entry.path)
    return found


def _take(
    item: os.DirEntry[bytes], path: bytes, found: list[Entry], waiting: list[bytes], findings: list[Finding]
) -> None:
    try:
        if item.is_file(follow_symlinks=False):  # first, for nearly all are
            found.append(entry_of(path, item.stat(follow_symlinks=False)))
        elif item.is_symlink():
            findings.append(Finding(reason="a symbolic link was not followed", where=path))
        elif item.is_dir(follow_symlinks=False):
            waiting.append(path + b"/")
        else:
            findings.append(Finding(reason="neither file nor directory, skipped", where=path))
    except OSError:
        findings.append(Finding(reason="a file vanished while listed", where=path))


def _glob(pattern: str) -> "re.Pattern[bytes]":
    r"""Translate a glob: ``**/`` any directories, ``*`` and ``?`` within a name, ``[...]`` a class."""
    out, rest = b"", os.fsencode(pattern)
    while rest:
        bracket = re.match(rb"\[(!?)([^\]/]+)\]", rest)
        if rest.startswith(b"**/"):
            out, rest = out + b"(?:[^/]+/)*", rest[3:]
        elif rest.startswith(b"**"):
            out, rest = out + b".*", rest[2:]
        elif bracket:
            inside = bracket[2].replace(b"\\", b"\\\\").replace(b"^", b"\\^")
            out, rest = out + b"[" + (b"^/" if bracket[1] else b"") + inside + b"]", rest[bracket.end() :]
        else:
            one = {b"*": b"[^/]*", b"?": b"[^/]"}.get(rest[:1], re.escape(rest[:1]))
            out, rest = out + one, rest[1:]
    return re.compile(out, re.DOTALL)


class Naming:
    """Which files of a listing are recordings, and where their sidecars are."""

    def __init__(self, files: str, sidecar: str) -> None:
        """Take the catalogue's glob and sidecar pattern (empty: no sidecars).

        Raises:
            ConfigError: The sidecar pattern leads elsewhere or names every recording's the same.
        """
        if sidecar and (sidecar.startswith("/") or ".." in sidecar.split("/") or not _PLACES.search(sidecar)):
            raise ConfigError(
                "a sidecar pattern needs {stem} or {name} and stays below the recording's directory"
            )
        self._files = _glob(files or "**/*")
        self._sidecar = (
            [p if i % 2 else os.fsencode(p) for i, p in enumerate(_PLACES.split(sidecar))] if sidecar else []
        )

    def sidecar_of(self, path: bytes) -> bytes | None:
        """Return where a recording's sidecar would be; None where there is none."""
        if not self._sidecar:
            return None
        directory, slash, name = path.rpartition(b"/")
        stem, dot, _ = name.rpartition(b".")
        places = {"name": name, "stem": stem if dot and stem else name}
        made = b"".join([places[p] if isinstance(p, str) else p for p in self._sidecar])
        found = directory + slash + made
        return None if found == path else found

    def matches(self, path: bytes) -> bool:
        """Whether the glob takes a path, sidecars not considered."""
        return self._files.fullmatch(path) is not None

    def pairs(self, listing: Iterable[Entry]) -> Iterator[tuple[Entry, Entry | None]]:
        """Yield the recordings of a listing in its order, each with its sidecar; a sidecar is no recording."""
        entries = {e.path: e for e in listing}
        taken = [(e, self.sidecar_of(e.path)) for e in entries.values() if self.matches(e.path)]
        sidecars = {s for _, s in taken if s in entries}
        for entry, sidecar in taken:
            if entry.path not in sidecars:
                yield entry, entries.get(sidecar) if sidecar is not None else None
