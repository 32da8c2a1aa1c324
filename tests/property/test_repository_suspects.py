"""The law of searching: a chunk that holds what is looked for never denies it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tenure.repository import companion, filters, layouts, rows
from tenure.repository.companion import Companion
from tenure.repository.layouts import Expressions
from tenure.repository.suspects import of_records, of_subject
from tenure.sources.base import RowLayout

KEY = b"k" * 32
numbers = st.integers(-(10**14), 10**14).map(lambda n: f"i{n}".encode())
texts = st.text("ab-.0i1", max_size=20).map(lambda t: f"t{t}".encode())
reals = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: f"r{x!r}".encode())
keys = st.one_of(numbers, texts, reals, numbers)
small = st.integers(-50, 50).map(lambda n: f"i{n}".encode())


def identities(texts_of_keys: list[bytes]) -> rows.Bytes:
    joined = b"".join(rows.identity_of(k, KEY) for k in texts_of_keys)
    return rows.sorted_unique(np.frombuffer(joined, np.uint8).reshape(-1, rows.IDENTITY_BYTES))


def about(
    held: list[bytes], subjects: dict[str, list[str]] | None = None, *, customer: str = "customer"
) -> Companion:
    """Return the companion of a chunk whose rows have these keys, in this order."""
    layout = RowLayout(columns=("id", "customer"), key_cells=1)
    kinds = {
        kind: [companion.subject_hash_of(v, KEY) for v in values] for kind, values in (subjects or {}).items()
    }
    return Companion(
        first=held[0],
        last=held[-1],
        keys=filters.build(rows.mix(identities(held), companion.FILTER_KEY)),
        subjects={kind: filters.build(np.concatenate(hashes)) for kind, hashes in kinds.items()},
        rows=len(held),
        content=(0, 0),
        expressions=layouts.encode(Expressions(layout=layout, subjects={"customer": customer}, zone="UTC")),
        detector="",
    )


def as_numbers(key: bytes) -> tuple[int, float]:
    """Order keys as SQLite does: numbers by value, texts after them."""
    return (0, float(key[1:])) if key[:1] in b"ir" else (1, 0.0)


@given(st.lists(st.one_of(keys, small), min_size=1, max_size=60, unique=True), st.data())
def test_a_chunk_never_denies_a_record_that_it_holds(held: list[bytes], data: st.DataObject) -> None:
    ordered = sorted(held, key=as_numbers, reverse=data.draw(st.booleans()))
    wanted = [data.draw(st.sampled_from(held)), *data.draw(st.lists(keys, max_size=80))]
    assert not of_records(identities(wanted)).denied_by(about(ordered))


@given(
    st.lists(small, min_size=1, max_size=30, unique=True),
    st.lists(small, min_size=1, max_size=30, unique=True),
)
def test_whole_numbers_outside_a_chunks_keys_are_denied_without_its_filter(
    held: list[bytes], wanted: list[bytes]
) -> None:
    ordered = sorted(held, key=as_numbers)
    low, high = int(ordered[0][1:]), int(ordered[-1][1:])
    outside = [k for k in wanted if not low <= int(k[1:]) <= high]
    if outside:
        assert of_records(identities(outside)).denied_by(about(ordered))


@given(st.lists(st.text(max_size=20), min_size=1, max_size=40), st.integers(0, 39))
def test_a_chunk_never_denies_a_subject_that_it_holds(values: list[str], at: int) -> None:
    value = values[at % len(values)]
    question = of_subject("customer", value, "customer", KEY)
    assert not question.denied_by(about([b"i1"], {"customer": values}))


def test_a_chunk_whose_subjects_were_found_otherwise_denies_no_subject() -> None:
    question = of_subject("customer", "7", "customer", KEY)
    assert question.denied_by(about([b"i1"], {"customer": ["8"]}))
    assert not question.denied_by(about([b"i1"], {"customer": ["8"]}, customer="owner"))
    assert not question.denied_by(about([b"i1"], {"agent": ["8"]}))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=90), st.lists(st.integers(0, 2**64 - 1), max_size=90))
def test_asking_a_filter_for_a_few_hashes_answers_as_asking_for_many(
    held: list[int], asked: list[int]
) -> None:
    packed = filters.build(np.array(held, np.uint64))
    both = asked + held[:1]
    for some in (asked, both, asked[:3]):
        expected = bool(filters.probe(packed, np.array(some, np.uint64)).any())
        assert filters.may_hold(packed, some) == expected


def test_questions_are_equal_only_where_they_ask_for_the_same() -> None:
    names = [
        of_records(identities([b"i1"])).name,
        of_records(identities([b"i1", b"i2"])).name,
        of_subject("customer", "1", "customer", KEY).name,
        of_subject("customer", "1", "owner", KEY).name,
        of_subject("customer", "2", "customer", KEY).name,
        of_subject("agent", "1", "customer", KEY).name,
        of_subject("customer", "1", "customer", b"o" * 32).name,
    ]
    assert len(set(names)) == len(names)
    assert of_records(identities([b"i2", b"i1"])).name == names[1]
