import numpy as np
import pytest

from support.memsink import MemorySink
from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.repository import rows, tablereader
from tenure.repository.layering import TableSettings, kept_bits, next_layer
from tenure.repository.model import ChunkKind, ChunkRef, Cohort, Layer, Tree, TreeEntry
from tenure.repository.tablewriter import TableWriter

KEY = bytes(32)
COHORT = Cohort(data_set="calls", rule_class="", span="2026-01")
SETTINGS = TableSettings(
    table="calls", key_cells=1, identity_key=KEY, mix_key=1, row_seed=2, cut_key=3, target_bytes=200
)


def ids(*texts: bytes) -> rows.Bytes:
    joined = b"".join(rows.identity_of(text, KEY) for text in texts)
    return rows.sorted_unique(np.frombuffer(joined, np.uint8).reshape(-1, 16))


def layer(sink: MemorySink, tier: int, text: bytes, deletes: rows.Bytes | None = None) -> Layer:
    plains = [(ChunkKind.ROWS, text)] if text else []
    plains += [] if deletes is None else [(ChunkKind.DELETES, deletes.tobytes())]
    entries = [
        TreeEntry(chunk=sink.put(COHORT, kind, plain, None)[0], kind=kind, records=1, plain=len(plain))
        for kind, plain in plains
    ]
    return Layer(tier=tier, entries=tuple(entries))


def read(tree: Tree, sink: MemorySink, forgotten: tablereader.Forgotten | None = None) -> list[bytes]:
    found = tablereader.read_tree(tree, sink, 1, KEY, forgotten)
    return sorted(line for batch in found for line in bytes(batch.text).splitlines())


def test_the_newest_layer_wins_and_deletes_reach_only_older_layers() -> None:
    sink = MemorySink()
    layers = (
        layer(sink, 0, b"a\t1\nb\t1\nc\t1\nd\t1\n"),
        layer(sink, 0, b"b\t2\n", ids(b"a", b"c")),
        layer(sink, 0, b"c\t3\nd\t3\n", ids(b"d")),
    )
    tree = Tree(cohort=COHORT, layers=layers, rows=3)
    assert read(tree, sink) == [b"b\t2", b"c\t3", b"d\t3"]


def test_the_order_told_ahead_is_the_order_of_reading() -> None:
    sink, fetched = MemorySink(), list[ChunkRef]()
    layers = (
        layer(sink, 0, b"a\t1\nb\t1\n", ids(b"never read: a base hides nothing")),
        layer(sink, 0, b"b\t2\n", ids(b"a", b"c")),
        layer(sink, 1, b"", ids(b"d")),
        layer(sink, 0, b"c\t3\nd\t3\n"),
    )
    tree = Tree(cohort=COHORT, layers=layers, rows=3)

    def fetch(ref: ChunkRef, kind: ChunkKind) -> bytes | None:
        fetched.append(ref)
        return sink(ref, kind)

    list(tablereader.read_tree(tree, fetch, 1, KEY))
    assert len(fetched) == 5
    assert fetched == list(tablereader.order_of(tree))


def test_forgotten_chunks_are_absent_and_counted() -> None:
    sink = MemorySink()
    tree = Tree(cohort=COHORT, layers=(layer(sink, 0, b"a\t1\n"), layer(sink, 0, b"b\t2\n")), rows=2)
    sink.forgotten.add(tree.layers[0].entries[0].chunk)
    counted = tablereader.Forgotten()
    assert read(tree, sink, counted) == [b"b\t2"]
    assert (counted.chunks, counted.records) == (1, 1)


