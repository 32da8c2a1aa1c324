"""Remembers the last ledger entry seen, in a file outside the repository (`ledger.HeadMemory`)."""

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

from tenure.domain.errors import ConfigError


class HeadFile:
    """One line: number and hash. Written beside and renamed, so a crash leaves the old line or the new one.

    What a process that died left beside it (``head.<process>.tmp``) goes when the next one reads the file. Its
    writer holds a lock on it, so that of a process in another container, whose number means nothing here, stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, bytes] | None = None

    def load(self) -> tuple[int, bytes] | None:
        """Return what was stored last, or None.

        Raises:
            ConfigError: The file is there and cannot be read; without it nobody would notice an old state.
        """
        if self._seen is not None:
            return self._seen
        self._clear()
        try:
            number, entry_hash = self._path.read_text("ascii").split()
            self._seen = int(number), bytes.fromhex(entry_hash)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as e:
            raise ConfigError(
                f"{self._path} cannot be read: it remembers the newest ledger entry seen here",
                hint="restore the file; delete it only if you know that nobody put an old repository back",
            ) from e
        return self._seen

    def store(self, number: int, entry_hash: bytes) -> None:
        """Remember an entry."""
        line = f"{number} {entry_hash.hex()}\n"
        try:
            self._write(line)
        except FileNotFoundError:
            # Taken for a dead process's between being made and being locked.
            self._write(line)
        self._seen = number, entry_hash

    def _write(self, line: str) -> None:
        beside = self._path.with_suffix(f".{os.getpid()}.tmp")
        with beside.open("w", encoding="ascii") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            f.write(line)
            f.flush()
            os.fsync(f.fileno())
            beside.replace(self._path)

    def _clear(self) -> None:
        """Remove what dead processes left; what cannot be removed disturbs nobody."""
        name = re.compile(re.escape(self._path.stem) + r"\.([0-9]+)\.tmp")
        for left in self._path.parent.glob(f"{self._path.stem}.*.tmp"):
            match = name.fullmatch(left.name)
            if match is None or _is_alive(int(match[1])):
                continue
            with suppress(OSError), left.open("r+b") as f:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()


def _is_alive(process: int) -> bool:
    """Whether there is a process of this number on this machine; also where that cannot be told."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


class HeadInMemory:
    """Remembers for as long as the process lives; for a restore with a recovery key on a strange machine."""

    def __init__(self) -> None:
        self._seen: tuple[int, bytes] | None = None

    def load(self) -> tuple[int, bytes] | None:
        """Return what was stored last, or None."""
        return self._seen

    def store(self, number: int, entry_hash: bytes) -> None:
        """Remember an entry."""
        self._seen = number, entry_hash
