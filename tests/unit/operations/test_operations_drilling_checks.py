"""Each check of a drill fails when its own thing is broken, and says what without personal data."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from support.drillcentre import LONG_AGO, centre_with_tones, check, drilled, grounded, tone, untouched
from support.retention import CANARY, Centre
from tenure.evidence.drill_record import CheckOutcome, CheckResult, DrillOutcome
from tenure.operations import drillchecks, drillrecordings
from tenure.operations.approving import approve
from tenure.operations.drillchecks import Ground
from tenure.operations.drillrecordings import length_of, play
from tenure.operations.drilltwins import live_twins
from tenure.operations.erasing import erase, erase_plan
from tenure.repository.mediacompanion import RecordingMeta
from tenure.sources.base import Recording

FAILED, PASSED = CheckOutcome.FAILED, CheckOutcome.PASSED
CARD = "card 4111 1111 1111 1111 cvv 123"


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    made = centre_with_tones(tmp_path / "site")
    made.snapshot()
    return made


@pytest.fixture
def ground(centre: Centre, tmp_path: Path) -> Iterator[Ground]:
    with grounded(centre, tmp_path / "scratch") as found:
        yield found


@pytest.fixture
def media(centre: Centre, tmp_path: Path) -> Iterator[Ground]:
    with grounded(centre, tmp_path / "scratch", "calls") as found:
        yield found


def change(ground: Ground, *statements: str) -> None:
    with closing(sqlite3.connect(ground.target)) as restored:
        for statement in statements:
            restored.execute(statement)
        restored.commit()


def all_row_checks(ground: Ground) -> dict[str, CheckResult]:
    seen = drillchecks.read_back(ground)
    found = [
        drillchecks.soundness(ground),
        drillchecks.counts(ground, seen),
        drillchecks.content(ground, seen),
        *drillchecks.summed(ground, seen),
    ]
    assert not any(CANARY in c.note + c.found + c.expected or "4111" in c.note for c in found)
    return {c.name: c for c in found}


def failing(ground: Ground) -> set[str]:
    return {name for name, c in all_row_checks(ground).items() if c.outcome is FAILED}


def test_an_untouched_restore_passes(ground: Ground) -> None:
    assert failing(ground) == set()


def test_a_lost_row_fails_counts_and_content(ground: Ground) -> None:
    change(ground, "DELETE FROM notes WHERE id = 104")
    assert failing(ground) == {"row counts", "content"}
    assert all_row_checks(ground)["row counts"].note == "notes: 7 in the manifest, 6 restored, 0 forgotten"


def test_a_row_too_many_fails_counts_and_content(ground: Ground) -> None:
    change(ground, "INSERT INTO notes VALUES (999, 40, 'nobody wrote this')")
    assert failing(ground) == {"row counts", "content"}


def test_a_changed_cell_fails_the_content_alone(ground: Ground) -> None:
    change(ground, "UPDATE notes SET body = body || '.' WHERE id = 104")
    assert failing(ground) == {"content"}


def test_a_value_of_another_type_fails_the_content(ground: Ground) -> None:
    change(ground, "UPDATE customers SET closed_at = CAST('1' AS BLOB) WHERE id = 4")
    assert "content" in failing(ground)


def test_two_rows_that_changed_places_fail_the_content(ground: Ground) -> None:
    change(
        ground,
        "UPDATE notes SET id = 9999 WHERE id = 100",
        "UPDATE notes SET id = 100 WHERE id = 101",
        "UPDATE notes SET id = 101 WHERE id = 9999",
    )
    assert failing(ground) == {"content"}


def test_a_reference_that_leads_nowhere_fails_the_database(ground: Ground) -> None:
    change(ground, "UPDATE notes SET case_id = 777 WHERE id = 104")
    result = all_row_checks(ground)["database"]
    assert result.outcome is FAILED
    assert result.note == "1 rows of notes refer to rows of cases that are not there"


def test_a_reference_that_leads_nowhere_in_the_live_store_too_is_told_and_passes(
    centre: Centre, tmp_path: Path
) -> None:
    centre.sql("UPDATE notes SET case_id = 777 WHERE id = 104")
    centre.snapshot()
    with grounded(centre, tmp_path / "scratch") as ground:
        result = drillchecks.soundness(ground)
    assert result.outcome is PASSED
    assert "the live store has the same" in result.note


def test_a_file_that_is_no_database_fails(ground: Ground) -> None:
    ground.target.write_bytes(b"not a database" * 100)
    assert drillchecks.soundness(ground).outcome is FAILED


def test_a_card_number_in_restored_rows_fails(ground: Ground) -> None:
    change(ground, f"UPDATE notes SET body = '{CARD}' WHERE id = 104")
    assert "card data" in failing(ground)


def test_a_card_number_that_the_snapshot_cut_is_not_found_again(centre: Centre, tmp_path: Path) -> None:
    centre.sql(f"UPDATE notes SET body = '{CARD}' WHERE id = 104")
    centre.snapshot()
    with grounded(centre, tmp_path / "scratch") as ground:
        assert failing(ground) == set()


def erased(centre: Centre) -> None:
    with centre.open() as installation:
        made = erase_plan(installation, subject=("customer", "1"), request="R-1", received=date(2026, 2, 1))
        assert made is not None
    with centre.open() as installation:
        approve(installation, made.hash, reason="asked for")
    with centre.open() as installation:
        erase(installation, subject=("customer", "1"), request="R-1", received=date(2026, 2, 1))


def test_forgotten_records_balance_the_counts_and_are_looked_for(centre: Centre) -> None:
    first = drilled(centre).snapshot
    erased(centre)
    record = drilled(centre, number=first)
    assert [(c.name, c.note) for c in record.checks if c.outcome is FAILED] == []
    assert "were forgotten since" in check(record, "row counts").note
    assert "forgotten records were looked for" in check(record, "forgotten stays forgotten").note
    calls = drilled(centre, "calls")
    assert calls.outcome is DrillOutcome.PASSED


def test_a_forgotten_record_that_is_back_fails(centre: Centre, tmp_path: Path) -> None:
    first = drilled(centre).snapshot
    erased(centre)
    with grounded(centre, tmp_path / "scratch", number=first) as ground:
        change(ground, f"INSERT INTO customers VALUES (1, '{CANARY}', NULL, NULL)")
        result = all_row_checks(ground)["forgotten stays forgotten"]
    assert result.outcome is FAILED
    assert result.note == "customers: 1 records that the ledger says are gone"


def test_a_forgetting_that_the_ledger_does_not_know_fails_the_counts(ground: Ground) -> None:
    change(ground, "DELETE FROM notes WHERE id = 104")
    balance = ground.restored.balances["notes"]
    balance.forgotten, balance.by_entry = 1, {4242: 1}
    result = all_row_checks(ground)["row counts"]
    assert result.note == "notes: the ledger does not explain all that is said to be forgotten"


def test_a_live_record_that_differs_although_nothing_changed_since_fails(
    centre: Centre, ground: Ground
) -> None:
    assert live_twins(ground, 3).outcome is PASSED
    change(ground, "UPDATE customers SET name = 'somebody else' WHERE id = 4")
    result = live_twins(ground, 3)
    assert result.outcome is FAILED
    assert "the live store did not change since" in result.note
    os.utime(centre.folder / "crm.sqlite")
    assert live_twins(ground, 3).outcome is PASSED


def test_a_live_record_without_a_twin_although_nothing_changed_since_fails(ground: Ground) -> None:
    change(ground, "DELETE FROM customers WHERE id = 4")
    assert "have no twin" in live_twins(ground, 3).note
    assert live_twins(ground, 3).outcome is FAILED


def test_a_restore_of_which_no_sampled_record_is_right_fails_even_if_the_live_store_changed(
    centre: Centre, ground: Ground
) -> None:
    for table in ("customers", "cases", "notes"):
        change(ground, f"DELETE FROM {table}")
    os.utime(centre.folder / "crm.sqlite")
    assert live_twins(ground, 3).outcome is FAILED


def test_a_live_card_number_is_compared_as_snapshots_cut_it(centre: Centre, tmp_path: Path) -> None:
    centre.sql(f"UPDATE notes SET body = '{CARD}' WHERE id = 104")
    centre.snapshot()
    untouched(centre)
    with grounded(centre, tmp_path / "scratch") as ground:
        assert live_twins(ground, 3).outcome is PASSED


def test_the_same_seed_draws_the_same_sample(centre: Centre, tmp_path: Path) -> None:
    centre.sql(*(f"INSERT INTO notes VALUES ({i}, 40, 'note')" for i in range(1000, 3000)))
    centre.snapshot()
    untouched(centre)
    with grounded(centre, tmp_path / "scratch") as ground:
        change(ground, "DELETE FROM notes WHERE id % 3 = 0")
        assert live_twins(ground, 5) == live_twins(ground, 5)
        assert "seed 5" in live_twins(ground, 5).note or "have no twin" in live_twins(ground, 5).note


def test_a_live_store_that_is_away_is_said_and_fails_nothing(centre: Centre, ground: Ground) -> None:
    (centre.folder / "crm.sqlite").unlink()
    assert live_twins(ground, 3).outcome is CheckOutcome.SKIPPED


def media_checks(ground: Ground) -> dict[str, CheckResult]:
    seen, played = drillrecordings.read_back_recordings(ground)
    found = [
        drillchecks.counts(ground, seen),
        *drillrecordings.recording_checks(played),
        *drillchecks.summed(ground, seen),
    ]
    return {c.name: c for c in found}


def test_untouched_recordings_pass(media: Ground) -> None:
    found = media_checks(media)
    said_aside = found.pop("card data")
    assert said_aside.outcome is CheckOutcome.SKIPPED
    assert {c.outcome for c in found.values()} == {PASSED}
    assert found["recordings play"].found == "4 play to their end"


def test_a_flipped_bit_in_a_recording_fails_the_content(media: Ground) -> None:
    file = media.target / "2023/01/a-first.wav"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    found = media_checks(media)
    assert {n for n, c in found.items() if c.outcome is FAILED} == {"content"}


def test_a_lost_recording_fails_the_counts(media: Ground) -> None:
    (media.target / "2023/01/a-first.wav").unlink()
    assert media_checks(media)["row counts"].outcome is FAILED


def test_a_recording_cut_short_fails_content_and_playing(media: Ground) -> None:
    file = media.target / "2023/01/a-first.wav"
    file.write_bytes(file.read_bytes()[:-500])
    assert {n for n, c in media_checks(media).items() if c.outcome is FAILED} == {
        "content",
        "recordings play",
    }


def test_a_live_recording_that_differs_at_the_same_time_of_change_fails(
    centre: Centre, media: Ground
) -> None:
    live = centre.folder / "recordings" / "2023/01/a-first.wav"
    when = live.stat()
    live.write_bytes(tone(seconds=1.5))
    os.utime(live, ns=(when.st_atime_ns, when.st_mtime_ns))
    assert "the same time of change" in live_twins(media, 3).note
    os.utime(live, (LONG_AGO, LONG_AGO))
    assert live_twins(media, 3).outcome is PASSED


def meta_of(sidecar: bytes | None) -> RecordingMeta:
    return RecordingMeta(
        recording=Recording(path=b"x", size=0, mtime_ns=0, mode=0, sidecar=sidecar), chunks=()
    )


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (tone(), ""),
        (b"", "do not decode"),
        (b"RIFF\x10\0\0\0WAVE", "do not decode"),
        (b"RIFF" + bytes(100), "do not decode"),
        (tone()[:44], "end before their header says"),
        (
            tone().replace(b"\x01\0\x01\0", b"\x07\0\x01\0", 1),
            "",
        ),  # G.711 mu-law: whole as far as its header tells
        (tone().replace(b"\x01\0\x01\0", b"\x07\0\x01\0", 1)[:-9], "end before their header says"),
    ],
)
def test_what_is_wrong_with_a_recording_is_said(tmp_path: Path, raw: bytes, problem: str) -> None:
    (tmp_path / "x.wav").write_bytes(raw)
    assert play(tmp_path / "x.wav", meta_of(None)) == problem


@pytest.mark.parametrize(
    ("sidecar", "seconds"),
    [
        (None, None),
        (b"", None),
        (b"[1]", None),
        (b"{broken", None),
        (b'{"duration_s": 12.5}', 12.5),
        (b'{"duration": "long"}', None),
        (b'{"started_at": "2026-01-01 10:00:00", "ended_at": "2026-01-01 10:01:00"}', 60.0),
        (b'{"started_at": "2026-01-01T10:00:00Z", "ended_at": "2026-01-01 10:01:00"}', None),
        (b'{"started_at": 5, "ended_at": "yesterday"}', None),
    ],
)
def test_the_length_a_sidecar_tells_is_understood(sidecar: bytes | None, seconds: float | None) -> None:
    assert length_of(sidecar) == seconds
