"""Builds a SQLite database again from a snapshot, beside its place, and makes it visible when it is whole."""

# ruff: noqa: S608 - names go through `quoted`, values are parameters

import itertools
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from tenure.domain.errors import ConfigError, IntegrityError, SourceError
from tenure.domain.progress import Progress, ProgressTask
from tenure.sources.base import Finding, Recording, RowBatch, RowLayout
from tenure.sources.rowtext import OddText, decode_columns
from tenure.sources.scratch import Claim, claim_file, remove
from tenure.sources.sqlitebulk import Bulk, build, bulk_of, rebuild_indexes
from tenure.sources.sqlitequery import parameter
from tenure.sources.sqliteread import connect
from tenure.sources.sqliteschema import SchemaObject, Structure, decode_structure, quoted, read_tables
from tenure.sources.sqliteutf16 import bound

_CACHE_KIB = 32 << 10  # for indexes, and for rows that do not come in order


def load_error(what: str, error: sqlite3.Error) -> SourceError:
    """Name what could not be restored; constraint messages name columns, never values."""
    detail = f": {error}" if isinstance(error, sqlite3.IntegrityError) else ""
    if "full" in str(error) or "disk I/O" in str(error):
        return unwritable(f"{what} could not be restored", "its disk is full or refuses to be written")
    if isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such"):
        detail = f": {error}"
    return SourceError(f"{what} could not be restored{detail}", hint="nothing was left at the target")


def unwritable(what: str, reason: str | None) -> SourceError:
    """Say that the place of a target cannot be written to."""
    return SourceError(
        f"{what}: {reason or 'it cannot be written to'}",
        hint="free space there, check permissions, or name another place; nothing was left at the target",
    )


