"""Keeps large blocks of memory for the next use, instead of giving them back and faulting them in again.

Chunks are coded and decoded into blocks of some megabytes, one after the other. The C library maps each such block anew and
unmaps it, and the kernel then clears every page of the next: a third of a restore's system time.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Numbers of the options in glibc's malloc.h."""

LARGEST = 32 * 1024 * 1024
"""Blocks up to this size, the most that glibc takes, are kept; packs have buffers of their own."""

KEPT = 256 * 1024 * 1024
"""Free memory above this is given back all the same."""


def keep_blocks() -> bool:
    """Set the C library up so; whether it took it. Without glibc nothing is changed, and all works, slower."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    # One arena: what one thread frees, another uses. Our threads allocate seldom, so they do not wait for each other.
    wanted = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, LARGEST), (_TRIM_THRESHOLD, KEPT))
    taken = [mallopt(option, value) == 1 for option, value in wanted]  # each, whatever became of the others
    return all(taken)
