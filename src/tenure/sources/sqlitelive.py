"""The live side of a SQLite source: facts, deletion judged again inside its own transaction, rewriting, stubs."""

# ruff: noqa: S608 - names go through `quoted`, values are parameters

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.domain.catalogue import Link, Source
from tenure.domain.errors import ConfigError, IntegrityError, SourceError, SourceUnavailableError
from tenure.rules.facts import Facts
from tenure.sources.base import Judge, Lookups, Removal
from tenure.sources.rowtext import OddText, decode_keys, encode_cell, encode_columns, fact_plan, facts_by_plan
from tenure.sources.sqliteguard import guard_delete, guard_update, still_referenced
from tenure.sources.sqlitelookup import SqliteLookup
from tenure.sources.sqlitequery import ROW, Queries, as_text, matches, parameter, text_bound
from tenure.sources.sqliteread import connect, fetch_rows, ranged
from tenure.sources.sqliteschema import quoted, read_tables
from tenure.sources.sqliteutf16 import bound

_FACTS_ROWS = 50_000  # of one read; between reads writers come in
_BATCH_ROWS = 1_000  # of one deleting transaction
_EMPTY = {"INT": 0, "CHAR": "", "CLOB": "", "TEXT": "", "BLOB": b"", "REAL": 0.0, "FLOA": 0.0, "DOUB": 0.0}
"""Empty value by what the declared type contains, in SQLite's own order (documentation, "Datatypes", 3.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Store:
    """An open live store. `name`: the source's."""

    name: str
    connection: sqlite3.Connection
    queries: Queries


def _empty_value(declared: str) -> Any:
    return next((value for part, value in _EMPTY.items() if part in declared), "")


def _key_text(row: Sequence[Any]) -> bytes:
    return b"\t".join(map(encode_cell, row))


