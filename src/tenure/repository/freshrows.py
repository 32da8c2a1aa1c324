"""Rows that the next row cache has to learn, kept out of memory: sorted runs in an unnamed file, merged in one pass.

A run is a few hundred thousand rows sorted by mixed identity, sealed in sections under a key that only this process
ever has. The file has no name (mode 0600, in the installation's own folder), so nothing is left of it where a run
is killed. Mixed identities are spread evenly, so rows are merged in stretches of equal width: of every run only one
section is in memory at a time.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.crypto.hashing import random_bytes
from tenure.domain.errors import IncompleteSnapshotError
from tenure.repository.cachecontents import ROW, STEP, Rows, open_section, seal_section
from tenure.repository.rows import Bytes, Words

RUN_ROWS = 1 << 16
"""Rows sorted together: 2.5 MB of them, which caches hold."""

SECTION_ROWS = 1 << 11
"""Rows of a run that are read together: 78 KB, so that a thousand runs can be merged at once, 1.2 bytes a row."""

_STRETCH = STEP // 4  # rows merged at once
_LEAST_SPILLED = 1 << 12  # rows; fewer are not worth a system call


class Scratch:
    """One unnamed file for the runs of every table of a session. Append, read, close.

    Once it could not be written, it takes nothing more: its users keep their rows in memory instead.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; the file is made when it is first needed."""
        self._folder = folder
        self._key = random_bytes(32)
        self._file: Any = None
        self._ends = [0]
        self._refused = False

    def append(self, plain: bytes) -> int | None:
        """Seal and append a section; return its number, or None where the disk takes no more."""
        if self._refused:
            return None
        number = len(self._ends) - 1
        sealed = seal_section(self._key, number, plain)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed in `close`
            self._write(sealed, self._ends[-1])
        except OSError:
            self._refused = True
            return None
        self._ends.append(self._ends[-1] + len(sealed))
        return number

    def _write(self, sealed: bytes, at: int) -> None:
        done = 0
        while done < len(sealed):
            done += os.pwrite(self._file.fileno(), memoryview(sealed)[done:], at + done)

    def read(self, number: int) -> bytes:
        """Return what was appended under a number.

        Raises:
            TamperedError: The file was changed.
            TruncatedError: It was cut short.
            IncompleteSnapshotError: It cannot be read any more.
        """
        start, end = self._ends[number], self._ends[number + 1]
        try:
            sealed = os.pread(self._file.fileno(), end - start, start)
        except OSError as e:
            raise IncompleteSnapshotError(
                f"a scratch file below {self._folder.name} cannot be read: {e.strerror}; nothing was committed",
                hint="check the disk that the state folder is on, then run the snapshot again",
            ) from e
        return open_section(self._key, number, sealed)

    def close(self) -> None:
        """Let go of the file, and so of everything in it."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(slots=True)
class _Run:
    """A sorted run: sections in the scratch file, or, where there is none, all rows at once."""

    sections: list[int | Rows]

    def read(self, scratch: Scratch | None) -> "_RunReader":
        return _RunReader(self.sections, scratch)


@dataclass(slots=True)
class _RunReader:
    sections: Sequence[int | Rows]
    scratch: Scratch | None
    place: int = 0
    left: Rows = field(default_factory=lambda: np.empty(0, ROW))

    def below(self, limit: np.uint64 | None) -> list[Rows]:
        """Return the next rows whose mixed identity is below a limit (None: all that are left)."""
        found: list[Rows] = []
        while len(self.left) or self.place < len(self.sections):
            if not len(self.left):
                self.left = self._section()
            stop = len(self.left)
            if limit is not None:
                stop = int(np.searchsorted(np.ascontiguousarray(self.left["mixed"]), limit))
            found.append(self.left[:stop])
            self.left = self.left[stop:]
            if len(self.left):
                break
        return found

    def _section(self) -> Rows:
        section = self.sections[self.place]
        self.place += 1
        if not isinstance(section, int):
            return section
        if self.scratch is None:
            raise RuntimeError("a run lies in a scratch file that is not there")
        return np.frombuffer(self.scratch.read(section), ROW)


class FreshRows:
    """Takes the rows of one table in any order; gives them back sorted by mixed identity, stretch by stretch."""

    def __init__(self, scratch: Scratch | None = None, *, run_rows: int = RUN_ROWS) -> None:
        """Begin with none.

        Args:
            scratch: Where runs go; None: they stay in memory, 38 bytes a row.
            run_rows: How many rows are sorted together.
        """
        self._scratch = scratch
        self._run_rows = run_rows
        self._parts: list[Rows] = []
        self._waiting = 0
        self._runs: list[_Run] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(
        self,
        identities: Bytes,
        mixed: Words,
        hashes: Words,
        cohorts: NDArray[np.integer[Any]],
        layers: NDArray[np.integer[Any]],
    ) -> None:
        """Take n rows; shapes as in `cachecontents.ROW`."""
        if not len(mixed):
            return
        part = np.empty(len(mixed), ROW)
        part["mixed"], part["hash"], part["cohort"], part["layer"] = mixed, hashes, cohorts, layers
        part["identity"] = identities
        self._parts.append(part)
        self._waiting += len(part)
        self._count += len(part)
        if self._waiting >= self._run_rows:
            self._close_run()

    def end(self) -> None:
        """Say that no more rows come."""
        if self._waiting:
            self._close_run()

    def _close_run(self) -> None:
        run = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
        self._parts, self._waiting = [], 0
        run = run[np.argsort(np.ascontiguousarray(run["mixed"]))]
        self._runs.append(self._spilled(run))

    def _spilled(self, run: Rows) -> _Run:
        if self._scratch is None or len(run) < _LEAST_SPILLED:
            return _Run([run])
        sections: list[int | Rows] = []
        for start in range(0, len(run), SECTION_ROWS):
            part = run[start : start + SECTION_ROWS]
            number = self._scratch.append(part.tobytes())
            sections.append(part.copy() if number is None else number)
        return _Run(sections)

    def stretches(self, limits: Sequence[np.uint64 | None]) -> Iterator[Rows]:
        """Yield, for every limit in turn, the rows below it that were not yielded before, in no order.

        Raises:
            IntegrityError: The scratch file was changed.
            IncompleteSnapshotError: It cannot be read.
        """
        readers = [run.read(self._scratch) for run in self._runs]
        for limit in limits:
            parts = [part for reader in readers for part in reader.below(limit)]
            yield np.concatenate([np.empty(0, ROW), *parts])


def limits_for(count: int) -> list[np.uint64 | None]:
    """Return limits that cut `count` evenly spread mixed identities into short stretches; the last limit is None."""
    stretches = max(1, -(-count // _STRETCH))
    inner = [np.uint64((i << 64) // stretches) for i in range(1, stretches)]
    return [*inner, None]
