"""What else would change in a SQLite database: inbound references and triggers, checked before the first row."""

# ruff: noqa: S608 - names go through `quoted`, values are parameters

import sqlite3
from collections.abc import Callable, Iterator, Sequence

from tenure.domain.errors import SchemaDriftError
from tenure.sources.rowtext import encode_cell
from tenure.sources.sqlitequery import ROW, Queries, TableSet, matches
from tenure.sources.sqliteread import fetch_rows
from tenure.sources.sqliteschema import Table, quoted

_WRITES = frozenset({sqlite3.SQLITE_DELETE, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE})
_Reference = tuple[TableSet, tuple[str, ...], tuple[str, ...]]


def _inbound(connection: sqlite3.Connection, queries: Queries, parent: Table) -> Iterator[_Reference]:
    """Yield declared foreign keys to a table: the child, its columns, the parent's columns."""
    for child in queries.sets.values():
        found: dict[int, list[tuple[str, str | None]]] = {}
        listed = connection.execute(f"PRAGMA main.foreign_key_list({quoted(child.table.name)})").fetchall()
        for number, _, table, own, theirs, *_ in listed:
            if table.lower() == parent.name.lower():
                found.setdefault(number, []).append((own, theirs))
        for pairs in found.values():
            theirs = tuple(t for _, t in pairs if t is not None) or parent.primary
            yield child, tuple(own for own, _ in pairs), theirs


def _covered(child: TableSet, data_set: str) -> bool:
    return any(link.to == data_set for link in child.data_set.links)


def _triggered(connection: sqlite3.Connection, statement: str) -> set[tuple[str, str]]:
    """Return (trigger, table it writes) of everything a statement would set off; the statement is only prepared."""
    found: set[tuple[str, str]] = set()

    def note(action: int, table: str | None, _: str | None, __: str | None, trigger: str | None) -> int:
        if action in _WRITES and trigger is not None and table is not None:
            found.add((trigger, table))
        return sqlite3.SQLITE_OK

    connection.set_authorizer(note)
    try:
        connection.execute(f"EXPLAIN {statement}").fetchall()
    finally:
        connection.set_authorizer(None)
    return found


def _refuse_triggers(connection: sqlite3.Connection, queries: Queries, data_set: str, statement: str) -> None:
    own = queries.of(data_set).table.name
    allowed = {
        c.table.name for c in queries.sets.values() if _covered(c, data_set)
    }  # its own table by a link to itself
    for trigger, table in sorted(_triggered(connection, statement)):
        if table not in allowed:
            raise SchemaDriftError(
                f"trigger {trigger} on table {own} would write to {table}, which the catalogue does not link to {data_set}",
                hint="declare the link in the catalogue, or drop the trigger while purging",
            )


def guard_delete(connection: sqlite3.Connection, queries: Queries, data_set: str) -> None:
    """Refuse to delete rows of a data set where that would reach beyond what the catalogue says.

    Raises:
        SchemaDriftError: A foreign key or trigger is not covered by a link.
    """
    table = queries.of(data_set).table
    for child, columns, _ in _inbound(connection, queries, table):
        if child.table.name != table.name and not _covered(child, data_set):
            raise SchemaDriftError(
                f"table {child.table.name} refers to {table.name} by {', '.join(columns)}, which the catalogue does not say",
                hint=f"add a link to {data_set} to the data set of {child.table.name}",
            )
    _refuse_triggers(connection, queries, data_set, f"DELETE FROM {quoted(table.name)}")


def guard_update(
    connection: sqlite3.Connection, queries: Queries, data_set: str, columns: Sequence[str]
) -> None:
    """Refuse to change columns of a data set where that would set off something the catalogue does not say.

    Raises:
        SchemaDriftError: A trigger is not covered by a link, or a foreign key refers to one of the columns.
    """
    table = queries.of(data_set).table
    for child, _, theirs in _inbound(connection, queries, table):
        if hit := sorted(set(theirs) & set(columns)):
            raise SchemaDriftError(
                f"column {hit[0]} of {table.name} is referred to by {child.table.name} and cannot be changed"
            )
    sets = ", ".join(f"{quoted(c)} = NULL" for c in columns)
    _refuse_triggers(connection, queries, data_set, f"UPDATE {quoted(table.name)} SET {sets}")


def still_referenced(
    connection: sqlite3.Connection,
    queries: Queries,
    data_set: str,
    falling: Sequence[bytes],
    *,
    want: Callable[[Sequence[bytes]], None],
) -> set[bytes]:
    """Return those of `falling` that a row which stays refers to by a declared foreign key.

    `want` fills the temporary table of wanted keys. Repeated until nothing changes: a row of the table itself that
    is kept may in turn keep its parent. What falls together does not hold itself up.
    """
    table = queries.of(data_set).table
    inbound = list(_inbound(connection, queries, table))
    kept: set[bytes] = set()
    while inbound:
        want([k for k in falling if k not in kept])
        found: set[bytes] = set()
        for child, own, theirs in inbound:
            rest = _referenced_sql(queries, data_set, child, own, theirs)
            rows = fetch_rows(connection, queries.key(data_set), rest, encoding=queries.encoding)
            found |= {b"\t".join(map(encode_cell, row)) for row in rows}
        if not found - kept:
            return kept
        kept |= found
    return kept


def _referenced_sql(
    queries: Queries, data_set: str, child: TableSet, own: Sequence[str], theirs: Sequence[str]
) -> str:
    parent = queries.of(data_set)
    key = queries.key(data_set)
    wanted = [f"w.k{i}" for i in range(len(key))]
    stays = ""
    if child.table.name == parent.table.name:
        same = matches([f"c.{quoted(k)}" for k in parent.key], [f"v.k{i}" for i in range(len(key))])
        stays = f" AND NOT EXISTS (SELECT 1 FROM temp.wanted AS v WHERE {same})"
    refers = matches([f"c.{quoted(c)}" for c in own], [f"{ROW}.{quoted(c)}" for c in theirs])
    return (
        "FROM temp.wanted AS w "
        f"CROSS JOIN {quoted(parent.table.name)} AS {ROW} ON {matches(key, wanted)} "
        f"WHERE EXISTS (SELECT 1 FROM {quoted(child.table.name)} AS c WHERE {refers}{stays})"
    )