class SqliteLive:
    """Looks up, removes and rewrites rows of the live database; see `LiveStore`. Opens it for each call."""

    def __init__(self, source: Source, *, lock_wait: float = 30.0) -> None:
        """Describe the store; `lock_wait`: seconds to wait for another writer, for each transaction."""
        self._source, self._lock_wait = source, lock_wait

    @contextmanager
    def _open(self, mode: str) -> Iterator[_Store]:
        name = self._source.name
        if not Path(self._source.path).is_file():
            raise SourceUnavailableError(f"source {name!r}: there is no file at its path")
        try:
            with closing(
                connect(Path(self._source.path), options=f"mode={mode}", timeout=self._lock_wait)
            ) as live:
                for setting in ("temp_store = MEMORY", "foreign_keys = ON", "secure_delete = ON"):
                    live.execute(f"PRAGMA {setting}")
                yield _Store(
                    name=name, connection=live, queries=Queries(live, self._source, read_tables(live))
                )
        except sqlite3.IntegrityError as e:  # SQLite names the constraint, never the value
            raise SourceError(
                f"source {name!r} refuses the change: {e}", hint="nothing of this batch was changed"
            ) from None
        except sqlite3.Error as e:
            if "locked" in str(e) or "busy" in str(e):
                raise SourceUnavailableError(
                    f"source {name!r} stayed locked", hint="what was committed stays; run again"
                ) from None
            raise SourceUnavailableError(f"source {name!r} could not be read or changed") from None

    def facts(self, data_set: str, keys: Sequence[bytes] | None = None) -> Iterator[Facts]:
        """Yield facts of all rows, or of those with these keys, at most 50,000 at a time.

        Raises:
            SourceUnavailableError: The database is missing or stayed locked.
            SchemaDriftError: The catalogue names something that is not there.
        """
        with self._open("ro") as store:
            if keys is None:
                yield from self._all_facts(store, data_set)
                return
            for start in range(0, len(keys), _FACTS_ROWS):
                with _transaction(store, "BEGIN"):
                    _want(store, data_set, keys[start : start + _FACTS_ROWS])
                    found = self._wanted_facts(store, data_set)
                if found is not None:
                    yield found

    def _all_facts(self, store: _Store, data_set: str) -> Iterator[Facts]:
        layout = store.queries.facts_layout(data_set)
        cells, origin = store.queries.cells(data_set, layout), store.queries.origin(data_set)
        key = store.queries.key(data_set)
        after: bytes | None = None
        while True:
            rest, values = ranged(origin, key, after, None, encoding=store.queries.encoding)
            found = self._facts_of(store, data_set, cells, f"{rest} LIMIT {_FACTS_ROWS}", values)
            if found is None:
                return
            yield found
            after = found.keys[len(found) - 1].as_py()

    def _facts_of(
        self, store: _Store, data_set: str, cells: Sequence[str], rest: str, values: Sequence[Any] = ()
    ) -> Facts | None:
        rows = _rows(store, cells, rest, values)
        if not rows:
            return None
        plan = fact_plan(
            store.queries.facts_layout(data_set), store.queries.of(data_set).data_set, self._source.time_zone
        )
        return facts_by_plan(plan, encode_columns(list(zip(*rows, strict=True))))

    def _wanted_facts(self, store: _Store, data_set: str) -> Facts | None:
        cells = store.queries.cells(data_set, store.queries.facts_layout(data_set))
        return self._facts_of(store, data_set, cells, _from_wanted(store, data_set))

    def _judged(
        self, store: _Store, data_set: str, keys: Sequence[bytes], judge: Judge
    ) -> tuple[list[bytes], list[bytes]]:
        """Read the wanted rows' facts in this transaction; return the keys that fall and those that stay."""
        _want(store, data_set, keys)
        found = self._wanted_facts(store, data_set)
        if found is None:
            return [], []
        present: list[bytes] = found.keys.to_pylist()
        falls: NDArray[np.bool_] = np.asarray(judge(found), bool)
        if falls.shape != (len(present),):
            raise ValueError("a judge answers once for each record")
        return [k for k, f in zip(present, falls, strict=True) if f], [
            k for k, f in zip(present, falls, strict=True) if not f
        ]

    def remove(self, data_set: str, keys: Sequence[bytes], judge: Judge) -> Removal:
        """Delete rows, a batch a transaction; rows that others still refer to are left.

        Raises:
            SourceUnavailableError: The store stayed locked.
            SchemaDriftError: An inbound reference or trigger that the catalogue does not cover.
            SourceError: A constraint or trigger of the database refuses.
        """
        with self._open("rw") as store:
            guard_delete(store.connection, store.queries, data_set)

            def delete(falling: Sequence[bytes]) -> list[bytes]:
                kept = still_referenced(
                    store.connection,
                    store.queries,
                    data_set,
                    falling,
                    want=lambda k: _want(store, data_set, k),
                )
                falling = [k for k in falling if k not in kept]
                _want(store, data_set, falling)
                table = quoted(store.queries.of(data_set).table.name)
                key = store.queries.key(data_set)
                condition = (
                    f"EXISTS (SELECT 1 FROM temp.wanted AS w WHERE {matches(_wanted_columns(key), key)})"
                )
                if len(key) == 1:
                    condition = f"{key[0]} IN (SELECT w.k0 FROM temp.wanted AS w)"
                done = store.connection.execute(f"DELETE FROM {table} AS {ROW} WHERE {condition}")
                _insist(store, done.rowcount, len(falling))
                return falling

            return self._batches(store, data_set, keys, judge, delete)

    def _batches(
        self,
        store: _Store,
        data_set: str,
        keys: Sequence[bytes],
        judge: Judge,
        act: Callable[[Sequence[bytes]], list[bytes]],
    ) -> Removal:
        gone: list[bytes] = []
        left: list[bytes] = []
        absent: list[bytes] = []
        for start in range(0, len(keys), _BATCH_ROWS):
            batch = keys[start : start + _BATCH_ROWS]
            with _transaction(store, "BEGIN IMMEDIATE"):
                falling, staying = self._judged(store, data_set, batch, judge)
                done = act(falling)
            there = {*falling, *staying}
            gone += done
            left += [*staying, *(k for k in falling if k not in set(done))]
            absent += [k for k in batch if k not in there]
        return Removal(gone=tuple(gone), left=tuple(left), absent=tuple(absent))

    def rewrite(
        self, data_set: str, keys: Sequence[bytes], judge: Judge, edits: Mapping[str, Callable[[Any], Any]]
    ) -> Removal:
        """Change columns of rows that still match, a batch a transaction.

        Raises:
            ConfigError: An edit names a key column or one that is not there.
            SourceError: A constraint refuses the new value; the batch is rolled back.
            SchemaDriftError: An update trigger that the catalogue does not cover.
            SourceUnavailableError: The store stayed locked.
        """
        columns = tuple(edits)
        with self._open("rw") as store:
            _refuse_columns(store, data_set, columns)
            guard_update(store.connection, store.queries, data_set, columns)

            def change(falling: Sequence[bytes]) -> list[bytes]:
                _want(store, data_set, falling)
                _change(store, data_set, edits)
                return list(falling)

            return self._batches(store, data_set, keys, judge, change)

    def children(self, data_set: str, keys: Sequence[bytes]) -> Mapping[str, tuple[bytes, ...]]:
        """Return the keys of the rows that refer to these, by child data set, along the catalogue's links.

        Raises:
            SourceUnavailableError: The database is missing or stayed locked.
        """
        found: dict[str, tuple[bytes, ...]] = {}
        with self._open("ro") as store, _transaction(store, "BEGIN"):
            _want(store, data_set, keys)
            for child, bound in store.queries.sets.items():
                for link in (n for n in bound.data_set.links if n.to == data_set):
                    rows = _rows(store, store.queries.key(child), _children_sql(store.queries, child, link))
                    found[child] = tuple(dict.fromkeys((*found.get(child, ()), *map(_key_text, rows))))
        return {child: k for child, k in found.items() if k}

    def stub(self, data_set: str, keys: Sequence[bytes]) -> int:
        """Blank every classed column of rows but their key and references; return how many rows.

        Raises:
            SourceError: A constraint refuses the blank.
            SchemaDriftError: An update trigger that the catalogue does not cover.
            SourceUnavailableError: The store stayed locked.
        """
        with self._open("rw") as store:
            bound = store.queries.of(data_set)
            fixed = {*bound.key, *(by for link in bound.data_set.links for by in link.by)}
            blank = {
                c.name: _empty_value(c.declared) if c.not_null else None
                for c in bound.table.columns
                if bound.data_set.columns.get(c.name) and c.name not in fixed and not c.generated
            }
            if not blank:
                return 0
            guard_update(store.connection, store.queries, data_set, tuple(blank))
            edits = {name: (lambda _old, v=value: v) for name, value in blank.items()}
            done = 0
            for start in range(0, len(keys), _BATCH_ROWS):
                with _transaction(store, "BEGIN IMMEDIATE"):
                    _want(store, data_set, keys[start : start + _BATCH_ROWS])
                    done += _change(store, data_set, edits)
            return done

    def subject_keys(self, data_set: str, kind: str, value: str) -> tuple[bytes, ...]:
        """Return the keys of a subject's rows; empty where the data set has no such kind of subject.

        Raises:
            SourceUnavailableError: The database is missing or stayed locked.
        """
        with self._open("ro") as store:
            reference = store.queries.of(data_set).data_set.subjects.get(kind)
            if reference is None:
                return ()
            (read,) = store.queries.columns(data_set, (reference,))
            number = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else value
            rest = (  # the first condition can use an index, the second tells 0123 from 123
                f"{store.queries.origin(data_set)} "
                f"WHERE ({read} = ? OR {read} = ?) AND CAST({read} AS TEXT) = ? COLLATE BINARY"
            )
            rows = _rows(store, store.queries.key(data_set), rest, (value, number, value))
            return tuple(map(_key_text, rows))

    @contextmanager
    def lookups(self) -> Iterator[Lookups]:
        """Open the store to look facts of recordings up in it.

        Raises:
            SourceUnavailableError: The database is missing or stayed locked.
        """
        with self._open("ro") as store:
            yield {name: SqliteLookup(store.connection, store.queries, name) for name in store.queries.sets}

    def vacuum(self) -> tuple[str, ...]:
        """Rewrite the file without what was deleted and empty its write-ahead log; return what is left over.

        Raises:
            SourceUnavailableError: The store stayed locked.
        """
        with self._open("rw") as store:
            store.connection.execute("VACUUM")
            busy = store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return ("deleted rows may still stand in the write-ahead log: a reader kept it open",) if busy else ()


