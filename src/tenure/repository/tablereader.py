"""Reads a table's trees back, newest layer first, and takes rows out of chunks that are to forget them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.repository import rows
from tenure.repository.model import ChunkFetch, ChunkKind, ChunkRef, Layer, Tree
from tenure.repository.rows import Bytes
from tenure.sources.base import RowBatch


@dataclass(slots=True)
class Forgotten:
    """What was not there because it was forgotten; counted while reading. `records`: as the trees count them."""

    chunks: int = 0
    records: int = 0


def read_tree(
    tree: Tree,
    fetch: ChunkFetch,
    key_cells: int,
    identity_key: bytes,
    forgotten: Forgotten | None = None,
) -> Iterator[RowBatch]:
    """Yield the rows of one cohort as its snapshot saw them, each once, batches of one chunk.

    The newest layer wins by key; what a layer deletes is gone from the layers before it. Rows come newest layer
    first, in key order within a layer. In memory: one chunk, and 16 bytes for each row and deletion of every
    layer but the base.

    Args:
        tree: The cohort's tree.
        fetch: Brings chunks; a chunk it has None for was forgotten, its rows are absent.
        key_cells: How many cells make the key.
        identity_key: 32 bytes, the key that the tree's writer made identities with.
        forgotten: Counts what was absent.

    Raises:
        TamperedError: A chunk does not hold what its kind says.
        UnsupportedFormatError: A layer holds chunks of another kind.
    """
    hidden = np.empty((0, rows.IDENTITY_BYTES), np.uint8)
    for depth in range(len(tree.layers) - 1, -1, -1):
        layer = tree.layers[depth]
        _refuse_unknown(layer)
        seen = [hidden]
        for plain in _plain(fetch, layer, ChunkKind.ROWS, forgotten):
            kept = batch = rows.batch_of(plain)
            if depth or len(hidden):  # a base alone hides nothing, and its keys need not be known
                ids = rows.identities(batch, key_cells, identity_key)
                if depth:
                    seen.append(ids)
                kept = rows.take(batch, ~rows.contains(hidden, ids))
            if len(kept):
                yield kept
        if depth:
            seen += map(deleted, _plain(fetch, layer, ChunkKind.DELETES, forgotten))
            hidden = rows.sorted_unique(np.concatenate(seen))


def order_of(tree: Tree) -> Iterator[ChunkRef]:
    """Yield the chunks of a tree in the order in which `read_tree` fetches them."""
    for depth in range(len(tree.layers) - 1, -1, -1):
        for kind in (ChunkKind.ROWS, ChunkKind.DELETES)[: 2 if depth else 1]:
            yield from (entry.chunk for entry in tree.layers[depth].entries if entry.kind == kind)


def deleted(plain: bytes) -> Bytes:
    """Return the identities in a chunk of deletes (uint8, n x 16).

    Raises:
        TamperedError: Not a whole number of identities.
    """
    if len(plain) % rows.IDENTITY_BYTES:
        raise TamperedError("a chunk of deletes is not a whole number of identities")
    return np.frombuffer(plain, np.uint8).reshape(-1, rows.IDENTITY_BYTES)


def filter_rows(text: bytes, key_cells: int, identity_key: bytes, drop: Bytes) -> tuple[bytes, int]:
    """Return a chunk of rows without some records, and how many rows that took out.

    Args:
        text: The chunk's plaintext.
        key_cells: How many cells make the key.
        identity_key: 32 bytes, see `read_tree`.
        drop: Identities to take out (uint8, m x 16), sorted as `rows.sorted_unique` sorts.

    Raises:
        TamperedError: Not row text.
    """
    batch = rows.batch_of(text)
    gone = rows.contains(drop, rows.identities(batch, key_cells, identity_key))
    return bytes(rows.take(batch, ~gone).text), int(gone.sum())


def filter_deletes(plain: bytes, drop: Bytes) -> tuple[bytes, int]:
    """Return a chunk of deletes without some identities, and how many that took out; see `filter_rows`."""
    ids = deleted(plain)
    gone = rows.contains(drop, ids)
    return ids[~gone].tobytes(), int(gone.sum())


def _refuse_unknown(layer: Layer) -> None:
    kinds = {entry.kind for entry in layer.entries} - {ChunkKind.ROWS, ChunkKind.DELETES}
    if kinds:
        raise UnsupportedFormatError(f"a table's layer holds chunks of kind {min(kinds)}, which no table has")


def _plain(fetch: ChunkFetch, layer: Layer, kind: ChunkKind, forgotten: Forgotten | None) -> Iterator[bytes]:
    """Yield a layer's chunks of one kind, but for those that were forgotten, which are counted."""
    for entry in layer.entries:
        if entry.kind != kind:
            continue
        plain = fetch(entry.chunk, kind)
        if plain is not None:
            yield plain
        elif forgotten is not None:
            forgotten.chunks += 1
            forgotten.records += entry.records
