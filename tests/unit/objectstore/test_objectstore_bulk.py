"""A large file is written past the page cache where that is possible, and the same bytes are there where it is not."""

import errno
import fcntl
import mmap
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tenure.objectstore.bulk import LARGE, write_whole

SIZES = [0, 1, 4095, LARGE - 1, LARGE, LARGE + 1, LARGE + 4096, 3 * LARGE + 4097]


def content(size: int) -> bytes:
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


def at_a_page(raw: bytes) -> memoryview:
    area = mmap.mmap(-1, max(len(raw), 1))
    area[: len(raw)] = raw
    return memoryview(area)[: len(raw)]


def written(path: Path, view: memoryview) -> bytes:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        before = fcntl.fcntl(fd, fcntl.F_GETFL)
        write_whole(fd, view)
        assert fcntl.fcntl(fd, fcntl.F_GETFL) == before
    finally:
        os.close(fd)
    return path.read_bytes()


@pytest.mark.parametrize("size", SIZES)
def test_bytes_that_begin_at_a_page_arrive_whole(tmp_path: Path, size: int) -> None:
    raw = content(size)

    assert written(tmp_path / "file", at_a_page(raw)) == raw


@pytest.mark.parametrize("size", SIZES)
def test_bytes_that_begin_anywhere_arrive_whole(tmp_path: Path, size: int) -> None:
    raw = content(size)

    assert written(tmp_path / "file", at_a_page(b"x" + raw)[1:]) == raw


def test_a_large_file_goes_past_the_page_cache(tmp_path: Path) -> None:
    raw = content(4 * LARGE)
    path = tmp_path / "file"
    written_directly = subprocess.run(
        [sys.executable, "-c", _COUNT, str(path)], input=raw, capture_output=True, check=True
    ).stdout

    assert path.read_bytes() == raw
    assert int(written_directly) == len(raw)


_COUNT = """
import mmap, os, sys
from pathlib import Path
from tenure.objectstore import bulk
raw = sys.stdin.buffer.read()
area = mmap.mmap(-1, len(raw)); area[:] = raw
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
print(bulk._write_directly(fd, memoryview(area), 0))
"""


def test_a_file_system_that_knows_no_direct_writes_gets_the_bytes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = fcntl.fcntl

    def refuses(fd: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETFL and argument & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no direct writes here")
        return true(fd, command, argument)

    monkeypatch.setattr("tenure.objectstore.bulk.fcntl.fcntl", refuses)
    raw = content(2 * LARGE + 5)

    assert written(tmp_path / "file", at_a_page(raw)) == raw


def test_writes_that_come_up_short_go_on_where_they_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = os.pwrite

    def short(fd: int, view: memoryview, offset: int) -> int:
        return true(fd, view[: min(len(view), LARGE // 2 + 3)], offset)  # then no whole block any more

    monkeypatch.setattr("tenure.objectstore.bulk.os.pwrite", short)
    raw = content(3 * LARGE + 5)

    assert written(tmp_path / "file", at_a_page(raw)) == raw


@pytest.mark.parametrize("before", [0, 1, 4095, 4096, LARGE, LARGE + 1])
def test_pieces_of_one_file_follow_each_other(tmp_path: Path, before: int) -> None:
    first, second = content(before), content(2 * LARGE + 7)
    path = tmp_path / "file"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    write_whole(fd, memoryview(first))
    write_whole(fd, at_a_page(second), at=before)
    os.close(fd)

    assert path.read_bytes() == first + second


def test_a_disk_that_takes_no_more_raises_its_own_error(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * LARGE, 2 * LARGE))

    code = _COUNT.replace(
        "print(bulk._write_directly(",
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); print(bulk.write_whole(",
    ).replace(", 0))", "))")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file")],
        input=content(4 * LARGE),
        capture_output=True,
        check=False,
        preexec_fn=limit,
    )

    assert done.returncode == 1
    assert b"File too large" in done.stderr
