"""Repacking: what lives moves unchanged, what is dead goes, and nothing doubtful is written anew."""

from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest

from support.forgets import ORDER, begin, forgetting
from support.repo import (
    Calls,
    House,
    Rows,
    identities,
    outcome,
    read_calls,
    read_rows,
    take,
    write_calls,
    write_rows,
)
from support.ruins import assert_nothing_unnamed_after_sweep, assert_sound, copy_of
from tenure.domain.errors import IntegrityError, ObjectLockedError, StalePlanError
from tenure.domain.progress import SilentProgress
from tenure.objectstore.memory import MemoryStore
from tenure.repository import names
from tenure.repository.content import CohortContent, rewriter_of
from tenure.repository.keeping import KeepPolicy, PrunePlan, plan_prune
from tenure.repository.model import Cohort
from tenure.repository.page import open_index, open_keys
from tenure.repository.pruning import Freed, Pruner
from tenure.repository.repacking import Repacker
from tenure.repository.repository import Repository
from tenure.repository.scopes import Scope
from tenure.repository.snapshotreader import Balance

ROWS: Rows = {k: ("2025-01", f"c{k % 5}", f"note {k} " + "y" * 40) for k in range(40)}
SOUND = Random(3)
CALLS: Calls = {f"{k}.wav": ("2025-01", f"c{k}", SOUND.randbytes(2000 * k)) for k in range(6)}

LOST = ("4.wav", "5.wav")


def house_with_worn_packs() -> tuple[House, int]:
    """Return an installation in whose one pack more than a third is dead, and its snapshot."""
    house = House()
    house.create("crm")
    number = take(house, ROWS, CALLS)
    house.clock.advance(days=1)
    repo = house.open(reader=True)
    ids = identities(repo, "crm", [p.encode() for p in LOST])
    scope = {"crm": Scope(records={"calls": ids})}
    work = forgetting(house, repo)
    found = work.amend(work.order(scope, ORDER), scope, left=0)
    work.finish(found, work.carry_out(found), certificate="c")
    return house, number


def worn(house: House) -> list[str]:
    return [p.info.name for p in Repacker(house.open(reader=True), SilentProgress()).worn()]


def packs(house: House) -> dict[str, int]:
    assert house.objects is not None
    return {i.name: i.size for i in house.objects.list(names.PACKS)}


def repacked(house: House) -> Freed:
    freed = Freed()
    Pruner(house.open(reader=True), SilentProgress()).repack(freed)
    return freed


def assert_all_there(house: House, number: int) -> None:
    repo = house.open(reader=True)
    assert_sound(repo, house)
    assert read_rows(repo, number, house.executor)[0] == {k: (c, t) for k, (_, c, t) in ROWS.items()}
    calls = read_calls(repo, number, house.executor)
    assert calls == {p: c[2] for p, c in CALLS.items() if p not in LOST}


def chunks_by_ref(repo: Repository) -> dict[bytes, tuple[bytes, bytes]]:
    """Return id and incarnation -> (sealed bytes, key) of every live chunk."""
    found = {}
    for page_state in repo.state.pages.values():
        page = repo.place.key_stores.get(page_state.ref)
        _, entries, _ = open_index(page, repo.keys_of(page_state.ref.writer))
        deks = open_keys(page, repo.unwrapper)
        for entry, dek in zip(entries, deks, strict=True):
            name = names.pack(page.header.packs[entry["pack"]])
            sealed = repo.place.objects.get(name, offset=int(entry["offset"]), length=int(entry["length"]))
            found[entry["id"].tobytes() + entry["inc"].tobytes()] = (sealed, dek.tobytes())
    return found


def test_a_pack_more_than_a_third_dead_is_emptied_and_goes() -> None:
    house, number = house_with_worn_packs()
    before = packs(house)
    old = worn(house)
    assert old
    freed = repacked(house)
    assert not set(old) & set(packs(house))
    assert (freed.repacked, freed.packs) == (len(old), len(old))
    assert freed.bytes == sum(before[name] for name in old)
    assert 0 < freed.copied < freed.bytes * 2 / 3
    assert sum(packs(house).values()) == sum(before.values()) - freed.bytes + freed.copied
    assert_all_there(house, number)
    assert_nothing_unnamed_after_sweep(house)


def test_ciphertexts_and_their_keys_are_the_same_afterwards() -> None:
    house, _ = house_with_worn_packs()
    before = chunks_by_ref(house.open(reader=True))
    repacked(house)
    assert chunks_by_ref(house.open(reader=True)) == before


def test_old_pages_are_gone_from_every_key_store() -> None:
    house, _ = house_with_worn_packs()
    old = set(house.open(reader=True).state.pages)
    repacked(house)
    new = set(house.open(reader=True).state.pages)
    assert old - new
    for store in house.key_stores:
        assert {i.name.rsplit("/", 1)[-1] for i in store.list(names.PAGES)} == new


