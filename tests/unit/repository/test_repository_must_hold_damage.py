"""Must hold: a store that loses, cuts, swaps, flips, delays or goes down; old objects put back; clocks; old keys."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from support.faults import FaultPlan
from support.repo import House, Rows, identities, read_calls, read_rows, take
from support.ruins import assert_nothing_unnamed_after_sweep, assert_sound, copy_of, under
from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.errors import (
    IntegrityError,
    KeyMismatchError,
    RollbackError,
    StoreUnavailableError,
    TamperedError,
    TenureError,
    UnsupportedFormatError,
)
from tenure.domain.progress import SilentProgress
from tenure.keys.local import LocalKeyring
from tenure.objectstore.base import ObjectStore
from tenure.objectstore.memory import MemoryStore
from tenure.repository import names, rotation, verify
from tenure.repository.forgetting import Forgetting, Order
from tenure.repository.headfile import HeadInMemory
from tenure.repository.model import Cohort
from tenure.repository.page import open_keys, parse_page
from tenure.repository.pruning import Freed, Pruner
from tenure.repository.readback import Reading
from tenure.repository.scopes import Scope

Spoil = Callable[[bytes], bytes | None]
FIRST: Rows = {k: ("2025-01", f"c{k}", f"note {k}") for k in range(20)}
SECOND: Rows = {k: ("2025-02", f"c{k}", f"other {k}") for k in range(20)}
CALLS = {"a.wav": ("2025-01", "c1", b"a" * 9000)}


def flipped(at: int) -> Spoil:
    return lambda raw: raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


SPOILS: dict[str, Spoil] = {
    "lost": lambda raw: None,
    "cut": lambda raw: raw[: len(raw) // 2],
    "empty": lambda raw: b"",
    "first bit": flipped(0),
    "version": flipped(4),
    "middle bit": lambda raw: flipped(len(raw) // 2)(raw),
    "last bit": lambda raw: flipped(len(raw) - 1)(raw),
    "longer": lambda raw: raw + b"\0",
}


def made() -> tuple[House, list[int]]:
    house = House()
    house.create("crm")
    numbers = []
    for rows in (FIRST, SECOND):
        numbers.append(take(house, rows, CALLS if rows is FIRST else {}))
        house.clock.advance(hours=1)
    return house, numbers


def spoil(store: object, name: str, how: Spoil) -> None:
    assert isinstance(store, MemoryStore)
    raw, info = store._objects[name]
    changed = how(raw)
    if changed is None:
        del store._objects[name]
    else:
        store._objects[name] = (changed, replace(info, size=len(changed)))


def findings(house: House) -> list[verify.Damage]:
    place = house.place()
    plain = verify.without_keys(place.objects, place.key_stores, house.purge.public(), SilentProgress())
    full = verify.with_keys(house.open(reader=True), reading=Reading(share=1), progress=SilentProgress())
    return [*plain.damage, *full.damage]


def reads(house: House, number: int) -> bool:
    repo = house.open(reader=True)
    try:
        read_rows(repo, number, house.executor)
        read_calls(repo, number, house.executor)
    except IntegrityError:
        return False
    return True


def what_reading_says(house: House, number: int) -> str:
    repo = house.open(reader=True)
    try:
        read_rows(repo, number, house.executor)
        read_calls(repo, number, house.executor)
    except IntegrityError as e:
        return str(e)
    return ""


def of_first_only(house: House, numbers: list[int], kind: str) -> str:
    """Return the name of an object that the first snapshot needs and the second does not."""
    state = house.open(reader=True).state
    assert house.objects is not None
    if kind == "manifest":
        return state.snapshots[numbers[0]].entry.manifest
    page = next(p.ref for p in state.pages.values() if p.number == numbers[0] and p.ref.tag == tag_of(house))
    if kind == "page":
        return names.page(page.epoch, page.tag, page.page)
    (pack,) = house.place().key_stores.get(page).header.packs
    return names.pack(pack)


def tag_of(house: House) -> bytes:
    keys = house.open(reader=True).keys_of(house.writers["crm"].secrets.writer)
    return keys.tag(Cohort(data_set="notes", rule_class="", span="2025-01"))


@pytest.mark.parametrize("how", SPOILS)
@pytest.mark.parametrize("kind", ["pack", "manifest", "page"])
def test_damage_is_named_listed_with_its_snapshots_and_touches_no_other(kind: str, how: str) -> None:
    house, numbers = made()
    name = of_first_only(house, numbers, kind)
    for store in house.key_stores if kind == "page" else [house.objects]:
        spoil(store, name, SPOILS[how])
    # A pack read by ranges does not show what lies between or behind them; names against bytes do.
    unseen = kind == "pack" and how in {"first bit", "version", "longer", "last bit", "middle bit"}
    trouble = what_reading_says(house, numbers[0])
    assert name.rsplit("/", 1)[-1] in trouble or (unseen and not trouble)
    assert reads(house, numbers[1])
    found = findings(house)
    assert any(name in d.where or name in d.what for d in found) or how == "lost"
    assert found
    touched = {n for d in found for n in d.snapshots}
    assert touched <= {numbers[0]}
    assert touched or unseen


@pytest.mark.parametrize("how", SPOILS)
def test_a_page_that_one_key_store_spoiled_is_read_from_the_other(how: str) -> None:
    house, numbers = made()
    name = of_first_only(house, numbers, "page")
    spoil(house.key_stores[0], name, SPOILS[how])
    assert reads(house, numbers[0])
    assert any("keys-0" in d.what or "keys-0" in d.where for d in findings(house))


def test_a_page_that_one_key_store_lost_is_mended_by_a_sweep() -> None:
    house, numbers = made()
    spoil(house.key_stores[1], of_first_only(house, numbers, "page"), SPOILS["lost"])
    freed = Freed()
    Pruner(house.open(reader=True), SilentProgress()).sweep(freed)
    assert freed.mended == 1
    assert findings(house) == []


@pytest.mark.parametrize("how", SPOILS)
@pytest.mark.parametrize("back", [0, 2])
def test_a_spoiled_ledger_entry_stops_the_reader_and_is_named(how: str, back: int) -> None:
    house, _ = made()
    head = house.open(reader=True).state.number
    name = names.ledger_entry(head - back)
    spoil(house.objects, name, SPOILS[how])
    for memory in (house.memory, HeadInMemory()):
        fresh = copy_of(house)
        fresh.memory = memory
        if how == "lost" and back == 0 and memory is not house.memory:
            continue  # a tail that is gone leaves no trace but in the memory of who saw it
        with pytest.raises((TamperedError, IntegrityError, UnsupportedFormatError)) as raised:
            fresh.open(reader=True)
        assert str(head - back) in str(raised.value)
    place = house.place()
    found = verify.without_keys(place.objects, place.key_stores, house.purge.public(), SilentProgress())
    assert found.damage or (how == "lost" and back == 0)


@pytest.mark.parametrize("kind", ["pack", "manifest", "page", "ledger"])
def test_two_objects_swapped_are_both_refused(kind: str) -> None:
    house, numbers = made()
    stores = house.key_stores if kind == "page" else [house.objects]
    for store in stores:
        assert isinstance(store, MemoryStore)
        prefix = {
            "pack": names.PACKS,
            "manifest": names.MANIFESTS,
            "page": names.PAGES,
            "ledger": names.LEDGER,
        }[kind]
        one, other = [i.name for i in store.list(prefix)][-2:]
        if kind == "page":
            one, other = (
                of_first_only(house, numbers, "page"),
                next(i.name for i in store.list(prefix) if i.name != of_first_only(house, numbers, "page")),
            )
        store._objects[one], store._objects[other] = store._objects[other], store._objects[one]
    if kind == "ledger":
        with pytest.raises(TamperedError, match="swapped"):
            house.open(reader=True)
        return
    assert not reads(house, numbers[0])
    assert findings(house)


@pytest.mark.parametrize("hidden", [1, 3, 8])
def test_a_store_that_shows_new_objects_late_loses_nothing(hidden: int) -> None:
    house, numbers = made()
    late = under(house, FaultPlan(hidden=hidden))
    try:
        numbers.append(take(late, FIRST, CALLS))
    except TenureError:
        take(house, FIRST, CALLS)
    for number in house.open(reader=True).state.snapshots:
        assert reads(house, number)
    assert_sound(house.open(reader=True), house)


class Down:
    """A key store that does not answer."""

    def __getattr__(self, name: str) -> object:
        def refuse(*args: object, **named: object) -> object:
            raise StoreUnavailableError("the key store does not answer")

        return refuse


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("since", ["the order", "the judging"])
def test_a_key_store_that_is_down_is_pending_and_caught_up_when_it_returns(
    *, whole: bool, since: str
) -> None:
    house, numbers = made()
    kept = house.key_stores[1]
    stale = {i.name for i in kept.list("keys/")}
    records = {} if whole else {"notes": identities(house.open(reader=True), "crm", [b"i3"])}
    cohorts = (Cohort(data_set="notes", rule_class="", span="2025-01"),) if whole else ()
    scope = {"crm": Scope(records=records, cohorts=cohorts)}
    order = Order(kind="erase", plan=b"", rules=b"", approvals=())

    def work() -> Forgetting:
        return Forgetting(house.open(reader=True), house.executor, SilentProgress())

    found = None
    if since == "the judging":
        found = work().amend(work().order(scope, order), scope, left=0)
    house.key_stores[1] = cast("ObjectStore", Down())
    forget = work()
    found = found or forget.amend(forget.order(scope, order), scope, left=0)
    went = forget.carry_out(found)
    forget.finish(found, went, certificate="c")
    assert went.pending == {"keys-1"}
    expected = set() if whole else set(range(20)) - {3}
    assert set(read_rows(house.open(reader=True), numbers[0], house.executor)[0]) == expected
    house.key_stores[1] = kept
    left = {i.name for i in kept.list("keys/")}
    assert stale <= left
    # What it still holds is never read, even where the other store loses what is live.
    repo = house.open(reader=True)
    unnamed = {n for n in left if n.rsplit("/", 1)[-1] not in repo.state.pages}
    assert unnamed
    assert set(read_rows(repo, numbers[0], house.executor)[0]) == expected
    assert_nothing_unnamed_after_sweep(house)
    assert_sound(house.open(reader=True), house)


def forget_three(house: House) -> None:
    scope = {"crm": Scope(records={"notes": identities(house.open(reader=True), "crm", [b"i3"])})}
    work = Forgetting(house.open(reader=True), house.executor, SilentProgress())
    found = work.amend(
        work.order(scope, Order(kind="erase", plan=b"", rules=b"", approvals=())), scope, left=0
    )
    work.finish(found, work.carry_out(found), certificate="c")


def test_an_old_key_page_put_back_is_not_read_and_is_swept() -> None:
    house, numbers = made()
    name = of_first_only(house, numbers, "page")
    aside = house.key_stores[0].get(name)
    forget_three(house)
    for store in house.key_stores:
        store.put(name, aside)
    assert 3 not in read_rows(house.open(reader=True), numbers[0], house.executor)[0]
    Pruner(house.open(reader=True), SilentProgress()).sweep(Freed())
    assert not [i for s in house.key_stores for i in s.list(name)]


def test_an_old_ledger_tail_put_back_is_noticed_by_who_saw_more() -> None:
    house, _ = made()
    old = copy_of(house)
    forget_three(house)
    old.memory = house.memory
    with pytest.raises(RollbackError, match="old state"):
        old.open(reader=True)


def test_another_ledger_tail_is_noticed_by_who_saw_the_first() -> None:
    house, _ = made()
    old = copy_of(house)
    take(house, FIRST)
    for _ in range(2):
        take(old, SECOND)
    old.memory = house.memory
    with pytest.raises(RollbackError, match="exchanged"):
        old.open(reader=True)


def test_a_store_whose_clock_went_backwards_is_refused() -> None:
    house, _ = made()
    house.clock.advance(minutes=-90)
    with pytest.raises(RollbackError, match="clock"):
        house.open(reader=True)
    house.clock.advance(minutes=88)
    house.open(reader=True)


def test_a_page_kept_aside_opens_with_no_key_that_remains_after_rotation() -> None:
    house, numbers = made()
    aside = [house.key_stores[0].get(i.name) for i in house.key_stores[0].list("keys/")]
    old = house.readers[0], house.recovery
    house.readers.append(RecipientPrivate.generate())
    house.recovery = RecipientPrivate.generate()
    repo = house.open(reader=True)
    rotation.open_epoch(repo, house.recipients(), house.private_halves())
    assert rotation.reseal(house.open(reader=True), SilentProgress()) > 0
    assert rotation.close_old_epochs(house.open(reader=True)) == (1,)
    house.readers.pop(0)
    assert all(reads(house, n) for n in numbers)
    now = [house.key_stores[0].get(i.name) for i in house.key_stores[0].list("keys/")]
    for raw in aside:
        page = parse_page(raw, name="aside")
        for key in (*house.readers, house.recovery):
            with pytest.raises(KeyMismatchError):
                open_keys(page, LocalKeyring([key]))
        open_keys(page, LocalKeyring(list(old)))  # so that the check can fail
    for raw in now:
        open_keys(parse_page(raw, name="now"), LocalKeyring([house.recovery]))


def test_the_recovery_key_alone_reads_everything() -> None:
    house, numbers = made()
    house.readers = [house.recovery]
    house.memory = HeadInMemory()
    assert all(reads(house, n) for n in numbers)


@pytest.mark.parametrize("kind", ["manifest", "page", "ledger"])
def test_a_newer_version_of_an_object_is_refused_as_such(kind: str) -> None:
    house, _ = made()
    store = house.key_stores[0] if kind == "page" else house.objects
    assert isinstance(store, MemoryStore)
    prefix = {"manifest": names.MANIFESTS, "page": names.PAGES, "ledger": names.LEDGER}[kind]
    name = next(iter(store.list(prefix))).name
    spoil(store, name, lambda raw: raw[:4] + b"\x02" + raw[5:])
    place = house.place()
    found = verify.without_keys(place.objects, place.key_stores, house.purge.public(), SilentProgress())
    assert any("version 2" in d.what for d in found.damage)
    if kind == "ledger":
        with pytest.raises(UnsupportedFormatError):
            house.open(reader=True)
