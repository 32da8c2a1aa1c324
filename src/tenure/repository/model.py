"""The repository's values: cohorts, chunks, trees and layers.

A *tree* is one cohort of one data set in one snapshot: a list of layers, oldest first. The first is the base; a
later layer wins by record key and may delete keys. Trees name chunks by id and incarnation, never by place.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import msgspec

from tenure.crypto.hashing import content_hash

QUARANTINE_PREFIX = "quarantine:"
"""Span of rows with card data that nobody answered for: ``quarantine:2026-03-01``, the day it was first seen."""

OPEN_PREFIX = "open:"
"""Span of records without a starting point: ``open:2026-03``, the month they were first seen in."""


class ChunkKind(IntEnum):
    """What a chunk holds; fixed by the format, bound as associated data."""

    ROWS = 1  # row text of one cohort
    DELETES = 2  # 16-byte key identities that a layer deletes
    MEDIA = 3  # bytes of one recording
    COMPANION = 4  # what is personal about a chunk, or about up to 256 recordings
    STRUCTURE = 5  # tree nodes, roots, schemas; nothing personal; sealed under the index key


def holds_recordings(kinds: Iterable[int]) -> bool:
    """Whether chunks of these kinds are those of a cohort of recordings.

    Recordings without a byte have no chunk but their companion's; rows are never without theirs.
    """
    return not {ChunkKind.ROWS, ChunkKind.DELETES}.intersection(kinds)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cohort:
    """The records of one data set, of one class, whose starting point lies in one span.

    `rule_class`: hex hash of the governing rule's starting point and conditions; "" where no rule governs.
    `span`: "2026-03" (or a day, week, quarter), `OPEN_PREFIX` + month first seen, or `QUARANTINE_PREFIX` + day.
    """

    data_set: str
    rule_class: str
    span: str

    @property
    def is_open(self) -> bool:
        """Whether its records have no starting point yet."""
        return self.span.startswith(OPEN_PREFIX)

    @property
    def is_quarantine(self) -> bool:
        """Whether its rows wait for an answer about card data."""
        return self.span.startswith(QUARANTINE_PREFIX)


class ChunkRef(msgspec.Struct, frozen=True, order=True, gc=False):
    """A chunk: 16-byte id (keyed hash of its plaintext) and 8-byte random incarnation."""

    id: bytes
    incarnation: bytes


NO_CHUNK = ChunkRef(bytes(16), bytes(8))
"""Stands where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """A chunk in a layer. `records`: rows, or identities of DELETES; `plain`: bytes before compression."""

    chunk: ChunkRef
    kind: ChunkKind
    records: int
    plain: int
    companion: ChunkRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """A layer as a root has it, whose nodes were not read. `nodes`: n x 24 bytes; `depth`: see `structure.LayerWire`."""

    nodes: bytes
    depth: int
    records: int
    plain: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Chunks written together, in key order. `tier` 0 is a snapshot's own; eight of a tier merge into the next.

    `stored`: where it was taken from a root as it is; `entries` is empty then.
    """

    tier: int
    entries: tuple[TreeEntry, ...] = ()
    stored: StoredLayer | None = None

    @property
    def records(self) -> int:
        """Return how many rows and deletes it has."""
        return self.stored.records if self.stored else sum(entry.records for entry in self.entries)

    @property
    def plain(self) -> int:
        """Return its chunks' bytes before compression."""
        return self.stored.plain if self.stored else sum(entry.plain for entry in self.entries)

    @property
    def content(self) -> bytes:
        """Return 16 bytes that tell its chunks from any other layer's."""
        if self.stored:
            return self.stored.content
        return content_hash(b"layer", *(e.chunk.id + e.chunk.incarnation for e in self.entries))[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One cohort in one snapshot; `rows`: live records after all layers."""

    cohort: Cohort
    layers: tuple[Layer, ...]
    rows: int


class ChunkSink(Protocol):
    """Takes plaintext chunks of a session; compresses, seals and packs them behind the caller's back."""

    def put(
        self,
        cohort: Cohort,
        kind: ChunkKind,
        plain: bytes | bytearray | memoryview,
        companion: Callable[[], bytes] | None,
    ) -> tuple[ChunkRef, ChunkRef | None]:
        """Store a chunk unless its cohort has it; return its reference and its companion's.

        `plain` is copied or consumed before the call returns, so the caller may reuse the buffer. `companion`
        is called only where the chunk is new.
        """
        ...


class ChunkFetch(Protocol):
    """Brings chunks back."""

    def __call__(self, ref: ChunkRef, kind: ChunkKind) -> bytes | None:
        """Return the plaintext, following replacements; None where the ledger says it was forgotten.

        Raises:
            IntegrityError: It is missing or damaged without an explanation.
        """
        ...
