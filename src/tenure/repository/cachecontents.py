"""What goes into a row cache, and its file.

``TNRC`` and a version byte, length of the sealed header (4 bytes, little-endian), sealed header, then sealed sections
of 131,072 rows (columns, then identities, in turns), then sealed sections of deleted keys. Section i is sealed under
a key derived from the file's key and i; the header, 0, says how many there must be.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from tenure.crypto import aead
from tenure.repository import rows, wire
from tenure.repository.model import Cohort, Tree
from tenure.repository.rows import Bytes

UNUSABLE = -1
"""Cohort number of rows about which nothing is known any more."""

STEP = 1 << 17  # rows of a section: 22 bytes each in columns, 16 in identities, both under 4 MiB
MAGIC = b"TNRC\x01"
COLUMNS = np.dtype([("mixed", "<u8"), ("hash", "<u8"), ("cohort", "<i4"), ("layer", "<u2")])
ROW = np.dtype(
    [("mixed", "<u8"), ("hash", "<u8"), ("identity", "u1", (16,)), ("cohort", "<i4"), ("layer", "<u2")]
)
"""A row on its way into a cache: mixed identity, row hash, identity, number of its cohort, layer."""

DELETED = np.dtype([("identity", "u1", (16,)), ("cohort", "<i4"), ("layer", "<u2")])

Places = NDArray[np.int64]
Rows = NDArray[Any]
"""n rows of dtype `ROW`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStamp:
    """What a cache is valid for: the base snapshot's id, the table, hashes of its layout and of the keys in use."""

    snapshot: bytes
    table: str
    layout: bytes
    keys: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCohort:
    """A cohort of the base snapshot, and the `tree_token` of the tree that the cache reflects."""

    cohort: Cohort
    token: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """Keys that layers delete: `identities` (d x 16), the `cohorts` and `layers` they were deleted in (d)."""

    identities: Bytes
    cohorts: NDArray[np.int32]
    layers: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.cohorts)

    def take(self, which: NDArray[np.bool_]) -> "Deleted":
        """Return those of a mask."""
        return Deleted(
            identities=self.identities[which], cohorts=self.cohorts[which], layers=self.layers[which]
        )

    @classmethod
    def of(cls, identities: Bytes, cohort: int, layer: int) -> "Deleted":
        """Return keys deleted in one layer of one cohort."""
        count = len(identities)
        return cls(
            identities=identities,
            cohorts=np.full(count, cohort, np.int32),
            layers=np.full(count, layer, np.uint16),
        )

    @classmethod
    def none(cls) -> "Deleted":
        """Return no key at all."""
        return cls.of(np.empty((0, rows.IDENTITY_BYTES), np.uint8), 0, 0)

    @classmethod
    def join(cls, parts: Sequence["Deleted"]) -> "Deleted":
        """Return the keys of at least one part together."""
        return cls(
            identities=np.concatenate([p.identities for p in parts]),
            cohorts=np.concatenate([p.cohorts for p in parts]),
            layers=np.concatenate([p.layers for p in parts]),
        )


class SortedRows(Protocol):
    """The rows of a table, to be asked for more than once."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def pieces(self) -> Iterator[Rows]:
        """Yield them all, sorted by mixed identity, in pieces of any size."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheContents:
    """What a new cache shall hold. `rows`: numbered by place in `known`; may read a scratch file and the cache before."""

    known: tuple[KnownCohort, ...]
    rows: SortedRows
    deleted: Deleted


class Header(wire.Wire, frozen=True):
    """What the sealed header says."""

    snapshot: bytes
    table: str
    layout: bytes
    keys: bytes
    rows: int
    deleted: int
    cohorts: list[tuple[str, str, str, bytes]]


def tree_token(tree: Tree) -> bytes:
    """Return 16 bytes that tell a tree's layers from any other's; no secret, the cache that holds it is sealed."""
    state = xxhash.xxh3_128()
    for layer in tree.layers:
        state.update(struct.pack("<I", layer.tier) + layer.content)
    return state.digest()


def write(path: Path, key: bytes, stamp: CacheStamp, contents: CacheContents) -> None:
    """Write a cache, all or nothing: beside its place first, then moved there.

    Args:
        path: The file, replaced if there.
        key: 32 random bytes, never used for a file before.
        stamp: What the cache is valid for from now on.
        contents: What it holds.

    Raises:
        OSError: It cannot be written; no snapshot needs to fail for that.
    """
    beside = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for piece in _pieces(key, stamp, contents):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _pieces(key: bytes, stamp: CacheStamp, contents: CacheContents) -> Iterator[bytes]:
    deleted = contents.deleted
    header = Header(
        snapshot=stamp.snapshot,
        table=stamp.table,
        layout=stamp.layout,
        keys=stamp.keys,
        rows=len(contents.rows),
        deleted=len(deleted),
        cohorts=[(k.cohort.data_set, k.cohort.rule_class, k.cohort.span, k.token) for k in contents.known],
    )
    sealed = seal_section(key, 0, wire.encode(header))
    yield MAGIC + struct.pack("<I", len(sealed)) + sealed
    index = 1
    for part in _steps(contents.rows.pieces()):
        table = np.empty(len(part), COLUMNS)
        for name in COLUMNS.names or ():
            table[name] = part[name]
        yield seal_section(key, index, table.tobytes())
        yield seal_section(key, index + 1, part["identity"].tobytes())
        index += 2
    for start in range(0, len(deleted), STEP):
        window = slice(start, start + STEP)
        table = np.empty(len(deleted.cohorts[window]), DELETED)
        table["identity"], table["cohort"] = deleted.identities[window], deleted.cohorts[window]
        table["layer"] = deleted.layers[window]
        yield seal_section(key, index, table.tobytes())
        index += 1


def _steps(pieces: Iterator[Rows]) -> Iterator[Rows]:
    """Regroup pieces into `STEP` rows each, the last with what is left."""
    held: list[Rows] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count < STEP:
            continue
        joined = np.concatenate(held)
        whole = count - count % STEP
        for start in range(0, whole, STEP):
            yield joined[start : start + STEP]
        held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)


def seal_section(key: bytes, index: int, plain: bytes) -> bytes:
    """Seal section `index` of a file; no index is used twice under one key."""
    name = struct.pack("<Q", index)
    return aead.seal_under(key, "tenure row cache", name, plain, aad=aead.context("row cache", index))


def open_section(key: bytes, index: int, sealed: bytes) -> bytes:
    """Open section `index` of a file.

    Raises:
        TamperedError: Changed, moved, or of another file.
    """
    name = struct.pack("<Q", index)
    return aead.open_under(key, "tenure row cache", name, sealed, aad=aead.context("row cache", index))
