"""Runs that are killed, cancelled, or meet another run: nothing committed is lost, and the next run finishes."""

import os
import random
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from support.cli import Done, Job, Site, fingerprint, site
from tenure.domain.progress import SilentProgress
from tenure.sources.base import Recording
from tenure.sources.folderload import FolderLoader

MOMENTS = 20


def _stopped(job: Job, stop: signal.Signals, after: float) -> Done:
    """Stop a command some time after its start, unless it was faster."""
    assert job.pid
    time.sleep(after)
    job.signal(stop)
    done = job.done()
    done.clean()
    assert done.code in {0, 130 if stop is signal.SIGINT else -signal.SIGKILL}, str(done)
    if done.code == 130:
        assert "cancelled" in done.err
    return done


def _lasts(centre: Site, *args: str) -> float:
    begun = time.monotonic()
    centre.run(*args).worked()
    return time.monotonic() - begun


def _change(centre: Site, step: int) -> None:
    """Give the next snapshot something to do in both sources."""
    with closing(sqlite3.connect(centre.crm)) as live:
        live.execute("UPDATE customers SET closed_at = ? WHERE id = ?", (f"2025-02-{step % 28 + 1:02}", step))
        live.execute("INSERT INTO notes VALUES (?, ?, 'again')", (10_000 + step, step))
        live.commit()
    (centre.recordings / "2024" / f"late-{step:03}.wav").write_bytes(random.Random(step).randbytes(30_000))


def _left(centre: Site) -> list[str]:
    """Return what is left that holds live data in the clear, and reports of bugs."""
    places = (
        (centre.root / "state" / "scratch").glob("*"),
        centre.root.glob(".*restoring*"),
        centre.root.glob("tenure-error*"),
    )
    return [p.name for place in places for p in place]


def test_a_snapshot_stopped_at_any_moment_is_finished_by_the_next_run(tmp_path: Path) -> None:
    centre = site(tmp_path)
    whole, chance = _lasts(centre, "snapshot"), random.Random(11)
    before, stopped = centre.numbers("crm"), 0
    for step in range(MOMENTS):
        _change(centre, step)
        stop = chance.choice([signal.SIGINT, signal.SIGKILL])
        stopped += _stopped(centre.start("snapshot"), stop, chance.uniform(0, whole)).code != 0
        listed = centre.numbers("crm")
        assert listed[: len(before)] == before
        assert len(listed) <= len(before) + 1
        done = centre.run("snapshot", "--json").worked()
        before = [*listed, next(s["number"] for s in done.document["snapshots"] if s["source"] == "crm")]
        assert _left(centre) == []
        if step % 10 == 9:
            _same_as_live(centre)
    assert stopped >= MOMENTS // 4, "hardly any run was stopped: the moments are wrong"
    centre.still_whole()


def _same_as_live(centre: Site) -> None:
    for source, live in (("crm", centre.crm), ("calls", centre.recordings)):
        back = centre.root / f"back-{source}"
        centre.run("restore", source, "--to", str(back)).worked()
        assert fingerprint(back) == fingerprint(live)
        shutil.rmtree(back) if back.is_dir() else back.unlink()


@pytest.mark.parametrize("source", ["crm", "calls"])
def test_a_restore_stopped_at_any_moment_is_done_by_running_it_again(tmp_path: Path, source: str) -> None:
    centre = site(tmp_path)
    live = {"crm": centre.crm, "calls": centre.recordings}[source]
    whole, chance = _lasts(centre, "restore", source, "--to", "out"), random.Random(12)
    out = centre.root / "out"
    for _ in range(MOMENTS):
        shutil.rmtree(out) if out.is_dir() else out.unlink()
        stop = chance.choice([signal.SIGINT, signal.SIGKILL])
        _stopped(centre.start("restore", source, "--to", "out"), stop, chance.uniform(0, whole))
        if not out.exists():
            centre.run("restore", source, "--to", "out").worked()
        assert fingerprint(out) == fingerprint(live), "a target is whole, or not there"
        if stop is signal.SIGINT:
            assert _left(centre) == []
    out.rename(centre.root / "kept")
    centre.run("restore", source, "--to", "out").worked()
    assert _left(centre) == []


def test_a_scratch_copy_of_a_killed_run_is_removed_by_the_next_and_one_in_use_is_not(tmp_path: Path) -> None:
    centre = site(tmp_path)
    scratch = centre.root / "state" / "scratch"
    dead = scratch / "tenure-view-0123456789ab"
    dead.mkdir(parents=True)
    shutil.copyfile(centre.crm, dead / "copy.db")
    foreign = scratch / "somebody-elses"
    foreign.mkdir()
    with closing(sqlite3.connect(centre.crm, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        running = centre.start("snapshot", "crm")  # waits for the writer, its own copy made and in use
        _until_locked(centre, running)
        writer.execute("ROLLBACK")
    running.done().worked()
    assert [p.name for p in scratch.iterdir()] == ["somebody-elses"]


def test_of_two_snapshots_of_one_source_at_once_one_is_told_to_wait(tmp_path: Path) -> None:
    centre = site(tmp_path)
    with closing(sqlite3.connect(centre.crm, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        first = centre.start("snapshot", "crm")
        _until_locked(centre, first)
        second = centre.run("snapshot", "crm", "--json").refused(
            52,
            rf"another run is at work on this \(snapshot of crm, process {first.pid}\)",
            "wait for the other run",
        )
        assert second.document["exit_code"] == 52
        writer.execute("ROLLBACK")
    first.done().worked()
    centre.still_whole()


def _until_locked(centre: Site, job: Job) -> None:
    lock, deadline = centre.root / "state" / "locks" / "snapshot-crm.lock", time.monotonic() + 30
    while not lock.exists() or lock.read_text() != str(job.pid):
        assert time.monotonic() < deadline
        assert not job.over, str(job.done())
        time.sleep(0.01)


def test_a_killed_run_holds_no_lock(tmp_path: Path) -> None:
    centre = site(tmp_path)
    with closing(sqlite3.connect(centre.crm, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        first = centre.start("snapshot", "crm")
        _until_locked(centre, first)
        first.signal(signal.SIGKILL)
        assert first.done().code == -signal.SIGKILL
        writer.execute("ROLLBACK")
    centre.run("snapshot", "crm").worked()
    assert _left(centre) == []


def test_a_cancelled_run_says_so_in_its_json_document(tmp_path: Path) -> None:
    centre = site(tmp_path)
    with closing(sqlite3.connect(centre.crm, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        job = centre.start("snapshot", "crm", "--json")
        _until_locked(centre, job)
        job.signal(signal.SIGINT)
        writer.execute("ROLLBACK")
    done = job.done()
    assert done.code == 130, str(done)
    assert done.document["exit_code"] == 130
    done.clean()
    assert _left(centre) == []


def test_a_folder_that_another_thread_makes_first_stops_no_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.mkdir

    def overtaken(path: bytes, mode: int, *, dir_fd: int) -> None:
        make(path, mode, dir_fd=dir_fd)
        make(path, mode, dir_fd=dir_fd)  # as if it had been made between looking and making

    loader = FolderLoader()
    loader.begin(b'{"kind": "folder"}', tmp_path / "out", SilentProgress())
    monkeypatch.setattr(os, "mkdir", overtaken)
    loader.recording(Recording(path=b"a/b/c.wav", size=4, mtime_ns=0, mode=0o600), iter([b"RIFF"]))
    monkeypatch.undo()
    loader.end()
    assert (tmp_path / "out/a/b/c.wav").read_bytes() == b"RIFF"
