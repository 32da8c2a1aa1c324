"""Verification looks at one cohort at a time: whatever the number of months, it holds the index of one."""

import pytest

from support.repo import House, take
from tenure.domain.progress import SilentProgress
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.cohortindex import CohortIndex
from tenure.repository.model import Cohort
from tenure.repository.readback import Reading
from tenure.repository.secrets import STRUCTURE
from tenure.repository.verify import with_keys

MONTHS = [f"2025-{m:02}" for m in range(1, 9)]
CALLS = {f"{m}.wav": (m, "c", m.encode() * 900) for m in MONTHS}


def rows(changed: str) -> dict[int, tuple[str, str, str]]:
    return {
        k: (MONTHS[k % 8], f"c{k}", f"note {k} {changed if k % 5 == 0 else ''}" + "x" * 80)
        for k in range(400)
    }


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_only_one_cohorts_index_and_that_of_structure_are_held_at_a_time(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    house = House()
    house.create("crm")
    for step in ("one", "two", "three"):
        take(house, rows(step), CALLS)
    load, held, loaded = ChunkReader._load, list[int](), list[Cohort]()

    def counted(reader: ChunkReader, cohort: Cohort) -> CohortIndex:
        held.append(len(reader._indexes.keys() - {STRUCTURE}))
        loaded.append(cohort)
        return load(reader, cohort)

    monkeypatch.setattr(ChunkReader, "_load", counted)
    found = with_keys(house.open(reader=True), reading=Reading(share=share), progress=SilentProgress())
    assert found.damage == []
    assert found.snapshots == 3
    assert (found.chunks > 0) is (share > 0)
    assert len(set(loaded)) == 2 * len(MONTHS) + 1
    assert max(map(loaded.count, loaded)) == (2 if share else 1), "once for structure, once for what it holds"
    assert max(held) == 0
