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
from typing import Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from tenure.crypto import aead
from tenure.repository import rows, wire
from tenure.repository.model import Cohort, Tree
from tenure.repository.rows import Bytes, Words

UNUSABLE = -1
"""Cohort number of rows about which nothing is known any more."""

STEP = 1 << 17  # rows of a section: 22 bytes each in columns, 16 in identities, both under 4 MiB
MAGIC = b"TNRC\x01"
COLUMNS = np.dtype([("mixed", "<u8"), ("hash", "<u8"), ("cohort", "<i4"), ("layer", "<u2")])
DELETED = np.dtype([("identity", "u1", (16,)), ("cohort", "<i4"), ("layer", "<u2")])

Places = NDArray[np.int64]


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


class Identified(Protocol):
    """A cache whose rows' identities can be asked for."""

    def identities_at(self, places: Places) -> Bytes:
        """Return the identities at some places (uint8, m x 16)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheContents:
    """What a new cache shall hold: n rows sorted by mixed identity, some of them still in the cache before it.

    `origin` (n): a place in `base`, or ``~i`` for row i of `fresh`. `mixed`, `hashes`, `cohorts` (numbers into
    `known`) and `layers` (n each). `base` stays open until the contents are written.
    """

    known: tuple[KnownCohort, ...]
    origin: Places
    mixed: Words
    hashes: Words
    cohorts: NDArray[np.int32]
    layers: NDArray[np.uint16]
    fresh: Bytes
    deleted: Deleted
    base: "Identified | None"

    def identities(self, start: int, stop: int) -> Bytes:
        """Return the identities of rows `start` to `stop` (uint8, m x 16)."""
        return self.identities_of(np.arange(start, min(stop, len(self.origin))))

    def identities_of(self, which: Places) -> Bytes:
        """Return the identities of some rows (uint8, m x 16)."""
        origin = self.origin[which]
        out = np.empty((len(origin), rows.IDENTITY_BYTES), np.uint8)
        new = origin < 0
        out[new] = self.fresh[~origin[new]]
        if self.base is not None:
            out[~new] = self.base.identities_at(origin[~new])
        return out


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
        state.update(struct.pack("<II", layer.tier, len(layer.entries)))
        for entry in layer.entries:
            state.update(entry.chunk.id + entry.chunk.incarnation)
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
        rows=len(contents.origin),
        deleted=len(deleted),
        cohorts=[(k.cohort.data_set, k.cohort.rule_class, k.cohort.span, k.token) for k in contents.known],
    )
    sealed = _seal(key, 0, wire.encode(header))
    yield MAGIC + struct.pack("<I", len(sealed)) + sealed
    index = 1
    for start in range(0, len(contents.origin), STEP):
        part = slice(start, start + STEP)
        table = np.empty(len(contents.origin[part]), COLUMNS)
        table["mixed"], table["hash"] = contents.mixed[part], contents.hashes[part]
        table["cohort"], table["layer"] = contents.cohorts[part], contents.layers[part]
        yield _seal(key, index, table.tobytes())
        yield _seal(key, index + 1, contents.identities(start, start + STEP).tobytes())
        index += 2
    for start in range(0, len(deleted), STEP):
        part = slice(start, start + STEP)
        table = np.empty(len(deleted.cohorts[part]), DELETED)
        table["identity"], table["cohort"] = deleted.identities[part], deleted.cohorts[part]
        table["layer"] = deleted.layers[part]
        yield _seal(key, index, table.tobytes())
        index += 1


def _seal(key: bytes, index: int, plain: bytes) -> bytes:
    name = struct.pack("<Q", index)
    return aead.seal_under(key, "tenure row cache", name, plain, aad=aead.context("row cache", index))


def open_section(key: bytes, index: int, sealed: bytes) -> bytes:
    """Open section `index` of a file.

    Raises:
        TamperedError: Changed, moved, or of another file.
    """
    name = struct.pack("<Q", index)
    return aead.open_under(key, "tenure row cache", name, sealed, aad=aead.context("row cache", index))
