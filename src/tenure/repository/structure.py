"""Roots, trees and nodes as bytes: what a snapshot consists of, with nothing personal in it.

A node lists at most 1,024 chunks or recordings, in columns. A root lists a data set's trees. Both are structure
chunks: equal ones are stored once, so a snapshot in which little changed writes little.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.repository import wire
from tenure.repository.model import ChunkKind, ChunkRef, Cohort, Layer, Tree, TreeEntry
from tenure.repository.wire import Wire
from tenure.sources.base import RowLayout

NODE_ENTRIES = 1_024
REF_BYTES = 24
_NONE = bytes(REF_BYTES)
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
    """Recordings of a tree, in the order of their path hashes.

    `paths`: n x 16, keyed hash of path, size, times; `chunks`: how many each has; `refs`: all of them x 24;
    `companions`: n x 24; `places`: each one's index in its companion; `sizes`: bytes.
    """

    paths: bytes
    chunks: tuple[int, ...]
    refs: bytes
    companions: bytes
    places: tuple[int, ...]
    sizes: tuple[int, ...]


class LayerWire(Wire, frozen=True, kw_only=True):
    """A layer's nodes, n x 24 bytes."""

    tier: int
    nodes: bytes


class TreeWire(Wire, frozen=True, kw_only=True):
    """A tree in a root."""

    rule_class: str
    span: str
    records: int
    layers: tuple[LayerWire, ...]


class RootWire(Wire, frozen=True, kw_only=True):
    """A data set in a snapshot. `columns`, `key_cells`, `linked`: the layout of its lines; empty for recordings."""

    data_set: str
    kind: str
    columns: tuple[str, ...]
    key_cells: int
    linked: tuple[str, ...]
    trees: tuple[TreeWire, ...]


class MediaEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A recording in a tree."""

    path_hash: bytes
    chunks: tuple[ChunkRef, ...]
    companion: ChunkRef
    place: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaTree:
    """The recordings of one cohort in one snapshot."""

    cohort: Cohort
    entries: tuple[MediaEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A data set in a snapshot, nodes not yet read."""

    wire: RootWire

    @property
    def layout(self) -> RowLayout:
        """Return the cells of its lines."""
        return RowLayout(columns=self.wire.columns, key_cells=self.wire.key_cells, linked=self.wire.linked)

    def cohorts(self) -> Iterator[tuple[Cohort, TreeWire]]:
        """Yield its trees by cohort."""
        for tree in self.wire.trees:
            yield Cohort(data_set=self.wire.data_set, rule_class=tree.rule_class, span=tree.span), tree


Put = Callable[[bytes], ChunkRef]
Get = Callable[[ChunkRef], bytes]


def write_table(data_set: str, layout: RowLayout, trees: Sequence[Tree], put: Put) -> ChunkRef:
    """Store a table's nodes and its root; return the root's reference."""
    wires = [
        TreeWire(
            rule_class=tree.cohort.rule_class,
            span=tree.cohort.span,
            records=tree.rows,
            layers=tuple(LayerWire(tier=layer.tier, nodes=_rows_nodes(layer, put)) for layer in tree.layers),
        )
        for tree in sorted(trees, key=lambda t: t.cohort)
    ]
    root = RootWire(
        data_set=data_set,
        kind="table",
        columns=layout.columns,
        key_cells=layout.key_cells,
        linked=layout.linked,
        trees=tuple(wires),
    )
    return put(wire.encode(root))


def write_recordings(data_set: str, trees: Sequence[MediaTree], put: Put) -> ChunkRef:
    """Store the nodes of a set of recordings and its root; return the root's reference."""
    wires = []
    for tree in sorted(trees, key=lambda t: t.cohort):
        entries = sorted(tree.entries, key=lambda e: e.path_hash)
        nodes = b"".join(join(put(wire.encode(_media_node(part)))) for part in _parts(entries))
        layer = LayerWire(tier=0, nodes=nodes)
        wires.append(
            TreeWire(
                rule_class=tree.cohort.rule_class,
                span=tree.cohort.span,
                records=len(entries),
                layers=(layer,),
            )
        )
    return put(
        wire.encode(
            RootWire(
                data_set=data_set, kind="recordings", columns=(), key_cells=0, linked=(), trees=tuple(wires)
            )
        )
    )


def read_root(raw: bytes) -> Root:
    """Return the root in `raw`.

    Raises:
        TamperedError: Its columns and its key do not fit.
        UnsupportedFormatError: Of a form that this version does not know.
    """
    found = wire.decode(raw, RootWire, what="a data set's root")
    least = 1 if found.kind == "table" else 0
    if not least <= found.key_cells <= len(found.columns):
        raise TamperedError(
            f"the root of data set {found.data_set!r} has {len(found.columns)} columns and a key of {found.key_cells}"
        )
    return Root(wire=found)


