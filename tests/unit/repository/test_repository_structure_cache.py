"""The file of tree nodes beside an installation: what is in it is not asked for again, and nothing of it is believed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from support.damage import spoil
from support.repo import Calls, House, read_calls, take
from tenure.repository import basis, founding, structure, structurecache
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.model import ChunkRef, Cohort
from tenure.repository.structurecache import StructureCache

Told = Callable[[ChunkRef, bytes | memoryview], None] | None
Structures = Iterator[tuple[ChunkRef, bytes | None]]
ROWS = {1: ("2025-01", "c1", "one")}


def ref(number: int) -> ChunkRef:
    return ChunkRef(number.to_bytes(16, "big"), bytes(8))


def opened(path: Path) -> StructureCache:
    found = StructureCache.open(path)
    assert found is not None
    return found


def test_what_was_put_is_there_the_next_time(tmp_path: Path) -> None:
    cache = opened(tmp_path / "a" / "w.nodes")
    cache.add(ref(1), b"one")
    cache.add(ref(2), memoryview(b"two and more"))
    cache.close()
    again = opened(tmp_path / "a" / "w.nodes")
    assert [again.get(ref(n)) for n in (1, 2, 3)] == [b"one", b"two and more", None]
    assert (tmp_path / "a" / "w.nodes").stat().st_mode & 0o777 == 0o600
    again.close()
    again.close()


@pytest.mark.parametrize("left", range(5, 73))
def test_what_is_torn_ends_the_file_and_goes_on_from_there(tmp_path: Path, left: int) -> None:
    path = tmp_path / "w.nodes"
    cache = opened(path)
    cache.add(ref(1), b"one")
    cache.add(ref(2), b"two-two")
    cache.close()
    path.write_bytes(path.read_bytes()[:left])
    again = opened(path)
    assert again.get(ref(1)) in {None, b"one"}
    assert again.get(ref(2)) in {None, b"two-two"}
    again.add(ref(3), b"three")
    again.close()
    third = opened(path)
    assert third.get(ref(3)) == b"three"
    third.close()


@pytest.mark.parametrize("content", [b"", b"something else altogether", b"TNRS\x02" + bytes(60)])
def test_another_file_in_its_place_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.nodes").write_bytes(content)
    cache = opened(tmp_path / "w.nodes")
    cache.add(ref(1), b"one")
    assert cache.get(ref(1)) == b"one"
    cache.close()


def test_one_process_at_a_time_has_it_and_the_other_does_without(tmp_path: Path) -> None:
    cache = opened(tmp_path / "w.nodes")
    assert StructureCache.open(tmp_path / "w.nodes") is None
    cache.close()
    (tmp_path / "folder").write_text("a file where a folder should be")
    assert StructureCache.open(tmp_path / "folder" / "w.nodes") is None


def test_what_nobody_asks_for_any_more_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structurecache, "_LEAST_WASTE", 100)
    path = tmp_path / "w.nodes"
    cache = opened(path)
    for number in range(20):
        cache.add(ref(number), bytes([number]) * 50)
    cache.close()
    again = opened(path)
    assert again.get(ref(7)) == bytes([7]) * 50
    again.close()
    assert path.stat().st_size > 1000, "an abandoned session tidies nothing"
    third = opened(path)
    assert third.get(ref(7)) == bytes([7]) * 50
    third.close(tidy=True)
    assert path.stat().st_size < 100
    last = opened(path)
    assert (last.get(ref(7)), last.get(ref(8))) == (bytes([7]) * 50, None)
    last.close()
    assert [p.name for p in tmp_path.iterdir()] == ["w.nodes"]


def calls(count: int) -> Calls:
    return {f"{n}.wav": (f"2025-{n % 12 + 1:02d}", "anna", bytes([n]) * 500) for n in range(count)}


class CachingHouse(House):
    """A house with a folder for the cache."""

    folder: Path

    def place(self) -> founding.Place:
        return replace(super().place(), cache=self.folder)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(basis, "LOOKED_AT", 1)
    house = CachingHouse()
    house.folder = tmp_path / "structure"
    house.create("crm")
    take(house, ROWS, calls(48))
    return house


def read_from_packs(house: House) -> int:
    """Take a snapshot in which nothing changed; return how many structure chunks were asked of the store."""
    asked: list[ChunkRef] = []
    real = ChunkReader.structures

    def noted(reader: ChunkReader, refs: Sequence[ChunkRef], told: Told = None) -> Structures:
        asked.extend(refs)
        return real(reader, refs, told)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ChunkReader, "structures", noted)
        number = take(house, ROWS, calls(48))
    assert len(read_calls(house.open(reader=True), number, house.executor)) == 48
    return len(asked)


def test_nodes_are_read_from_the_store_once_but_for_those_that_are_looked_at(house: House) -> None:
    cold = read_from_packs(house)
    assert cold >= 12 + 2, "a node of each month, and the roots"
    assert read_from_packs(house) <= 2 + 2, "one that is looked at of each kind, and the roots"
    (file,) = (house.folder).iterdir()  # type: ignore[attr-defined]
    cached = opened(file)
    assert len(cached._at) >= 12
    cached.close()


def test_a_node_that_is_whole_here_and_damaged_in_the_store_stops_no_snapshot(house: House) -> None:
    read_from_packs(house)
    read_from_packs(house)
    repo = house.open(reader=True)
    snapshot = repo.read(max(repo.state.snapshots), house.executor)
    tree = dict(snapshot.root("calls").cohorts())[Cohort(data_set="calls", rule_class="", span="2025-01")]
    (node,) = structure.nodes_of(tree.layers[0], snapshot.chunks.structure)
    spoil(house, snapshot.chunks, node)
    left = {path: call for path, call in calls(48).items() if path != "12.wav"}  # of January
    number = take(house, ROWS, left)
    assert len(read_calls(house.open(reader=True), number, house.executor)) == 47


def test_a_cache_that_is_spoiled_is_read_from_the_store_again(house: House) -> None:
    read_from_packs(house)
    (file,) = (house.folder).iterdir()  # type: ignore[attr-defined]
    raw = bytearray(file.read_bytes())
    for at in range(40, len(raw), 50):
        raw[at] ^= 1
    file.write_bytes(raw)
    assert read_from_packs(house) >= 12 + 2
    read_from_packs(house)  # what was looked at the time before is found to be spoiled only now
    assert read_from_packs(house) <= 2 + 2
