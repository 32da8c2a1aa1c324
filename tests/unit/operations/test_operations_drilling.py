"""Drills from the outside: outcome, evidence, wiping, objectives, room, damage."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from support.drillcentre import centre_with_tones, check, drilled, left_in_scratch, tone, untouched
from support.retention import Centre
from tenure.control.drills import Drills
from tenure.control.runs import RunOutcome, Runs
from tenure.domain.errors import ConfigError, RepositoryNotFoundError
from tenure.evidence.documents import read_document
from tenure.evidence.drill_record import CheckOutcome, DrillOutcome, verify_drill
from tenure.operations import drilling
from tenure.operations.drilling import EXIT_CODES, Means, drill
from tenure.operations.installation import Objectives
from tenure.operations.restore import load


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    made = centre_with_tones(tmp_path / "site")
    made.snapshot()
    return made


def damage_packs(centre: Centre) -> None:
    for pack in (p for p in (centre.folder / "repository" / "data").rglob("*") if p.is_file()):
        raw = bytearray(pack.read_bytes())
        for at in range(0, len(raw), 50):
            raw[at] ^= 0xFF
        pack.chmod(0o600)
        pack.write_bytes(raw)


@pytest.mark.parametrize(
    ("source", "not_made"), [("crm", []), ("calls", [("card data", "sound is not looked into")])]
)
def test_a_drill_of_a_whole_snapshot_passes_every_check_it_can_make(
    centre: Centre, source: str, not_made: list[tuple[str, str]]
) -> None:
    record = drilled(centre, source)
    assert [(c.name, c.note) for c in record.checks if c.outcome is CheckOutcome.SKIPPED] == not_made
    assert [(c.name, c.note) for c in record.checks if c.outcome is CheckOutcome.FAILED] == []
    assert record.outcome is DrillOutcome.PASSED
    assert record.wiped
    assert left_in_scratch(centre) == []


def test_what_a_drill_found_is_signed_evidence_with_its_history(centre: Centre) -> None:
    first, second = drilled(centre), drilled(centre)
    with centre.open() as installation:
        folder = installation.evidence.log.directory.parent / "drills"
        key = installation.evidence_key.public()
        kept = {verify_drill(read_document(p), key) for p in folder.glob("*.json")}
        assert kept == {first, second}
        assert installation.evidence.check().is_sound
        assert {d.id for d in Drills(installation.control).history("crm", limit=9)} == {first.id, second.id}
        assert (folder / f"{second.id}.html").read_text().count("<svg") >= 3
        begun = [e.outcome for e in installation.evidence.log.entries(kind="drill")]
    assert begun == ["begun", "begun"]


def test_the_time_measured_is_that_of_the_restore_alone(centre: Centre) -> None:
    assert drilled(centre, step=2.5).seconds == 2.5


def test_damage_in_a_pack_fails_the_drill_and_leaves_nothing_in_scratch(centre: Centre) -> None:
    damage_packs(centre)
    record = drilled(centre)
    assert record.outcome is DrillOutcome.FAILED
    assert EXIT_CODES[record.outcome] == 81
    assert check(record, "restore").outcome is CheckOutcome.FAILED
    assert left_in_scratch(centre) == []
    with centre.open() as installation:
        run = Runs(installation.control).latest("drill", source="crm")
    assert run is not None
    assert (run.outcome, run.exit_code) == (RunOutcome.FAILED, 81)


def test_a_key_page_that_is_gone_from_every_store_fails_the_drill(centre: Centre) -> None:
    for store in ("key-store-1", "key-store-2"):
        shutil.rmtree(centre.folder / store / "keys")
    assert check(drilled(centre), "restore").outcome is CheckOutcome.FAILED


def test_a_truncated_recording_fails_the_drill(centre: Centre) -> None:
    broken = centre.folder / "recordings" / "2023/01/a-first.wav"
    broken.write_bytes(tone()[:-1000])
    centre.snapshot()
    record = drilled(centre, "calls")
    assert check(record, "recordings play").note == "1 recordings end before their header says"
    assert record.outcome is DrillOutcome.FAILED


def test_a_recording_of_another_length_than_its_sidecar_says_fails_the_drill(centre: Centre) -> None:
    sidecar = centre.folder / "recordings" / "2023/01/a-first.json"
    sidecar.write_text(json.dumps({"customer": "1", "ended": "2023-01-04T10:00:00", "duration_s": 60}))
    centre.snapshot()
    assert "not as long as their sidecar says" in check(drilled(centre, "calls"), "recordings play").note


def test_a_source_without_a_snapshot_fails_its_drill(tmp_path: Path) -> None:
    record = drilled(centre_with_tones(tmp_path / "site"))
    assert record.outcome is DrillOutcome.FAILED
    assert check(record, "there is a snapshot").outcome is CheckOutcome.FAILED


def test_a_drill_that_finds_nothing_to_check_fails(tmp_path: Path) -> None:
    centre = centre_with_tones(tmp_path / "site")
    centre.sql("DELETE FROM notes", "DELETE FROM cases", "DELETE FROM customers")
    centre.snapshot()
    record = drilled(centre)
    assert [c.name for c in record.checks if c.outcome is CheckOutcome.FAILED] == ["something to check"]
    assert record.outcome is DrillOutcome.FAILED


def test_too_little_room_skips_the_drill_before_anything_is_restored(centre: Centre) -> None:
    record = drilled(centre, room=100)
    assert record.outcome is DrillOutcome.SKIPPED
    assert EXIT_CODES[record.outcome] == 3
    assert check(record, "room").note.startswith("no space: ")
    assert record.bytes == 0
    assert record.wiped


@pytest.mark.parametrize(
    ("objectives", "outcome"),
    [
        (Objectives(restore=timedelta(seconds=4)), DrillOutcome.MISSED),
        (Objectives(restore=timedelta(seconds=5)), DrillOutcome.PASSED),
        (Objectives(age=timedelta(hours=2)), DrillOutcome.MISSED),
        (Objectives(age=timedelta(hours=3)), DrillOutcome.PASSED),
    ],
)
def test_a_right_restore_that_is_too_slow_or_too_old_misses_its_objective(
    centre: Centre, objectives: Objectives, outcome: DrillOutcome
) -> None:
    centre.clock.advance(hours=3)
    with centre.open() as installation:
        installation.objectives["crm"] = objectives  # type: ignore[index]
        record = drill(installation, "crm", Means(timer=iter(range(0, 500, 5)).__next__, seed=1))
    assert record.outcome is outcome
    assert record.snapshot_age == 3 * 3600


def test_a_failure_outranks_a_missed_objective(centre: Centre) -> None:
    damage_packs(centre)
    centre.clock.advance(hours=30)
    with centre.open() as installation:
        installation.objectives["crm"] = Objectives(age=timedelta(hours=1))  # type: ignore[index]
        record = drill(installation, "crm", Means(timer=iter(range(99)).__next__, seed=1))
    assert record.outcome is DrillOutcome.FAILED


def test_a_scratch_place_that_stays_fails_the_drill(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    record = drilled(centre)
    assert not record.wiped
    assert record.outcome is DrillOutcome.FAILED
    assert check(record, "scratch place wiped").outcome is CheckOutcome.FAILED


def test_what_a_killed_drill_left_is_wiped_by_the_next(centre: Centre) -> None:
    with centre.open() as installation:
        left = drilling._place(installation, "crm")
    other = left.with_name("drill-00000000-11111111")
    for place in (left, other):
        place.mkdir(parents=True)
        (place / "restored").write_bytes(b"rows of somebody")
    assert drilled(centre).wiped
    assert not left.exists()
    assert other.exists()  # another source's, whose drill may be at work


def test_a_drill_that_is_cancelled_wipes_its_scratch_place(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(*args: object) -> object:
        load(*args)  # type: ignore[arg-type]
        assert left_in_scratch(centre)
        raise KeyboardInterrupt

    monkeypatch.setattr(drilling, "load", cancelled)
    with pytest.raises(KeyboardInterrupt):
        drilled(centre)
    assert left_in_scratch(centre) == []
    with centre.open() as installation:
        run = Runs(installation.control).latest("drill", source="crm")
    assert run is not None
    assert run.outcome is RunOutcome.CANCELLED


def test_a_scratch_place_inside_a_live_store_is_refused(centre: Centre) -> None:
    config = centre.folder / "tenure.yaml"
    config.write_text(config.read_text() + "scratch: recordings/scratch\n")
    record = drilled(centre, "calls")
    assert "lies in the live store" in check(record, "restore").note
    assert not (centre.folder / "recordings" / "scratch").exists()


def test_an_older_snapshot_can_be_drilled(centre: Centre) -> None:
    first = drilled(centre).snapshot
    centre.sql("DELETE FROM notes WHERE id = 100", "UPDATE notes SET body = 'another' WHERE id = 101")
    second = centre.snapshot()["crm"]
    untouched(centre)
    older = drilled(centre, number=first)
    assert (older.snapshot, older.outcome) == (first, DrillOutcome.PASSED)
    assert drilled(centre).snapshot == second
    assert "1 differ" in check(older, "live twins").note


def test_a_snapshot_in_layers_is_read_a_second_time_and_passes(centre: Centre) -> None:
    centre.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)"
        " INSERT INTO notes SELECT i, 40, hex(i * 7919 % 104729) || ' is one note of very many' FROM n"
    )
    centre.snapshot()
    for remainder in (0, 1):  # the first change makes a new base, for its layer would outgrow the old one
        centre.sql(f"UPDATE notes SET body = 'changed' WHERE id % 997 = {remainder}")
        centre.snapshot()
    record = drilled(centre)
    assert check(record, "content").outcome is CheckOutcome.PASSED
    assert check(record, "content").note.startswith("2 of 3")


@pytest.mark.parametrize(
    ("source", "number", "error"),
    [("nobody", None, ConfigError), ("crm", 999, RepositoryNotFoundError)],
)
def test_a_drill_of_what_is_not_there_is_refused(
    centre: Centre, source: str, number: int | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        drilled(centre, source, number=number)


def test_a_snapshot_of_another_source_is_refused(centre: Centre) -> None:
    calls = drilled(centre, "calls").snapshot
    with pytest.raises(ConfigError, match="is of source 'calls'"):
        drilled(centre, "crm", number=calls)
