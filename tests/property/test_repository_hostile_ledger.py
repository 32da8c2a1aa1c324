"""Whatever a writer signs, or stands in a checkpoint or a head: it is read, refused, or passed over; nothing else."""

import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.hostile import FEW, REPOSITORY, a_repository, refuses_or_returns, spoiled
from support.repo import House, take
from tenure.crypto.aead import context, seal_under
from tenure.crypto.hashing import content_hash
from tenure.domain.errors import UnsupportedFormatError
from tenure.repository import (
    entries,
    envelope,
    names,
    wire,
)
from tenure.repository.entries import Begin, PageRef, Snapshot
from tenure.repository.founding import wrapper_for
from tenure.repository.state import State

# An entry that a writer signed may say anything; it is read or passed over, and stops nobody.

BEGIN = Begin(session=bytes(16), writer=bytes(8), source="crm", base=0, expires=60)
COMMIT = Snapshot(
    session=bytes(16), writer=bytes(8), source="crm", group=bytes(16), manifest=names.manifest(3, bytes(16)),
    manifest_hash=bytes(32), view=3, taken_at=1.0, rows=1, plain=1,
    pages=(PageRef(epoch=1, writer=bytes(8), tag=bytes(16), page=bytes(16), hash=bytes(32)),),
)  # fmt: skip


def appended(house: House, body: bytes) -> None:
    """Append an entry with this body, signed and sealed as the writer of `crm` can."""
    assert house.objects is not None
    writer, state = house.writers["crm"], house.open(reader=False).state
    header = envelope.Header(
        repository=house.id, number=state.number + 1, previous=state.hash, checkpoint=0, at=state.at,
        salt=bytes(16), signer=writer.key.key_id,
    )  # fmt: skip
    head = wire.encode(header)
    aad = context("ledger entry", content_hash(head))
    sealed = seal_under(writer.ledger_secret, "tenure ledger", envelope._name(header), body, aad=aad)
    signed = b"TNRL\x01" + struct.pack("<I", len(head)) + head + struct.pack("<I", len(sealed)) + sealed
    house.objects.put(
        names.ledger_entry(state.number + 1), signed + writer.key.sign(b"tenure ledger entry\0" + signed)
    )


def as_of(house: House, session: bytes, view: int, **changes: Any) -> bytes:
    """Return a commit by the house's own writer, with some fields changed."""
    writer = house.writers["crm"].secrets.writer
    body = msgspec.structs.replace(
        COMMIT, session=session, writer=writer, view=view, manifest=names.manifest(view, session), pages=()
    )
    return wire.encode(msgspec.structs.replace(body, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"taken_at": float("nan")},
        {"taken_at": float("inf")},
        {"taken_at": -1.0},
        {"rows": -1},
        {"plain": -5},
        {"manifest": "../../etc/passwd"},
        {"manifest_hash": b""},
        {"pages": (PageRef(epoch=1, writer=bytes(8), tag=bytes(300), page=bytes(16), hash=bytes(32)),)},
    ],
    ids="-".join,
)
def test_a_snapshot_of_impossible_values_is_passed_over(changes: dict[str, Any]) -> None:
    house = House()
    house.create("crm")
    session = house.open(reader=False).begin("crm", house.executor, expires=3600)
    appended(house, as_of(house, session.begin.session, session.number, **changes))
    state = house.open(reader=True).state
    assert "values that no entry has" in state.refused[state.number]
    assert state.snapshots == {}
    assert take(house, {1: ("2025-01", "c1", "x")}) in house.open(reader=True).state.snapshots


@settings(max_examples=60, deadline=None)
@given(spoiled(wire.encode(BEGIN), wire.encode(COMMIT)))
def test_ledger_entries(body: bytes) -> None:
    house = House()
    house.create("crm")
    appended(house, body)
    try:
        state = house.open(reader=True).state
    except UnsupportedFormatError:
        return  # it may be of a newer version, so nobody goes past it
    assert state.snapshots == {}
    assert (
        state.number in {*state.refused, *(s.number for s in state.sessions.values())} or state.refused == {}
    )


@FEW
@given(st.data())
def test_checkpoints(data: st.DataObject) -> None:
    raw = data.draw(spoiled(wire.encode(a_repository().state)))
    refuses_or_returns(lambda: wire.decode(raw, State, what="checkpoint 3").open_epoch())


@FEW
@given(st.data())
def test_heads_of_ledger_entries(data: st.DataObject) -> None:
    clear = next(iter(a_repository().state.epochs.values())).opened
    header = envelope.Header(
        repository=REPOSITORY, number=3, previous=bytes(32), checkpoint=0, at=1.0, salt=bytes(16),
        signer=bytes(16), clear=clear,
    )  # fmt: skip
    head = data.draw(spoiled(wire.encode(header)))
    raw = b"TNRL\x01" + struct.pack("<I", len(head)) + head + struct.pack("<I", 20) + bytes(20) + bytes(64)

    def opened() -> None:
        found = envelope.parse(raw, number=3)
        if isinstance(found.header.clear, entries.EpochClear):
            refuses_or_returns(lambda: wrapper_for(found.header.clear.recipients))  # type: ignore[union-attr]
        found.open(bytes(32))

    refuses_or_returns(opened)
