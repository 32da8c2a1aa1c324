"""Whatever stands inside what was rightly sealed or signed: a decoder gives a value or one of Tenure's own errors.

A stolen writer seals and signs what it likes. No bytes of it may end a reader with an error that no caller expects.
"""

import struct
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.hostile import (
    COHORT,
    FEW,
    KEYS,
    READER,
    REPOSITORY,
    RING,
    SECRETS,
    SIGNER,
    WRAPPER,
    a_repository,
    refuses_or_returns,
    spoiled,
)
from tenure.crypto.aead import context, seal, seal_under
from tenure.crypto.hashing import content_hash
from tenure.domain.errors import TamperedError, TenureError, UnsupportedFormatError
from tenure.repository import (
    companion,
    layouts,
    manifest,
    mediacompanion,
    page,
    wire,
)
from tenure.repository.entries import Stanza
from tenure.repository.manifest import Manifest, ManifestHeader
from tenure.repository.model import ChunkRef
from tenure.repository.nodes import ListWire, MediaNodeWire, NodeWire, ref_of, split
from tenure.repository.structure import (
    LayerWire,
    RootWire,
    TreeWire,
    names_of,
    nodes_of,
    read_media_tree,
    read_root,
    read_tree,
)
from tenure.sources.base import RowLayout

ROWS_NODE = NodeWire(refs=bytes(48), companions=bytes(48), kinds=b"\x01\x02", records=(3, 1), plain=(30, 16))
MEDIA_NODE = MediaNodeWire(
    paths=bytes(32), chunks=(2, 1), refs=bytes(72), companions=bytes(48), places=(0, 1), sizes=(10, 20)
)
LAYER = LayerWire(tier=0, nodes=bytes(24), depth=0, records=4, plain=46, content=bytes(16))
TREE = TreeWire(rule_class="", span="2026-03", records=4, layers=(LAYER,))
DEEP = msgspec.structs.replace(LAYER, depth=1)
ROOT = RootWire(
    data_set="notes", kind="table", columns=("id", "text"), key_cells=1, linked=("x",), trees=(TREE, TREE)
)


NODE = ChunkRef(bytes(16), bytes(8))


def rows_of(raw: bytes) -> object:
    return read_tree(COHORT, TREE, lambda _: raw)


def recordings_of(raw: bytes) -> object:
    return read_media_tree(COHORT, TREE, lambda _: raw)


def root_of(raw: bytes) -> None:
    root = read_root(raw)
    for cohort, _ in root.cohorts():
        KEYS.tag(cohort)
    assert root.layout.key_cells >= 0
    for tree in root.wire.trees:
        for layer in tree.layers:
            split(layer.nodes)


@FEW
@given(spoiled(wire.encode(ROWS_NODE), wire.encode(MEDIA_NODE)))
def test_nodes(raw: bytes) -> None:
    refuses_or_returns(lambda: rows_of(raw))
    refuses_or_returns(lambda: recordings_of(raw))
    for kind in ("table", "recordings", "other"):
        refuses_or_returns(lambda kind=kind: list(names_of(NODE, kind, lambda _: raw)))  # type: ignore[misc]


@FEW
@given(spoiled(wire.encode(ROOT)))
def test_roots(raw: bytes) -> None:
    refuses_or_returns(lambda: root_of(raw))


@FEW
@given(spoiled(wire.encode(ListWire(nodes=bytes(48)))))
def test_lists(raw: bytes) -> None:
    refuses_or_returns(lambda: nodes_of(DEEP, lambda _: raw))


def test_a_list_that_is_too_long_or_lies_too_deep_is_refused() -> None:
    raw = wire.encode(ListWire(nodes=bytes(24 * 1025)))
    with pytest.raises(TamperedError, match=r"^node list [0-9a-f]{32} "):
        nodes_of(DEEP, lambda _: raw)
    with pytest.raises(UnsupportedFormatError, match="2 lists deep"):
        nodes_of(msgspec.structs.replace(LAYER, depth=2), lambda _: raw)


@pytest.mark.parametrize(
    "changes",
    [
        {"refs": bytes(24)},
        {"refs": bytes(50)},
        {"companions": bytes(24)},
        {"kinds": b"\x01"},
        {"records": (3,)},
        {"records": (3, -1)},
        {"plain": (30, 16, 9)},
    ],
    ids="-".join,
)
def test_a_node_whose_columns_do_not_fit_is_named_as_damage(changes: dict[str, Any]) -> None:
    raw = wire.encode(msgspec.structs.replace(ROWS_NODE, **changes))
    with pytest.raises(TamperedError, match=r"^tree node [0-9a-f]{32} "):
        rows_of(raw)


