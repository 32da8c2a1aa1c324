"""The recordings that a snapshot builds on: found by the hash of their path and facts, in some 40 bytes each.

A node all of whose recordings are there still stands as it is in the new snapshot, too. What came, and what is left of
other nodes, makes new nodes; of small ones at the end only so many stay that their number is that of the digits of the
recordings: so a snapshot writes nodes for what is new, and for few others.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenure.repository.model import ChunkRef, Cohort
from tenure.repository.nodes import NODE_ENTRIES, MediaEntry, MediaNodeWire, media_entries
from tenure.repository.structure import (
    NewMediaTree,
)

_PATH_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """A node of the base. `first`: the number of its first recording; `whole`: nothing of it was lost."""

    cohort: Cohort
    ref: ChunkRef
    first: int
    count: int
    whole: bool


class BaseRecordings:
    """Recordings of one data set in the base snapshot, by number. `add` all nodes, then `end`, then ask."""

    def __init__(self, read: Callable[[ChunkRef], MediaNodeWire]) -> None:
        """Begin with none. `read`: reads a node again, of which some recordings are gone or changed."""
        self._read = read
        self._nodes: list[_Node] = []
        self._starts: list[int] = []
        self._parts: list[bytes] = []
        self._sizes: list[NDArray[np.int64]] = []
        self._lost: list[int] = []
        self._count = 0
        self._last: tuple[int, tuple[MediaEntry, ...]] = (-1, ())

    def add(self, cohort: Cohort, ref: ChunkRef, node: MediaNodeWire, lost: Sequence[int] = ()) -> None:
        """Take in a node; `lost`: places of recordings in it that were forgotten or are damaged."""
        count = len(node.chunks)
        self._nodes.append(_Node(cohort=cohort, ref=ref, first=self._count, count=count, whole=not len(lost)))
        self._starts.append(self._count)
        self._parts.append(node.paths)
        self._sizes.append(np.array(node.sizes, np.int64))
        self._lost += [self._count + place for place in lost]
        self._count += count

    def end(self) -> "BaseRecordings":
        """Make it ready to be asked."""
        self._paths = b"".join(self._parts)
        self._parts.clear()
        sizes = [np.zeros(0, np.int64), *self._sizes]
        self._size = np.concatenate(sizes)
        self._sizes.clear()
        # Of both halves of each hash the first alone orders: that of the path.
        firsts = np.frombuffer(self._paths, ">u8")[::2].astype(np.uint64)
        self._order = np.argsort(firsts, kind="stable").astype(np.uint32)
        self._ordered = memoryview(firsts[self._order].data).cast("B").cast("Q")
        self._kept = np.zeros(self._count, np.bool_)
        self._gone = frozenset(self._lost)
        return self

    def of_path(self, path_hash: bytes) -> Iterator[int]:
        """Yield the numbers of recordings of a path, whatever their size and times."""
        wanted = int.from_bytes(path_hash[:8], "big")
        at = bisect_left(self._ordered, wanted)
        while at < self._count and self._ordered[at] == wanted:
            number = int(self._order[at])
            if number not in self._gone:
                yield number
            at += 1

    def find(self, path_hash: bytes) -> int | None:
        """Return the number of a recording that is unchanged."""
        for number in self.of_path(path_hash):
            if self._paths[number * _PATH_BYTES : (number + 1) * _PATH_BYTES] == path_hash:
                return number
        return None

    def cohort(self, number: int) -> Cohort:
        """Return a recording's cohort."""
        return self._nodes[self._node_of(number)].cohort

    def size(self, number: int) -> int:
        """Return a recording's bytes."""
        return int(self._size[number])

    def entry(self, number: int) -> MediaEntry:
        """Return a recording as its node has it."""
        at = self._node_of(number)
        return self._entries(at)[number - self._starts[at]]

    def keep(self, number: int) -> bool:
        """Say that a recording is in the new snapshot as it is; False where that was said before."""
        new = not self._kept[number]
        self._kept[number] = True
        return new

    def trees(self, fresh: Mapping[Cohort, Sequence[MediaEntry]]) -> tuple[NewMediaTree, ...]:
        """Return the new snapshot's trees: what was kept, and `fresh` recordings."""
        cohorts = dict.fromkeys([*(node.cohort for node in self._nodes), *fresh])
        by_cohort: dict[Cohort, list[int]] = {}
        for at, node in enumerate(self._nodes):
            by_cohort.setdefault(node.cohort, []).append(at)
        trees = (self._tree(c, by_cohort.get(c, []), fresh.get(c, ())) for c in cohorts)
        return tuple(tree for tree in trees if tree.records)

    def _tree(self, cohort: Cohort, nodes: Sequence[int], fresh: Sequence[MediaEntry]) -> NewMediaTree:
        stay, loose = list[_Node](), list(fresh)
        plain = sum(entry.size for entry in fresh)
        for at in nodes:
            node = self._nodes[at]
            kept = self._kept[node.first : node.first + node.count]
            plain += int(self._size[node.first : node.first + node.count][kept].sum())
            if node.whole and kept.all():
                stay.append(node)
            elif kept.any():
                loose += [entry for entry, there in zip(self._entries(at), kept, strict=True) if there]
        # Halves at least from one small node to the next, so there are ten at most.
        while loose and stay and stay[-1].count < min(NODE_ENTRIES, 2 * len(loose)):
            loose += self._entries(self._node_of(stay.pop().first))
        return NewMediaTree(
            cohort=cohort,
            nodes=tuple(node.ref for node in stay),
            entries=tuple(sorted(loose, key=lambda entry: entry.path_hash)),
            records=sum(node.count for node in stay) + len(loose),
            plain=plain,
        )

    def _node_of(self, number: int) -> int:
        return bisect_left(self._starts, number + 1) - 1

    def _entries(self, at: int) -> tuple[MediaEntry, ...]:
        if self._last[0] != at:
            self._last = at, tuple(media_entries(self._read(self._nodes[at].ref)))
        return self._last[1]
