r"""The Source port, and the batches in which records travel.

Row text is the repository's format for rows: one row a line, each line ended by ``\n``, cells separated by tabs,
``\N`` for null, backslash escapes for backslash, tab, newline, carriage return and NUL. The key cells come first,
so a record key is a prefix of its line. After a data set's own columns stand the *linked* cells: facts that the
catalogue takes from another data set (``cases.customer_id``); with them a row can be judged long after the
rows it refers to are gone. Linked cells are dropped on restore.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from tenure.domain.progress import Progress
from tenure.rules.facts import Facts

Judge = Callable[[Facts], NDArray[np.bool_]]
"""Says of each of n records, from facts read in the deleting transaction itself, whether it still falls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLayout:
    """What the cells of a line are: the data set's columns, key first, then the linked references."""

    columns: tuple[str, ...]
    key_cells: int
    linked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBatch:
    """n rows as row text.

    `text`: n lines. `offsets` (int64, n + 1): line i is ``text[offsets[i]:offsets[i + 1]]``, its newline
    included; the first is 0, the last ``len(text)``. `facts`: of the same n rows, or None where nobody asked.
    `noted`: what a refinement has to say of the batch.
    """

    text: bytes | memoryview
    offsets: NDArray[np.int64]
    facts: Facts | None = None
    noted: Any = None

    def __len__(self) -> int:
        """Return n."""
        return len(self.offsets) - 1


Refine = Callable[[RowBatch], RowBatch]
"""Changes a batch where it was read, maybe in another thread or process: picklable, as is what it notes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A file of a recording store, with its sidecar.

    `path`: relative to the folder, raw bytes as the file system has them, ``/`` between parts; `size` in bytes;
    `sidecar`: the sidecar's bytes, None where there is none; times in nanoseconds since the epoch.
    """

    path: bytes
    size: int
    mtime_ns: int
    mode: int
    sidecar_path: bytes | None = None
    sidecar: bytes | None = None
    sidecar_mtime_ns: int = 0
    sidecar_mode: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingBatch:
    """n recordings and their facts."""

    recordings: tuple[Recording, ...]
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a snapshot must report: a file that vanished, an entry that was skipped.

    `subject_free`: the sentence, without personal data; `where`: raw path or key, for the operator's eyes only.
    """

    reason: str
    where: bytes


class Lookup(Protocol):
    """Looks facts up in another source: a recording's row in the CRM."""

    def __call__(
        self, references: Sequence[str], columns: Sequence[str], keys: Sequence[tuple[str | None, ...]]
    ) -> Mapping[str, Any]:
        """Return for each reference n encoded cells (pyarrow large_binary) of the rows that n keys name.

        `references` are the looked-up data set's own; `columns`: which of its columns the keys give, as text
        (empty: its key). A cell is null where no row has the key, or more than one has.
        """
        ...


Lookups = Mapping[str, Lookup]
"""Lookups by the name of the data set they look into."""


class Unchanged(Protocol):
    """Says of a listed recording that it is the one that an earlier snapshot has, and takes it from there."""

    def __call__(
        self, path: bytes, size: int, mtime_ns: int, sidecar_mtime_ns: int, sidecar_bytes: int
    ) -> bool:
        """Return whether it is; zeros for a sidecar that is not there."""
        ...


class View(Protocol):
    """A source, consistent at one instant, until closed.

    `findings` grows while the view is read; it is complete once everything was.
    """

    taken_at: datetime
    findings: list[Finding]

    def data_sets(self) -> tuple[str, ...]:
        """Return the names of every data set, those included that the catalogue does not name."""
        ...

    def structure(self) -> bytes:
        """Return what a loader needs to build the empty source again: schema, settings, counters. Opaque."""
        ...

    def layout(self, data_set: str) -> RowLayout:
        """Return the cells of a table's lines."""
        ...

    def count(self, data_set: str) -> int:
        """Return how many records the data set has at this instant."""
        ...

    def rows(self, data_set: str, refine: Refine | None = None) -> Iterator[RowBatch]:
        """Yield a table in the order of its key, with facts; each batch as `refine` returns it, if given."""
        ...

    def recordings(self, data_set: str, unchanged: Unchanged | None = None) -> Iterator[RecordingBatch]:
        """Yield a set of recordings in the order of their paths, with facts.

        `unchanged`: asked before a sidecar is read, where nothing but the files says what a recording's facts are; a
        recording that it takes is not yielded.
        """
        ...

    def open(self, recording: Recording) -> BinaryIO:
        """Open a recording; reading to its end raises if it changed since it was listed.

        Raises:
            IncompleteSnapshotError: It vanished or changed.
        """
        ...

    def close(self) -> None:
        """Let go of the view and of every scratch file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What a live deletion did, by record keys (row text).

    `gone`: deleted (or rewritten) now; `left`: there, but it no longer matched or something still refers to it;
    `absent`: was not there, as after an earlier run that was cut short.
    """

    gone: tuple[bytes, ...]
    left: tuple[bytes, ...]
    absent: tuple[bytes, ...] = ()


class LiveStore(Protocol):
    """The live side of a source: look records up, judge them, remove or rewrite them."""

    def facts(self, data_set: str, keys: Sequence[bytes] | None = None) -> Iterator[Facts]:
        """Yield facts of all records, or of those with these keys (missing ones are simply absent)."""
        ...

    def remove(self, data_set: str, keys: Sequence[bytes], judge: Judge) -> Removal:
        """Delete records, a batch a transaction, each judged again inside it.

        Raises:
            SourceUnavailableError: The store stayed locked.
            SchemaDriftError: An inbound reference or trigger that the catalogue does not cover.
        """
        ...

    def rewrite(
        self, data_set: str, keys: Sequence[bytes], judge: Judge, edits: Mapping[str, Callable[[Any], Any]]
    ) -> Removal:
        """Change columns of records (`edits`: column -> new value from old), judged as in `remove`."""
        ...


class Loader(Protocol):
    """Builds a restored source at a new place; nothing is visible there until `end`."""

    def begin(self, structure: bytes, target: Path, progress: Progress) -> None:
        """Prepare the place.

        Raises:
            ConfigError: Something is already there.
        """
        ...

    def rows(self, data_set: str, layout: RowLayout, batches: Iterator[RowBatch]) -> int:
        """Load a table; return how many rows."""
        ...

    def recording(self, recording: Recording, pieces: Iterator[bytes | memoryview]) -> None:
        """Write one recording and its sidecar, byte- and mtime-exact."""
        ...

    def end(self) -> None:
        """Make constraints, indexes and triggers; check them; make the result visible."""
        ...

    def abandon(self) -> None:
        """Remove everything written so far."""
        ...
