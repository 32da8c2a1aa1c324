"""Compares two SQLite databases cell by cell: for drills and tests."""

# ruff: noqa: S608 - names go through `quoted`, values are parameters

import sqlite3
from contextlib import closing
from pathlib import Path

from tenure.sources.sqliteread import connect
from tenure.sources.sqliteschema import Table, pragma, quoted, read_tables

_SETTINGS = ("encoding", "page_size", "auto_vacuum", "user_version", "application_id", "journal_mode")


def compare_sqlite(a: Path, b: Path) -> list[str]:
    """Return how two databases differ, without a value: schema, settings, counters, typeof and hex of every cell.

    Empty: they are equal, hidden rowids included. Samples of index keys (`sqliteschema.HISTOGRAMS`) are not compared,
    for they are not restored; nor is whether there is a place for index statistics where there are none.

    Raises:
        ConfigError: One holds something that only its application understands.
    """
    with closing(connect(a, options="mode=ro")) as left, closing(connect(b, options="mode=ro")) as right:
        found = [f"setting {s} differs" for s in _SETTINGS if pragma(left, s) != pragma(right, s)]
        found += _compare_query(
            left,
            right,
            "schema",
            "SELECT type, name, tbl_name, sql FROM sqlite_schema"
            " WHERE substr(name, 1, 11) <> 'sqlite_stat' ORDER BY 1, 2",
        )
        tables = read_tables(left)
        if found or tables != read_tables(right):
            return found or ["the tables differ"]
        if _has(left, "sqlite_sequence"):
            found += _compare_query(
                left, right, "sqlite_sequence", "SELECT * FROM sqlite_sequence ORDER BY 1, 2"
            )
        if _statistics(left) != _statistics(right):
            found.append("sqlite_stat1 differs")
        for table in tables.values():
            found += _compare_query(left, right, f"table {table.name}", _cells(table))
        return found


def _has(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchone() is not None


def _statistics(connection: sqlite3.Connection) -> list[tuple[str | None, ...]]:
    if not _has(connection, "sqlite_stat1"):
        return []
    return connection.execute("SELECT * FROM sqlite_stat1 ORDER BY 1, 2").fetchall()


def _cells(table: Table) -> str:
    names = [quoted(c.name) for c in table.columns]
    if table.rowid is not None:
        names.append(quoted(table.rowid))
    order = quoted(table.rowid) if table.rowid is not None else ", ".join(map(quoted, table.primary))
    cells = ", ".join(f"typeof({n}), hex({n})" for n in names)
    return f"SELECT {cells} FROM {quoted(table.name)} ORDER BY {order}"


def _compare_query(left: sqlite3.Connection, right: sqlite3.Connection, what: str, sql: str) -> list[str]:
    one, two = left.execute(sql), right.execute(sql)
    while True:
        rows, others = one.fetchmany(4096), two.fetchmany(4096)
        if rows != others:
            return [f"{what} differs"]
        if not rows:
            return []
