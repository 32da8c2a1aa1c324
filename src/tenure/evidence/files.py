"""Durable writes: what returned is on the disk, whole, or was never there."""

import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make new and renamed names in `directory` survive a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, content: bytes, offset: int) -> None:
    """Write all of `content` at `offset`; one system call where the system takes it whole."""
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def replace_durably(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step: readers see the old file or the new one, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        write_all(fd, content, 0)
        os.fsync(fd)
    finally:
        os.close(fd)
    beside.replace(path)
    sync_directory(path.parent)
