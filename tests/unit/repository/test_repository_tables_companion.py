import msgspec
import numpy as np
import pyarrow as pa
import pytest

from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.repository import companion, rows

KEY = bytes(range(32))


def made() -> companion.Companion:
    batch = rows.batch_of(b"1\tann\tx\n2\tbob\tx\n30\tann\tx\n")
    values = pa.array(["ann", None, "a very long customer name"], pa.large_string())
    return companion.of_rows(
        batch,
        key_cells=1,
        identities=rows.identities(batch, 1, KEY),
        hashes=rows.row_hashes(batch, 4),
        subjects={"customer": companion.subject_hash(values, KEY)},
        expressions=b"hash",
        detector="3",
    )


def identities(*keys: bytes) -> rows.Bytes:
    return np.frombuffer(b"".join(rows.identity_of(k, KEY) for k in keys), np.uint8).reshape(-1, 16)


def test_a_companion_says_what_may_be_in_its_chunk() -> None:
    about = companion.decode(companion.encode(made()))
    assert about == made()
    assert (about.first, about.last, about.rows) == (b"1", b"30", 3)
    assert about.may_hold_keys(identities(b"1", b"2", b"30")).all()
    assert about.may_hold_subject("customer", "ann", KEY)
    assert about.may_hold_subject("customer", "a very long customer name", KEY)
    assert about.may_hold_subject("employee", "never looked for", KEY)
    denied = [about.may_hold_subject("customer", f"someone {i}", KEY) for i in range(200)]
    assert sum(denied) < 20
    assert about.may_hold_keys(identities(*(b"x%d" % i for i in range(200)))).sum() < 20


def test_hashes_of_subjects_are_the_same_in_bulk_in_slices_and_alone() -> None:
    texts = ["", "é", "x" * 15, "x" * 16, "x" * 400, "tab\tand\nnewline"]
    column = pa.array([*texts, None], pa.large_string())
    bulk = companion.subject_hash(column, KEY)
    assert bulk[:-1].tolist() == [int(companion.subject_hash_of(text, KEY)[0]) for text in texts]
    assert bulk[-1] == 0
    assert companion.subject_hash(column.slice(2, 3), KEY).tolist() == bulk[2:5].tolist()
    assert companion.subject_hash(pa.array([None, None], pa.large_string()), KEY).tolist() == [0, 0]
    chunked = pa.chunked_array([column.slice(0, 2), column.slice(2)])
    assert companion.subject_hash(chunked, KEY).tolist() == bulk.tolist()


def test_a_companion_of_deletes_knows_identities() -> None:
    ids = rows.sorted_unique(identities(b"b", b"a"))
    about = companion.of_deletes(ids, expressions=b"", detector="")
    assert about.first == rows.identity_of(b"a", KEY)
    assert about.may_hold_keys(identities(b"b", b"a")).all()
    assert about.content == (0, 0)


def test_a_companion_of_a_later_version_is_not_taken_for_damage() -> None:
    loose = msgspec.msgpack.decode(companion.encode(made()))
    with pytest.raises(UnsupportedFormatError):
        companion.decode(msgspec.msgpack.encode({**loose, "colour": 1}))
    with pytest.raises(UnsupportedFormatError):
        companion.decode(msgspec.msgpack.encode({**loose, "version": 2}))


def test_damage_is_told_as_damage() -> None:
    loose = msgspec.msgpack.decode(companion.encode(made()))
    bad = [
        b"",
        companion.encode(made())[:-3],
        b"\xc1",
        msgspec.msgpack.encode([1]),
        msgspec.msgpack.encode({**loose, "rows": "x"}),
    ]
    for raw in bad:
        with pytest.raises(TamperedError):
            companion.decode(raw)