@pytest.mark.parametrize(
    "changes",
    [
        {"paths": bytes(31)},
        {"chunks": (2, 2)},
        {"chunks": (2, -1)},
        {"chunks": (3,)},
        {"refs": bytes(24)},
        {"refs": bytes(96)},
        {"companions": bytes(72)},
        {"places": (0,)},
        {"places": (0, -1)},
        {"sizes": (10, -20)},
    ],
    ids="-".join,
)
def test_a_node_of_recordings_whose_columns_do_not_fit_is_named_as_damage(changes: dict[str, Any]) -> None:
    raw = wire.encode(msgspec.structs.replace(MEDIA_NODE, **changes))
    with pytest.raises(TamperedError, match=r"^tree node [0-9a-f]{32} "):
        recordings_of(raw)


def test_a_node_with_a_kind_of_chunk_that_is_not_known_is_of_a_newer_version() -> None:
    raw = wire.encode(msgspec.structs.replace(ROWS_NODE, kinds=b"\x01\x09"))
    with pytest.raises(UnsupportedFormatError, match="tree node"):
        rows_of(raw)


@pytest.mark.parametrize("raw", [b"", bytes(23), bytes(25), bytes(48)])
def test_a_reference_that_is_not_one_is_damage(raw: bytes) -> None:
    with pytest.raises(TamperedError):
        ref_of(raw)


HEADER = page.PageHeader(
    repository=REPOSITORY, epoch=1, writer=SECRETS.writer, tag=KEYS.tag(COHORT), page=b"p" * 16, session=bytes(16),
    entries=1, first=bytes(16), last=bytes(16), packs=(bytes(32),),
    wrapped=(Stanza(recipient=READER.key_id, provider="local", wrapped=b""),),
)  # fmt: skip
PAGE_KEY = b"k" * 32
COHORT_WIRE = wire.encode({"data_set": "notes", "rule_class": "", "span": "2026-03"})
ENTRY = np.zeros(1, page.ENTRY)
ENTRY["kind"] = 1
INDEX = struct.pack("<I", len(COHORT_WIRE)) + COHORT_WIRE + ENTRY.tobytes()


def page_of(head: bytes, index: bytes, keys: bytes, gone: bytes) -> bytes:
    """Seal a page rightly, whatever stands in it."""
    try:
        header = wire.decode(head, page.PageHeader, what="head")
        name, where = (
            header.page,
            page._wrap_context(header.repository, header.epoch, header.tag, header.page),
        )
        (stanza,) = WRAPPER.wrap(PAGE_KEY, context=where)
        if header.wrapped and header.wrapped[0].recipient == READER.key_id:
            mine = Stanza(recipient=stanza.recipient, provider="local", wrapped=stanza.wrapped)
            head = wire.encode(msgspec.structs.replace(header, wrapped=(mine, *header.wrapped[1:])))
    except (TenureError, ValueError):
        name = b"p" * 16
    sealed = seal_under(KEYS.index, "tenure page index", name, index, aad=page._aad("index", head))
    sealed_keys = seal(PAGE_KEY, keys, aad=page._aad("keys", head, sealed))
    sealed_gone = seal_under(
        KEYS.index, "tenure page gone", name, gone, aad=page._aad("gone", head, sealed, sealed_keys)
    )
    return page._join(head, sealed, sealed_keys, sealed_gone)


def read_page(raw: bytes) -> None:
    def opened() -> page.PageBytes:
        return page.parse_page(raw, name="keys/1/x")

    refuses_or_returns(opened)
    refuses_or_returns(lambda: page.open_index(opened(), KEYS))
    refuses_or_returns(lambda: page.open_keys(opened(), RING))
    refuses_or_returns(lambda: page.open_secret(opened(), RING))


def test_the_page_that_is_spoiled_below_is_a_whole_one() -> None:
    whole = page.parse_page(page_of(wire.encode(HEADER), INDEX, bytes(32), b""), name="x")
    assert page.open_index(whole, KEYS)[0] == COHORT
    assert page.open_keys(whole, RING).shape == (1, 32)


