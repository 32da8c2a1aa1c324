"""Files get onto the disk, with the calls of Linux and without them."""

import os
from pathlib import Path

import pytest

from tenure.sources import flushing


class _Old:
    """A C library that has neither call."""


def test_a_file_system_is_flushed_by_the_descriptor_of_a_folder_on_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    with (tmp_path / "a").open("rb") as file:
        flushing.start_writing(file.fileno())
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        flushing.flush_filesystem(folder)
    finally:
        os.close(folder)


def test_a_failed_flush_is_no_success(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    os.close(folder)
    with pytest.raises(OSError, match="Bad file descriptor"):
        flushing.flush_filesystem(folder)


def test_a_c_library_without_the_calls_flushes_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[bool] = []
    monkeypatch.setattr(flushing, "_libc", _Old())
    monkeypatch.setattr(os, "sync", lambda: called.append(True))
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        flushing.start_writing(folder)
        flushing.flush_filesystem(folder)
    finally:
        os.close(folder)
    assert called == [True]
