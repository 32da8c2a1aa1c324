"""The schema of a SQLite database: its tables and keys, and everything a loader needs to build it again."""

# ruff: noqa: S608 - names go through `quoted`, values are parameters

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from tenure.domain.errors import ConfigError, IntegrityError

_BUILT_IN_COLLATIONS = frozenset({"BINARY", "NOCASE", "RTRIM"})
_ROWID_NAMES = ("rowid", "_rowid_", "oid")  # SQLite documentation, "Rowid Tables"
HISTOGRAMS = b"sqlite_stat4"
"""Where ANALYZE keeps samples of index keys, in SQLite libraries built with SQLITE_ENABLE_STAT4."""
_LEAST_VERSION = (3, 37, 0)  # STRICT tables and PRAGMA table_list


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column that holds something; `default_kind` is the affinity of its declared type."""

    name: str
    declared: str
    not_null: bool
    generated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. `primary`: its primary key; `rowid`: how to call the hidden rowid, None where there is none.

    `alias`: the primary key *is* the rowid (INTEGER PRIMARY KEY). `unique`: columns of its unique indexes.
    """

    name: str
    columns: tuple[Column, ...]
    primary: tuple[str, ...]
    alias: bool
    rowid: str | None
    unique: tuple[frozenset[str], ...]
    shadow: bool

    @property
    def stored(self) -> tuple[str, ...]:
        """Names of the columns that are stored, not generated."""
        return tuple(c.name for c in self.columns if not c.generated)

    def has(self, column: str) -> bool:
        """Whether there is such a column, generated ones included."""
        return any(c.name == column for c in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaObject:
    """A row of sqlite_schema."""

    type: str
    name: str
    table: str
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """Everything of a database except the rows of its tables. `tables`: table names by data set."""

    kind: str
    tables: dict[str, str]
    objects: tuple[SchemaObject, ...]
    sequences: tuple[tuple[str, int], ...]
    statistics: tuple[tuple[str, str | None, str], ...]
    encoding: str
    page_size: int
    auto_vacuum: int
    user_version: int
    application_id: int
    journal_mode: str


def encode_structure(structure: Structure) -> bytes:
    """Return a structure as JSON."""
    return msgspec.json.encode(structure)


def decode_structure(text: bytes) -> Structure:
    """Read what `encode_structure` wrote.

    Raises:
        IntegrityError: It is not the structure of a SQLite database.
    """
    try:
        found = msgspec.json.decode(text, type=Structure)
    except msgspec.MsgspecError as e:
        raise IntegrityError("the structure of this snapshot is not that of a SQLite database") from e
    if found.kind != "sqlite":
        raise IntegrityError("the structure of this snapshot is not that of a SQLite database")
    return found


def pragma(connection: sqlite3.Connection, name: str) -> int | str:
    """Return the value of a setting of the main database."""
    value: int | str = connection.execute(f"PRAGMA main.{name}").fetchone()[0]
    return value


def _has(connection: sqlite3.Connection, table: str) -> bool:
    found = connection.execute("SELECT 1 FROM main.sqlite_schema WHERE name = ?", (table,)).fetchone()
    return found is not None


def has_histograms(connection: sqlite3.Connection) -> bool:
    """Whether samples of index keys are kept (`HISTOGRAMS`)."""
    return _has(connection, HISTOGRAMS.decode())


def read_structure(connection: sqlite3.Connection, tables: Mapping[str, str]) -> Structure:
    """Read everything but the rows; `tables`: table names by data set."""
    objects = connection.execute(
        "SELECT type, name, tbl_name, sql FROM main.sqlite_schema "
        "WHERE sql IS NOT NULL AND substr(name, 1, 7) <> 'sqlite_' ORDER BY rowid"
    ).fetchall()
    sequences, statistics = [], []
    if _has(connection, "sqlite_sequence"):
        sequences = connection.execute("SELECT name, seq FROM main.sqlite_sequence ORDER BY rowid").fetchall()
    if _has(connection, "sqlite_stat1"):
        statistics = connection.execute(
            "SELECT tbl, idx, stat FROM main.sqlite_stat1 ORDER BY rowid"
        ).fetchall()
    return Structure(
        kind="sqlite",
        tables=dict(tables),
        objects=tuple(SchemaObject(type=t, name=n, table=b, sql=s) for t, n, b, s in objects),
        sequences=tuple(sequences),
        statistics=tuple(statistics),
        encoding=str(pragma(connection, "encoding")),
        page_size=int(pragma(connection, "page_size")),
        auto_vacuum=int(pragma(connection, "auto_vacuum")),
        user_version=int(pragma(connection, "user_version")),
        application_id=int(pragma(connection, "application_id")),
        journal_mode=str(pragma(connection, "journal_mode")),
    )


def read_tables(connection: sqlite3.Connection) -> dict[str, Table]:
    """Return the tables that hold rows of their own, shadow tables of virtual ones included, by name.

    Raises:
        ConfigError: Something in the schema only the application that made it understands.
    """
    if sqlite3.sqlite_version_info < _LEAST_VERSION:
        raise ConfigError(f"the SQLite library {sqlite3.sqlite_version} is too old; 3.37 is the least")
    listed = connection.execute("PRAGMA main.table_list").fetchall()
    return {
        name: _read_table(connection, name, kind == "shadow", bool(without_rowid))
        for _, name, kind, _, without_rowid, _ in sorted(listed, key=lambda row: row[1])
        if kind in {"table", "shadow"} and not name.startswith("sqlite_")
    }


def _read_table(connection: sqlite3.Connection, name: str, shadow: bool, without_rowid: bool) -> Table:  # noqa: FBT001 - two facts of one PRAGMA row
    found = connection.execute(f"PRAGMA main.table_xinfo({quoted(name)})").fetchall()
    columns = tuple(
        Column(name=c, declared=declared.upper(), not_null=bool(not_null), generated=hidden in {2, 3})
        for _, c, declared, not_null, _, _, hidden in found
    )
    primary = tuple(row[1] for row in sorted((r for r in found if r[5]), key=lambda row: row[5]))
    unique, has_own_index = _unique_indexes(connection, name)
    declared = {c.name: c.declared for c in columns}
    alias = (
        not without_rowid and len(primary) == 1 and declared[primary[0]] == "INTEGER" and not has_own_index
    )
    return Table(
        name=name,
        columns=columns,
        primary=primary,
        alias=alias,
        rowid=None if without_rowid else _rowid_name(name, columns, primary[0] if alias else None),
        unique=(*unique, frozenset(primary)) if primary else unique,
        shadow=shadow,
    )


def _rowid_name(table: str, columns: tuple[Column, ...], alias: str | None) -> str:
    if alias is not None:
        return alias
    taken = {c.name.lower() for c in columns}
    free = [n for n in _ROWID_NAMES if n not in taken]
    if not free:
        raise ConfigError(
            f"table {table} has columns named rowid, _rowid_ and oid, so its rows cannot be told apart",
            hint="give the table a primary key, or rename one of these columns",
        )
    return free[0]


def _unique_indexes(connection: sqlite3.Connection, table: str) -> tuple[tuple[frozenset[str], ...], bool]:
    """Return the columns of complete unique indexes, and whether the primary key has an index of its own."""
    unique: list[frozenset[str]] = []
    own = False
    for _, index, is_unique, origin, partial in connection.execute(
        f"PRAGMA main.index_list({quoted(table)})"
    ).fetchall():
        rows = connection.execute(f"PRAGMA main.index_xinfo({quoted(index)})").fetchall()
        for collation in (row[4] for row in rows):
            if collation is not None and collation.upper() not in _BUILT_IN_COLLATIONS:
                raise ConfigError(
                    f"index {index} of table {table} sorts by {collation}, which only its application knows",
                    hint="drop the index or declare it with a collation built into SQLite",
                )
        own = own or origin == "pk"
        key = [row[2] for row in rows if row[5]]
        if is_unique and not partial and None not in key:
            unique.append(frozenset(key))
    return tuple(unique), own


def has_null(connection: sqlite3.Connection, table: Table, columns: tuple[str, ...]) -> bool:
    """Whether one of these columns holds a null in any row."""
    nullable = [c.name for c in table.columns if c.name in columns and not c.not_null]
    if not nullable or table.rowid is None or (table.alias and columns == table.primary):
        return False
    clause = " OR ".join(f"{quoted(c)} IS NULL" for c in nullable)
    found = connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM {quoted(table.name)} WHERE {clause})"
    ).fetchone()
    return bool(found[0])
