"""What a snapshot says of card data: cut by column, left, in quarantine, and what nobody could look into."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.likely import CUT, ORDER, OTHER, ROW, answer, in_snapshot, manifest, purged
from support.retention import CARDS, RULES, Centre, found
from tenure.operations.snapshot import take
from tenure.repository.manifest import CutLine


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    made = found(tmp_path / "site", rules={**RULES, "cards": CARDS})
    made.sql(f"UPDATE notes SET body = '{ORDER}' WHERE id = {ROW}")
    return made


def rows_of(centre: Centre, sql: str) -> dict[int, str]:
    with closing(sqlite3.connect(centre.folder / "crm.sqlite")) as live:
        return dict(live.execute(sql).fetchall())


def test_blobs_of_text_stay_blobs_when_they_are_cut_and_others_are_counted(
    centre: Centre, tmp_path: Path
) -> None:
    centre.sql(
        "ALTER TABLE notes ADD COLUMN attached BLOB",
        f"UPDATE notes SET attached = CAST('{ORDER}' AS BLOB) WHERE id = {OTHER}",
        "UPDATE notes SET attached = CAST('card 4111 1111 1111 1111' AS BLOB) WHERE id = 104",
        "UPDATE notes SET attached = X'FFD8FFE0' WHERE id IN (100, 101)",
    )
    numbers = centre.snapshot()
    told = manifest(centre, numbers)
    assert told.unreadable == {"notes": {"attached": 2}}
    assert told.redacted == {"notes": {"attached": CutLine(numbers=1)}}
    assert told.quarantined == {"notes": 2}
    answer(centre, redact="")
    purged(centre)
    sql = "SELECT id, typeof(attached) || ':' || CAST(attached AS TEXT) FROM notes WHERE id IN (104, 105)"
    assert rows_of(centre, sql) == {
        104: "blob:card 4111 1111 1111 1111",  # sure, and no rule names the column: the live store keeps it
        OTHER: f"blob:{CUT}",
    }
    back = in_snapshot(centre, numbers, tmp_path / "back", sql)
    assert back == {104: "blob:card **** **** **** 1111", OTHER: f"blob:{CUT}"}


def test_what_looks_like_card_data_in_a_numeric_column_is_counted_and_does_not_wait(centre: Centre) -> None:
    centre.sql(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, number INTEGER)",
        "INSERT INTO orders VALUES (1, 5425233430109903)",
    )
    with centre.open() as installation:
        (taken,) = take(installation, ["crm"])
    assert taken.likely == {"orders": 1}
    assert taken.quarantined == {"notes": 1}


def test_the_manifest_counts_numbers_codes_and_tracks_by_column(centre: Centre) -> None:
    track = "%B4111111111111111^DOE/JOHN^29051010000000000000?"
    centre.sql(
        f"UPDATE notes SET body = 'card 4111 1111 1111 1111 cvv 123; visa 4012888888881881; {track}' WHERE id = 105",
        "UPDATE customers SET email = 'cvv 737' WHERE id = 4",
    )
    told = manifest(centre, centre.snapshot()).redacted
    assert told == {
        "customers": {"email": CutLine(codes=1)},
        "notes": {"body": CutLine(numbers=2, codes=1, tracks=1)},
    }
