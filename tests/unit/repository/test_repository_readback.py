"""Data is read back in rounds: small looks come round to all of it, and only a whole round without damage proves."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.forgets import forget
from support.repo import House, identities, take
from tenure.domain.progress import SilentProgress
from tenure.objectstore.memory import MemoryStore
from tenure.repository import names, readback
from tenure.repository.readback import Check, Reading
from tenure.repository.scopes import Scope
from tenure.repository.verify import Verification, with_keys

MONTHS = [f"2025-{month:02}" for month in range(1, 7)]
CALLS = {f"{m}.wav": (m, "c", m.encode() * 900) for m in MONTHS}


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(readback, "SLICE_BYTES", 1)  # every chunk is a slice of its own
    made = House()
    made.create("crm")
    take(made, rows("first"), CALLS)
    return made


def rows(changed: str) -> dict[int, tuple[str, str, str]]:
    return {
        k: (MONTHS[k % 6], f"c{k}", f"note {k} {changed if k % 5 == 0 else ''}" + "x" * 80)
        for k in range(300)
    }


class Notebook:
    """Keeps checks as the control database does."""

    def __init__(self) -> None:
        self.checks: dict[bytes, Check] = {}
        self.saved = 0

    def save(self, check: Check) -> None:
        self.checks[check.tag] = check
        self.saved += 1

    def look(self, house: House, share: float, is_over: Callable[[], bool] = lambda: False) -> Verification:
        house.clock.advance(hours=1)
        reading = Reading(share=share, checks=dict(self.checks), save=self.save, is_over=is_over)
        return with_keys(house.open(reader=True), reading=reading, progress=SilentProgress())

    def proven(self, house: House) -> int:
        state = house.open(reader=True).state
        tags = {page.ref.tag for page in state.pages.values()}
        return min(self.checks[t].proven if t in self.checks else 0 for t in tags)


def test_one_look_at_everything_proves_what_was_there(house: House) -> None:
    notebook = Notebook()
    head = house.open(reader=True).state.number
    found = notebook.look(house, 1.0)
    assert found.damage == []
    assert notebook.proven(house) == head


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_small_looks_come_round_to_every_chunk(house: House, share: float) -> None:
    notebook, chunks, looks = Notebook(), 0, 0
    everything = Notebook().look(house, 1.0).chunks
    while not notebook.proven(house):
        looked = notebook.look(house, share)
        assert looked.damage == []
        assert looked.chunks > 0
        chunks, looks = chunks + looked.chunks, looks + 1
        assert looks < 200, "it never came round"
    assert chunks - looked.chunks < everything, "chunks were read twice before all were read once"


def test_looks_that_are_cut_short_go_on_where_they_stopped(house: House) -> None:
    notebook, chunks, last = Notebook(), 0, 0
    everything = Notebook().look(house, 1.0).chunks
    while not notebook.proven(house):
        before = notebook.saved
        last = notebook.look(house, 0.99, lambda: notebook.saved >= before + 3).chunks  # noqa: B023 - called at once
        assert 0 < last <= 4
        chunks += last
    assert chunks - last < everything


def test_what_came_later_is_not_proven_by_an_earlier_look(house: House) -> None:
    notebook = Notebook()
    notebook.look(house, 1.0)
    before = notebook.proven(house)
    number = take(house, rows("second"), CALLS)
    assert notebook.proven(house) < number
    assert before < number
    notebook.look(house, 1.0)
    assert notebook.proven(house) >= number


def flip_one_pack(house: House) -> Callable[[], None]:
    """Change a byte in the middle of a pack; return what puts it right."""
    assert isinstance(house.objects, MemoryStore)
    name = next(info.name for info in house.objects.list(names.PACKS))
    raw = house.objects.get(name)
    spoiled = bytearray(raw)
    spoiled[len(raw) // 2] ^= 1

    def put(content: bytes) -> None:
        assert house.objects is not None
        house.objects.delete(name)
        house.objects.put(name, content)

    put(bytes(spoiled))
    return lambda: put(raw)


@pytest.mark.parametrize("share", [0.05, 1.0])
def test_damage_is_named_and_proves_nothing_until_a_whole_round_is_sound(house: House, share: float) -> None:
    notebook, damage = Notebook(), 0
    mend = flip_one_pack(house)
    for _ in range(60):
        damage += len(notebook.look(house, share).damage)
        assert notebook.proven(house) == 0
    assert damage >= 1
    mend()
    for _ in range(60):
        assert notebook.look(house, share).damage == []
    assert notebook.proven(house) > 0


def test_nothing_is_read_back_where_no_share_is_asked_for(house: House) -> None:
    notebook = Notebook()
    found = notebook.look(house, 0.0)
    assert (found.chunks, notebook.saved, found.snapshots) == (0, 0, 1)


def test_workers_find_what_one_alone_finds(house: House) -> None:
    flip_one_pack(house)
    alone = Notebook().look(house, 1.0)
    with ThreadPoolExecutor(2) as executor:
        reading = Reading(executor=executor)
        together = with_keys(house.open(reader=True), reading=reading, progress=SilentProgress())
    assert {(d.what, d.where, d.snapshots) for d in together.damage} == {
        (d.what, d.where, d.snapshots) for d in alone.damage
    }
    assert (together.chunks, together.bytes) == (alone.chunks, alone.bytes)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_cohorts_of_which_all_was_forgotten_are_proven_like_any_other(share: float) -> None:
    gone = [path.encode() for path in CALLS if path != f"{MONTHS[0]}.wav"]
    for _ in range(6):  # for each house draws the order of its cohorts
        house = House()
        house.create("crm")
        number = take(house, {1: (MONTHS[0], "c", "note")}, CALLS)
        ids = identities(house.open(reader=True), "crm", gone)
        forget(house, {"crm": Scope(records={"calls": ids})})
        notebook = Notebook()
        for _ in range(1 if share == 1.0 else 8):
            assert notebook.look(house, share).damage == []
        assert notebook.proven(house) >= number
