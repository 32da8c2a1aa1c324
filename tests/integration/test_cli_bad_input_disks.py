"""Disks that are full or may not be written: which one it is, what to do, and that nothing half-made is counted.

Full: a small disk of its own where one may be mounted (tmpfs), else a limit on the size of files, which needs no
rights. Read-only: for root, whom permission bits do not bind, the right to override them is dropped (setpriv).
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from support.cli import Done, Site, make_sources, site

DISK = 3_000_000  # bytes
LARGEST_FILE = 400_000


@contextmanager
def _small_disk(folder: Path) -> Iterator[dict[str, Any]]:
    """Put a folder on a small disk, what is in it included; yield the options that commands are run with."""
    aside = folder.with_name(f"{folder.name}-aside")
    folder.mkdir(exist_ok=True)
    shutil.copytree(folder, aside, symlinks=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        if mounted:
            shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
        yield {} if mounted else {"file_bytes": LARGEST_FILE}
    finally:
        if mounted:
            shutil.rmtree(aside)
            shutil.copytree(folder, aside, symlinks=True)
            subprocess.run(["umount", str(folder)], check=True)
            shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)


def _grow(centre: Site) -> None:
    """Give the live sources much more than fits: bytes that do not compress."""
    folder = centre.recordings / "new"
    folder.mkdir()
    for i in range(8):
        (folder / f"{i}.wav").write_bytes(os.urandom(700_000))


def test_a_full_repository(tmp_path: Path) -> None:
    centre = site(tmp_path)
    _grow(centre)
    before = centre.numbers("calls")
    with _small_disk(centre.root / "repository") as options:
        centre.run("snapshot", "calls", **options).refused(
            20, "repository (is full|takes no file)", "free space"
        )
        assert centre.numbers("calls") == before
        centre.still_restores()
    centre.run("snapshot", "calls").worked()
    centre.still_whole()


def test_a_full_key_store(tmp_path: Path) -> None:
    centre = site(tmp_path)
    before = centre.numbers("crm")
    with _small_disk(centre.root / "key-store-2") as options:
        centre.crm.unlink()
        shutil.rmtree(centre.recordings)
        make_sources(centre.root, rows=500)
        store = centre.root / "key-store-2"
        if options:  # key pages are smaller than any file that may be limited; a refusal is the nearest thing
            _bound(centre, store, "snapshot", "crm").refused(23, "key-store-2", "who owns")
        else:
            _fill(store)
            centre.run("snapshot", "crm").refused(20, "key-store-2 is full", "free space")
        assert centre.numbers("crm") == before
        (centre.root / "key-store-2" / "ballast").unlink(missing_ok=True)
    centre.run("snapshot", "crm").worked()
    centre.still_whole()


def _fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as f, suppress(OSError):
        while True:
            f.write(bytes(4096))


def test_a_full_scratch_directory(tmp_path: Path) -> None:
    centre = site(tmp_path)
    before = centre.numbers("crm")
    centre.crm.unlink()
    shutil.rmtree(centre.recordings)
    make_sources(centre.root, rows=60_000, files=1)
    with _small_disk(centre.root / "state" / "scratch") as options:
        done = centre.run("snapshot", "crm", **options)
        done.refused(71, "scratch directory", "free space there, or set `scratch`")
        assert list((centre.root / "state" / "scratch").iterdir()) == []
        assert centre.numbers("crm") == before
    centre.run("snapshot", "crm").worked()


def test_a_full_disk_at_the_target_of_a_restore(tmp_path: Path) -> None:
    centre = site(tmp_path)
    _grow(centre)
    centre.crm.unlink()
    shutil.move(centre.recordings, centre.root / "aside")
    make_sources(centre.root, rows=60_000, files=1)
    shutil.rmtree(centre.recordings)
    (centre.root / "aside").rename(centre.recordings)
    centre.run("snapshot").worked()
    with _small_disk(centre.root / "there") as options:
        for source in ("crm", "calls"):
            target = f"there/{source}"
            done = centre.run("restore", source, "--to", target, **options)
            done.refused(
                70, "(disk is full|No space|too large|refuses)", "free space there", "nothing was left"
            )
            assert list((centre.root / "there").iterdir()) == [], str(done)
    centre.still_restores()


def _bound(centre: Site, folder: Path, *args: str) -> Done:
    """Run a command that may not write to a folder, whoever runs it."""
    folders = [folder, *(p for p in folder.rglob("*") if p.is_dir())]
    modes = {p: p.stat().st_mode for p in folders}
    drop = (
        ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.geteuid() == 0 else []
    )
    try:
        for path in folders:
            path.chmod(0o500)
        return centre.run_cold(*args, before=drop)
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@pytest.mark.parametrize("name", ["repository", "key-store-2"])
def test_a_store_that_may_only_be_read(tmp_path: Path, name: str) -> None:
    centre = site(tmp_path)
    _grow(centre)
    before = centre.numbers("calls")
    _bound(centre, centre.root / name, "snapshot", "calls").refused(
        23, rf"Permission denied at .*{name}", "who owns"
    )
    assert centre.numbers("calls") == before
    centre.run("snapshot", "calls").worked()
    centre.still_whole()


def test_a_repository_that_may_only_be_read_still_restores(tmp_path: Path) -> None:
    centre = site(tmp_path)
    _bound(centre, centre.root / "repository", "restore", "crm", "--to", "back").worked()


def test_a_target_that_may_not_be_written(tmp_path: Path) -> None:
    centre = site(tmp_path)
    (centre.root / "closed").mkdir()
    done = _bound(centre, centre.root / "closed", "restore", "crm", "--to", "closed/back")
    done.refused(70, "closed/back cannot be made: Permission denied", "permissions")


def test_a_state_folder_that_may_not_be_written(tmp_path: Path) -> None:
    centre = site(tmp_path)
    done = _bound(centre, centre.root / "state", "snapshot", "crm")
    done.refused(10, "state", "permissions|owns")
    centre.still_restores()


@pytest.mark.parametrize("named", [False, True])
def test_a_scratch_directory_that_may_only_be_read(*, tmp_path: Path, named: bool) -> None:
    centre = site(tmp_path)
    scratch = centre.root / ("elsewhere" if named else "state/scratch")
    scratch.mkdir(exist_ok=True)
    if named:
        centre.configure(("state: state ", "scratch: elsewhere\nstate: state "))
    before = centre.numbers("crm")
    done = _bound(centre, scratch, "snapshot", "crm")
    done.refused(
        71, rf"scratch directory \S*{scratch.name} cannot be used: Permission denied", "who owns", "`scratch`"
    )
    assert centre.numbers("crm") == before
    centre.run("snapshot", "crm").worked()
    assert list(scratch.iterdir()) == []
    centre.still_restores()


def test_a_folder_where_init_may_not_write(tmp_path: Path) -> None:
    centre = Site(tmp_path)
    (tmp_path / "closed").mkdir()
    done = _bound(centre, tmp_path / "closed", "init", "closed/here")
    done.refused(10, "closed/here", "choose a folder")
