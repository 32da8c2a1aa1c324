"""What goes wrong while a command runs, or for want of somebody at the keyboard: it is named, and the rest goes on."""

import signal
import time
from pathlib import Path

import pytest

from support.cli import Job, Site, site
from tenure.keys.local import KeyFile, read_key_file, write_key_file
from tenure.repository.mediawriter import IN_FLIGHT

LONG = 48 << 20  # bytes of a recording that takes a while to read
PHRASE = b"correct horse"


def _reads(job: Job, folder: Path) -> bool:
    """Whether a process has a file of a folder open."""
    try:
        return any(fd.readlink().is_relative_to(folder) for fd in Path(f"/proc/{job.pid}/fd").iterdir())
    except OSError:
        return False  # the file, or the process, was closed in between


def test_a_recording_that_vanishes_during_a_run_is_named_and_the_rest_is_taken(tmp_path: Path) -> None:
    centre = site(tmp_path)
    long = centre.recordings / "1-long"
    long.mkdir()
    for i in range(IN_FLIGHT + 1):  # the last is not begun before the first ones are through
        with (long / f"{i:02}.wav").open("wb") as file:
            file.truncate(LONG)
    victim = centre.recordings / "9-late.wav"
    victim.write_bytes(b"RIFF" * 1000)
    job, deadline = centre.start("snapshot", "calls"), time.monotonic() + 30
    while not _reads(job, long):
        assert time.monotonic() < deadline
        assert not job.over, str(job.done())
    job.signal(signal.SIGSTOP)  # so that a busy machine makes no race of it
    victim.unlink()
    job.signal(signal.SIGCONT)
    done = job.done().worked(3)
    assert "calls: a recording vanished or may not be read: '9-late.wav'" in " ".join(done.out.split())
    newest = centre.numbers("calls")[-1]
    assert "1 records changed or vanished" in centre.run("show", str(newest)).worked().out
    for path in long.iterdir():
        path.unlink()
    centre.run("restore", str(newest), "--to", "back").worked()
    back = {p.relative_to(centre.root / "back") for p in (centre.root / "back").rglob("*.wav")}
    assert back == {Path("1-long", f"{i:02}.wav") for i in range(IN_FLIGHT + 1)} | {
        Path("2024", f"call-{i:03}.wav") for i in range(12)
    }
    centre.still_restores()


def _protect(centre: Site, name: str) -> None:
    """Put a passphrase on a key file."""
    path = centre.root / "keys" / name
    key: KeyFile = read_key_file(path, passphrase=None)
    path.unlink()
    write_key_file(path, key, passphrase=PHRASE)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("epoch-1.key", ("restore", "crm", "--to", "out")),
        ("writer-crm.key", ("snapshot", "crm")),
        ("evidence.key", ("snapshots",)),
        ("recovery.key", ("keys", "check-recovery", "keys/recovery.key")),
        ("epoch-1.key", ("keys", "rotate")),
    ],
)
def test_a_protected_key_with_nobody_there_to_open_it_is_refused_at_once(
    tmp_path: Path, name: str, command: tuple[str, ...]
) -> None:
    centre = site(tmp_path)
    _protect(centre, name)
    kept = {p.name: p.read_bytes() for p in (centre.root / "keys").iterdir()}
    done = centre.run(*command).refused(
        31, "protected by a passphrase, and nobody is here to type it", "terminal"
    )
    assert "Passphrase" not in done.err, "it asked nobody"
    assert not (centre.root / "out").exists()
    assert {p.name: p.read_bytes() for p in (centre.root / "keys").iterdir()} == kept


def test_a_protected_reading_key_stops_no_snapshot(tmp_path: Path) -> None:
    centre = site(tmp_path)
    before = centre.numbers("crm")
    _protect(centre, "epoch-1.key")
    centre.run("snapshot").worked()
    assert len(centre.numbers("crm")) == len(before) + 1