@contextmanager
def _transaction(store: _Store, begin: str) -> Iterator[None]:
    store.connection.execute(begin)
    try:
        yield
    except BaseException:
        store.connection.rollback()
        raise
    store.connection.execute("COMMIT")


def _wanted_columns(key: Sequence[str]) -> list[str]:
    return [f"w.k{i}" for i in range(len(key))]


def _want(store: _Store, data_set: str, keys: Sequence[bytes]) -> None:
    """Put keys into the temporary table `wanted`; null cells never match, so such rows are never touched."""
    cells = len(store.queries.of(data_set).key)
    columns = [f"k{i}" for i in range(cells)]
    store.connection.execute("DROP TABLE IF EXISTS temp.wanted")
    store.connection.execute(f"CREATE TEMP TABLE wanted ({', '.join(columns)})")
    values = decode_keys(list(dict.fromkeys(keys)), cells)
    odd = [v for v in values if OddText in map(type, v)]
    plain = [v for v in values if OddText not in map(type, v)] if odd else values
    store.connection.executemany(f"INSERT INTO temp.wanted VALUES ({', '.join('?' * cells)})", plain)
    for value in odd:
        with suppress(IntegrityError):  # no text of this database's encoding, so no row has it
            bind = bound(value, store.queries.encoding)
            store.connection.execute(
                f"INSERT INTO temp.wanted VALUES ({', '.join(map(parameter, bind))})", bind
            )


