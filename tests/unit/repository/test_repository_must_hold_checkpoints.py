"""Must hold: whoever begins at a checkpoint ends with the very state of whoever read everything."""

import msgspec
import pytest

from support.repo import House, identities, read_rows, take
from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.progress import SilentProgress
from tenure.repository import ledger, names, rotation
from tenure.repository.entries import Hold, Void
from tenure.repository.forgetting import Forgetting, Order
from tenure.repository.headfile import HeadInMemory
from tenure.repository.ledger import Ledger
from tenure.repository.scopes import Scope
from tenure.repository.state import State

ROWS: dict[int, tuple[str, str, str]] = {k: ("2025-01", f"c{k}", f"note {k}") for k in range(20)}


def from_the_start(house: House) -> State:
    repo = house.open(reader=True)
    whole = Ledger(repo.place.objects, repo._trust, HeadInMemory())
    whole._read_any = True
    return whole.refresh()


def busy_house() -> House:
    house = House()
    house.create("crm", "desk")
    take(house, ROWS)
    house.clock.advance(hours=1)
    repo = house.open(reader=True)
    scope = {"crm": Scope(records={"notes": identities(repo, "crm", [b"i3"])})}
    work = Forgetting(repo, house.executor, SilentProgress())
    found = work.amend(
        work.order(scope, Order(kind="erase", plan=b"", rules=b"", approvals=())), scope, left=0
    )
    work.finish(found, work.carry_out(found), certificate="c")
    hold = Hold(hold="h", matter="m", reason="r", placed_by="p", review_by="", scope=b"")
    repo.ledger.append(hold, house.purge)
    house.open(reader=False).begin("desk", house.executor, expires=60)
    repo.ledger.append(
        Void(session=bytes(16), writer=bytes(8), reason=""), house.writers["crm"].key
    )  # refused
    return house


def test_the_state_after_a_checkpoint_is_the_state_from_the_start() -> None:
    house = busy_house()
    before = house.open(reader=True)
    at = before.ledger.checkpoint(house.purge).number
    house.clock.advance(minutes=1)
    number = take(house, ROWS | {77: ("2025-02", "c", "new")})
    plain = from_the_start(house)
    repo = house.open(reader=True)
    assert repo.state.checkpoint == at
    assert msgspec.msgpack.encode(repo.state) == msgspec.msgpack.encode(plain)
    assert 77 in read_rows(repo, number, house.executor)[0]


def test_a_reader_that_begins_at_a_checkpoint_asks_for_no_entry_before_it() -> None:
    house = busy_house()
    at = house.open(reader=True).ledger.checkpoint(house.purge).number
    take(house, ROWS)
    assert house.objects is not None
    for number in range(1, at):
        house.objects.delete(names.ledger_entry(number))
    house.memory = HeadInMemory()
    repo = house.open(reader=True)
    assert set(repo.secrets.writers) == {w.secrets for w in house.writers.values()}
    assert set(read_rows(repo, max(repo.state.snapshots), house.executor)[0]) == set(ROWS)
    take(house, ROWS)


def test_secrets_come_out_of_a_checkpoint_after_rotation_and_admission() -> None:
    house = busy_house()
    house.clock.advance(hours=1)
    house.readers.append(RecipientPrivate.generate())
    rotation.open_epoch(house.open(reader=True), house.recipients(), house.private_halves())
    rotation.reseal(house.open(reader=True), SilentProgress())
    rotation.close_old_epochs(house.open(reader=True))
    house.writers["mail"] = house.open(reader=True).admit("mail")
    house.open(reader=True).ledger.checkpoint(house.purge)
    house.readers.pop(0)
    repo = house.open(reader=True)
    assert {w.secrets.writer for w in house.writers.values()} == {w.writer for w in repo.secrets.writers}
    assert set(read_rows(repo, max(repo.state.snapshots), house.executor)[0]) == set(ROWS) - {3}


def test_the_purge_key_appends_a_checkpoint_when_one_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "CHECKPOINT_EVERY", 5)
    house = busy_house()
    found = house.open(reader=True).state
    assert found.checkpoint > 0
    for _ in range(4):
        take(house, ROWS)
    late = house.open(reader=True)
    assert late.ledger.checkpoint_due()
    late.remove("desk", "gone")
    assert not late.ledger.checkpoint_due()
    assert late.state.checkpoint == late.state.number
    assert msgspec.msgpack.encode(from_the_start(house)) == msgspec.msgpack.encode(
        house.open(reader=True).state
    )