def read_tree(cohort: Cohort, tree: TreeWire, get: Get) -> Tree:
    """Read a table's tree.

    Raises:
        TamperedError: A node's columns do not fit each other.
        UnsupportedFormatError: Of a form that this version does not know.
    """
    layers = tuple(
        Layer(
            tier=layer.tier,
            entries=tuple(e for ref in split(layer.nodes) for e in _rows_entries(get(ref), _node(ref))),
        )
        for layer in tree.layers
    )
    return Tree(cohort=cohort, layers=layers, rows=tree.records)


def read_media_tree(cohort: Cohort, tree: TreeWire, get: Get) -> MediaTree:
    """Read a tree of recordings; raises as `read_tree` does."""
    entries = tuple(
        e for layer in tree.layers for ref in split(layer.nodes) for e in _media_entries(get(ref), _node(ref))
    )
    return MediaTree(cohort=cohort, entries=entries)


def names_of(node: ChunkRef, kind: str, get: Get) -> Iterator[ChunkRef]:
    """Yield what one node of a root of this kind names: chunks, and what stands beside them.

    Raises:
        TamperedError: Its columns do not fit each other.
        UnsupportedFormatError: The root, or the node, is of a form that this version does not know.
    """
    if kind == "table":
        for entry in _rows_entries(get(node), _node(node)):
            yield entry.chunk
            if entry.companion is not None:
                yield entry.companion
    elif kind == "recordings":
        for recording in _media_entries(get(node), _node(node)):
            yield from recording.chunks
            yield recording.companion
    else:
        raise UnsupportedFormatError(f"a root has kind {kind!r}, which this version of Tenure does not know")


def join(ref: ChunkRef | None) -> bytes:
    """Return the 24 bytes of a reference; zeros for none."""
    return _NONE if ref is None else ref.id + ref.incarnation


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


def _parts(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    return (entries[i : i + NODE_ENTRIES] for i in range(0, len(entries), NODE_ENTRIES))


def _rows_nodes(layer: Layer, put: Put) -> bytes:
    return b"".join(join(put(wire.encode(_rows_node(part)))) for part in _parts(layer.entries))


def _rows_node(entries: Sequence[TreeEntry]) -> NodeWire:
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
    return len(numbers) == count and all(0 <= n < 1 << 63 for n in numbers)


def _rows_entries(raw: bytes, what: str) -> Iterator[TreeEntry]:
    node = wire.decode(raw, NodeWire, what=what)
    count = len(node.kinds)
    sizes = (len(node.refs), len(node.companions)) == (count * REF_BYTES, count * REF_BYTES)
    _fits(what, count, sizes, _counts(node.records, count), _counts(node.plain, count))
    if not _KINDS.issuperset(node.kinds):
        raise UnsupportedFormatError(
            f"{what} names chunks of a kind that this version of Tenure does not know"
        )
    columns = zip(split(node.refs), split(node.companions), node.kinds, node.records, node.plain, strict=True)
    for chunk, companion, kind, records, plain in columns:
        beside = None if join(companion) == _NONE else companion
        yield TreeEntry(chunk=chunk, kind=ChunkKind(kind), records=records, plain=plain, companion=beside)


def _media_node(entries: Sequence[MediaEntry]) -> MediaNodeWire:
    return MediaNodeWire(
        paths=b"".join(e.path_hash for e in entries),
        chunks=tuple(len(e.chunks) for e in entries),
        refs=b"".join(join(ref) for e in entries for ref in e.chunks),
        companions=b"".join(join(e.companion) for e in entries),
        places=tuple(e.place for e in entries),
        sizes=tuple(e.size for e in entries),
    )


def _media_entries(raw: bytes, what: str) -> Iterator[MediaEntry]:
    node = wire.decode(raw, MediaNodeWire, what=what)
    count = len(node.chunks)
    numbers = all(_counts(column, count) for column in (node.chunks, node.places, node.sizes))
    sizes = (len(node.paths), len(node.companions)) == (count * 16, count * REF_BYTES)
    _fits(what, count, numbers, sizes, len(node.refs) == sum(node.chunks) * REF_BYTES)
    paths = [node.paths[i : i + 16] for i in range(0, len(node.paths), 16)]
    refs = iter(split(node.refs))
    columns = zip(paths, node.chunks, split(node.companions), node.places, node.sizes, strict=True)
    for path_hash, many, companion, place, size in columns:
        chunks = tuple(next(refs) for _ in range(many))
        yield MediaEntry(path_hash=path_hash, chunks=chunks, companion=companion, place=place, size=size)
