"""Blobs of row text: what is UTF-8 is looked into as text and stays a blob; what is not is counted."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tenure.cards import blobs
from tenure.cards.blobs import look, text_of
from tenure.cards.detect import find
from tenure.cards.rows import Cells, RowsPlan, redact_rows

CARD = "card 4111 1111 1111 1111 cvv 123"


def blob(raw: bytes) -> bytes:
    return b"b" + raw.hex().encode()


def table(*lines: tuple[bytes, ...]) -> tuple[bytes, NDArray[np.int64]]:
    rows = [b"\t".join(cells) + b"\n" for cells in lines]
    return b"".join(rows), np.cumsum([0, *map(len, rows)], dtype=np.int64)


def decodes(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_blobs_that_are_no_text_are_counted_by_cell() -> None:
    text, offsets = table(
        (b"i1", blob(b"\xff\xd8\xff\xe0"), b"t"),
        (b"i2", b"\\N", blob(b"\x80")),
        (b"i3", blob(b"plain"), blob(b"")),
        (b"i4", blob(b"\xc3"), b"tb\\tb"),
    )
    seen = look(text, offsets, (1, 2))
    assert seen.unreadable == {1: 2, 2: 1}
    assert seen.rows.tolist() == []


def test_only_the_cells_asked_for_are_looked_at() -> None:
    text, offsets = table((b"i1", blob(b"\xff"), blob(b"\xff")))
    assert look(text, offsets, (2,)).unreadable == {2: 1}


def test_a_batch_without_blobs_has_nothing_to_say() -> None:
    text, offsets = table((b"i1", b"tbold", b"tb\\tb"), (b"i2", b"t", b"\\N"))
    assert look(text, offsets, (1, 2)) == blobs.BlobsSeen()


def test_a_blob_of_text_is_cut_and_stays_a_blob() -> None:
    text, offsets = table((b"i1", blob(CARD.encode()), b"tx"), (b"i2", blob(b"\xff" + CARD.encode()), b"ty"))
    result = redact_rows(text, offsets, RowsPlan(cells=(1, 2), written=Cells.CLASSED))
    first, second = bytes(result.text).split(b"\n")[:2]
    assert first == b"i1\t" + blob(b"card **** **** **** 1111 cvv ***") + b"\ttx"
    assert second == text.split(b"\n")[1]
    assert (result.counts.numbers, result.counts.codes) == (1, 1)
    assert result.counts.unreadable == {1: 1}


@pytest.mark.parametrize("between", ["\n", "\t", "\r\n", "\\", "\0"])
def test_no_byte_inside_a_blob_hides_card_data(between: str) -> None:
    raw = f"first{between}{CARD}{between}last".encode()
    text, offsets = table((b"i1", blob(b"nothing")), (b"i2", blob(raw)))
    assert look(text, offsets, (1,)).rows.tolist() == [1]


PIECES = st.one_of(
    st.binary(max_size=12),
    st.text(max_size=8).map(str.encode),
    st.sampled_from([CARD.encode(), b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"]),
)


@settings(deadline=None)
@given(st.lists(st.lists(PIECES, max_size=3).map(b"".join), min_size=1, max_size=8))
@example([b"\xc3", b"\xa4"])
@example([b"", b"", b"\xf0\x9f\x98"])
@example([b"\xe0", CARD.encode() + "\u00e9".encode()])
@example([b"\xe0", b"\xc2\x80"])
@example([b"\xf0", b"\xc2\x80"])
def test_every_blob_is_told_apart_as_python_does_and_none_with_card_data_is_missed(raws: list[bytes]) -> None:
    text, offsets = table(*((b"i%d" % i, blob(raw)) for i, raw in enumerate(raws)))
    seen = look(text, offsets, (1,))
    broken = sum(not decodes(raw) for raw in raws)
    assert seen.unreadable == ({1: broken} if broken else {})
    holding = {i for i, raw in enumerate(raws) if decodes(raw) and find(raw)}
    assert holding <= set(seen.rows.tolist())
    assert [text_of(blob(raw)) for raw in raws] == [raw if decodes(raw) else None for raw in raws]
