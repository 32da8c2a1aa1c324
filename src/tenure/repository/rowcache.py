"""What the base snapshot holds of one table, kept locally so that a writer knows what changed.

A writer cannot read its repository, so it keeps of every row a mixed identity, a row hash, its cohort, its layer and
its identity; and of every key that a layer deletes, its identity, cohort and layer. Rows are sorted by mixed identity
and looked up in bulk. The file is a convenience: valid for one base snapshot, sealed under a key drawn anew each
time, and rebuilt by reading the table whole. Whatever is wrong with it, `RowCache.open` says None.
"""

import struct
from collections.abc import Collection
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.crypto import aead
from tenure.domain.errors import TenureError, TruncatedError
from tenure.repository import rows, wire
from tenure.repository.cachecontents import (
    COLUMNS,
    DELETED,
    MAGIC,
    STEP,
    UNUSABLE,
    CacheContents,
    CacheStamp,
    Deleted,
    Header,
    KnownCohort,
    Places,
    open_section,
    tree_token,
    write,
)
from tenure.repository.model import Cohort
from tenure.repository.rows import Bytes, Words

__all__ = [
    "UNKNOWN",
    "UNUSABLE",
    "CacheContents",
    "CacheStamp",
    "Deleted",
    "KnownCohort",
    "Places",
    "RowCache",
    "tree_token",
    "write",
]

UNKNOWN = -1
"""Place of a key that the cache does not have."""


