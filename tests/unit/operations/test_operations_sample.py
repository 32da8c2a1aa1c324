"""The sample contact centre holds what it says it holds, twice the same."""

import hashlib
import json
import sqlite3
import wave
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from tenure.domain.errors import SourceError
from tenure.domain.progress import SilentProgress
from tenure.operations.sample import SampleCentre, generate
from tenure.operations.sample_edit import edit
from tenure.operations.sample_numbers import card_number, ean13, iban, imei, luhn_digit
from tenure.operations.sample_voice import SAMPLE_RATE, keypad, speech, with_keypad

UNTIL = date(2026, 3, 1)


def make(target: Path, *, seed: int = 7) -> SampleCentre:
    return generate(target, seed=seed, until=UNTIL, progress=SilentProgress())


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found.update(
            f"{path.relative_to(folder)} {path.stat().st_mtime if path.suffix != '.sqlite' else 0}".encode()
        )
        found.update(path.read_bytes())
    return found.hexdigest()


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> SampleCentre:
    return make(tmp_path_factory.mktemp("sample") / "centre")


@pytest.fixture
def crm(centre: SampleCentre) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{centre.crm}?mode=ro", uri=True)) as database:
        yield database


def one(database: sqlite3.Connection, query: str) -> object:
    return database.execute(query).fetchone()[0]


def test_the_database_is_large_and_sound(crm: sqlite3.Connection) -> None:
    tables = ("customers", "agents", "cases", "interactions", "case_notes")
    assert sum(int(str(one(crm, f"SELECT count(*) FROM {t}"))) for t in tables) >= 50_000
    assert crm.execute("PRAGMA foreign_key_check").fetchall() == []
    assert one(crm, "PRAGMA integrity_check") == "ok"


def test_records_span_six_years_and_none_is_later_than_the_last_day(crm: sqlite3.Connection) -> None:
    first, last = crm.execute("SELECT min(started_at), max(ended_at) FROM interactions").fetchone()
    assert first < "2020-04-01"
    assert "2026-02-01" < last < "2026-03-02"
    assert one(crm, "SELECT count(*) FROM customers WHERE closed_at >= '2026-03-02'") == 0
    assert one(crm, "SELECT count(*) FROM cases WHERE closed_at < opened_at") == 0


def test_closed_means_that_a_closing_date_is_there(crm: sqlite3.Connection) -> None:
    for table in ("customers", "cases"):
        assert (
            one(crm, f"SELECT count(*) FROM {table} WHERE (status = 'closed') <> (closed_at IS NOT NULL)")
            == 0
        )
        assert one(crm, f"SELECT count(DISTINCT status) FROM {table}") == 2


def test_nobody_calls_after_closing_the_account(crm: sqlite3.Connection) -> None:
    late = "SELECT count(*) FROM interactions i JOIN customers c ON c.id = i.customer_id WHERE i.started_at > c.closed_at"
    assert one(crm, late) == 0


def test_every_recording_has_its_row_and_its_sidecar(centre: SampleCentre, crm: sqlite3.Connection) -> None:
    rows = crm.execute(
        "SELECT recording, id, customer_id, agent_id, queue, country, duration_s FROM interactions WHERE recording <> ''"
    ).fetchall()
    assert len(rows) == centre.recording_count >= 200
    assert {r[0] for r in rows} == {
        str(p.relative_to(centre.recordings)) for p in centre.recordings.rglob("*.wav")
    }
    for path, *facts, seconds in rows:
        sidecar = json.loads((centre.recordings / path).with_suffix(".json").read_text())
        assert [
            sidecar[k] for k in ("interaction_id", "customer_id", "agent_id", "queue", "country")
        ] == facts
        with wave.open(str(centre.recordings / path)) as audio:
            assert (audio.getframerate(), audio.getsampwidth(), audio.getnchannels()) == (8_000, 2, 1)
            assert audio.getnframes() == seconds * 8_000
            assert 5 <= seconds <= 20


def test_every_month_has_recordings(centre: SampleCentre) -> None:
    months = {p.parent for p in centre.recordings.rglob("*.wav")}
    assert len(months) >= 72


def test_what_was_hidden_is_where_the_list_says(centre: SampleCentre, crm: sqlite3.Connection) -> None:
    notes = dict(crm.execute("SELECT CAST(id AS TEXT), body FROM case_notes"))
    hidden = [p for p in centre.planted if p.data_set == "case_notes"]
    assert all(p.text in notes[p.record] for p in hidden)
    counts = centre.planted_counts()
    assert counts["card number"] == 60
    assert counts["security code"] == 25
    assert counts["test number"] == 10
    assert counts["device number"] == counts["phone number"] == counts["order number"] == 40
    assert counts["keypad card number"] >= 5