@FEW
@given(
    spoiled(wire.encode(HEADER)),
    st.just(INDEX)
    | spoiled(COHORT_WIRE).map(lambda c: struct.pack("<I", len(c)) + c)
    | st.binary(max_size=150),
    st.sampled_from([b"", bytes(31), bytes(32), bytes(64)]) | st.binary(max_size=70),
    st.binary(max_size=130) | st.just(bytes(61)),
)
@example(wire.encode(HEADER), b"\x01", bytes(32), b"")
@example(wire.encode(HEADER), b"\xff\xff\xff\xff", bytes(32), b"")
@example(wire.encode(msgspec.structs.replace(HEADER, epoch=-1)), INDEX, bytes(32), b"")
@example(wire.encode(msgspec.structs.replace(HEADER, entries=-1)), INDEX, bytes(32), b"")
def test_pages(head: bytes, index: bytes, keys: bytes, gone: bytes) -> None:
    read_page(page_of(head, index, keys, gone))
    read_page(page_of(wire.encode(HEADER), index, keys, gone))


COMPANION = companion.Companion(
    first=b"1", last=b"9", keys=bytes(8), subjects={"customer": bytes(8)}, rows=2, content=(1, 2),
    expressions=layouts.encode(
        layouts.Expressions(
            layout=RowLayout(columns=("id",), key_cells=1), subjects={"customer": "customer"}, zone="UTC"
        )
    ),
    detector="1",
)  # fmt: skip


def row_companion(raw: bytes) -> None:
    about = companion.decode(raw)
    about.may_hold_keys(np.zeros((1, 16), np.uint8))
    about.may_hold_subject("customer", "4711", KEYS.identity)
    assert layouts.decode(about.expressions).layout.key_cells > 0


@FEW
@given(spoiled(companion.encode(COMPANION)), spoiled(COMPANION.expressions))
def test_companions_of_rows(raw: bytes, expressions: bytes) -> None:
    refuses_or_returns(lambda: row_companion(raw))
    refuses_or_returns(lambda: layouts.decode(expressions))
    other = msgspec.structs.replace(COMPANION, expressions=expressions)
    refuses_or_returns(lambda: row_companion(companion.encode(other)))


META = {
    "path": b"a.wav", "size": 3, "mtime_ns": 1, "mode": 0o644, "sidecar_path": None, "sidecar": None,
    "sidecar_mtime_ns": 0, "sidecar_mode": 0, "chunks": bytes(48), "subjects": {"customer": "1"},
    "starting": {"ended": "2026-03-01"}, "attributes": {},
}  # fmt: skip


@FEW
@given(spoiled(wire.encode({"recordings": [META, None]})))
def test_companions_of_recordings(raw: bytes) -> None:
    refuses_or_returns(lambda: mediacompanion.decode(raw))


@cache
def a_manifest() -> bytes:
    (snapshot,) = a_repository().state.snapshots.values()
    return wire.encode(a_repository().manifest(snapshot))


MANIFEST_HEADER = ManifestHeader(
    repository=REPOSITORY, writer=SECRETS.writer, session=bytes(16), salt=bytes(16)
)


def manifest_of(head: bytes, body: bytes) -> bytes:
    try:
        header = wire.decode(head, ManifestHeader, what="head")
        name = header.session + header.salt
    except TenureError:
        name = b""
    aad = context("manifest", content_hash(head))
    sealed = seal_under(KEYS.manifest, "tenure manifest", name, body, aad=aad)
    signed = b"TNRM\x01" + struct.pack("<I", len(head)) + head + struct.pack("<I", len(sealed)) + sealed
    return signed + SIGNER.sign(b"tenure manifest\0" + signed)


def read_manifest(raw: bytes) -> None:
    found = manifest.parse_manifest(raw, name="snapshots/x").open(KEYS, SIGNER.public())
    for line in found.data_sets.values():
        ref_of(line.root)
    ref_of(found.structure or bytes(24))


@FEW
@given(st.data())
def test_manifests(data: st.DataObject) -> None:
    whole = wire.encode(MANIFEST_HEADER)
    read_manifest(manifest_of(whole, a_manifest()))
    body = data.draw(spoiled(a_manifest()))
    refuses_or_returns(lambda: read_manifest(manifest_of(whole, body)))
    refuses_or_returns(lambda: read_manifest(manifest_of(data.draw(spoiled(whole)), body)))


@pytest.mark.parametrize(
    "changes",
    [{"taken_at": float("nan")}, {"taken_at": 1e300}, {"structure": bytes(23)}, {"left_out": -1}],
    ids="-".join,
)
def test_a_manifest_of_impossible_values_is_damage(changes: dict[str, Any]) -> None:
    sound = wire.decode(a_manifest(), Manifest, what="x")
    body = wire.encode(msgspec.structs.replace(sound, **changes))
    with pytest.raises(TamperedError, match="holds values that no manifest has"):
        read_manifest(manifest_of(wire.encode(MANIFEST_HEADER), body))
