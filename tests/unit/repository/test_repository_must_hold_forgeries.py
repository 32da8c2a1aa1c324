"""Must hold: what a stolen writer, a stranger, a wrong key or a forged object may not do."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from support.repo import House, outcome, read_rows, take, write_rows
from support.ruins import assert_sound
from tenure.crypto.hashing import content_hash, random_bytes
from tenure.crypto.hpke import RecipientPrivate
from tenure.crypto.signing import SigningKey
from tenure.domain.errors import (
    ConfigError,
    KeyMismatchError,
    LeasedError,
    RepositoryNotFoundError,
    TamperedError,
    UnsupportedFormatError,
)
from tenure.domain.progress import SilentProgress
from tenure.objectstore.memory import MemoryStore
from tenure.repository import bundles, entries, envelope, names, verify
from tenure.repository.entries import (
    Amended,
    Begin,
    Body,
    Checkpoint,
    Hold,
    Merge,
    PageRef,
    Prune,
    Snapshot,
    Void,
)
from tenure.repository.founding import wrapper_for
from tenure.repository.manifest import seal_manifest
from tenure.repository.repository import Repository
from tenure.repository.secrets import ReaderSecrets
from tenure.repository.session import Session

ROWS: dict[int, tuple[str, str, str]] = {k: ("2025-01", f"c{k}", f"note {k}") for k in range(5)}


def made() -> tuple[House, int]:
    house = House()
    house.create("crm", "desk")
    return house, take(house, ROWS)


def a_page(house: House) -> PageRef:
    return next(iter(house.open(reader=True).state.pages.values())).ref


def a_body(kind: str, house: House, number: int) -> Body:
    page = a_page(house)
    bodies: dict[str, Body] = {
        "amended": Amended(forget=bytes(16), left=0, cohorts=(), scopes=(), fingerprints=b""),
        "merge": Merge(cause="forget", forget=b"", removed=(page.page,), added=(), head=number, begun=2e9),
        "prune": Prune(snapshots=(number,), reasons=("forged",)),
        "hold": Hold(
            hold="h", matter="m", reason="r", placed_by="p", review_by="", scope=b"", released="forged"
        ),
        "checkpoint": Checkpoint(state=b"\x80"),
        "epoch": entries.Epoch(epoch=2, state="open"),
        "remove": entries.Remove(writer=house.writers["desk"].secrets.writer, reason="forged"),
        "rules": entries.Rules(hash=b"", content=b"", approvals=()),
    }
    return bodies[kind]


@pytest.mark.parametrize(
    "kind", ["amended", "merge", "prune", "hold", "checkpoint", "epoch", "remove", "rules"]
)
def test_what_a_stolen_writer_orders_is_passed_over_and_listed(kind: str) -> None:
    house, number = made()
    thief = house.open(reader=False)
    before = house.open(reader=True).state
    thief.ledger.append(a_body(kind, house, number), house.writers["crm"].key)
    repo = house.open(reader=True)
    assert list(repo.state.refused) == [repo.state.number]
    assert "only the purge key" in repo.state.refused[repo.state.number]
    assert (repo.state.pages, repo.state.snapshots, repo.state.holds) == (
        before.pages,
        before.snapshots,
        before.holds,
    )
    assert len(read_rows(repo, number, house.executor)[0]) == 5
    assert take(house, ROWS) in house.open(reader=True).state.snapshots


def test_a_signature_of_nobody_known_stops_everything() -> None:
    house, number = made()
    house.open(reader=False).ledger._append(
        Prune(snapshots=(number,), reasons=("",)), house.purge, None, None
    )
    house, number = made()
    repo = house.open(reader=False)
    with pytest.raises(TamperedError, match="does not know"):
        repo.ledger.append(Prune(snapshots=(number,), reasons=("",)), SigningKey.generate())
    with pytest.raises(TamperedError, match="ledger entry"):
        house.open(reader=True)


def test_a_body_that_does_not_open_under_a_writers_signature_is_passed_over() -> None:
    house, _ = made()
    repo = house.open(reader=False)
    repo.ledger._trust = replace(repo.ledger._trust, ledger_secret=random_bytes(32))
    assert house.objects is not None
    state = repo.state
    raw = envelope.make(
        Void(session=bytes(16), writer=house.writers["crm"].secrets.writer, reason=""),
        repository=house.id, number=state.number + 1, previous=state.hash, checkpoint=0,
        at=0.0,
        ledger_secret=random_bytes(32), key=house.writers["crm"].key,
    )  # fmt: skip
    house.objects.put(names.ledger_entry(state.number + 1), raw)
    assert "does not open" in house.open(reader=True).state.refused[state.number + 1]


def test_a_stolen_writer_cannot_hand_readers_keys_of_its_own() -> None:
    house, number = made()
    thief = house.open(reader=False)
    poison = ReaderSecrets(ledger=house.writers["crm"].ledger_secret, fingerprint=bytes(32))
    clear = bundles.epoch_clear(
        poison,
        repository=house.id,
        epoch=2,
        recipients=house.recipients(),
        wrapper=wrapper_for(house.recipients()),
    )
    honest = house.open(reader=True).secrets.fingerprint
    thief.ledger.append(entries.Epoch(epoch=2, state="open"), house.writers["crm"].key, clear=clear)
    repo = house.open(reader=True)
    assert repo.secrets.fingerprint == honest
    assert repo.epoch().opened.epoch == 1
    assert len(read_rows(repo, number, house.executor)[0]) == 5


def test_a_stolen_writer_cannot_name_another_checkpoint_than_the_purge_keys() -> None:
    house, number = made()
    assert house.objects is not None
    writer, state = house.writers["crm"], house.open(reader=False).state
    for pointer in (1, number, 10**9):
        raw = envelope.make(
            Void(session=bytes(16), writer=writer.secrets.writer, reason=""),
            repository=house.id, number=state.number + 1, previous=state.hash, checkpoint=pointer,
            at=0.0,
            ledger_secret=writer.ledger_secret, key=writer.key,
        )  # fmt: skip
        house.objects.put(names.ledger_entry(state.number + 1), raw)
        repo = house.open(reader=True)
        assert list(repo.state.snapshots) == [number]
        state = repo.state


def begun(house: House) -> tuple[Repository, Session]:
    repo = house.open(reader=False)
    session = repo.begin("crm", house.executor, expires=60, alone=True)
    write_rows(repo, session, ROWS | {9: ("2025-02", "c9", "more")})
    return repo, session


def forged(change: Callable[[Snapshot, House], Snapshot]) -> str:
    """Commit an entry that was changed after it was made; return why the ledger passes it over."""
    house, number = made()
    repo, session = begun(house)
    append = repo.ledger.append

    def changed(body: Snapshot, key: SigningKey, **_: object) -> object:
        return append(change(body, house), key)

    repo.ledger.append = changed  # type: ignore[method-assign,assignment]
    with pytest.raises(LeasedError):
        session.commit(outcome(house.clock.now()))
    after = house.open(reader=True)
    assert list(after.state.snapshots) == [number]
    assert len(read_rows(after, number, house.executor)[0]) == 5
    assert_sound(after, house)
    return after.state.refused[after.state.number]


def with_fields(body: Snapshot, **fields: object) -> Snapshot:
    return type(body)(**{f: fields.get(f, getattr(body, f)) for f in body.__struct_fields__})  # type: ignore[arg-type]


def test_a_writer_cannot_commit_for_another_source() -> None:
    assert "source" in forged(lambda body, _: with_fields(body, source="desk"))


def test_a_writer_cannot_claim_a_later_view() -> None:
    assert "view" in forged(lambda body, _: with_fields(body, view=body.view + 1))


def test_a_writer_cannot_take_over_a_live_page() -> None:
    def take_over(body: Snapshot, house: House) -> Snapshot:
        page = a_page(house)
        mine = PageRef(epoch=1, writer=body.writer, tag=page.tag, page=page.page, hash=bytes(32))
        return with_fields(body, pages=(*body.pages, mine))

    assert "live already" in forged(take_over)


def test_a_writer_cannot_name_pages_of_another_writer_or_of_no_open_epoch() -> None:
    def foreign(body: Snapshot, house: House) -> Snapshot:
        other = house.writers["desk"].secrets.writer
        return with_fields(
            body, pages=(PageRef(epoch=1, writer=other, tag=bytes(16), page=bytes(16), hash=bytes(32)),)
        )

    def ancient(body: Snapshot, _: House) -> Snapshot:
        return with_fields(
            body, pages=(PageRef(epoch=7, writer=body.writer, tag=bytes(16), page=bytes(16), hash=bytes(32)),)
        )

    assert "another writer" in forged(foreign)
    assert "epoch" in forged(ancient)


def test_a_writer_cannot_begin_or_void_sessions_of_another_source() -> None:
    house, _ = made()
    desk = house.open(reader=False).begin("desk", house.executor, expires=60)
    thief, writer = house.open(reader=False), house.writers["crm"]
    mine = writer.secrets.writer
    thief.ledger.append(Void(session=desk.begin.session, writer=mine, reason="forged"), writer.key)
    thief.ledger.append(Begin(session=bytes(16), writer=mine, source="desk", base=0, expires=60), writer.key)
    state = house.open(reader=True).state
    assert list(state.sessions) == [desk.begin.session.hex()]
    assert len(state.refused) == 2


@pytest.mark.parametrize("seconds", [0, -1, 8 * 24 * 3600, 1 << 40])
def test_no_session_lasts_for_ever(seconds: int) -> None:
    house, _ = made()
    repo, writer = house.open(reader=False), house.writers["crm"]
    with pytest.raises(ConfigError):
        repo.begin("crm", house.executor, expires=seconds)
    entry = Begin(session=bytes(16), writer=writer.secrets.writer, source="crm", base=0, expires=seconds)
    assert repo.ledger.append(entry, writer.key).sessions == {}


def test_a_removed_writer_can_neither_begin_nor_commit() -> None:
    house, number = made()
    _, session = begun(house)
    house.open(reader=True).remove("crm", "its laptop was stolen")
    with pytest.raises(LeasedError):
        session.commit(outcome(house.clock.now()))
    with pytest.raises(LeasedError, match="removed"):
        house.open(reader=False).begin("crm", house.executor, expires=60)
    assert list(house.open(reader=True).state.snapshots) == [number]


def test_a_manifest_signed_by_another_key_is_refused() -> None:
    house, number = made()
    repo = house.open(reader=True)
    state = repo.snapshot(number)
    keys = repo.keys_of(state.entry.writer)
    raw = seal_manifest(repo.manifest(state), keys=keys, repository=house.id, key=SigningKey.generate())
    assert isinstance(house.objects, MemoryStore)
    info = house.objects.stat(state.entry.manifest)
    house.objects._objects[state.entry.manifest] = (raw, info)
    with pytest.raises(TamperedError, match="not the one that was committed"):
        repo.manifest(state)
    state.entry = with_fields(state.entry, manifest_hash=content_hash(raw))
    with pytest.raises(TamperedError, match="signature"):
        repo.manifest(state)


def test_keys_of_another_house_open_nothing_and_say_so() -> None:
    house, _ = made()
    stranger = replace(house, readers=[RecipientPrivate.generate()])
    with pytest.raises(KeyMismatchError, match="opens no epoch"):
        stranger.open(reader=True)
    with pytest.raises(ConfigError, match="no key"):
        house.open(reader=False, writers=False)


def test_a_process_without_the_purge_key_orders_nothing() -> None:
    house, _ = made()
    with pytest.raises(KeyMismatchError, match="purge key"):
        house.open(reader=False).remove("crm", "")


def test_a_marker_that_is_not_the_pinned_one_is_refused() -> None:
    house, _ = made()
    other = House(purge=house.purge)
    other.create("crm")
    assert isinstance(house.objects, MemoryStore)
    assert isinstance(other.objects, MemoryStore)
    mine = house.objects._objects[names.MARKER]
    house.objects._objects[names.MARKER] = other.objects._objects[names.MARKER]
    with pytest.raises(TamperedError, match="another repository"):
        house.open(reader=True)
    stranger = House()
    stranger.create()
    assert isinstance(stranger.objects, MemoryStore)
    house.objects._objects[names.MARKER] = stranger.objects._objects[names.MARKER]
    with pytest.raises(TamperedError, match="purge key"):
        house.open(reader=True)
    house.objects._objects[names.MARKER] = (mine[0].replace(b'"1-draft"', b'"2"'), mine[1])
    with pytest.raises(UnsupportedFormatError, match="'2'"):
        house.open(reader=True)
    house.objects._objects[names.MARKER] = (mine[0][:40], mine[1])
    with pytest.raises(TamperedError, match="tenure\\.json"):
        house.open(reader=True)
    house.objects.delete(names.MARKER)
    with pytest.raises(RepositoryNotFoundError, match="tenure\\.json"):
        house.open(reader=True)


def test_objects_that_only_pretend_to_be_ledger_entries_stop_nobody() -> None:
    house, number = made()
    assert house.objects is not None
    house.objects.put("ledger/x", b"?")
    house.objects.put(names.LEDGER + "9" * 19, b"?")
    assert len(read_rows(house.open(reader=True), number, house.executor)[0]) == 5


def test_an_admission_that_a_stolen_writer_signed_is_believed_by_no_verification() -> None:
    house, _ = made()
    assert house.objects is not None
    thief, own = house.open(reader=False), SigningKey.generate()
    nothing = Void(session=bytes(16), writer=house.writers["crm"].secrets.writer, reason="")
    for public in (own.public().raw, b"no key at all"):
        clear = entries.AdmitClear(writer=b"x" * 8, public=public, stanzas=(), bundle=b"")
        thief.ledger.append(nothing, house.writers["crm"].key, clear=clear)
    state = thief.state
    forged = envelope.make(
        nothing, repository=house.id, number=state.number + 1, previous=state.hash, checkpoint=0, at=0.0,
        ledger_secret=house.writers["crm"].ledger_secret, key=own,
    )  # fmt: skip
    house.objects.put(names.ledger_entry(state.number + 1), forged)
    place = house.place()
    plain = verify.without_keys(place.objects, place.key_stores, house.purge.public(), SilentProgress())
    assert [(d.where, d.what) for d in plain.damage] == [
        (names.ledger_entry(state.number + 1), "signed by a key that the ledger never admitted")
    ]
