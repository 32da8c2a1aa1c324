"""Writes the bytes of a new file to the disk: large ones past the page cache, where the file system allows that.

A pack that goes through the page cache is copied once and looked at twice more when it is synced, which took more
than a third of a snapshot's processor time; and it drives out pages that the databases of the same machine need.
"""

import errno
import fcntl
import os

LARGE = 1 << 20
"""Bytes from which a file is written directly: below, one wait for the disk costs more than the copy."""

_BLOCK = 4096
"""What the length of direct writes must be a multiple of on every disk in use; memory begins at a page as well."""

_REFUSED = (errno.EINVAL, errno.EOPNOTSUPP)


def write_whole(fd: int, content: memoryview, *, at: int = 0) -> None:
    """Write `content` to a new file; `os.fsync` then has little or nothing to wait for.

    Args:
        fd: A file, opened for writing, with nothing at or behind `at`.
        content: Bytes. Written directly where they begin at a page of memory, as an `mmap` does.
        at: Where to; directly where that is the start of a block.

    Raises:
        OSError: As of `os.pwrite`.
    """
    direct = content.nbytes >= LARGE and at % _BLOCK == 0
    done = _write_directly(fd, content, at) if direct else 0
    while done < content.nbytes:
        done += os.pwrite(fd, content[done:], at + done)


def _write_directly(fd: int, content: memoryview, at: int) -> int:
    """Return how many bytes were written, whole blocks; the rest is for the page cache."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT)
    except OSError as e:
        if e.errno in _REFUSED:
            return 0
        raise
    done, whole = 0, content.nbytes // _BLOCK * _BLOCK
    try:
        while done < whole:
            # A part that is no whole block was written: what follows cannot be direct any more.
            if done % _BLOCK:
                break
            done += os.pwrite(fd, content[done:whole], at + done)
    except OSError as e:
        if e.errno not in _REFUSED:
            raise
    finally:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)
    return done
