"""Nodes of trees as bytes, at most 1,024 chunks or recordings each, in columns; and long lists of nodes."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.repository import wire
from tenure.repository.model import NO_CHUNK, ChunkKind, ChunkRef, TreeEntry
from tenure.repository.wire import Wire

NODE_ENTRIES = 1_024
REF_BYTES = 24
_KINDS = frozenset(ChunkKind)
T = TypeVar("T")


class NodeWire(Wire, frozen=True, kw_only=True, tag="rows"):
    """Chunks of a layer. `refs`, `companions`: n x 24 bytes; `kinds`: n bytes."""

    refs: bytes
    companions: bytes
    kinds: bytes
    records: tuple[int, ...]
    plain: tuple[int, ...]


class MediaNodeWire(Wire, frozen=True, kw_only=True, tag="recordings"):
    """Recordings of a tree, in the order of their path hashes within the node.

    `paths`: n x 16, keyed hash of the path (8) and of path, size and times (8); `chunks`: how many each has; `refs`: all of them x 24;
    `companions`: n x 24; `places`: each one's index in its companion; `sizes`: bytes.
    """

    paths: bytes
    chunks: tuple[int, ...]
    refs: bytes
    companions: bytes
    places: tuple[int, ...]
    sizes: tuple[int, ...]


class ListWire(Wire, frozen=True, kw_only=True, tag="list"):
    """A part of a long list of nodes, n x 24 bytes: a snapshot that adds to a tree writes the last part anew."""

    nodes: bytes


class MediaEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A recording in a tree."""

    path_hash: bytes
    chunks: tuple[ChunkRef, ...]
    companion: ChunkRef
    place: int
    size: int


def join(ref: ChunkRef | None) -> bytes:
    """Return the 24 bytes of a reference; zeros for none."""
    ref = ref or NO_CHUNK
    return ref.id + ref.incarnation


def split(refs: bytes) -> list[ChunkRef]:
    """Return the references in n x 24 bytes.

    Raises:
        TamperedError: Not a multiple of 24.
    """
    if len(refs) % REF_BYTES:
        raise TamperedError(
            f"a list of references has {len(refs)} bytes, which is no multiple of {REF_BYTES}"
        )
    return [ChunkRef(refs[i : i + 16], refs[i + 16 : i + 24]) for i in range(0, len(refs), REF_BYTES)]


def ref_of(raw: bytes) -> ChunkRef:
    """Return the reference in 24 bytes.

    Raises:
        TamperedError: It is not exactly one.
    """
    found = split(raw)
    if len(found) != 1:
        raise TamperedError(f"a manifest names {len(found)} references where one belongs")
    return found[0]


def parts(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield what makes a node each."""
    return (entries[i : i + NODE_ENTRIES] for i in range(0, len(entries), NODE_ENTRIES))


def rows_node(entries: Sequence[TreeEntry]) -> NodeWire:
    """Return the node of some chunks."""
    return NodeWire(
        refs=b"".join(join(e.chunk) for e in entries),
        companions=b"".join(join(e.companion) for e in entries),
        kinds=bytes(e.kind for e in entries),
        records=tuple(e.records for e in entries),
        plain=tuple(e.plain for e in entries),
    )


def _node(ref: ChunkRef) -> str:
    return f"tree node {ref.id.hex()}"


def _fits(what: str, count: int, *columns: bool) -> None:
    if count > NODE_ENTRIES or not all(columns):
        raise TamperedError(f"{what} is damaged: its columns do not fit each other")


def _counts(numbers: tuple[int, ...], count: int) -> bool:
    # Signed 64 bits, for they are added up in arrays of that.
    return len(numbers) == count and (not count or (min(numbers) >= 0 and max(numbers) < 1 << 63))


def read_rows_node(raw: bytes, ref: ChunkRef) -> NodeWire:
    """Take a node of a table apart.

    Raises:
        TamperedError: Its columns do not fit each other.
        UnsupportedFormatError: Of a form that this version does not know.
    """
    node, what = wire.decode(raw, NodeWire, what=_node(ref)), _node(ref)
    count = len(node.kinds)
    sizes = (len(node.refs), len(node.companions)) == (count * REF_BYTES, count * REF_BYTES)
    _fits(what, count, sizes, _counts(node.records, count), _counts(node.plain, count))
    if not _KINDS.issuperset(node.kinds):
        raise UnsupportedFormatError(
            f"{what} names chunks of a kind that this version of Tenure does not know"
        )
    return node


def rows_entries(raw: bytes, ref: ChunkRef) -> Iterator[TreeEntry]:
    """Yield the chunks that a node lists; raises as `read_rows_node` does."""
    node = read_rows_node(raw, ref)
    columns = zip(split(node.refs), split(node.companions), node.kinds, node.records, node.plain, strict=True)
    for chunk, companion, kind, records, plain in columns:
        beside = None if companion == NO_CHUNK else companion
        yield TreeEntry(chunk=chunk, kind=ChunkKind(kind), records=records, plain=plain, companion=beside)


def media_node(entries: Sequence[MediaEntry]) -> MediaNodeWire:
    """Return the node of some recordings."""
    return MediaNodeWire(
        paths=b"".join(e.path_hash for e in entries),
        chunks=tuple(len(e.chunks) for e in entries),
        refs=b"".join(join(ref) for e in entries for ref in e.chunks),
        companions=b"".join(join(e.companion) for e in entries),
        places=tuple(e.place for e in entries),
        sizes=tuple(e.size for e in entries),
    )


def read_media_node(raw: bytes, ref: ChunkRef) -> MediaNodeWire:
    """Take a node of recordings apart.

    Raises:
        TamperedError: Its columns do not fit each other.
        UnsupportedFormatError: Of a form that this version does not know.
    """
    node = wire.decode(raw, MediaNodeWire, what=_node(ref))
    count = len(node.chunks)
    numbers = all(_counts(column, count) for column in (node.chunks, node.places, node.sizes))
    sizes = (len(node.paths), len(node.companions)) == (count * 16, count * REF_BYTES)
    _fits(_node(ref), count, numbers, sizes, len(node.refs) == sum(node.chunks) * REF_BYTES)
    return node


def media_entries(node: MediaNodeWire) -> Iterator[MediaEntry]:
    """Yield the recordings of a node."""
    paths = [node.paths[i : i + 16] for i in range(0, len(node.paths), 16)]
    refs = iter(split(node.refs))
    columns = zip(paths, node.chunks, split(node.companions), node.places, node.sizes, strict=True)
    for path_hash, many, companion, place, size in columns:
        chunks = tuple(next(refs) for _ in range(many))
        yield MediaEntry(path_hash=path_hash, chunks=chunks, companion=companion, place=place, size=size)


def read_list(raw: bytes, ref: ChunkRef) -> list[ChunkRef]:
    """Return the nodes that a list names.

    Raises:
        TamperedError: It is too long.
        UnsupportedFormatError: Of a form that this version does not know.
    """
    what = f"node list {ref.id.hex()}"
    found = split(wire.decode(raw, ListWire, what=what).nodes)
    _fits(what, len(found))
    return found
