"""Looks rows of a SQLite data set up by key, for facts of recordings that a CRM row knows."""

# ruff: noqa: S608 - names go through `quoted`, values are parameters

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tenure.domain.errors import SourceError
from tenure.sources.rowtext import encode_column
from tenure.sources.sqlitequery import ROW, Queries, matches
from tenure.sources.sqliteread import fetch_tolerant
from tenure.sources.sqliteschema import quoted


class SqliteLookup:
    """Answers for one data set; see `Lookup`."""

    def __init__(self, connection: sqlite3.Connection, queries: Queries, data_set: str) -> None:
        """Take a connection that may make temporary tables."""
        self._connection, self._queries, self._data_set = connection, queries, data_set

    def __call__(
        self, references: Sequence[str], columns: Sequence[str], keys: Sequence[tuple[str | None, ...]]
    ) -> Mapping[str, Any]:
        """Return for each reference one encoded cell for each key; null where no row, or several, have the key.

        Raises:
            SourceError: The database could not be read.
            SchemaDriftError: A reference names a column that is not there.
        """
        by = [f"{ROW}.{quoted(c)}" for c in columns or self._queries.of(self._data_set).key]
        names = [f"w.k{i}" for i in range(len(by))]
        reads = self._queries.columns(self._data_set, references)
        sql = (
            f"SELECT w.place, {', '.join(reads)} FROM temp.looked_up AS w CROSS JOIN "
            f"{quoted(self._queries.of(self._data_set).table.name)} AS {ROW} "
            f"ON {matches(by, names)} ORDER BY w.place"
        )
        connection = self._connection
        try:
            connection.execute("DROP TABLE IF EXISTS temp.looked_up")
            connection.execute(
                f"CREATE TEMP TABLE looked_up (place INTEGER PRIMARY KEY, {', '.join(n[2:] for n in names)})"
            )
            marks = ", ".join("?" * (len(by) + 1))
            connection.execute("BEGIN")
            connection.executemany(
                f"INSERT INTO temp.looked_up VALUES ({marks})", ((i, *key) for i, key in enumerate(keys))
            )
            connection.execute("COMMIT")
            rows = fetch_tolerant(lambda: connection.execute(sql).fetchall(), connection)
        except sqlite3.Error:
            raise SourceError(f"data set {self._data_set} could not be looked up") from None
        return _placed(references, rows, len(keys))


def _placed(references: Sequence[str], rows: list[tuple[Any, ...]], n: int) -> dict[str, Any]:
    """Put found rows at the places of their keys; places found twice stay null."""
    if not rows:
        return {r: pa.nulls(n, pa.large_binary()) for r in references}
    place, *found = zip(*rows, strict=True)
    at, first, times = np.unique(np.array(place, np.int64), return_index=True, return_counts=True)
    source = np.full(n, -1, np.int64)
    source[at[times == 1]] = first[times == 1]
    indices = pa.array(source, mask=source < 0)
    return {r: encode_column(values).take(indices) for r, values in zip(references, found, strict=True)}
