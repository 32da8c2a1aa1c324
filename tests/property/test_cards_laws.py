"""Laws of the card detector: valid numbers are found, the prefilter loses nothing, redaction is stable."""

import itertools
import json
import random
import unicodedata

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenure.cards import brands
from tenure.cards.corpus import SEPARATORS, groupings, numbers
from tenure.cards.detect import find
from tenure.cards.findings import Confidence, Kind
from tenure.cards.plain import DIGIT_OR_ENTITY, plain
from tenure.cards.prefilter import scan
from tenure.cards.redact import Keep, redact, redact_found
from tenure.cards.rows import Cells, RowsPlan, redact_rows

_ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\0", b"\\0"))


def cell(raw: bytes) -> bytes:
    for byte, escaped in _ESCAPES:
        raw = raw.replace(byte, escaped)
    return raw


def batch(lines: list[bytes]) -> tuple[bytes, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    return b"".join(lines), np.cumsum([0, *map(len, lines)], dtype=np.int64)


@st.composite
def cards(draw: st.DrawFn) -> str:
    brand = draw(st.sampled_from(brands.BRANDS))
    length = draw(st.sampled_from(sorted(brand.lengths)))
    return numbers.card(random.Random(draw(st.integers(0, 2**32))), brand, length)


@st.composite
def written_cards(draw: st.DrawFn) -> str:
    number = draw(cards())
    written, rest = "", number
    for size in draw(st.sampled_from(groupings(number))):
        if written and rest:
            written += draw(st.sampled_from(SEPARATORS))
        written, rest = written + rest[:size], rest[size:]
    return written + rest


_FRAGMENTS = st.one_of(
    written_cards(),
    st.sampled_from([" ", "  ", "-", ".", "/", "_", "\n", "\r\n", "\t", "\0", "\\", "\\n", "\\u00a0"]),
    st.sampled_from(["&nbsp;", "&#160;", "\u200b", "\u00a0", "\u2013", "\u5361", "\u0664\u0661", "\uff14"]),
    st.sampled_from(
        ["card ", "cvv", "cvc 123", "cid", "Prüfziffer: ", "security\u00a0code ", "visa", "accident "]
    ),
    st.sampled_from(
        ["x", "#", "+", "%B", "%B4", ";", "=2712101?", "^DOE^", "0x", "a", "ü", "{", '"', "*", "i", "t"]
    ),
    st.sampled_from(
        ["4111", "1111", "5555", "2026-03-05", "exp 12/27 123", "gültig\nbis", "DE89 3704 0044 0532 0130 00"]
    ),
    st.text(alphabet="0123456789 -", max_size=30),
    st.text(max_size=8),
)
texts = st.lists(_FRAGMENTS, max_size=12).map("".join)


@given(written=written_cards(), before=st.sampled_from(["card ", "(", "", "2026 ", "Karte:", "\n"]))
@settings(max_examples=150)
def test_a_valid_number_is_found_whatever_stands_between_its_digits(written: str, before: str) -> None:
    start = len(before.encode())
    found = find(before + written)
    assert any(f.start <= start and f.end >= start + len(written.encode()) for f in found)


@given(st.binary(max_size=200))
@example(b"\xef\xbc")
@example(b"\xe2\x80\x8b4111")
def test_no_bytes_make_the_detector_fail(raw: bytes) -> None:
    for finding in find(raw):
        assert 0 <= finding.start < finding.end <= len(raw)
    redact_found(raw, at_least=Confidence.ASK)


@given(texts)
@settings(max_examples=150)
def test_findings_are_in_order_and_do_not_overlap(text: str) -> None:
    found = find(text)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5), st.sampled_from(list(Cells)))
