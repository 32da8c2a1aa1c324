"""How a table is written: its settings, and which layer comes next in a tree.

Layers of tier t that become eight merge into one of tier t + 1, so a tree has at most seven of each. A base has no
tier of its own; its `tier` holds the cut bits (see `chunker`) that its chunks were cut with, so that a later base is
cut at the same rows.
"""

from dataclasses import dataclass, field

from tenure.crypto.hashing import keyed_hash
from tenure.repository.chunker import MIB, cut_bits
from tenure.repository.model import Tree
from tenure.repository.rowcache import CacheContents

LAYERS_IN_TIER = 8
_BASE_SHARE = 4  # layers over 1/4 of their base's bytes: a new base


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSettings:
    """How a table is written.

    `table`: the data set's name. `identity_key`: 32 bytes; `mix_key`, `row_seed`, `cut_key`: 64 bits each; all four
    of the source's writer. `subjects`: kinds of subject that companions have filters of; `expressions`: hash of
    how they are found; `detector`: see `companion`. Sizes in bytes.
    """

    table: str
    key_cells: int
    identity_key: bytes = field(repr=False)
    mix_key: int = field(repr=False)
    row_seed: int = field(repr=False)
    cut_key: int = field(repr=False)
    subjects: tuple[str, ...] = ()
    expressions: bytes = b""
    detector: str = ""
    target_bytes: int = MIB
    open_target_bytes: int = 64 << 10
    budget_bytes: int = 64 * MIB

    def keys_check(self) -> bytes:
        """Return 16 bytes for `CacheStamp.keys`: a cache made with other keys is of no use."""
        numbers = b"".join(n.to_bytes(8, "little") for n in (self.mix_key, self.row_seed, self.key_cells))
        return keyed_hash(self.identity_key, b"row cache", numbers, length=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Rows that came (`new`), came otherwise or into another cohort (`changed`), or went (`deleted`).

    `unknown`: rows that could not be judged, because no cache knew their cohort.
    """

    new: int = 0
    changed: int = 0
    deleted: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TableResult:
    """A table, written. `trees`: one for each cohort with rows, by cohort; `content`: order-free hash of all rows."""

    trees: tuple[Tree, ...]
    rows: int
    bytes: int
    content: tuple[int, int]
    changes: Changes
    cache: CacheContents


def next_layer(tree: Tree) -> tuple[int, int]:
    """Return which place the next layer of a tree takes and its tier; from that place on, layers are merged into it.

    Place 0 is a new base.
    """
    sizes = [layer.plain for layer in tree.layers]
    if sum(sizes[1:]) * _BASE_SHARE > sizes[0]:
        return 0, 0
    tier, start = 0, len(tree.layers)
    while True:
        run = 0
        while start - run > 1 and tree.layers[start - run - 1].tier == tier:
            run += 1
        if run < LAYERS_IN_TIER - 1:
            return start, tier
        tier, start = tier + 1, start - run


def kept_bits(tree: Tree, target: int) -> int | None:
    """Return the cut bits of a tree's base, or None where they no longer suit its rows or the target size."""
    base = tree.layers[0]
    ideal = cut_bits(target, base.plain / max(1, base.records))
    return base.tier if abs(base.tier - ideal) <= 1 else None