def publish(temporary: Path, target: Path) -> None:
    """Give a finished file its name, without ever replacing one.

    Raises:
        ConfigError: Something is there meanwhile.
    """
    try:
        os.link(temporary, target)  # fails where the name is taken, unlike a rename
    except FileExistsError as e:
        raise ConfigError(f"{target.name} appeared at the target during the restore") from e
    temporary.unlink()
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class SqliteLoader:
    """Loads one snapshot into one new file; see `Loader`. `findings`: what the restored rows lack."""

    def __init__(self, *, live: Path | None = None, executor: Executor | None = None) -> None:
        """Take the live database's path, so that it can never be the target, and what works beside this thread."""
        self._live, self._executor = live, executor
        self.findings: list[Finding] = []
        self._connection: sqlite3.Connection | None = None
        self._temporary: Path | None = None
        self._claim: Claim | None = None

    def begin(self, structure: bytes, target: Path, progress: Progress) -> None:
        """Make the empty tables.

        Raises:
            ConfigError: Something is at the target, or it is the live store.
            IntegrityError: The structure cannot be read.
        """
        self._refuse(target)
        self._structure: Structure = decode_structure(structure)
        self._target, self._progress = target, progress
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._claim = claim_file(target.parent, f".{target.name}.restoring-")
        except OSError as e:
            raise unwritable(f"{target} cannot be made", e.strerror) from e
        self._temporary = self._claim.path
        self._connection = connect(self._temporary, options="mode=rw")
        try:
            self._make_tables(self._connection)
            self._tables = read_tables(self._connection)
        except sqlite3.Error as e:
            self.abandon()
            raise load_error("the schema", e) from None

    def _refuse(self, target: Path) -> None:
        if self._live is not None and self._live.exists() and target.exists() and target.samefile(self._live):
            raise ConfigError("the target is the live store", hint="restore to another path")
        if os.path.lexists(target):
            raise ConfigError(
                f"{target.name} exists already at the target", hint="restore to a path where nothing is"
            )

    def _make_tables(self, made: sqlite3.Connection) -> None:
        self._set_up(made)
        made.execute("BEGIN")
        stored = set(self._structure.tables.values())
        for table in self._objects("table"):
            if table.name in stored:
                made.execute(table.sql)

    def _set_up(self, made: sqlite3.Connection) -> None:
        known = self._structure
        made.execute(f"PRAGMA page_size = {known.page_size:d}")
        made.execute(f"PRAGMA auto_vacuum = {known.auto_vacuum:d}")
        made.execute(f"PRAGMA encoding = {quoted(known.encoding)}")
        for setting in (
            "journal_mode = OFF",
            "synchronous = OFF",
            "foreign_keys = OFF",
            "ignore_check_constraints = ON",
            f"cache_size = -{_CACHE_KIB}",
        ):
            made.execute(f"PRAGMA {setting}")

    def _objects(self, kind: str) -> list[SchemaObject]:
        return [o for o in self._structure.objects if o.type == kind]

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("rows are loaded between begin and end")
        return self._connection

    def rows(self, data_set: str, layout: RowLayout, batches: Iterator[RowBatch]) -> int:
        """Load a table; return how many rows.

        Raises:
            SourceError: A constraint refuses a row.
            IntegrityError: The row text or the data set does not fit.
        """
        connection = self._open()
        table = self._structure.tables.get(data_set)
        if table is None:
            raise IntegrityError(f"the snapshot's structure has no table for data set {data_set}")
        bar: ProgressTask = self._progress.begin(f"load {data_set}", total=None, unit="rows")
        counted = _Counted(batches, bar)
        try:
            bulk = bulk_of(connection, self._tables[table], layout)
            aside = self._build(table, bulk, counted) if bulk is not None else []
            self._insert(table, layout, itertools.chain(aside, counted))
        except sqlite3.Error as e:
            raise load_error(f"table {table}", e) from None
        finally:
            bar.end()
        return counted.rows

    def _build(self, table: str, bulk: Bulk, batches: Iterator[RowBatch]) -> list[RowBatch]:
        """Build a table's pages; return the rows that have to be inserted all the same."""
        path = self._temporary
        if path is None or self._connection is None:
            raise RuntimeError("rows are loaded between begin and end")
        self._connection.execute("COMMIT")
        self._connection.close()
        self._connection = None
        try:
            left = build(path, bulk, batches, executor=self._executor)
        except OSError as e:
            raise unwritable(f"table {table} could not be restored", e.strerror) from e
        self._connection = made = connect(path, options="mode=rw")
        self._set_up(made)
        made.execute("BEGIN")
        if left.built:
            rebuild_indexes(made, table)
        return left.aside

    def _insert(self, table: str, layout: RowLayout, batches: Iterable[RowBatch]) -> None:
        width = len(layout.columns)
        head = f"INSERT INTO {quoted(table)} ({', '.join(map(quoted, layout.columns))}) VALUES "
        for batch in batches:
            columns = decode_columns(batch, width + len(layout.linked))[:width]
            _insert(self._open(), head, columns, self._structure.encoding)

    def recording(self, recording: Recording, pieces: Iterator[bytes | memoryview]) -> None:  # noqa: ARG002 - the port's names
        """Refuse: a database holds no recordings.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("a SQLite target holds no recordings")

    def end(self) -> None:
        """Make indexes, triggers, views and counters, check everything, and give the file its name.

        Rows whose parents are missing are reported in `findings`: SQLite lets a live store have them too.

        Raises:
            SourceError: Something could not be made.
            IntegrityError: The finished database does not pass SQLite's own check.
            ConfigError: The target appeared meanwhile.
        """
        connection = self._open()
        try:
            self._finish(connection)
            self._check(connection)
            connection.execute("PRAGMA synchronous = FULL")
            mode = self._structure.journal_mode
            connection.execute(f"PRAGMA journal_mode = {'wal' if mode == 'wal' else 'delete'}")
            connection.close()
        except sqlite3.Error as e:
            self.abandon()
            raise load_error("the schema", e) from None
        except BaseException:
            self.abandon()
            raise
        self._connection = None
        self._publish()

    def _publish(self) -> None:
        temporary = self._temporary
        if temporary is None:
            raise RuntimeError("nothing was begun")
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            publish(temporary, self._target)
        except BaseException:
            self.abandon()
            raise
        self._temporary = None
        self.abandon()

    def _finish(self, made: sqlite3.Connection) -> None:
        known = self._structure
        stored = set(known.tables.values())
        for entry in self._objects("index"):
            made.execute(entry.sql)
        self._statistics(made)
        for kind in ("view", "trigger"):
            for entry in self._objects(kind):
                made.execute(entry.sql)
        if virtual := [o for o in self._objects("table") if o.name not in stored]:
            made.execute(
                "PRAGMA writable_schema = ON"
            )  # as the sqlite3 shell's .dump does: its own tables are there
            made.executemany(
                "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES ('table', ?, ?, 0, ?)",
                [(o.name, o.name, o.sql) for o in virtual],
            )
        if self._has_sequences(made):
            made.execute("DELETE FROM sqlite_sequence")
            made.executemany("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", known.sequences)
        made.execute(f"PRAGMA user_version = {known.user_version:d}")
        made.execute(f"PRAGMA application_id = {known.application_id:d}")
        made.execute("COMMIT")
        made.execute("PRAGMA writable_schema = RESET")  # reads the schema again

    def _statistics(self, made: sqlite3.Connection) -> None:
        if self._structure.statistics:
            made.execute(
                "ANALYZE sqlite_schema"
            )  # makes an empty sqlite_stat1, which cannot be created by name
            made.execute("DELETE FROM sqlite_stat1")
            made.executemany("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", self._structure.statistics)

    @staticmethod
    def _has_sequences(made: sqlite3.Connection) -> bool:
        return (
            made.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone() is not None
        )

    def _check(self, made: sqlite3.Connection) -> None:
        if made.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
            raise IntegrityError("the restored database does not pass PRAGMA integrity_check")
        counts: dict[tuple[str, str], int] = {}
        for table, _, parent, _ in made.execute("PRAGMA foreign_key_check"):
            counts[table, parent] = counts.get((table, parent), 0) + 1
        for (table, parent), count in sorted(counts.items()):
            reason = f"{count} rows of {table} refer to rows of {parent} that are not there"
            self.findings.append(Finding(reason=reason, where=table.encode()))

    def abandon(self) -> None:
        """Remove everything written so far; safe to call twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._temporary is not None:
            remove(self._temporary)
            self._temporary = None
        if self._claim is not None:
            self._claim.release()
            self._claim = None


class _Counted:
    """Passes batches on, and counts."""

    def __init__(self, batches: Iterator[RowBatch], bar: ProgressTask) -> None:
        self._batches, self._bar = batches, bar
        self.rows = 0

    def __iter__(self) -> Iterator[RowBatch]:
        return self

    def __next__(self) -> RowBatch:
        batch = next(self._batches)
        self.rows += len(batch)
        self._bar.advance(len(batch))
        return batch


def _insert(
    connection: sqlite3.Connection, head: str, columns: Sequence[Sequence[Any]], encoding: str
) -> None:
    marks = ["?"] * len(columns)
    odd = [i for i, c in enumerate(columns) if OddText in set(map(type, c))]
    rows = zip(*columns, strict=True)
    if not odd:
        connection.executemany(f"{head}({', '.join(marks)})", rows)
        return
    for row in rows:  # rare: text that is not UTF-8 can only be bound as a blob and cast
        values = bound(row, encoding)
        connection.execute(f"{head}({', '.join(map(parameter, values))})", values)
