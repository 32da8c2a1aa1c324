"""Getting many written files onto the disk, cheaply: two calls of Linux that Python does not offer.

Where the C library lacks one, the nearest that Python has is used: slower, or later, never less.
"""

import ctypes
import os

_WRITE = 2
"""SYNC_FILE_RANGE_WRITE (linux/fs.h): begin to write out what is dirty, do not wait."""

_libc = ctypes.CDLL(None, use_errno=True)


def start_writing(descriptor: int) -> None:
    """Let the disk begin with a file that is complete, so that `flush_filesystem` has less left to wait for.

    A hint: whatever comes of it, only `flush_filesystem` says that bytes arrived.
    """
    try:
        begin = _libc.sync_file_range
    except AttributeError:
        return
    begin(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _WRITE)


def flush_filesystem(descriptor: int) -> None:
    """Write out the file system that an open file or directory lies on, and no other; wait for it.

    One call for any number of files: a sync for each of 100,000 would take minutes.

    Raises:
        OSError: Something could not be written.
    """
    try:
        flush = _libc.syncfs
    except AttributeError:
        os.sync()
        return
    if flush(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