def test_packs_that_are_hardly_dead_are_left_alone() -> None:
    house = House()
    house.create("crm")
    take(house, ROWS, CALLS)
    before = packs(house)
    assert repacked(house) == Freed()
    assert packs(house) == before


def test_what_was_repacked_is_not_repacked_again() -> None:
    house, number = house_with_worn_packs()
    repacked(house)
    before = packs(house)
    assert repacked(house) == Freed()
    assert packs(house) == before
    assert_all_there(house, number)


def test_a_prune_repacks_unless_it_is_told_not_to() -> None:
    house, _ = house_with_worn_packs()
    repo = house.open(reader=True)
    plan = pruning_nothing(repo)
    assert Pruner(repo, SilentProgress()).prune(plan, repack=False).repacked == 0
    assert worn(house)
    plan = pruning_nothing(repo)
    assert Pruner(repo, SilentProgress()).prune(plan).repacked > 0
    assert not worn(house)


def pruning_nothing(repo: Repository) -> PrunePlan:
    return plan_prune(repo.refresh(), KeepPolicy())


@pytest.mark.parametrize("where", ["header", "live", "dead"])
def test_a_pack_of_changed_bytes_is_named_and_never_copied(where: str) -> None:
    house, _ = house_with_worn_packs()
    (name,) = worn(house)
    flip(house, name, {"header": 7, "live": live_byte(house, name), "dead": dead_byte(house, name)}[where])
    before = packs(house)
    freed = repacked(house)
    assert freed.unsound == [name]
    assert not freed.is_whole
    assert (freed.repacked, freed.copied) == (0, 0)
    assert packs(house) == before


def spans(house: House, name: str) -> list[tuple[int, int]]:
    repo, found = house.open(reader=True), []
    for page_state in repo.state.pages.values():
        page = repo.place.key_stores.get(page_state.ref)
        _, entries, _ = open_index(page, repo.keys_of(page_state.ref.writer))
        found += [
            (int(e["offset"]), int(e["offset"]) + int(e["length"]))
            for e in entries
            if names.pack(page.header.packs[e["pack"]]) == name
        ]
    return sorted(found)


def live_byte(house: House, name: str) -> int:
    return spans(house, name)[-1][0]


def dead_byte(house: House, name: str) -> int:
    live = {b for start, end in spans(house, name) for b in range(start, end)}
    return next(b for b in range(16, packs(house)[name]) if b not in live)


def flip(house: House, name: str, at: int) -> None:
    assert isinstance(house.objects, MemoryStore)
    raw, info = house.objects._objects[name]
    house.objects._objects[name] = (raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], info)


def test_a_chunk_that_its_key_does_not_open_is_not_copied() -> None:
    house, _ = house_with_worn_packs()
    repo = house.open(reader=True)
    keys = repo.keys_of(house.writers["crm"].secrets.writer)
    cohort = Cohort(data_set="calls", rule_class="", span="2025-01")
    rewriter = rewriter_of(repo)
    pages = repo.state.live_pages(frozenset({keys.writer}), keys.tag(cohort))
    content = CohortContent.load(pages, keys, repo.place.key_stores, repo.unwrapper)
    content.deks = content.deks[::-1]
    rewriter.replace([content], cause="merge")
    (name,) = worn(house)
    freed = repacked(house)
    assert freed.unsound == [name]
    assert name in packs(house)


def test_one_changed_pack_does_not_keep_the_others_from_being_repacked() -> None:
    house, _ = house_with_worn_packs()
    take(house, ROWS, dict(CALLS) | {"9.wav": ("2025-02", "c9", SOUND.randbytes(30_000))})
    ids = identities(house.open(reader=True), "crm", [b"9.wav"])
    scope = {"crm": Scope(records={"calls": ids})}
    work = forgetting(house)
    found = work.amend(work.order(scope, ORDER), scope, left=0)
    work.finish(found, work.carry_out(found), certificate="c")
    first, *rest = worn(house)
    assert rest
    flip(house, first, 20)
    freed = repacked(house)
    assert freed.unsound == [first]
    assert freed.repacked == len(rest)
    assert set(packs(house)) & {first, *rest} == {first}


def test_a_pack_under_a_lock_is_retained_and_goes_when_the_lock_has_ended() -> None:
    house, number = house_with_worn_packs()
    until = datetime(2026, 5, 1, tzinfo=UTC)
    old = worn(house)
    store = house.objects

    class Locked:
        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def delete(self, name: str) -> None:
            raise ObjectLockedError(f"{name} is locked", until=until)

    freed = repacked(replace(house, objects=Locked()))  # type: ignore[arg-type]
    assert (freed.repacked, freed.packs, freed.bytes) == (len(old), 0, 0)
    assert (freed.retained, freed.retained_until) == (len(old), until)
    assert set(old) <= set(packs(house))
    assert not worn(house)
    assert_all_there(house, number)
    later = Freed()
    Pruner(house.open(reader=True), SilentProgress()).sweep(later)
    assert later.packs == len(old)
    assert not set(old) & set(packs(house))


