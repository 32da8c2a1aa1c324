"""Roots, trees and nodes as bytes: what a snapshot consists of, with nothing personal in it.

A node lists at most 1,024 chunks or recordings, in columns. A root lists a data set's trees, and a tree of more than
1,024 nodes names them in lists. All of them are structure chunks: equal ones are stored once, and new entries go into
new nodes, so a snapshot in which little changed writes little, whatever there is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.repository import wire
from tenure.repository.model import NO_CHUNK, ChunkRef, Cohort, Layer, StoredLayer, Tree
from tenure.repository.nodes import (
    NODE_ENTRIES,
    ListWire,
    MediaEntry,
    join,
    media_entries,
    media_node,
    parts,
    read_list,
    read_media_node,
    read_rows_node,
    rows_entries,
    rows_node,
    split,
)
from tenure.repository.wire import Wire
from tenure.sources.base import RowLayout


class LayerWire(Wire, frozen=True, kw_only=True):
    """A layer in a root. `nodes`: n x 24 bytes, of `depth` 0 the nodes, of 1 lists of them.

    `records`, `plain`: of its entries together; `content`: 16 bytes, see `model.Layer`, zeros for recordings.
    """

    tier: int
    nodes: bytes
    depth: int
    records: int
    plain: int
    content: bytes


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaTree:
    """The recordings of one cohort in one snapshot."""

    cohort: Cohort
    entries: tuple[MediaEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMediaTree:
    """The recordings of one cohort to be stored: `nodes` that are there already, and `entries` for new ones.

    `records`, `plain`: recordings of both together, and their bytes.
    """

    cohort: Cohort
    nodes: tuple[ChunkRef, ...]
    entries: tuple[MediaEntry, ...]
    records: int
    plain: int


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
    """Store a table's new nodes and its root; return the root's reference."""
    wires = [
        TreeWire(
            rule_class=tree.cohort.rule_class,
            span=tree.cohort.span,
            records=tree.rows,
            layers=tuple(_layer_wire(layer, put) for layer in tree.layers),
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


def write_recordings(data_set: str, trees: Sequence[NewMediaTree], put: Put) -> ChunkRef:
    """Store the new nodes of a set of recordings and its root; return the root's reference."""
    wires = []
    for tree in sorted(trees, key=lambda t: t.cohort):
        nodes = [*tree.nodes, *(put(wire.encode(media_node(part))) for part in parts(tree.entries))]
        names, depth = _listed(nodes, put)
        layer = LayerWire(
            tier=0, nodes=names, depth=depth, records=tree.records, plain=tree.plain, content=bytes(16)
        )
        cohort = tree.cohort
        wires.append(
            TreeWire(rule_class=cohort.rule_class, span=cohort.span, records=tree.records, layers=(layer,))
        )
    root = RootWire(
        data_set=data_set, kind="recordings", columns=(), key_cells=0, linked=(), trees=tuple(wires)
    )
    return put(wire.encode(root))


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
            entries=tuple(e for ref in nodes_of(layer, get) for e in rows_entries(get(ref), ref)),
        )
        for layer in tree.layers
    )
    return Tree(cohort=cohort, layers=layers, rows=tree.records)


def stored_tree(cohort: Cohort, tree: TreeWire) -> Tree:
    """Return a table's tree without reading its nodes: enough to put a layer upon it."""
    layers = tuple(
        Layer(
            tier=layer.tier,
            stored=StoredLayer(
                nodes=layer.nodes,
                depth=layer.depth,
                records=layer.records,
                plain=layer.plain,
                content=layer.content,
            ),
        )
        for layer in tree.layers
    )
    return Tree(cohort=cohort, layers=layers, rows=tree.records)


def lists_of(tree: TreeWire) -> list[ChunkRef]:
    """Return the lists of nodes of a tree."""
    return [ref for layer in tree.layers if layer.depth for ref in split(layer.nodes)]


def nodes_of(layer: LayerWire, get: Get) -> list[ChunkRef]:
    """Return the nodes of a layer, in order.

    Raises:
        TamperedError: A list is damaged.
        UnsupportedFormatError: Of a form that this version does not know.
    """
    refs = split(layer.nodes)
    if not layer.depth:
        return refs
    if layer.depth != 1:
        raise UnsupportedFormatError(f"a layer's nodes lie {layer.depth} lists deep, which is not known here")
    found: list[ChunkRef] = []
    for ref in refs:
        found += read_list(get(ref), ref)
    return found


def read_media_tree(cohort: Cohort, tree: TreeWire, get: Get) -> MediaTree:
    """Read a tree of recordings; raises as `read_tree` does."""
    entries = tuple(
        e
        for layer in tree.layers
        for ref in nodes_of(layer, get)
        for e in media_entries(read_media_node(get(ref), ref))
    )
    return MediaTree(cohort=cohort, entries=entries)


def names_of(node: ChunkRef, kind: str, get: Get) -> Iterator[ChunkRef]:
    """Yield what one node of a root of this kind names: chunks, and what stands beside them; raises as `names_in`."""
    return names_in(get(node), node, kind)


def names_in(raw: bytes, node: ChunkRef, kind: str) -> Iterator[ChunkRef]:
    """Yield what stands in a node; raises as `refs_in` does."""
    return (ref for ref in split(refs_in(raw, node, kind)) if ref != NO_CHUNK)


def refs_in(raw: bytes, node: ChunkRef, kind: str) -> bytes:
    """Return what stands in a node of a root of this kind, n x 24 bytes, zeros for none.

    Raises:
        TamperedError: Its columns do not fit each other.
        UnsupportedFormatError: The root, or the node, is of a form that this version does not know.
    """
    if kind == "table":
        rows = read_rows_node(raw, node)
        return rows.refs + rows.companions
    if kind == "recordings":
        recordings = read_media_node(raw, node)
        return recordings.refs + recordings.companions
    raise UnsupportedFormatError(f"a root has kind {kind!r}, which this version of Tenure does not know")


def _layer_wire(layer: Layer, put: Put) -> LayerWire:
    if layer.stored is not None:
        names, depth = layer.stored.nodes, layer.stored.depth
    else:
        nodes = [put(wire.encode(rows_node(part))) for part in parts(layer.entries)]
        names, depth = _listed(nodes, put)
    return LayerWire(
        tier=layer.tier,
        nodes=names,
        depth=depth,
        records=layer.records,
        plain=layer.plain,
        content=layer.content,
    )


def _listed(nodes: Sequence[ChunkRef], put: Put) -> tuple[bytes, int]:
    """Return (references, depth) for a root: the nodes, or lists of them where they are many."""
    if len(nodes) <= NODE_ENTRIES:
        return b"".join(map(join, nodes)), 0
    lists = [put(wire.encode(ListWire(nodes=b"".join(map(join, part))))) for part in parts(nodes)]
    return b"".join(map(join, lists)), 1