def _from_wanted(store: _Store, data_set: str) -> str:
    """Return a FROM clause over the wanted rows that are there."""
    key = store.queries.key(data_set)
    table = quoted(store.queries.of(data_set).table.name)
    return f"FROM temp.wanted AS w CROSS JOIN {table} AS {ROW} ON {matches(key, _wanted_columns(key))}"


def _insist(store: _Store, changed: int, wanted: int) -> None:
    """Refuse a statement that touched other rows than those judged; raising rolls it back."""
    if changed != wanted:
        raise SourceError(
            f"source {store.name!r} changed {changed} rows where {wanted} were judged; rolled back"
        )


def _refuse_columns(store: _Store, data_set: str, columns: Sequence[str]) -> None:
    bound = store.queries.of(data_set)
    if missing := [c for c in columns if c not in bound.table.stored]:
        raise ConfigError(f"data set {data_set} has no column {missing[0]} to change")
    if fixed := [c for c in columns if c in bound.key or c in bound.table.primary]:
        raise ConfigError(f"column {fixed[0]} of data set {data_set} is its key and cannot be changed")


def _change(store: _Store, data_set: str, edits: Mapping[str, Callable[[Any], Any]]) -> int:
    """Write new values made from old ones into the wanted rows; return how many rows."""
    queries, connection = store.queries, store.connection
    key, names = queries.key(data_set), list(edits)
    rows = _rows(store, key, _from_wanted(store, data_set), also=queries.columns(data_set, names))
    table = quoted(queries.of(data_set).table.name)
    for row in rows:
        key_values = bound(decode_keys([_key_text(row[: len(key)])], len(key))[0], queries.encoding)
        new = [text_bound(edits[n](as_text(old))) for n, old in zip(names, row[len(key) :], strict=True)]
        sets = ", ".join(f"{quoted(n)} = {parameter(v)}" for n, v in zip(names, new, strict=True))
        where = matches(key, list(map(parameter, key_values)))
        done = connection.execute(f"UPDATE {table} AS {ROW} SET {sets} WHERE {where}", (*new, *key_values))
        _insist(store, done.rowcount, 1)
    return len(rows)


def _rows(
    store: _Store, cells: Sequence[str], rest: str, values: Sequence[Any] = (), *, also: Sequence[str] = ()
) -> list[tuple[Any, ...]]:
    return fetch_rows(store.connection, cells, rest, values, encoding=store.queries.encoding, also=also)


def _children_sql(queries: Queries, child: str, link: Link) -> str:
    parents = [f"p.{quoted(c)}" for c in queries.parent_columns(link)]
    own = [f"p.{quoted(c)}" for c in queries.of(link.to).key]
    return (
        "FROM temp.wanted AS w "
        f"CROSS JOIN {quoted(queries.of(link.to).table.name)} AS p ON {matches(own, _wanted_columns(own))} "
        f"JOIN {quoted(queries.of(child).table.name)} AS {ROW} ON {matches(queries.columns(child, link.by), parents)}"
    )