def test_sources_that_lose_something_or_are_being_snapshotted_wait() -> None:
    house, number = house_with_worn_packs()
    scope = {"crm": Scope(records={"calls": identities(house.open(reader=True), "crm", [b"1.wav"])})}
    other = copy_of(house)
    begin(other)
    assert repacked(other) == Freed()
    forgetting(house).order(scope, ORDER)
    assert repacked(house) == Freed()
    assert_all_there(house, number)


def test_a_forgetting_that_begins_meanwhile_stops_it_and_nothing_comes_back() -> None:
    house, number = house_with_worn_packs()
    repo = house.open(reader=True)
    scope = {"crm": Scope(records={"calls": identities(repo, "crm", [b"3.wav"])})}
    append = repo.ledger.append

    def ordered_first(*args: object, **named: object) -> object:
        work = forgetting(house)
        found = work.amend(work.order(scope, ORDER), scope, left=0)
        work.finish(found, work.carry_out(found), certificate="c")
        return append(*args, **named)  # type: ignore[arg-type]

    repo.ledger.append = ordered_first  # type: ignore[method-assign,assignment]
    with pytest.raises(StalePlanError):
        Pruner(repo, SilentProgress()).repack(Freed())
    calls = read_calls(house.open(reader=True), number, house.executor)
    assert set(calls) == set(CALLS) - {*LOST, "3.wav"}
    assert_sound(house.open(reader=True), house)
    assert_nothing_unnamed_after_sweep(house)


def test_of_two_repackings_at_once_one_is_refused_and_no_chunk_is_lost() -> None:
    house, number = house_with_worn_packs()
    repo = house.open(reader=True)
    append = repo.ledger.append

    def other_first(*args: object, **named: object) -> object:
        repacked(house)
        return append(*args, **named)  # type: ignore[arg-type]

    repo.ledger.append = other_first  # type: ignore[method-assign,assignment]
    with pytest.raises(StalePlanError):
        Pruner(repo, SilentProgress()).repack(Freed())
    assert_all_there(house, number)
    assert_nothing_unnamed_after_sweep(house)
    assert_all_there(house, number)


def test_a_snapshot_that_began_before_commits_and_reads_after_a_repacking() -> None:
    house, number = house_with_worn_packs()
    repo = house.open(reader=True)
    worn_packs = Repacker(repo, SilentProgress())
    old = worn_packs.worn()
    writer, session = begin(house)
    write_rows(writer, session, ROWS)
    write_calls(session, {p: c for p, c in CALLS.items() if p not in LOST})
    moved = list(worn_packs._batch(old))
    assert moved
    assert house.objects is not None
    for info in moved:
        house.objects.delete(info.name)
    new = session.commit(outcome(house.clock.now()))
    assert_all_there(house, number)
    assert set(read_calls(house.open(reader=True), new, house.executor)) == set(CALLS) - set(LOST)


def test_two_runs_give_the_same_chunks_packs_of_different_names() -> None:
    house, _ = house_with_worn_packs()
    other, before = copy_of(house), packs(house).keys()
    repacked(house)
    repacked(other)
    assert packs(house).keys() - before
    assert not (packs(house).keys() - before) & (packs(other).keys() - before)


def test_whoever_reads_while_packs_are_emptied_reads_to_the_end() -> None:
    house, number = house_with_worn_packs()
    repo = house.open(reader=True)
    reader = repo.read(number, house.executor)
    listed = list(reader.recordings("calls", Balance()))
    batches = reader.rows("notes", Balance())
    first = next(batches)
    assert repacked(house).repacked
    found = {
        meta.recording.path.decode(): b"".join(map(bytes, reader.pieces(cohort, meta)))
        for cohort, meta in listed
    }
    assert found == {p: c[2] for p, c in CALLS.items() if p not in LOST}
    assert len(first) + sum(map(len, batches)) == len(ROWS)


def test_whoever_reads_while_a_pack_is_lost_is_told_so() -> None:
    house, number = house_with_worn_packs()
    repo = house.open(reader=True)
    reader = repo.read(number, house.executor)
    listed = list(reader.recordings("calls", Balance()))
    assert house.objects is not None
    for name in packs(house):
        house.objects.delete(name)
    with pytest.raises(IntegrityError, match="is missing from the object store"):
        b"".join(
            map(bytes, reader.pieces(*next(pair for pair in listed if pair[1].recording.path == b"3.wav")))
        )
