"""Records without a starting point: by the month first seen; unchanged ones stay; erasing finds every version."""

import shutil
from datetime import date
from pathlib import Path

import pytest

from support.retention import Centre, found
from tenure.operations.erasing import erase
from tenure.operations.pagewalk import walk
from tenure.operations.purging import purge
from tenure.operations.snapshot import take
from tenure.operations.world import opened
from tenure.repository.model import ChunkKind

SOME = "INSERT INTO customers VALUES ({0}, 'Later {0}', NULL, NULL)"


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return found(tmp_path / "site")


def open_cohorts(centre: Centre, number: int, data_set: str) -> dict[str, int]:
    """Return open span -> records of a snapshot."""
    with centre.open() as installation:
        reader = installation.open_reading().read(number, installation.executor)
        cohorts = reader.root(data_set).cohorts()
        return {cohort.span: wire.records for cohort, wire in cohorts if cohort.is_open}


def lose_row_caches(centre: Centre) -> None:
    shutil.rmtree(centre.folder / "state" / "rows")


def everything_that_opens(centre: Centre) -> bytes:
    found = []
    with centre.open() as installation, opened(installation) as world:
        for source in installation.catalogue.sources:
            for pages in walk(world.repository, source, {*installation.catalogue.data_sets()}):
                kept = [p for p in pages.places if p.kind is not ChunkKind.STRUCTURE]
                found += [pages.reader.fetch(pages.cohort, p.ref) or b"" for p in kept]
    return b"\0".join(found)


def test_new_records_are_of_the_month_of_their_session_and_old_ones_stay(centre: Centre) -> None:
    first = centre.snapshot()
    assert open_cohorts(centre, first["crm"], "customers") == {"open:2026-03": 1}
    centre.clock.advance(days=31)
    centre.sql(SOME.format(5), "UPDATE customers SET name = 'Otherwise' WHERE id = 4")
    second = centre.snapshot()
    assert open_cohorts(centre, second["crm"], "customers") == {"open:2026-03": 1, "open:2026-04": 1}
    assert open_cohorts(centre, second["crm"], "cases") == {"open:2026-03": 1}
    assert open_cohorts(centre, second["calls"], "recordings") == {"open:2026-03": 1}


def test_a_recording_without_a_sidecar_is_not_stored_again_in_a_new_month(centre: Centre) -> None:
    centre.snapshot()
    centre.clock.advance(days=62)
    with centre.open() as installation:
        (taken,) = take(installation, ["calls"])
    assert taken.changes["recordings"].new == 0


def test_a_record_that_gets_its_starting_point_leaves_its_open_cohort(centre: Centre, tmp_path: Path) -> None:
    centre.snapshot()
    centre.clock.advance(days=31)
    centre.sql("UPDATE customers SET closed_at = '2026-03-20' WHERE id = 4")
    second = centre.snapshot()
    assert open_cohorts(centre, second["crm"], "customers") == {}
    assert centre.restored(second, tmp_path / "back")["customers"] == {1, 2, 3, 4}


def test_a_purge_lets_the_row_caches_go_and_open_records_stay_where_most_of_them_are(centre: Centre) -> None:
    made = centre.approved()
    centre.snapshot()
    with centre.open() as installation:
        purge(installation, made.hash)
    centre.clock.advance(days=31)
    centre.sql(SOME.format(5))
    after = centre.snapshot()
    assert open_cohorts(centre, after["crm"], "customers") == {"open:2026-03": 2}


def test_erasing_reaches_every_open_cohort_that_a_version_lies_in(centre: Centre, tmp_path: Path) -> None:
    numbers = [centre.snapshot()]
    centre.clock.advance(days=31)
    centre.sql(*(SOME.format(i) for i in range(5, 8)))
    numbers.append(centre.snapshot())
    lose_row_caches(centre)
    centre.clock.advance(days=1)
    centre.sql("UPDATE customers SET name = 'Open Four again' WHERE id = 4")
    numbers.append(centre.snapshot())
    assert open_cohorts(centre, numbers[1]["crm"], "customers") == {"open:2026-03": 1, "open:2026-04": 3}
    assert open_cohorts(centre, numbers[2]["crm"], "customers") == {"open:2026-04": 4}
    assert everything_that_opens(centre).count(b"Open Four") == 2
    with centre.open() as installation:
        erase(installation, subject=("customer", "4"), request="REF-4", received=date(2026, 4, 1))
    assert b"Open Four" not in everything_that_opens(centre)
    for i, pair in enumerate(numbers):
        assert 4 not in centre.restored(pair, tmp_path / f"back-{i}")["customers"]