def test_records_taken_out_of_every_version_are_gone_from_the_tree() -> None:
    sink = MemorySink()
    layers = (layer(sink, 0, b"a\t1\nb\t1\n"), layer(sink, 0, b"a\t2\nc\t2\n", ids(b"b", b"x")))
    tree = Tree(cohort=COHORT, layers=layers, rows=2)
    drop, taken = ids(b"a", b"b"), 0
    for entry in (entry for part in layers for entry in part.entries):
        plain = sink(entry.chunk, entry.kind)
        assert plain is not None
        if entry.kind == ChunkKind.ROWS:
            plain, count = tablereader.filter_rows(plain, 1, KEY, drop)
        else:
            plain, count = tablereader.filter_deletes(plain, drop)
        taken += count
        sink.replace(entry.chunk, plain)
    assert taken == 4
    assert read(tree, sink) == [b"c\t2"]
    assert not any(b"b" in text for _, text in sink.chunks.values())


def test_damaged_and_unknown_chunks_are_refused() -> None:
    with pytest.raises(TamperedError):
        tablereader.deleted(bytes(17))
    with pytest.raises(TamperedError):
        tablereader.filter_rows(b"a\t1", 1, KEY, ids(b"a"))
    media = TreeEntry(chunk=ChunkRef(bytes(16), bytes(8)), kind=ChunkKind.MEDIA, records=1, plain=1)
    tree = Tree(cohort=COHORT, layers=(Layer(tier=0, entries=(media,)),), rows=1)
    with pytest.raises(UnsupportedFormatError):
        list(tablereader.read_tree(tree, MemorySink(), 1, KEY))


def sized(tier: int, plain: int) -> Layer:
    entry = TreeEntry(chunk=ChunkRef(bytes(16), bytes(8)), kind=ChunkKind.ROWS, records=10, plain=plain)
    return Layer(tier=tier, entries=(entry,))


@pytest.mark.parametrize(
    ("tiers", "expected"),
    [
        ([], (1, 0)),
        ([0] * 6, (7, 0)),
        ([0] * 7, (1, 1)),
        ([1, 0, 0], (4, 0)),
        ([1] * 7 + [0] * 6, (14, 0)),
        ([1] * 7 + [0] * 7, (1, 2)),
        ([2, 1] + [0] * 7, (3, 1)),
    ],
)
def test_layers_merge_when_a_tier_would_get_its_eighth(tiers: list[int], expected: tuple[int, int]) -> None:
    tree = Tree(cohort=COHORT, layers=(sized(0, 10_000), *(sized(t, 10) for t in tiers)), rows=1)
    assert next_layer(tree) == expected


def test_layers_over_a_quarter_of_the_base_mean_a_new_base() -> None:
    for size, expected in ((250, (2, 0)), (251, (0, 0))):
        tree = Tree(cohort=COHORT, layers=(sized(0, 1000), sized(0, size)), rows=1)
        assert next_layer(tree) == expected


def test_cut_bits_are_kept_until_they_no_longer_suit() -> None:
    tree = Tree(cohort=COHORT, layers=(sized(3, 1000),), rows=10)
    assert kept_bits(tree, 800) == 3
    assert kept_bits(tree, 1600) == 3
    assert kept_bits(tree, 100_000) is None


def test_rows_without_the_facts_that_companions_need_are_refused() -> None:
    settings = TableSettings(
        table="calls", key_cells=1, identity_key=KEY, mix_key=1, row_seed=2, cut_key=3, subjects=("customer",)
    )
    writer = TableWriter(MemorySink(), None, {}, settings)
    batch = rows.batch_of(b"a\t1\n")
    with pytest.raises(ValueError, match="facts"):
        writer.feed(batch, np.zeros(1, np.int32), [COHORT])
    with pytest.raises(ValueError, match="cohort"):
        writer.feed(batch, np.zeros(2, np.int32), [COHORT])


def test_an_empty_table_has_no_trees() -> None:
    result = TableWriter(MemorySink(), None, {}, SETTINGS).end()
    assert (result.trees, result.rows, result.content) == ((), 0, (0, 0))
    assert len(result.cache.rows) == 0


def test_settings_do_not_show_their_keys() -> None:
    shown = repr(SETTINGS)
    assert "identity_key" not in shown
    assert "mix_key" not in shown
