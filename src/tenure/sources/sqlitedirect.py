"""Says which tables can be read from their pages, and reads ranges of them so, or says that only SQLite can."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tenure.sources.sqlitecells import Picked
from tenure.sources.sqlitepages import (
    Leaves,
    PageFile,
    Rows,
    UnreadablePagesError,
    check_bounds,
    leaves,
    read_rows,
)
from tenure.sources.sqlitequery import TableSet
from tenure.sources.sqliteschema import Table

_MOST_BYTES = 32 << 20  # of a range's values; where they are more, SQLite reads fewer at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """How a table is read from its pages.

    `root`: its root page; `columns`: how many a record has; `picked`: which value each cell of a line has, but for
    linked cells, which stand behind them and are SQLite's to find.
    """

    root: int
    columns: int
    picked: tuple[Picked, ...]


def direct_of(connection: sqlite3.Connection, found: TableSet) -> Direct | None:
    """Return how a data set is read from the pages of its table; None where only SQLite can.

    That is where its key is not the rowid, so that pages are in another order; or where a column is generated, for
    those that are not stored have no place in a record.
    """
    table, layout = found.table, found.layout
    if table.rowid is None or found.key != (table.rowid,):
        return None
    if any(column.generated for column in table.columns):
        return None
    row = connection.execute(
        "SELECT rootpage FROM main.sqlite_schema WHERE type = 'table' AND name = ?", (table.name,)
    ).fetchone()
    if row is None or not row[0]:
        return None
    places = picked(table)
    return Direct(
        root=row[0], columns=len(table.columns), picked=tuple(places[name] for name in layout.columns)
    )


def picked(table: Table) -> dict[str, Picked]:
    """Return where the values of a rowid table stand, by column; its rowid's name included."""
    places = {
        column.name: Picked(column=i, real=is_real(column.declared)) for i, column in enumerate(table.columns)
    }
    if table.rowid is not None:
        places[table.rowid] = Picked(column=-1)  # INTEGER PRIMARY KEY too: a record has a null in its place
    return places


def is_real(declared: str) -> bool:
    """Whether a declared type, in upper case, gives a column REAL affinity ("Datatypes In SQLite", 3.1)."""
    if any(word in declared for word in ("INT", "CHAR", "CLOB", "TEXT", "BLOB")):
        return False
    return any(word in declared for word in ("REAL", "FLOA", "DOUB"))


def leaves_of(path: Path, direct: Direct) -> Leaves | None:
    """Return the leaf pages of a table in a private copy; None where only SQLite can read it."""
    try:
        with _page_file(path) as file:
            return leaves(file, direct.root)
    except UnreadablePagesError:
        return None


def read_pages(
    path: Path, direct: Direct, pages: Sequence[int], bounds: tuple[bytes | None, bytes | None]
) -> Rows | None:
    """Return the rows of leaf pages, whose keys lie above the first bound and not above the second (None: no bound).

    None where only SQLite can read them.
    """
    after, until = (None if key is None else int(key[1:]) for key in bounds)
    try:
        with _page_file(path) as file:
            found = read_rows(file, np.array(pages, np.int64), direct.columns, _MOST_BYTES)
        check_bounds(found.rowids, after, until)
    except UnreadablePagesError:
        return None
    return found


@contextmanager
def _page_file(path: Path) -> Iterator[PageFile]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield PageFile.of(fd)
    finally:
        os.close(fd)