def test_notes_without_a_hidden_number_have_none(centre: SampleCentre, crm: sqlite3.Connection) -> None:
    hidden = {p.record for p in centre.planted}
    long = [
        i
        for i, body in crm.execute("SELECT CAST(id AS TEXT), body FROM case_notes")
        if sum(map(str.isdigit, body)) > 8
    ]
    assert set(long) <= hidden


def test_one_seed_gives_one_centre_and_another_seed_another(centre: SampleCentre, tmp_path: Path) -> None:
    again = make(tmp_path / "again")
    assert digest(again.folder) == digest(centre.folder)
    assert again.planted == centre.planted
    first, second = (edit(again, day=date(2026, 3, 8), seed=1), digest(again.folder))
    assert (edit(make(tmp_path / "third"), day=date(2026, 3, 8), seed=1)) == first
    assert digest(tmp_path / "third") == second
    assert digest(make(tmp_path / "other", seed=8).folder) != digest(centre.folder)


def test_a_sample_overwrites_nothing(centre: SampleCentre) -> None:
    before = digest(centre.folder)
    with pytest.raises(SourceError, match="already exists"):
        make(centre.folder)
    assert digest(centre.folder) == before


def test_a_week_changes_adds_and_deletes_and_stays_sound(tmp_path: Path) -> None:
    centre = make(tmp_path / "centre")
    with closing(sqlite3.connect(centre.crm)) as crm:
        before = {r[0]: r[1:] for r in crm.execute("SELECT * FROM customers")}
        notes = {r[0] for r in crm.execute("SELECT id FROM case_notes")}
        done = edit(centre, day=date(2026, 3, 8), seed=3)
        after = {r[0]: r[1:] for r in crm.execute("SELECT * FROM customers")}
        assert len(after) - len(before) == done.customers_added > 0
        assert sum(after[i] != row for i, row in before.items()) >= done.customers_changed > 0
        assert len(notes - {r[0] for r in crm.execute("SELECT id FROM case_notes")}) > 0
        assert (
            one(crm, "SELECT count(*) FROM interactions WHERE started_at >= '2026-03-02'")
            == done.interactions_added
        )
        assert one(crm, "SELECT max(started_at) FROM interactions") < "2026-03-09"  # type: ignore[operator]
        assert crm.execute("PRAGMA foreign_key_check").fetchall() == []
        recorded = one(crm, "SELECT count(*) FROM interactions WHERE recording <> ''")
    assert (
        recorded
        == len(list(centre.recordings.rglob("*.wav")))
        == centre.recording_count + done.recordings_added
    )


def test_a_note_on_a_closed_case_opens_it_again(tmp_path: Path) -> None:
    with closing(sqlite3.connect(make(tmp_path / "centre").crm)) as crm:
        case = one(crm, "SELECT id FROM cases WHERE status = 'closed' LIMIT 1")
        crm.execute(
            "INSERT INTO case_notes (case_id, agent_id, created_at, body) VALUES (?, 1, '2026-03-01', '')",
            (case,),
        )
        assert crm.execute("SELECT status, closed_at FROM cases WHERE id = ?", (case,)).fetchone() == (
            "open",
            None,
        )


def test_check_digits_agree_with_published_examples() -> None:
    assert luhn_digit("7992739871") == "3"  # the example of the Luhn algorithm
    rng = np.random.default_rng(1)
    for _ in range(50):
        for number in (card_number(rng), imei(rng)):
            assert luhn_digit(number[:-1]) == number[-1]
        account = iban(rng).replace(" ", "")
        assert int(account[4:] + "1314" + account[2:4]) % 97 == 1
        article = ean13(rng)
        assert sum(int(c) * (3 if i % 2 else 1) for i, c in enumerate(article)) % 10 == 0


def test_keys_sound_at_the_two_frequencies_of_the_standard() -> None:
    tone = keypad("5")[: round(0.08 * SAMPLE_RATE)]
    spectrum = np.abs(np.fft.rfft(tone, SAMPLE_RATE))
    loudest = np.sort(np.argsort(spectrum)[::-1][:200])
    assert {770, 1336} <= set(loudest.tolist())
    assert spectrum[770] > 20 * spectrum[1_000]
    assert spectrum[1336] > 20 * spectrum[1_000]


def test_speech_has_voice_and_pauses() -> None:
    voice = speech(np.random.default_rng(5), seconds=20)
    assert len(voice) == 20 * SAMPLE_RATE
    loudness = np.sqrt((voice.reshape(-1, 400) ** 2).mean(axis=1))
    assert (loudness > 0.05).mean() > 0.4
    assert (loudness < 0.01).mean() > 0.03
    assert np.abs(voice).max() < 1


def test_tones_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        with_keypad(np.zeros(SAMPLE_RATE), "4111111111111111", at=0)
