"""Durable writes of small files: what a key file needs of a disk."""

import os
from pathlib import Path


def fill(fd: int, content: bytes) -> None:
    """Write from the start, sync, close."""
    try:
        done = 0
        while done < len(content):
            done += os.write(fd, content[done:])
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
