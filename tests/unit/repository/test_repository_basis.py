"""What a snapshot builds on: it asks for what changed only, finds damage bit by bit, and stores nothing twice."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from support.damage import spoil
from support.forgets import begin, forget, keys_in, rows, scope_of
from support.repo import LAYOUT, Calls, House, identities, outcome, read_calls, read_rows, take, write_calls
from tenure.objectstore.base import ObjectStore
from tenure.objectstore.metered import Meter, MeteredStore, counts
from tenure.repository import basis, names, structure
from tenure.repository.model import Cohort
from tenure.repository.nodes import ref_of
from tenure.repository.scopes import Scope

MONTHS = [f"{year}-{month:02d}" for year in (2024, 2025) for month in range(1, 13)]


@pytest.fixture(params=[None, 8])
def house(request: pytest.FixtureRequest) -> House:
    house = House(requests=None if request.param is None else ThreadPoolExecutor(request.param))
    house.create("crm")
    return house


def table(months: int, *more: int) -> dict[int, tuple[str, str, str]]:
    some = {k: (MONTHS[k], f"c{k}", f"note {k}") for k in range(months)}
    return some | {100 + n: ("2026-01", f"c{n}", f"later {n}") for n in more}


def calls(count: int, size: int = 5000) -> Calls:
    return {f"{n}.wav": (MONTHS[n % 12], "anna", bytes([n]) * size) for n in range(count)}


def asked(house: House, media: Calls) -> Counter[str]:
    """Take a snapshot in which no row changed; return how many requests it took by method and kind."""
    meter, bare = Meter(), (house.objects, house.key_stores)
    assert house.objects is not None
    house.objects = MeteredStore(house.objects, meter)
    house.key_stores = [MeteredStore(s, meter) for s in house.key_stores]
    repo, session = begin(house)
    trees = tuple(session.base.trees("notes").values())
    session.add_table("notes", LAYOUT, trees, plain=1)
    write_calls(session, media)
    session.commit(outcome(repo.place.objects.now()))
    house.objects, house.key_stores = bare
    return Counter({f"{method} {kind}": n for (method, kind), n in counts(meter.take()).items()})


def test_a_snapshot_asks_as_much_of_two_years_as_of_two_months(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(basis, "LOOKED_AT", 2)
    take(house, table(2), calls(2))
    few = asked(house, calls(3))
    other = House(requests=house.requests)
    other.create("crm")
    take(other, table(24), calls(12))
    many = asked(other, calls(13))
    few["get data"] += 1  # the node that the new recording of a known month is put into
    assert few == many
    assert set(read_rows(other.open(reader=True), newest(other), house.executor)[0]) == set(range(24))


def test_little_is_stored_where_little_changed(house: House) -> None:
    some = {k: (MONTHS[k % 24], f"c{k}", f"note {k} " + "x" * 100) for k in range(2400)}
    take(house, some)
    before = stored(house)
    take(house, some | {7: (MONTHS[7], "c7", "changed")})
    assert stored(house) - before < before / 10
    assert keys_in(house, newest(house)) == set(some)


def stored(house: House) -> int:
    assert house.objects is not None
    return sum(info.size for info in house.objects.list(names.PACKS))


def newest(house: House) -> int:
    return max(house.open(reader=True).state.snapshots)


def test_recordings_that_were_away_for_one_snapshot_are_not_stored_again(house: House) -> None:
    take(house, table(2), calls(12, 50_000))
    take(house, table(2), {})
    before = stored(house)
    take(house, table(2), calls(12, 50_000))
    assert stored(house) - before < 50_000
    assert read_calls(house.open(reader=True), newest(house), house.executor) == {
        p: v[2] for p, v in calls(12, 50_000).items()
    }


def test_rows_that_were_away_for_one_snapshot_are_not_stored_again(house: House) -> None:
    many = {k: ("2025-01", f"c{k}", f"note {k} " + "x" * 500) for k in range(400)}
    take(house, many)
    take(house, {1000: ("2025-02", "c", "n")})
    before = stored(house)
    take(house, many)
    assert stored(house) - before < 20_000
    assert set(read_rows(house.open(reader=True), newest(house), house.executor)[0]) == set(many)


def lose_a_page(house: House, data_set: str, span: str) -> None:
    repo = house.open(reader=True)
    (writer,) = repo.state.writers_of("crm")
    tag = repo.keys_of(writer).tag(Cohort(data_set=data_set, rule_class="", span=span))
    for page in repo.state.pages.values():
        if page.ref.tag == tag:
            stores: list[ObjectStore] = house.key_stores
            for store in stores:
                store.delete(names.page(page.ref.epoch, page.ref.tag, page.ref.page))


def test_what_a_lost_page_named_is_stored_again_by_one_of_the_next_snapshots(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(basis, "LOOKED_AT", 6)
    take(house, table(24), calls(12))
    lose_a_page(house, "notes", "2024-05")
    lose_a_page(house, "calls", "2024-07")
    for _ in range(80):
        take(house, table(24), calls(12))
    repo = house.open(reader=True)
    assert set(read_rows(repo, newest(house), house.executor)[0]) == set(range(24))
    assert len(read_calls(repo, newest(house), house.executor)) == 12


def test_a_lost_tree_node_is_stored_again(house: House) -> None:
    take(house, table(24), calls(12))
    repo = house.open(reader=True)
    (writer,) = repo.state.writers_of("crm")
    reader = repo.structure_reader(repo.keys_of(writer))
    snapshot = repo.read(newest(house), house.executor)
    cohorts = dict(snapshot.root("notes").cohorts())
    (node,) = [
        ref
        for cohort, tree in cohorts.items()
        if cohort.span == "2024-05"
        for layer in tree.layers
        for ref in structure.nodes_of(layer, reader.structure)
    ]
    spoil(house, reader, node)
    take(house, table(24, 5), calls(12))
    found = read_rows(house.open(reader=True), newest(house), house.executor)[0]
    assert set(found) == {*range(24), 105}


def test_what_was_forgotten_since_is_not_named_again(house: House) -> None:
    take(house, rows(1, 2, 3))
    forget(house, scope_of(house, 2))
    state = house.open(reader=True).state
    assert len(state.cohorts_cut) == 1
    number = take(house, rows(1, 3))
    assert keys_in(house, number) == {1, 3}
    again = take(house, rows(1, 2, 3))
    assert keys_in(house, again) == {1, 2, 3}, "a record that came back is stored anew"


def after(house: House, media: Calls) -> int:
    """Take a snapshot of these recordings; return the bytes it added, and see that it reads."""
    before = stored(house)
    number = take(house, table(2), media)
    assert read_calls(house.open(reader=True), number, house.executor) == {p: v[2] for p, v in media.items()}
    return stored(house) - before


def noise(count: int) -> Calls:
    """Return recordings of one month of 50 kB that nothing makes smaller."""
    rng = np.random.default_rng(20260310)
    return {f"{n}.wav": ("2024-01", "anna", rng.bytes(50_000)) for n in range(count)}


def test_recordings_beside_one_that_was_forgotten_are_not_stored_again(house: House) -> None:
    media = noise(8)
    take(house, table(2), media)
    forget(house, {"crm": Scope(records={"calls": identities(house.open(reader=True), "crm", [b"3.wav"])})})
    left = {path: call for path, call in media.items() if path != "3.wav"}
    assert after(house, left) < 20_000
    assert after(house, left) < 20_000


def test_recordings_whose_tree_node_is_damaged_are_not_stored_again(house: House) -> None:
    media = noise(8)
    take(house, table(2), media)
    snapshot = house.open(reader=True).read(newest(house), house.executor)
    ((_, tree),) = snapshot.root("calls").cohorts()
    (node,) = structure.nodes_of(tree.layers[0], snapshot.chunks.structure)
    spoil(house, snapshot.chunks, node)
    assert after(house, media) < 20_000


@pytest.mark.parametrize("what", ["root", "manifest"])
def test_recordings_whose_root_or_manifest_is_damaged_are_not_stored_again(house: House, what: str) -> None:
    media = noise(8)
    take(house, table(2), media)
    repo = house.open(reader=True)
    snapshot = repo.read(newest(house), house.executor)
    if what == "root":
        spoil(house, snapshot.chunks, ref_of(snapshot.manifest.data_sets["calls"].root))
    else:
        assert house.objects is not None
        house.objects.delete(repo.snapshot(newest(house)).entry.manifest)
    assert after(house, media) < 20_000