class RowCache:
    """The rows of one table as the base snapshot holds them. Close it after the next one is written.

    `known`: its cohorts. `mixed`, `hashes`, `layers` (n): see `cachecontents.ROW`. `cohorts` (n): numbers into
    `known`, `UNUSABLE` for rows to be treated as never seen. `deleted`: keys that layers delete. In memory are 19
    bytes a row, 21 of a table with more than 32,767 cohorts.
    """

    def __init__(self, file: BufferedReader, key: bytes, stamp: CacheStamp) -> None:
        """Read everything but identities, which are only verified. Use `open`.

        Raises:
            TenureError: Damaged, or made for something else.
            OSError: It cannot be read.
        """
        self._file = file
        self._key = key
        header = self._header(stamp)
        places = [Cohort(data_set=d, rule_class=c, span=s) for d, c, s, _ in header.cohorts]
        tokens = [token for *_, token in header.cohorts]
        self.known = tuple(KnownCohort(cohort=c, token=t) for c, t in zip(places, tokens, strict=True))
        self.usable = [True] * len(self.known)
        self._columns(header.rows)
        self.deleted = self._deletes(header.deleted)
        if self._file.read(1):
            raise TruncatedError("a row cache has bytes left over")

    @classmethod
    def open(cls, path: Path, key: bytes, stamp: CacheStamp) -> "RowCache | None":
        """Return the cache in a file, or None where it is missing, damaged, or made for something else.

        Args:
            path: The file.
            key: 32 bytes, as given to `write`.
            stamp: What it must be valid for.
        """
        try:
            file = path.open("rb")
        except OSError:
            return None
        try:
            return cls(file, key, stamp)
        except (OSError, TenureError, ValueError):
            file.close()
            return None

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self.mixed)

    def find(self, ids: Bytes, mixed: Words, hashes: Words) -> Places:
        """Return the place of each key (int64, n), `UNKNOWN` where the cache does not have it.

        Two keys may share a mixed identity, so a row whose hash differs is compared by its full identity. One
        whose hash is equal is the same row, key included.

        Args:
            ids: Identities (n x 16).
            mixed: Their mixes (n).
            hashes: 64-bit row hashes (n).
        """
        if not len(self.mixed):
            return np.full(len(mixed), UNKNOWN, np.int64)
        order = np.argsort(mixed)  # sorted questions walk through memory instead of jumping
        places = np.empty(len(mixed), np.int64)
        places[order] = np.searchsorted(self.mixed, mixed[order])
        clipped = np.minimum(places, len(self.mixed) - 1)
        hit = self.mixed[clipped] == mixed
        twin = hit & (self.mixed[np.minimum(clipped + 1, len(self.mixed) - 1)] == mixed)
        twin &= clipped + 1 < len(self.mixed)
        doubtful = np.flatnonzero(hit & ~twin & (self.hashes[clipped] != hashes))
        same = (self.identities_at(clipped[doubtful]) == ids[doubtful]).all(axis=1)
        hit[doubtful[~same]] = False
        found = np.where(hit, clipped, UNKNOWN)
        for i in np.flatnonzero(twin).tolist():  # as rare as 64-bit collisions are
            found[i] = self._among_twins(int(places[i]), ids[i])
        return found

    def _among_twins(self, first: int, identity: Bytes) -> int:
        last = int(np.searchsorted(self.mixed, self.mixed[first], side="right"))
        same = (self.identities_at(np.arange(first, last)) == identity).all(axis=1)
        return first + int(np.argmax(same)) if same.any() else UNKNOWN

    def identities_at(self, places: Places) -> Bytes:
        """Return the identities at some places (uint8, m x 16), unsealing only the sections they are in.

        Raises:
            TamperedError: The file was changed since it was opened.
            OSError: It cannot be read any more.
        """
        out = np.empty((len(places), rows.IDENTITY_BYTES), np.uint8)
        order = np.argsort(places, kind="stable")
        ordered = places[order]
        bounds = np.flatnonzero(np.diff(ordered // STEP)) + 1
        for part in np.split(order, bounds) if len(order) else []:
            section = int(places[part[0]]) // STEP
            start = section * STEP
            self._file.seek(self._starts[section])
            count = min(STEP, len(self) - start)
            identities = self._section(2 * section + 2, count, np.dtype(("u1", (rows.IDENTITY_BYTES,))))
            out[part] = identities[places[part] - start]
        return out

    def invalidate(self, cohorts: Collection[Cohort]) -> None:
        """Treat all rows of these cohorts as never seen; their trees get a new base."""
        for number, known in enumerate(self.known):
            if known.cohort in cohorts and self.usable[number]:
                self.usable[number] = False
                self.cohorts[self.cohorts == number] = UNUSABLE
                self.deleted = self.deleted.take(self.deleted.cohorts != number)

    def forget(self, ids: Bytes) -> None:
        """Treat these keys as never seen, so that no layer names them as deleted.

        To be called with what was forgotten since the base snapshot: a short key is its own identity, and the
        next layer would store it anew.

        Args:
            ids: Identities (uint8, m x 16).
        """
        ordered = rows.sorted_unique(ids)
        self.deleted = self.deleted.take(~rows.contains(ordered, self.deleted.identities))
        for start in range(0, len(self), STEP):
            places = np.arange(start, min(start + STEP, len(self)))
            gone = rows.contains(ordered, self.identities_at(places))
            self.cohorts[places[gone]] = UNUSABLE

    def _header(self, stamp: CacheStamp) -> Header:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise TruncatedError("not a row cache")
        (size,) = struct.unpack("<I", self._read(4))
        plain = open_section(self._key, 0, self._read(min(size, 1 << 28)))
        header = wire.decode(plain, Header, what="a row cache")
        if (header.snapshot, header.table, header.layout, header.keys) != (
            stamp.snapshot,
            stamp.table,
            stamp.layout,
            stamp.keys,
        ):
            raise ValueError("made for something else")
        return header

    def _columns(self, count: int) -> None:
        self.mixed = np.empty(count, np.uint64)
        self.hashes = np.empty(count, np.uint64)
        few = len(self.known) <= np.iinfo(np.int16).max
        self.cohorts: NDArray[np.integer[Any]] = np.empty(count, np.int16 if few else np.int32)
        self.layers: NDArray[np.integer[Any]] = np.empty(count, np.uint8)
        self._starts: list[int] = []
        for section, start in enumerate(range(0, count, STEP)):
            stop = min(start + STEP, count)
            table = self._section(2 * section + 1, stop - start, COLUMNS)
            self.mixed[start:stop], self.hashes[start:stop] = table["mixed"], table["hash"]
            if self.layers.dtype == np.uint8 and table["layer"].max() > np.iinfo(np.uint8).max:
                self.layers = self.layers.astype(np.uint16)  # of a tree with very many layers
            self.cohorts[start:stop], self.layers[start:stop] = table["cohort"], table["layer"]
            self._starts.append(self._file.tell())
            self._section(2 * section + 2, stop - start, np.dtype(("u1", (rows.IDENTITY_BYTES,))))

    def _deletes(self, count: int) -> Deleted:
        first = 2 * len(self._starts) + 1
        parts = [
            self._section(first + section, min(STEP, count - start), DELETED)
            for section, start in enumerate(range(0, count, STEP))
        ]
        table = np.concatenate([*parts, np.empty(0, DELETED)])
        return Deleted(
            identities=np.ascontiguousarray(table["identity"]),
            cohorts=np.ascontiguousarray(table["cohort"]),
            layers=np.ascontiguousarray(table["layer"]),
        )

    def _section(self, index: int, count: int, kind: np.dtype[Any]) -> NDArray[Any]:
        sealed = self._read(count * kind.itemsize + aead.OVERHEAD)
        return np.frombuffer(open_section(self._key, index, sealed), kind)

    def _read(self, size: int) -> bytes:
        got = self._file.read(size)
        if len(got) != size:
            raise TruncatedError("a row cache is cut short")
        return got
