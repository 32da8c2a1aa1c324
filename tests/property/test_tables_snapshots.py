"""Whatever happens to a table, every snapshot reads back as it was."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.memsink import MemorySink
from tenure.domain.errors import SchemaDriftError
from tenure.repository import rows, tablereader
from tenure.repository.layering import LAYERS_IN_TIER, TableResult, TableSettings
from tenure.repository.model import ChunkKind, Cohort, Tree
from tenure.repository.rowcache import CacheStamp, RowCache, write
from tenure.repository.tablewriter import TableWriter

KEY = bytes(range(32))
SETTINGS = TableSettings(
    table="contacts",
    key_cells=2,
    identity_key=KEY,
    mix_key=11,
    row_seed=12,
    cut_key=13,
    target_bytes=256,
    open_target_bytes=64,
)
COHORTS = [
    Cohort(data_set="contacts", rule_class="aa", span="2026-01"),
    Cohort(data_set="contacts", rule_class="aa", span="2026-02"),
    Cohort(data_set="contacts", rule_class="", span="open:2026-03"),
]
# Empty text, escaped tabs and NULs, null, texts around the longest that is embedded, and long ones.
FIRST = [
    b"",
    b"\\N",
    b"a",
    b"a\\t",
    b"\\0",
    b"zz\\\\",
    b"k" * 13,
    b"k" * 14,
    b"k" * 15,
    b"k" * 16,
    b"L" * 300,
]
KEYS = [first + b"\t" + str(second).encode() for first in FIRST for second in range(4)]

State = Mapping[bytes, tuple[int, bytes]]


@dataclass
class World:
    """A table, its snapshots, and its cache in a file."""

    path: Path
    sink: MemorySink
    states: list[dict[bytes, tuple[int, bytes]]]
    results: list[TableResult]
    most_layers: int = 0
    tiers: int = 0
    bases: int = 0

    def snapshot(
        self, state: State, *, use_cache: bool = True, invalid: frozenset[int] = frozenset()
    ) -> TableResult:
        number = len(self.results)
        base = {tree.cohort: tree for tree in self.results[-1].trees} if self.results else {}
        cache = RowCache.open(self.path, bytes([number]) * 32, self.stamp(number)) if use_cache else None
        assert (cache is not None) == (use_cache and number > 0)
        if cache is not None:
            cache.invalidate([COHORTS[i] for i in invalid])
        writer = TableWriter(self.sink, cache, base, SETTINGS)
        feed(writer, state)
        result = writer.end()
        write(self.path, bytes([number + 1]) * 32, self.stamp(number + 1), result.cache)
        if cache is not None:
            cache.close()
        self.note(base, result)
        self.states.append(dict(state))
        self.results.append(result)
        return result

    def stamp(self, number: int) -> CacheStamp:
        return CacheStamp(
            snapshot=number.to_bytes(8, "little"), table="contacts", layout=b"l", keys=SETTINGS.keys_check()
        )

    def note(self, base: Mapping[Cohort, Tree], result: TableResult) -> None:
        for tree in result.trees:
            old = base.get(tree.cohort)
            self.most_layers = max(self.most_layers, len(tree.layers))
            self.tiers = max([self.tiers, *(layer.tier for layer in tree.layers[1:])])
            self.bases += old is not None and old.layers[0] != tree.layers[0]


def line(key: bytes, value: bytes) -> bytes:
    return key + b"\t" + value + b"\n"


def feed(writer: TableWriter, state: State, step: int = 17) -> None:
    ordered = sorted(state)
    for start in range(0, len(ordered), step):
        keys = ordered[start : start + step]
        used = sorted({state[k][0] for k in keys}, reverse=True)
        codes = np.array([used.index(state[k][0]) for k in keys], np.int32)
        batch = rows.batch_of(b"".join(line(k, state[k][1]) for k in keys))
        writer.feed(batch, codes, [COHORTS[i] for i in used])


def read(sink: MemorySink, tree: Tree) -> list[bytes]:
    batches = tablereader.read_tree(tree, sink, SETTINGS.key_cells, KEY)
    return [text for batch in batches for text in bytes(batch.text).splitlines(keepends=True)]


def check(world: World) -> None:
    for state, result in zip(world.states, world.results, strict=True):
        assert result.rows == len(state) == sum(tree.rows for tree in result.trees)
        read_back: dict[Cohort, list[bytes]] = {
            tree.cohort: sorted(read(world.sink, tree)) for tree in result.trees
        }
        expected: dict[Cohort, list[bytes]] = {}
        for key, (cohort, value) in state.items():
            expected.setdefault(COHORTS[cohort], []).append(line(key, value))
        assert read_back == {cohort: sorted(lines) for cohort, lines in expected.items()}
        assert {tree.cohort: tree.rows for tree in result.trees} == {c: len(v) for c, v in expected.items()}
        everything = rows.batch_of(b"".join(text for lines in read_back.values() for text in lines))
        assert result.content == rows.content_hash(rows.row_hashes(everything, SETTINGS.row_seed))


def world_in(folder: str) -> World:
    return World(path=Path(folder) / "cache", sink=MemorySink(), states=[], results=[])


edits = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from([None, 0, 1, 2]), st.binary(max_size=3).map(bytes.hex)),
    max_size=12,
)
rounds = st.lists(
    st.tuples(
        edits, st.sampled_from([True, True, True, False]), st.frozensets(st.integers(0, 2), max_size=1)
    ),
    min_size=1,
    max_size=14,
)


@given(rounds=rounds)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_snapshot_reads_back_as_it_was(
    rounds: list[tuple[list[tuple[bytes, int | None, str]], bool, frozenset[int]]],
) -> None:
    state: dict[bytes, tuple[int, bytes]] = {key: (i % 3, b"v" * 20) for i, key in enumerate(KEYS)}
    with tempfile.TemporaryDirectory() as folder:
        world = world_in(folder)
        world.snapshot(state)
        for changes, use_cache, invalid in rounds:
            for key, cohort, value in changes:
                if cohort is None:
                    state.pop(key, None)
                else:
                    state[key] = (cohort, value.encode())
            world.snapshot(state, use_cache=use_cache, invalid=invalid)
        check(world)


@pytest.mark.parametrize("seed", [5, 6])
def test_a_long_history_goes_through_tiers_and_new_bases_and_reads_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    state: dict[bytes, tuple[int, bytes]] = {
        str(i).zfill(4).encode() + b"\tx": (i % 2, b"v" * 30) for i in range(1500)
    }
    with tempfile.TemporaryDirectory() as folder:
        world = world_in(folder)
        world.snapshot(state)
        for step in range(90):
            keys = sorted(state)
            for place in rng.choice(len(keys), 4, replace=False).tolist():
                state[keys[place]] = (state[keys[place]][0], f"{step:030}".encode())
            gone, moved = rng.choice(len(keys), 2, replace=False).tolist()
            state[keys[moved]] = (1 - state[keys[moved]][0], b"moved")
            state.pop(keys[gone])
            state[f"{rng.integers(1500):04}".encode() + b"\tx"] = (int(rng.integers(2)), b"again")
            world.snapshot(state)
        check(world)
    assert world.tiers >= 2
    assert world.bases >= 1
    assert world.most_layers <= 1 + 3 * (LAYERS_IN_TIER - 1)


@given(quiet=st.integers(1, 9), changed=st.integers(0, 8))
@settings(max_examples=25, deadline=None)
def test_an_unchanged_table_stores_nothing_and_keeps_its_very_trees(quiet: int, changed: int) -> None:
    state: dict[bytes, tuple[int, bytes]] = {f"{i:04}\tx".encode(): (i % 3, b"v" * 30) for i in range(400)}
    with tempfile.TemporaryDirectory() as folder:
        world = world_in(folder)
        world.snapshot(state)
        for i in range(changed):
            state[f"{i:04}\tx".encode()] = (i % 3, b"w")
            world.snapshot(state)
        puts, trees = world.sink.puts, world.results[-1].trees
        for _ in range(quiet):
            result = world.snapshot(state)
            assert all(one is other for one, other in zip(result.trees, trees, strict=True))
        assert world.sink.puts == puts
        check(world)


def test_only_what_changed_is_written_and_counted() -> None:
    state: dict[bytes, tuple[int, bytes]] = {f"{i:04}\tx".encode(): (i % 2, b"v" * 30) for i in range(400)}
    with tempfile.TemporaryDirectory() as folder:
        world = world_in(folder)
        first = world.snapshot(state)
        assert first.changes.unknown == 400
        state[b"0000\tx"] = (0, b"other")
        state[b"0002\tx"] = (1, b"v" * 30)
        state[b"9999\tx"] = (0, b"new")
        del state[b"0004\tx"]
        result = world.snapshot(state)
        changes = result.changes
        assert (changes.new, changes.changed, changes.deleted, changes.unknown) == (1, 2, 1, 0)
        new = {tree.cohort: tree.layers[1].entries for tree in result.trees}
        assert [(e.kind, e.records) for e in new[COHORTS[0]]] == [(ChunkKind.ROWS, 2), (ChunkKind.DELETES, 2)]
        assert [(e.kind, e.records) for e in new[COHORTS[1]]] == [(ChunkKind.ROWS, 1)]
        check(world)


def test_without_a_cache_an_unchanged_table_is_cut_into_the_same_chunks() -> None:
    state: dict[bytes, tuple[int, bytes]] = {
        f"{i:04}\tx".encode(): (i % 3, b"v" * (i % 50)) for i in range(900)
    }
    with tempfile.TemporaryDirectory() as folder:
        world = world_in(folder)
        first = world.snapshot(state)
        stored = len(world.sink.chunks)
        second = world.snapshot(state, use_cache=False)
        assert second.trees == first.trees
        assert len(world.sink.chunks) == stored


def test_forgotten_keys_are_not_named_again_by_the_next_layer() -> None:
    state: dict[bytes, tuple[int, bytes]] = {f"{i:04}\tx".encode(): (0, b"v" * 30) for i in range(200)}
    with tempfile.TemporaryDirectory() as folder:
        world = world_in(folder)
        first = world.snapshot(state)
        del state[b"0007\tx"]
        cache = RowCache.open(world.path, bytes([1]) * 32, world.stamp(1))
        assert cache is not None
        identity = np.frombuffer(rows.identity_of(b"0007\tx", KEY), np.uint8).reshape(1, 16)
        cache.forget(identity)
        writer = TableWriter(world.sink, cache, {tree.cohort: tree for tree in first.trees}, SETTINGS)
        feed(writer, state)
        result = writer.end()
        cache.close()
    assert result.trees[0].layers == first.trees[0].layers
    assert result.trees[0].rows == 199


@pytest.mark.parametrize("use_cache", [True, False])
def test_two_records_with_one_key_are_refused(*, use_cache: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = world_in(folder)
        world.snapshot({b"1\tx": (0, b"a"), b"2\tx": (0, b"b")})
        cache = RowCache.open(world.path, bytes([1]) * 32, world.stamp(1)) if use_cache else None
        writer = TableWriter(world.sink, cache, {t.cohort: t for t in world.results[0].trees}, SETTINGS)
        writer.feed(rows.batch_of(b"1\tx\ta\n1\tx\ta\n"), np.zeros(2, np.int32), [COHORTS[0]])
        with pytest.raises(SchemaDriftError, match="same key"):
            writer.end()
        if cache is not None:
            cache.close()
