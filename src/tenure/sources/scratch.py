"""Files and folders a run makes under a name of its own, and which the next run removes where a run was killed.

Whoever makes one holds a lock on it (flock) for as long as it is in use; the kernel lets go of it when the process
dies, however it dies. So what bears such a name and is not locked belongs to nobody any more.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = ("", "-journal", "-wal", "-shm")
"""What SQLite puts beside a database."""

_NAME_BYTES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Something that belongs to this process until `release`; `fd`: open on it, holds the lock."""

    path: Path
    fd: int

    def release(self) -> None:
        """Let go of it."""
        os.close(self.fd)


def claim_folder(above: Path, prefix: str) -> Claim:
    """Make a folder (mode 0700) named `prefix` and a random word, after removing what dead runs left of that prefix.

    Raises:
        OSError: It cannot be made.
    """
    return _claim(above, prefix, _new_folder)


def claim_file(above: Path, prefix: str) -> Claim:
    """Make an empty file (mode 0600); as `claim_folder` otherwise.

    Raises:
        OSError: It cannot be made.
    """
    return _claim(above, prefix, _new_file)


def remove(path: Path) -> None:
    """Remove a file with what SQLite puts beside it, or a folder; nothing where there is nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    for suffix in SUFFIXES:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()


def _claim(above: Path, prefix: str, make: Callable[[Path], int]) -> Claim:
    # One at a time: nobody may take what was just made, and is not locked yet, for a dead run's.
    with _turn(above):
        _sweep(above, prefix)
        path = above / f"{prefix}{secrets.token_hex(_NAME_BYTES)}"
        fd = make(path)
        with suppress(OSError):  # a file system without such locks: then nothing is ever swept there
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return Claim(path=path, fd=fd)


def _new_folder(path: Path) -> int:
    path.mkdir(mode=0o700)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _new_file(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)


@contextmanager
def _turn(above: Path) -> Iterator[None]:
    fd = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _sweep(above: Path, prefix: str) -> None:
    """Remove what is named like ours, is ours, and is locked by nobody."""
    ours = re.compile(re.escape(prefix) + rf"[0-9a-f]{{{2 * _NAME_BYTES}}}")
    with os.scandir(above) as entries:
        found = [Path(e.path) for e in entries if ours.fullmatch(e.name)]
    for path in found:
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_uid == os.geteuid():
                    remove(path)
            finally:
                os.close(fd)
