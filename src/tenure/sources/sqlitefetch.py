"""Fetches rows from a cursor, so many bytes of them at a time."""

import gc
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_STEP_ROWS = 16  # fetched between two looks at how many bytes they are
_SIZED = (str, bytes, bytearray)


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the cycle collector from walking millions of row tuples, which hold no cycles."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def rows_of(cursor: sqlite3.Cursor, most_bytes: int) -> tuple[list[Any], bool]:
    """Fetch rows until their values have `most_bytes`, or none are left; whether bytes were what ended it.

    Nobody has measured these rows: a thousand letters that were scanned into a table are gigabytes.

    Raises:
        sqlite3.Error: They cannot be read.
    """
    found: list[Any] = []
    size = 0
    while some := cursor.fetchmany(_STEP_ROWS):
        found += some
        size += sum(len(v) for row in some for v in row if type(v) in _SIZED)
        if size >= most_bytes:
            return found, True
    return found, False
