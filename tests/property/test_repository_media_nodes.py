"""Nodes of recordings: whatever comes and goes, a tree names what is there, and little is written for little."""

import math
from contextlib import ExitStack
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tenure.crypto.hashing import content_hash
from tenure.repository import mediabase, structure, wire
from tenure.repository import nodes as nodes_of_trees
from tenure.repository.mediabase import BaseRecordings
from tenure.repository.model import ChunkRef, Cohort
from tenure.repository.nodes import MediaEntry, read_media_node
from tenure.repository.structure import Root, read_media_tree, read_root, write_recordings

MONTHS = [Cohort(data_set="calls", rule_class="", span=f"2026-0{month}") for month in (1, 2)]
FEW = 16
NUMBERS = st.lists(st.integers(0, 400), max_size=60)


def hash_of(number: int, take: int) -> bytes:
    path = content_hash(str(number).encode())[:8]
    return path + content_hash(f"{number} {take}".encode())[:8]


def entry_of(number: int, take: int) -> MediaEntry:
    ref = ChunkRef(hash_of(number, take), bytes(8))
    return MediaEntry(path_hash=hash_of(number, take), chunks=(ref,), companion=ref, place=0, size=number)


class Nodes:
    """Structure chunks by their content, and how many bytes were new."""

    def __init__(self) -> None:
        self.raw: dict[ChunkRef, bytes] = {}
        self.new: list[bytes] = []

    def put(self, raw: bytes) -> ChunkRef:
        ref = ChunkRef(content_hash(raw)[:16], bytes(8))
        if ref not in self.raw:
            self.new.append(raw)
        self.raw[ref] = raw
        return ref

    def base(self, root: Root | None) -> BaseRecordings:
        found = BaseRecordings(lambda ref: read_media_node(self.raw[ref], ref))
        for cohort, tree in root.cohorts() if root is not None else ():
            for layer in tree.layers:
                for ref in structure.nodes_of(layer, self.raw.__getitem__):
                    found.add(cohort, ref, read_media_node(self.raw[ref], ref))
        return found.end()


def short_nodes(entries: int) -> ExitStack:
    """Have nodes and lists of so few entries, until what is returned is closed."""
    stack = ExitStack()
    for room in (structure, nodes_of_trees, mediabase):
        stack.enter_context(patch.object(room, "NODE_ENTRIES", entries))
    return stack


def snapshot(nodes: Nodes, root: Root | None, live: dict[int, tuple[int, Cohort]]) -> Root:
    """Store what is live, as a session does; return the root."""
    base, fresh = nodes.base(root), dict[Cohort, list[MediaEntry]]()
    for number, (take, cohort) in live.items():
        known = base.find(hash_of(number, take))
        if known is not None and base.cohort(known) == cohort:
            assert base.size(known) == number
            assert base.keep(known)
            assert not base.keep(known)
        else:
            fresh.setdefault(cohort, []).append(entry_of(number, take))
    nodes.new.clear()
    ref = write_recordings("calls", base.trees(fresh), nodes.put)
    return read_root(nodes.raw[ref])


def read(nodes: Nodes, root: Root) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for cohort, tree in root.cohorts():
        entries = read_media_tree(cohort, tree, nodes.raw.__getitem__).entries
        assert len(entries) == tree.records == tree.layers[0].records
        assert tree.layers[0].plain == sum(e.size for e in entries)
        found |= {e.path_hash: cohort.span for e in entries}
    return found


class MediaNodesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stack = short_nodes(FEW)
        self.nodes = Nodes()
        self.root: Root | None = None
        self.live: dict[int, tuple[int, Cohort]] = {}
        self.written = dict(self.live)

    @rule(numbers=NUMBERS, month=st.sampled_from(MONTHS))
    def come_or_change(self, numbers: list[int], month: Cohort) -> None:
        self.live |= {n: (self.live.get(n, (0, month))[0] + 1, month) for n in numbers}

    @rule(numbers=NUMBERS)
    def go(self, numbers: list[int]) -> None:
        self.live = {n: v for n, v in self.live.items() if n not in numbers}

    @rule()
    def snapshot(self) -> None:
        self.root = snapshot(self.nodes, self.root, self.live)
        self.written = dict(self.live)

    @invariant()
    def the_tree_names_what_was_there(self) -> None:
        if self.root is not None:
            assert read(self.nodes, self.root) == {
                hash_of(n, t): c.span for n, (t, c) in self.written.items()
            }

    @invariant()
    def small_nodes_are_few(self) -> None:
        if self.root is None:
            return
        for _, tree in self.root.cohorts():
            nodes = structure.nodes_of(tree.layers[0], self.nodes.raw.__getitem__)
            assert len(nodes) <= tree.records // FEW + 1 + math.log2(FEW)

    def teardown(self) -> None:
        self.stack.close()


TestMediaNodes = MediaNodesMachine.TestCase
TestMediaNodes.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


@given(st.integers(1, 200))
@settings(max_examples=20, deadline=None)
def test_nothing_is_written_where_nothing_changed(count: int) -> None:
    nodes, live = Nodes(), dict.fromkeys(range(count), (1, MONTHS[0]))
    root = snapshot(nodes, None, live)
    assert snapshot(nodes, root, live) == root
    assert nodes.new == []


def test_what_is_written_is_what_is_new_however_much_there_is() -> None:
    nodes, live, most = Nodes(), dict[int, tuple[int, Cohort]](), 0
    root: Root | None = None
    for hour in range(60):
        live |= dict.fromkeys(range(hour * 400, hour * 400 + 400), (1, MONTHS[0]))
        root = snapshot(nodes, root, live)
        most = max(most, sum(map(len, nodes.new)))
    assert root is not None
    assert len(read(nodes, root)) == 24_000
    (tree,) = root.wire.trees
    whole = sum(len(nodes.raw[ref]) for ref in structure.nodes_of(tree.layers[0], nodes.raw.__getitem__))
    assert most < whole / 8


def test_many_nodes_are_named_by_lists_of_which_the_last_is_new() -> None:
    nodes, live = Nodes(), dict[int, tuple[int, Cohort]]()
    root: Root | None = None
    with short_nodes(4):
        for hour in range(12):
            live |= dict.fromkeys(range(hour * 4, hour * 4 + 4), (1, MONTHS[0]))
            root = snapshot(nodes, root, live)
        assert root is not None
        (tree,) = root.wire.trees
        assert tree.layers[0].depth == 1
        assert len(structure.lists_of(tree)) == 3
        assert len(read(nodes, root)) == 48
    assert len(nodes.new) == 3, "one node, one list, the root"
    assert wire.encode(root.wire) in nodes.new
