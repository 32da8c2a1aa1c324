"""The index of a cohort against a dictionary: the same answers, whatever pages say."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenure.repository import placesbuilder
from tenure.repository.model import ChunkKind, ChunkRef
from tenure.repository.page import ENTRY, Array
from tenure.repository.places import Place, Places
from tenure.repository.placesbuilder import PlacesBuilder


def entries_of(places: Sequence[Place], packs: list[bytes]) -> tuple[Array, Array]:
    entries = np.zeros(len(places), ENTRY)
    for i, p in enumerate(places):
        entries[i] = (
            p.ref.id, p.ref.incarnation, p.companion.id, p.companion.incarnation, p.offset, p.length, p.plain,
            packs.index(p.pack), p.kind, p.coding,
        )  # fmt: skip
    return entries, np.frombuffer(b"".join(p.dek for p in places), np.uint8).reshape(-1, 32)


@pytest.fixture(params=["few", "many"], autouse=True)
def _size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "many":
        monkeypatch.setattr(placesbuilder, "_FEW", -1)


def built(pages: Sequence[Sequence[Place]], *, keyed: bool = True) -> Places:
    builder = PlacesBuilder(keyed=keyed)
    for page in pages:
        packs = sorted({p.pack for p in page})
        entries, deks = entries_of(page, packs)
        builder.add(entries, packs, deks if keyed else None)
    return builder.end()


# Few ids, alike at either end, so that neighbours, repeats and ids that end in zeros are common.
ids = st.builds(
    lambda first, middle, last: first + bytes(6) + middle + bytes(6) + last,
    *[st.sampled_from([b"\0\0", b"\0\1", b"\x80\0", b"\xff\xff"])] * 2,
    st.sampled_from([b"", b""]),
).map(lambda raw: raw.ljust(16, b"\0"))
refs = st.builds(
    ChunkRef, st.one_of(ids, st.binary(min_size=16, max_size=16)), st.sampled_from([bytes(8), b"\1" * 8])
)
numbers = st.integers(0, 2**32 - 1)
places = st.builds(
    Place,
    ref=refs,
    companion=st.one_of(st.just(ChunkRef(bytes(16), bytes(8))), refs),
    pack=st.sampled_from([bytes([i]) * 32 for i in range(4)]),
    offset=numbers,
    length=numbers,
    plain=numbers,
    kind=st.sampled_from(list(ChunkKind)),
    coding=st.integers(0, 255),
    dek=st.binary(min_size=32, max_size=32),
)
pages = st.lists(st.lists(places, max_size=40), max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages, st.lists(refs, max_size=5))
def test_an_index_is_what_a_dictionary_would_be(found: list[list[Place]], others: list[ChunkRef]) -> None:
    wanted = {p.ref: p for page in found for p in page}
    index = built(found)
    assert dict(index.items()) == wanted
    assert len(index) == len(wanted) == len(list(index.values()))
    assert {p.ref: p for p in index.values()} == wanted
    for ref in [*wanted, *others]:
        assert index.get(ref) == wanted.get(ref)
        assert (ref in index) == (ref in wanted)
    assert index.kinds == {p.kind for p in wanted.values()}
    assert index.stored == sum(p.length for p in wanted.values())
    for kind in ChunkKind:
        assert {p.ref for p in index.of_kinds((kind,))} == {p.ref for p in wanted.values() if p.kind is kind}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages, st.data())
def test_a_part_of_an_index_holds_that_part_alone(found: list[list[Place]], data: st.DataObject) -> None:
    index = built(found)
    chosen = {p.ref for p in index.values() if data.draw(st.booleans())}
    part = index.part(chosen)
    assert dict(part.items()) == {ref: index[ref] for ref in chosen}


def test_many_chunks_are_found_each() -> None:
    rng = np.random.default_rng(5)
    raw = rng.bytes(24 * 20_000)
    every = [
        Place(
            ref=ChunkRef(raw[i : i + 16], raw[i + 16 : i + 24]), companion=ChunkRef(bytes(16), bytes(8)),
            pack=bytes(32), offset=i, length=1, plain=2, kind=ChunkKind.MEDIA, coding=0, dek=raw[i : i + 16] * 2,
        )
        for i in range(0, len(raw), 24)
    ]  # fmt: skip
    index = built([every[a : a + 8192] for a in range(0, len(every), 8192)])
    assert all(index[p.ref] == p for p in every)
    assert ChunkRef(every[0].ref.id, b"x" * 8) not in index
    assert ChunkRef(every[0].ref.id[:15], every[0].ref.incarnation) not in index
    assert not index.__contains__("chunk")
    with pytest.raises(KeyError):
        index.part([ChunkRef(bytes(16), bytes(8))])


def test_without_keys_there_are_none_and_with_them_none_is_shown() -> None:
    one = Place(
        ref=ChunkRef(b"i" * 16, b"n" * 8), companion=ChunkRef(bytes(16), bytes(8)), pack=b"p" * 32, offset=1,
        length=2, plain=3, kind=ChunkKind.ROWS, coding=1, dek=b"secretsecretsecretsecretsecret!!",
    )  # fmt: skip
    assert built([[one]], keyed=False)[one.ref].dek == b""
    assert built([[one]])[one.ref].dek == one.dek
    assert "secret" not in repr(one)
    assert one.dek.hex() not in repr(one)
