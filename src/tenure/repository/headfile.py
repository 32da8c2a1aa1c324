"""Remembers the last ledger entry seen, in a file outside the repository (`ledger.HeadMemory`)."""

import os
from pathlib import Path

from tenure.domain.errors import ConfigError


class HeadFile:
    """One line: number and hash. Written beside and renamed, so a crash leaves the old line or the new one."""

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
        beside = self._path.with_suffix(f".{os.getpid()}.tmp")
        with beside.open("w", encoding="ascii") as f:
            f.write(f"{number} {entry_hash.hex()}\n")
            f.flush()
            os.fsync(f.fileno())
        beside.replace(self._path)
        self._seen = number, entry_hash


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
