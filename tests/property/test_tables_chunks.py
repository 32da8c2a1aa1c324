"""Where chunks are cut: by record keys, whatever the batches, and close to where they were after an edit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.repository import rows
from tenure.repository.chunker import Carried, CohortChunker, Piece, cut_bits

KEY = bytes(32)
Row = tuple[int, int, bytes]  # cohort, key, value


def cut(
    table: list[Row], *, step: int = 1000, target: int = 1024, budget: int = 1 << 27, bits: int | None = 4
) -> list[Piece]:
    chunker = CohortChunker(target, 64, budget, cut_key=3)
    for cohort in range(4):
        chunker.open(cohort, is_open=False, bits=bits)
    out: list[Piece] = []
    for start in range(0, len(table), step):
        part = table[start : start + step]
        batch = rows.batch_of(b"".join(b"%d\t%s\n" % (key, value) for _, key, value in part))
        carried = Carried(
            identities=rows.identities(batch, 1, KEY),
            hashes=rows.row_hashes(batch, 1),
            subjects={"n": np.array([key for _, key, _ in part], np.uint64)},
        )
        out += chunker.feed(batch, np.array([c for c, _, _ in part], np.int32), carried)
    return [*out, *chunker.finish()]


def texts(pieces: list[Piece], cohort: int | None = None) -> list[bytes]:
    return [bytes(p.batch.text) for p in pieces if cohort in (None, p.cohort)]


def first_keys(pieces: list[Piece]) -> list[tuple[int, bytes]]:
    return [(p.cohort, bytes(p.batch.text).split(b"\t", 1)[0]) for p in pieces]


tables = st.lists(
    st.tuples(st.integers(0, 3), st.binary(max_size=30).map(lambda b: b.hex().encode())), max_size=300
).map(lambda found: [(cohort, key, value) for key, (cohort, value) in enumerate(found)])


@given(
    table=tables,
    step=st.integers(1, 300),
    budget=st.sampled_from([500, 1 << 27]),
    bits=st.sampled_from([None, 0, 2, 5]),
)
@settings(deadline=None)
def test_every_row_comes_out_once_in_order_with_what_it_carries(
    table: list[Row], step: int, budget: int, bits: int | None
) -> None:
    pieces = cut(table, step=step, budget=budget, bits=bits)
    for cohort in range(4):
        expected = b"".join(b"%d\t%s\n" % (key, value) for c, key, value in table if c == cohort)
        assert b"".join(texts(pieces, cohort)) == expected
    for piece in pieces:
        assert piece.batch.offsets.tolist() == rows.batch_of(bytes(piece.batch.text)).offsets.tolist()
        assert (piece.carried.identities == rows.identities(piece.batch, 1, KEY)).all()
        assert (piece.carried.hashes == rows.row_hashes(piece.batch, 1)).all()
        keys = [int(line.split(b"\t")[0]) for line in bytes(piece.batch.text).splitlines()]
        assert piece.carried.subjects["n"].tolist() == keys


@given(table=tables, step=st.integers(1, 300))
@settings(deadline=None)
def test_chunks_do_not_depend_on_batches(table: list[Row], step: int) -> None:
    one, other = cut(table, step=step), cut(table)
    for cohort in range(4):
        assert texts(one, cohort) == texts(other, cohort)


def big(seed: int = 1, count: int = 6000) -> list[Row]:
    rng = np.random.default_rng(seed)
    return [(int(rng.integers(4)), key, b"v" * int(rng.integers(30, 60))) for key in range(count)]


@given(place=st.integers(0, 5999), length=st.integers(0, 300))
@settings(max_examples=30, deadline=None)
def test_an_edit_of_a_row_moves_no_boundary(place: int, length: int) -> None:
    table = big()
    before = cut(table)
    cohort, key, _ = table[place]
    table[place] = (cohort, key, b"w" * length)
    after = cut(table)
    assert first_keys(after) == first_keys(before)
    assert len(set(texts(after)) - set(texts(before))) <= 1


@given(place=st.integers(0, 5999))
@settings(max_examples=30, deadline=None)
def test_a_row_taken_out_changes_only_chunks_near_it(place: int) -> None:
    table = big()
    before = texts(cut(table))
    del table[place]
    assert len(set(texts(cut(table))) - set(before)) <= 6


@pytest.mark.parametrize("bits", [3, 4, 6])
def test_chunks_are_about_as_long_as_they_should_be(bits: int) -> None:
    pieces = cut(big(count=20_000), target=1 << 20, bits=bits)
    counts = [len(p.batch) for p in pieces]
    assert 0.6 * 2**bits < np.mean(counts) < 1.4 * 2**bits
    assert max(counts) <= 2 * 2**bits
    ends = {cohort: [p for p in pieces if p.cohort == cohort][-1] for cohort in range(4)}
    assert all(len(p.batch) >= 2**bits // 4 for p in pieces if p is not ends[p.cohort])


def test_rows_far_longer_than_the_average_do_not_make_giant_chunks() -> None:
    table = [(0, key, b"v" * (10_000 if key % 3 else 10)) for key in range(60)]
    assert all(len(text) <= max(4 * 1024, 10_100) for text in texts(cut(table)))


def test_over_the_budget_the_largest_buffer_is_cut_early_and_its_boundaries_come_back() -> None:
    table = big()
    place = next(i for i in range(1000, 6000) if table[i][0] == 3)
    table[place] = (3, table[place][1], b"v" * 100_000)
    natural = cut(table, bits=6, target=1 << 16, step=100)
    early = cut(table, bits=6, target=1 << 16, step=100, budget=80_000)
    for cohort in range(3):
        assert texts(early, cohort) == texts(natural, cohort)
    assert 1 <= len(set(texts(early, 3)) - set(texts(natural, 3))) <= 4


def test_cut_bits_follow_from_target_and_row_length() -> None:
    assert cut_bits(1 << 20, 170) == 13
    assert cut_bits(1 << 20, 1 << 22) == 0
    assert cut_bits(100, 0.0) == 7


def test_held_cohorts_wait_until_released_or_dropped() -> None:
    chunker = CohortChunker(256, 64, cut_key=3)
    chunker.open(0, is_open=False, bits=2, held=True)
    chunker.open(1, is_open=False, bits=2, held=True)
    batch = rows.batch_of(b"".join(b"%d\tx\n" % i for i in range(100)))
    carried = Carried(
        identities=rows.identities(batch, 1, KEY), hashes=rows.row_hashes(batch, 1), subjects={}
    )
    assert list(chunker.feed(batch, np.arange(100, dtype=np.int32) % 2, carried)) == []
    assert chunker.is_held(0)
    assert len(list(chunker.release(0))) > 1
    assert not chunker.is_held(0)
    chunker.discard(1)
    assert {piece.cohort for piece in chunker.finish()} <= {0}