@settings(max_examples=500, deadline=None)
@example(rows=[("\x004111111111111111", "")], written=Cells.PLAIN)
@example(rows=[("\tcid 123", "\ncid 123")], written=Cells.CLASSED)
@example(rows=[("4111 1111\r\n1111 1111", "\\n4111111111111111")], written=Cells.CLASSED)
@example(rows=[("card 4222222222222", ""), ("x", "4222222222222")], written=Cells.CLASSED)
@example(rows=[("x", "cid 123")], written=Cells.CLASSED)
@example(rows=[("x", "card 4222222222222")], written=Cells.CLASSED)
@example(rows=[("x", "4222222222222" + "." * 46 + "cardinal")], written=Cells.CLASSED)
@example(rows=[("\u06644111 \u0661111 111\u0661 1111", "")], written=Cells.PLAIN)
def test_the_prefilter_names_every_row_in_which_something_is_found(
    rows: list[tuple[str, str]], written: Cells
) -> None:
    storage = b"t" if written is Cells.CLASSED else b""
    raw = [[text.encode("utf-8", "surrogatepass") for text in row] for row in rows]
    text, offsets = batch([b"\t".join(storage + cell(one) for one in row) + b"\n" for row in raw])
    found = {at for at, row in enumerate(raw) if any(find(one) for one in row)}
    assert found <= set(scan(text, offsets).tolist())


@given(texts, st.sampled_from(list(Keep)))
@settings(max_examples=200)
def test_redacting_twice_changes_nothing_more(text: str, how: Keep) -> None:
    once = redact_found(text.encode("utf-8", "surrogatepass"), how=how)
    assert redact_found(once.text, how=how).text == once.text
    assert not [f for f in find(once.text) if f.confidence is Confidence.SURE]


@given(texts)
@settings(max_examples=150)
def test_redacting_keeps_length_and_everything_but_digits(text: str) -> None:
    if text.lstrip()[:1] in {"{", "["}:
        return
    found = [f for f in find(text) if f.kind is not Kind.TRACK]
    cut = redact(text, found)
    assert len(cut) == len(text)
    for old, new in zip(text, cut, strict=True):
        assert new == old or (new == "*" and unicodedata.category(old) == "Nd")


@given(written_cards())
def test_four_digits_stay_of_a_number(written: str) -> None:
    cut = redact(written, find(written))
    kept = [m.group() for m in DIGIT_OR_ENTITY.finditer(cut.encode()) if m.group()[:1] not in b"&\\"]
    assert len(kept) == 4
    assert written.endswith(cut[cut.rindex("*") + 1 :])


@given(
    st.recursive(
        st.one_of(
            cards().map(int),
            cards(),
            st.integers(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.booleans(),
            texts,
        ),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["card", "cvv", "note", "id"]), inner, max_size=3)
        ),
        max_leaves=6,
    ).map(lambda value: json.dumps({"card": value}))
)
@settings(max_examples=150)
def test_json_stays_json(document: str) -> None:
    cut = redact_found(document.encode(), at_least=Confidence.ASK).text
    json.loads(cut)


@given(st.lists(texts, min_size=1, max_size=6))
@settings(max_examples=200)
def test_rows_without_findings_are_copied_byte_for_byte(values: list[str]) -> None:
    raw = [value.encode("utf-8", "surrogatepass") for value in values]
    lines = [b"i1\tt" + cell(one) + b"\n" for one in raw]
    text, offsets = batch(lines)
    result = redact_rows(text, offsets, RowsPlan(cells=(1,), written=Cells.CLASSED))
    made = bytes(result.text)
    assert result.offsets[-1] == len(made)
    for at, one in enumerate(raw):
        line = made[result.offsets[at] : result.offsets[at + 1]]
        assert line == b"i1\tt" + cell(redact_found(one).text) + b"\n"


@given(texts)
def test_offsets_of_plain_text_lead_back_to_the_original(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    made = plain(raw)
    origins = [made.origin(at) for at in range(len(made.text) + 1)]
    assert origins == sorted(origins)
    assert origins[-1] == len(raw)
