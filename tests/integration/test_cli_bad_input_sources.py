"""Sources that are missing, locked, empty, changed, or no database at all: no snapshot is listed, and it says why."""

import sqlite3
from contextlib import closing
from pathlib import Path

from support.cli import Site, fingerprint, site

DAMAGED = {10, 72}  # "no database" or "damaged": it depends on what SQLite meets first


def _refused(centre: Site, source: str, code: int, *says: str) -> None:
    """Assert that a snapshot is refused, that none is listed, and that what is there still restores."""
    before = centre.numbers(source)
    centre.run("snapshot", source).refused(code, *says)
    assert centre.numbers(source) == before
    assert list((centre.root / "state" / "scratch").glob("*")) == []
    centre.still_restores()


def test_a_database_that_is_missing(tmp_path: Path) -> None:
    centre = site(tmp_path)
    centre.crm.unlink()
    _refused(centre, "crm", 71, r"source 'crm'.*crm\.sqlite", "check `path`")


def test_a_database_that_is_a_folder(tmp_path: Path) -> None:
    centre = site(tmp_path)
    centre.crm.unlink()
    centre.crm.mkdir()
    _refused(centre, "crm", 71, r"source 'crm'.*crm\.sqlite")


def test_a_database_that_is_no_database(tmp_path: Path) -> None:
    centre = site(tmp_path)
    centre.crm.write_bytes(b"this is a letter, no database\n" * 500)
    _refused(centre, "crm", 10, "source 'crm'.* no SQLite database", "path")


def test_a_database_of_no_bytes(tmp_path: Path) -> None:
    centre = site(tmp_path)
    centre.crm.write_bytes(b"")
    _refused(centre, "crm", 72, r"source 'crm'.*(no tables|empty)", "another|restore|check")


def test_a_database_whose_middle_was_overwritten(tmp_path: Path) -> None:
    centre = site(tmp_path)
    raw = bytearray(centre.crm.read_bytes())
    raw[4096 : len(raw) // 2] = bytes(len(raw) // 2 - 4096)
    centre.crm.write_bytes(raw)
    before = centre.numbers("crm")
    done = centre.run("snapshot", "crm")
    assert done.code in DAMAGED, str(done)
    done.refused(done.code, "'crm'|table (customers|notes)", "integrity_check|path")
    assert centre.numbers("crm") == before
    centre.still_restores()


def test_a_database_cut_short(tmp_path: Path) -> None:
    centre = site(tmp_path)
    raw = centre.crm.read_bytes()
    centre.crm.write_bytes(raw[: len(raw) // 2])
    before = centre.numbers("crm")
    done = centre.run("snapshot", "crm")
    assert done.code in DAMAGED, str(done)
    done.refused(done.code, "'crm'|table (customers|notes)", "integrity_check|path")
    assert centre.numbers("crm") == before


def test_a_database_locked_by_a_writer(tmp_path: Path) -> None:
    centre = site(tmp_path)
    centre.configure(("version: 1", "version: 1\nlock_wait_seconds: 0.2"))
    with closing(sqlite3.connect(centre.crm, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        _refused(centre, "crm", 71, "source 'crm' stayed locked", "writer that holds it")
        writer.execute("ROLLBACK")
    centre.run("snapshot", "crm").worked()


def test_a_table_that_the_catalogue_names_and_the_database_lacks(tmp_path: Path) -> None:
    centre = site(tmp_path)
    centre.configure(("      notes:", "      notes:\n        table: nots"))
    _refused(centre, "crm", 73, "notes.*'nots'|nots", "tenure.yaml|catalogue")


def test_a_column_that_the_catalogue_names_and_the_database_lacks(tmp_path: Path) -> None:
    centre = site(tmp_path)
    with closing(sqlite3.connect(centre.crm)) as database:
        database.execute("ALTER TABLE customers RENAME COLUMN closed_at TO ended_at")
    _refused(centre, "crm", 73, "closed_at", "customers")


def test_a_database_in_wal_mode_with_a_writer_at_work_is_taken_as_committed(tmp_path: Path) -> None:
    centre = site(tmp_path)
    with closing(sqlite3.connect(centre.crm, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("INSERT INTO notes VALUES (9001, 1, 'committed')")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO notes VALUES (9002, 1, 'not committed')")
        centre.run("snapshot", "crm").worked()
        writer.execute("ROLLBACK")
        centre.run("restore", "crm", "--to", "back.sqlite").worked()
        assert fingerprint(centre.root / "back.sqlite") == fingerprint(centre.crm)


def test_a_folder_that_is_missing_or_a_file(tmp_path: Path) -> None:
    centre = site(tmp_path)
    centre.recordings.rename(centre.root / "away")
    _refused(centre, "calls", 71, "source 'calls'.*recordings", "mount")
    centre.recordings.write_text("")
    _refused(centre, "calls", 71, "source 'calls'.*recordings", "mount")


def test_an_empty_folder_where_recordings_were_is_reported(tmp_path: Path) -> None:
    centre = site(tmp_path)
    centre.recordings.rename(centre.root / "away")
    centre.recordings.mkdir()
    done = centre.run("snapshot", "calls").worked(3)
    assert "calls: it is empty now; snapshot" in done.out
    assert "has 12 records. Is its disk mounted?" in done.out
    centre.run("snapshot", "calls").worked()  # said once; the snapshot before is empty now
    centre.still_restores()


def test_a_folder_that_never_held_anything_is_an_empty_snapshot(tmp_path: Path) -> None:
    centre = site(tmp_path)
    (centre.root / "new").mkdir()
    centre.configure(("  calls:", "  fresh:\n    kind: folder\n    path: new\n  calls:"))
    done = centre.run("snapshot", "fresh", "--json").worked()
    assert done.document["snapshots"][0]["records"] == 0
    centre.run("restore", "fresh", "--to", "back").worked()
    assert list((centre.root / "back").iterdir()) == []


def test_a_file_that_may_not_be_followed_is_reported_and_the_rest_is_taken(tmp_path: Path) -> None:
    centre = site(tmp_path)
    (centre.recordings / "2024" / "link.wav").symlink_to("/etc/hostname")
    done = centre.run("snapshot", "calls").worked(3)
    assert "symbolic link" in done.out
    centre.still_restores()


def test_a_failed_source_does_not_take_back_the_ones_before_it(tmp_path: Path) -> None:
    centre = site(tmp_path)
    centre.recordings.rename(centre.root / "away")
    before = centre.numbers("crm")
    document = centre.run("snapshot", "--json").refused(71, "source 'calls'").document
    assert document["exit_code"] == 71
    assert len(centre.numbers("crm")) == len(before) + 1
