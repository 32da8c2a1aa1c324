import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tenure.domain.errors import TamperedError
from tenure.repository import filters, rows
from tenure.rules.facts import Facts
from tenure.sources.base import RowBatch

KEY = bytes(range(32))
cells = st.binary(max_size=40).map(lambda b: b.translate(None, b"\t\n"))


@given(lines=st.lists(st.lists(cells, min_size=1, max_size=5), max_size=20), key_cells=st.integers(1, 4))
def test_identities_of_a_batch_are_those_of_its_key_texts(lines: list[list[bytes]], key_cells: int) -> None:
    batch = rows.batch_of(b"".join(b"\t".join(line) + b"\n" for line in lines))
    texts = [b"\t".join(line[:key_cells]) for line in lines]
    starts, ends = rows.key_spans(batch, key_cells)
    spans = zip(starts.tolist(), ends.tolist(), strict=True)
    assert [bytes(batch.text)[start:end] for start, end in spans] == texts
    found = rows.identities(batch, key_cells, KEY)
    assert [row.tobytes() for row in found] == [rows.identity_of(text, KEY) for text in texts]


def test_identities_tell_every_pair_of_key_texts_apart() -> None:
    texts = [b"", b"\0", b"\0\0", b"a", b"a\0", b"a" * 15, b"a" * 16, b"a" * 17, bytes(15), bytes(16)]
    assert len({rows.identity_of(text, KEY) for text in texts}) == len(texts)
    assert rows.identity_of(b"a" * 16, KEY) != rows.identity_of(b"a" * 16, bytes(32))
    assert rows.identity_of(b"abc", KEY) == b"abc" + bytes(12) + b"\x03"


def test_a_key_has_at_least_one_cell() -> None:
    with pytest.raises(ValueError, match="at least one cell"):
        rows.key_spans(rows.batch_of(b"a\n"), 0)


def test_text_without_its_last_newline_is_damage() -> None:
    with pytest.raises(TamperedError):
        rows.batch_of(b"a\nb")


def test_mixing_follows_the_documented_function() -> None:
    def f(x: int) -> int:
        whole = (1 << 64) - 1
        x = (x + 0x9E3779B97F4A7C15) & whole
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & whole
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & whole
        return x ^ (x >> 31)

    ids = np.frombuffer(np.random.default_rng(1).bytes(160), np.uint8).reshape(10, 16)
    key = 0xFEDCBA9876543210
    expected = []
    for row in ids:
        low, high = int.from_bytes(row[:8].tobytes(), "little"), int.from_bytes(row[8:].tobytes(), "little")
        expected.append(f(f(low ^ key) ^ high))
    assert rows.mix(ids, key).tolist() == expected


def test_row_hashes_are_xxh3_of_the_line_and_their_sum_has_no_order() -> None:
    batch = rows.batch_of(b"a\t1\nb\t2\n\n")
    hashes = rows.row_hashes(batch, 7)
    whole = [xxhash.xxh3_128_intdigest(line, 7) for line in (b"a\t1", b"b\t2", b"")]
    assert [(low, high) for low, high in hashes.tolist()] == [(w % (1 << 64), w >> 64) for w in whole]
    turned = rows.take(batch, np.array([2, 0, 1]))
    assert rows.content_hash(rows.row_hashes(turned, 7)) == rows.content_hash(hashes)
    parts = [rows.content_hash(hashes[:1]), rows.content_hash(hashes[1:])]
    assert rows.add_content(*parts) == rows.content_hash(hashes)


def test_offsets_that_disagree_with_newlines_are_refused() -> None:
    with pytest.raises(ValueError, match="disagree"):
        rows.row_hashes(RowBatch(text=b"a\nb\n", offsets=np.array([0, 4])), 1)


def facts(keys: list[bytes], customers: list[str | None]) -> Facts:
    return Facts(
        data_set="contacts",
        keys=pa.array(keys, pa.large_binary()),
        subjects={"customer": pa.array(customers, pa.large_string())},
        starting={"closed": np.array(["2026-01-01"] * len(keys), "datetime64[s]")},
        attributes={"country": pa.array(["NL"] * len(keys), pa.large_string())},
    )


def test_taking_keeps_rows_and_facts_together() -> None:
    batch = rows.batch_of(b"a\t1\nb\t2\nc\t3\n", facts([b"a", b"b", b"c"], ["x", None, "z"]))
    some = rows.take(batch, np.array([True, False, True]))
    assert bytes(some.text) == b"a\t1\nc\t3\n"
    assert some.facts is not None
    assert some.facts.keys.to_pylist() == [b"a", b"c"]
    assert len(rows.take(batch, np.zeros(3, np.bool_))) == 0


@given(st.lists(st.binary(max_size=20), max_size=30), st.lists(st.binary(max_size=20), max_size=30))
def test_membership_of_identities_is_that_of_sets(known: list[bytes], asked: list[bytes]) -> None:
    def ids(texts: list[bytes]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        joined = b"".join(rows.identity_of(text, KEY) for text in texts)
        return np.frombuffer(joined, np.uint8).reshape(-1, 16)

    found = rows.contains(rows.sorted_unique(ids(known)), ids(asked))
    assert found.tolist() == [text in set(known) for text in asked]


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=300))
def test_a_filter_never_denies_a_member(members: list[int]) -> None:
    hashes = np.array(members, np.uint64)
    packed = filters.build(hashes)
    assert filters.probe(packed, hashes).all()
    assert len(packed) <= max(8, 1.5 * len(set(members)))


def test_a_filter_is_small_and_seldom_wrong() -> None:
    rng = np.random.default_rng(3)
    for count in (100, 6000, 100_000):
        members, others = rng.integers(0, 1 << 63, (2, count), np.uint64)
        packed = filters.build(members)
        assert len(packed) <= 1.5 * count
        assert filters.probe(packed, rng.integers(0, 1 << 63, 100_000, np.uint64)).mean() < 0.01
        assert filters.probe(packed, others).mean() < 0.05


def test_an_empty_filter_holds_nothing() -> None:
    assert filters.build(np.empty(0, np.uint64)) == b""
    assert not filters.probe(b"", np.arange(5, dtype=np.uint64)).any()


def test_the_layout_of_filters_does_not_change() -> None:
    assert filters.build(np.array([1, 2**40 + 5, 2**63], np.uint64)).hex() == "0100000001000000"
