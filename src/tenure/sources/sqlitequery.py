"""From the catalogue's names to SQL: which table and key a data set has, and what a reference reads."""

# ruff: noqa: S608 - names go through `quoted`, values are parameters

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenure.domain.catalogue import DataSet, DataSetKind, Link, Source
from tenure.domain.errors import ConfigError, SchemaDriftError
from tenure.sources.base import RowLayout
from tenure.sources.rowtext import OddText
from tenure.sources.sqliteschema import Table, has_null, quoted
from tenure.sources.sqliteutf16 import Utf16Text

_DEEPEST = 8  # links followed in one reference; more is a circle
_MOST_NAMED = 12  # tables or columns that a hint names
ROW = "r0"
"""The alias of the data set's own table in every query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSet:
    """A data set bound to its table. `key`: the columns of the record key, or the rowid's name."""

    data_set: DataSet
    table: Table
    key: tuple[str, ...]
    layout: RowLayout


def parameter(value: Any) -> str:
    """Return how a value is to stand in a statement."""
    if isinstance(value, Utf16Text):
        return "CAST(substr(?, 1) AS TEXT)"
    return "CAST(? AS TEXT)" if isinstance(value, OddText) else "?"


def as_text(value: Any) -> Any:
    """Return text as `str` also where its row, or another of its batch, has text that is no UTF-8."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytearray) else value


def text_bound(value: Any) -> Any:
    """Return what binds to the same bytes that `as_text` was given; SQLite must take them for text."""
    if not isinstance(value, str) or value.isascii():
        return value
    raw = value.encode("utf-8", "surrogateescape")
    return value if raw == value.encode("utf-8", "replace") else OddText(raw)


def matches(left: Sequence[str], right: Sequence[str]) -> str:
    """Return a condition that columns equal others, pair by pair."""
    return " AND ".join(f"{a} = {b}" for a, b in zip(left, right, strict=True))


def _key_of(connection: sqlite3.Connection, table: Table, data_set: DataSet) -> tuple[str, ...]:
    if data_set.key:
        if not set(data_set.key) <= set(table.stored):
            raise SchemaDriftError(
                f"the key of data set {data_set.name} names a column that {table.name} does not store"
            )
        if has_null(connection, table, data_set.key):
            raise ConfigError(f"the key of data set {data_set.name} is null in some rows of {table.name}")
        return data_set.key
    if table.primary and not has_null(connection, table, table.primary):
        return table.primary
    if table.rowid is None:
        raise SchemaDriftError(f"table {table.name} has no key")
    return (
        table.rowid,
    )  # also where a primary key holds nulls, which SQLite allows: they tell no rows apart


def _references(data_set: DataSet) -> tuple[str, ...]:
    named = (*data_set.subjects.values(), *data_set.starting_points.values(), *data_set.attributes.values())
    return tuple(dict.fromkeys(named))


class Queries:
    """The data sets of one SQLite source, those the catalogue does not name included, and their SQL."""

    def __init__(self, connection: sqlite3.Connection, source: Source, tables: Mapping[str, Table]) -> None:
        """Bind every table to a data set.

        Raises:
            SchemaDriftError: The catalogue names a table or column that is not there.
            ConfigError: A key that is none, two data sets on one table, a reference that leads nowhere.
        """
        self._source = source
        self.encoding: str = connection.execute("PRAGMA main.encoding").fetchone()[0]
        self.sets: dict[str, TableSet] = {}
        declared = {d.table or d.name: d for d in source.data_sets.values() if d.kind is DataSetKind.TABLE}
        if len(declared) != len(source.data_sets):
            raise ConfigError(
                f"source {source.name!r}: every data set of a SQLite source needs a table of its own"
            )
        if missing := sorted(set(declared) - set(tables)):
            there = ", ".join(sorted(tables)[:_MOST_NAMED]) or "none at all"
            raise SchemaDriftError(
                f"source {source.name!r} has no table {missing[0]!r}, which the catalogue names",
                hint=f"correct `sources.{source.name}` in tenure.yaml; tables there: {there}",
            )
        bare = {}
        for name, table in tables.items():
            data_set = declared.get(name) or self._undeclared(name)
            bare[data_set.name] = (data_set, table, _key_of(connection, table, data_set))
        self._bare = bare
        for name, (data_set, table, key) in bare.items():
            layout = self._layout(data_set, table, key)
            self.sets[name] = TableSet(data_set=data_set, table=table, key=key, layout=layout)

    def _undeclared(self, table: str) -> DataSet:
        name = f"{table} (table)" if table in self._source.data_sets else table
        return DataSet(name=name, source=self._source.name, kind=DataSetKind.TABLE, table=table)

    def _layout(self, data_set: DataSet, table: Table, key: tuple[str, ...]) -> RowLayout:
        hidden = () if table.rowid is None or table.alias or table.rowid in key else (table.rowid,)
        columns = (*key, *hidden, *(c for c in table.stored if c not in key))
        linked = tuple(r for r in _references(data_set) if r not in columns)
        for reference in _references(data_set):
            self.expression(data_set.name, reference, ROW)
        return RowLayout(columns=columns, key_cells=len(key), linked=linked)

    def of(self, data_set: str) -> TableSet:
        """Return a data set's table.

        Raises:
            ConfigError: There is no such data set.
        """
        if data_set not in self.sets:
            raise ConfigError(f"source {self._source.name!r} has no data set {data_set}")
        return self.sets[data_set]

    def expression(self, data_set: str, reference: str, alias: str, depth: int = 0) -> str:
        """Return the SQL that reads a reference for the row `alias` of a data set.

        A reference through a link is a subquery, so it can never multiply rows.

        Raises:
            SchemaDriftError: It names a column that is not there.
            ConfigError: Its links go in a circle.
        """
        declared, table, key = self._bare[data_set]
        if table.has(reference) or reference in {*key, table.rowid}:
            return f"{alias}.{quoted(reference)}"
        if depth > _DEEPEST:
            raise ConfigError(f"the references of data set {data_set} go in a circle")
        parent, dot, rest = reference.partition(".")
        link = next((n for n in declared.links if dot and n.to == parent and n.to in self._bare), None)
        if link is not None:
            return self._through(data_set, link, rest, alias, depth)
        named = {**declared.attributes, **declared.starting_points, **declared.subjects}
        if depth and reference in named:
            return self.expression(data_set, named[reference], alias, depth + 1)
        there = ", ".join(self._bare[data_set][1].stored[:_MOST_NAMED])
        raise SchemaDriftError(
            f"data set {data_set!r} has no column {reference!r}, which the catalogue names",
            hint=f"correct `sources.{self._source.name}.data_sets.{data_set}` in tenure.yaml; columns there: {there}",
        )

    def parent_columns(self, link: Link) -> tuple[str, ...]:
        """Return the columns of the parent that a link's references stand for."""
        return link.columns or self._bare[link.to][2]

    def _through(self, data_set: str, link: Link, rest: str, alias: str, depth: int) -> str:
        _, parent, key = self._bare[link.to]
        columns = self.parent_columns(link)
        if len(columns) != len(link.by) or not all(parent.has(c) or c in key for c in columns):
            raise SchemaDriftError(f"the link from {data_set} to {link.to} names columns that do not fit")
        inner = f"r{int(alias[1:]) + 1}"
        joined = matches(
            [f"{inner}.{quoted(c)}" for c in columns],
            [self.expression(data_set, b, alias, depth + 1) for b in link.by],
        )
        read = self.expression(link.to, rest, inner, depth + 1)
        body = f"FROM {quoted(parent.name)} AS {inner} WHERE {joined}"
        one = f"(SELECT {read} {body})"
        if set(columns) == set(key) or any(u <= set(columns) for u in parent.unique):
            return one
        return f"CASE WHEN (SELECT count(*) FROM (SELECT 1 {body} LIMIT 2)) = 1 THEN {one} END"

    def columns(self, data_set: str, names: Sequence[str]) -> list[str]:
        """Return the SQL of several references of a data set's own row."""
        return [self.expression(data_set, name, ROW) for name in names]

    def key(self, data_set: str) -> list[str]:
        """Return the SQL of the key cells."""
        return [f"{ROW}.{quoted(c)}" for c in self.of(data_set).key]

    def cells(self, data_set: str, layout: RowLayout) -> list[str]:
        """Return the SQL of every cell of a layout."""
        return self.columns(data_set, (*layout.columns, *layout.linked))

    def origin(self, data_set: str) -> str:
        """Return the FROM clause that every other piece of SQL refers to."""
        return f"FROM {quoted(self.of(data_set).table.name)} AS {ROW}"

    def facts_layout(self, data_set: str) -> RowLayout:
        """Return a layout of the key and of what facts are made of, nothing else."""
        found = self.of(data_set)
        asked = tuple(r for r in _references(found.data_set) if r not in found.key)
        return RowLayout(columns=found.key, key_cells=len(found.key), linked=asked)

    def helpful_indexes(self) -> list[str]:
        """Return statements that make links and keys fast to follow; for a private copy, never for a live store."""
        wanted: dict[tuple[str, tuple[str, ...]], str] = {}
        for declared, table, key in self._bare.values():
            if declared.key and frozenset(key) not in table.unique:
                wanted[(table.name, key)] = "UNIQUE"
            for link in declared.links:
                if link.columns and link.to in self._bare:
                    parent = self._bare[link.to][1]
                    if not any(u <= set(link.columns) for u in parent.unique):
                        wanted.setdefault((parent.name, link.columns), "")
        return [
            f"CREATE {kind} INDEX tenure_reading_{i} ON {quoted(table)} ({', '.join(map(quoted, columns))})"
            for i, ((table, columns), kind) in enumerate(wanted.items())
        ]
