"""SQLite as a source: a consistent private copy, read table by table.

The copy is made by SQLite's online backup inside one read transaction, so writers go on (in WAL mode without waiting)
and the copy is of one instant. Everything else reads the copy. It lies in a directory only its owner may enter and
is removed when the view is closed.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from tenure.domain.catalogue import Source
from tenure.domain.clock import Clock
from tenure.domain.errors import ConfigError, IncompleteSnapshotError, SourceUnavailableError, TenureError
from tenure.sources.base import (
    Finding,
    Lookups,
    Recording,
    RecordingBatch,
    Refine,
    RowBatch,
    RowLayout,
    Unchanged,
)
from tenure.sources.rowtext import fact_plan
from tenure.sources.scratch import Claim, claim_folder
from tenure.sources.sqlitedirect import direct_of
from tenure.sources.sqlitelive import SqliteLive
from tenure.sources.sqliteload import SqliteLoader
from tenure.sources.sqlitelookup import SqliteLookup
from tenure.sources.sqlitequery import Queries
from tenure.sources.sqliteread import RangeJob, Readers, TableReader, connect, readable
from tenure.sources.sqliteschema import (
    HISTOGRAMS,
    encode_structure,
    has_histograms,
    pragma,
    read_structure,
    read_tables,
)

_VIEW = "tenure-view-"
_COPY_PAGES = 8192  # a step of the backup; between steps Python can be interrupted
_NO_LOOKUPS: Lookups = {}
_PATH = "check `path` of this source in tenure.yaml"


def open_error(name: str, error: sqlite3.Error) -> TenureError:
    """Say what a SQLite error on opening or reading source `name` means; SQLite's own text may quote cells."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return SourceUnavailableError(
            f"source {name!r} stayed locked", hint="find the writer that holds it, then run again"
        )
    if "not a database" in text:
        return ConfigError(f"source {name!r}: the file at its path is no SQLite database", hint=_PATH)
    if "malformed" in text:
        return IncompleteSnapshotError(
            f"source {name!r} is damaged: SQLite cannot read it to its end",
            hint="run `PRAGMA integrity_check` on it; older snapshots are not touched and can be restored",
        )
    if "full" in text or "disk I/O" in text:
        return SourceUnavailableError(
            f"source {name!r} could not be copied to the scratch directory: {text}",
            hint="free space there, or set `scratch` in tenure.yaml to another directory; then check the source's disk",
        )
    if "no such function" in text or "no such collation" in text or "no such module" in text:
        return ConfigError(f"source {name!r} needs an SQL extension that only its application has: {text}")
    return SourceUnavailableError(
        f"source {name!r} could not be opened for reading", hint="check its path and permissions"
    )


class SqliteSource:
    """A SQLite database as the catalogue describes it."""

    def __init__(
        self,
        source: Source,
        *,
        scratch: Path,
        clock: Clock,
        workers: Executor | None = None,
        threads: Executor | None = None,
        lock_wait: float = 30.0,
    ) -> None:
        """Describe the source; nothing is opened yet.

        Args:
            source: The catalogue's description.
            scratch: Directory for the private copy, as large as the database.
            clock: Tells when the view was taken.
            workers: A process pool for ranges that go through SQLite; None: read here.
            threads: A thread pool for ranges that are read from pages; None: read here.
            lock_wait: Seconds to wait for locks of writers.
        """
        self._source, self._scratch, self._clock = source, scratch, clock
        self._readers = Readers(threads=threads, processes=workers)
        self._lock_wait = lock_wait

    def begin(self, lookups: Lookups = _NO_LOOKUPS) -> "SqliteView":  # noqa: ARG002 - the port's name; a database looks nothing up
        """Copy the database as it is at this instant.

        Raises:
            SourceUnavailableError: It is missing, stays locked, or there is no room for the copy.
            IncompleteSnapshotError: It is empty or damaged.
            ConfigError: It is no SQLite database, or the catalogue cannot be applied to it.
            SchemaDriftError: The catalogue names a table or column that is not there.
        """
        path = Path(self._source.path)
        self._check_file(path)
        place = self._make_place()
        try:
            journal_mode, taken_at = self._copy(path, place.path / "copy.db")
            return SqliteView(self._source, place, taken_at, journal_mode, self._readers)
        except sqlite3.Error as e:
            _let_go(place)
            raise open_error(self._source.name, e) from None
        except BaseException:
            _let_go(place)
            raise

    def _check_file(self, path: Path) -> None:
        if not path.is_file():
            raise SourceUnavailableError(
                f"source {self._source.name!r}: there is no file at {path}", hint=_PATH
            )
        journal = path.with_name(path.name + "-wal")
        if not path.stat().st_size and not journal.exists():
            raise IncompleteSnapshotError(
                f"source {self._source.name!r}: {path} is empty, of 0 bytes: not even a database without tables",
                hint="check whether its application lost it; older snapshots are not touched and can be restored",
            )

    def _make_place(self) -> Claim:
        try:
            self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
            return claim_folder(self._scratch, _VIEW)
        except OSError as e:
            raise SourceUnavailableError(
                f"the scratch directory {self._scratch} cannot be used: {e.strerror}",
                hint="check who owns it and its disk, or set `scratch` in tenure.yaml to another directory",
            ) from e

    def _copy(self, path: Path, to: Path) -> tuple[str, datetime]:
        os.close(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(connect(path, options="mode=ro", timeout=self._lock_wait)) as live:
            live.execute("BEGIN")
            live.execute(
                "SELECT count(*) FROM sqlite_schema"
            ).fetchone()  # takes the read lock, waiting at most `lock_wait`
            taken_at = self._clock.now()
            needed = int(pragma(live, "page_count")) * int(pragma(live, "page_size"))
            if shutil.disk_usage(to.parent).free < needed + needed // 20:
                raise SourceUnavailableError(
                    f"source {self._source.name!r}: no room for a copy of {needed} bytes in the scratch directory",
                    hint="free space there, or set `scratch` in tenure.yaml to another directory",
                )
            with closing(connect(to, options="mode=rw")) as copy:
                copy.execute("PRAGMA synchronous = OFF")
                live.backup(copy, pages=_COPY_PAGES)
            return str(pragma(live, "journal_mode")), taken_at

    def live(self) -> SqliteLive:
        """Return the live side."""
        return SqliteLive(self._source, lock_wait=self._lock_wait)

    def loader(self) -> SqliteLoader:
        """Return a loader for snapshots of this kind of source."""
        return SqliteLoader(live=Path(self._source.path))


class SqliteView:
    """A private copy of a database; see `View`."""

    def __init__(
        self, source: Source, place: Claim, taken_at: datetime, journal_mode: str, readers: Readers
    ) -> None:
        """Open the copy in directory `place`, which the view owns from now on.

        Raises:
            ConfigError, SchemaDriftError: The catalogue does not fit.
        """
        self.taken_at = taken_at
        self.findings: list[Finding] = []
        self._source, self._place, self._readers = source, place, readers
        self._closed = False
        self._path = place.path / "copy.db"
        self._connection = connect(self._path, options="mode=rw")
        try:
            self._prepare(journal_mode)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, journal_mode: str) -> None:
        copy = self._connection
        copy.execute("PRAGMA temp_store = MEMORY")
        copy.execute(
            "PRAGMA journal_mode = DELETE"
        )  # a copy left in WAL mode could not be opened as immutable
        tables = read_tables(copy)
        self._queries = Queries(copy, self._source, tables)
        names = {name: found.table.name for name, found in self._queries.sets.items()}
        structure = read_structure(copy, names)
        self._structure = encode_structure(replace(structure, journal_mode=journal_mode))
        if has_histograms(copy):
            # Their samples are values of keys, which no rule reaches; SQLite makes them again from the rows.
            self.findings.append(
                Finding(
                    reason="samples of index keys are left out; run ANALYZE on what is restored",
                    where=HISTOGRAMS,
                )
            )
        for shadow in (t for t in tables.values() if t.shadow):
            self.findings.append(
                Finding(
                    reason="rows of a virtual table's own storage; no rule reaches them",
                    where=shadow.name.encode(),
                )
            )
        try:
            for statement in self._queries.helpful_indexes():
                copy.execute(statement)
        except sqlite3.IntegrityError:
            raise ConfigError(
                f"source {self._source.name!r}: a key in the catalogue is not unique in its table"
            ) from None

    def structure(self) -> bytes:
        """Return schema, settings and counters as JSON."""
        return self._structure

    def data_sets(self) -> tuple[str, ...]:
        """Return the names of every data set, those included that the catalogue does not name."""
        return tuple(self._queries.sets)

    def layout(self, data_set: str) -> RowLayout:
        """Return the cells of a table's lines.

        Raises:
            ConfigError: There is no such data set.
        """
        return self._queries.of(data_set).layout

    def count(self, data_set: str) -> int:
        """Return how many rows the table has.

        Raises:
            ConfigError: There is no such data set.
            IncompleteSnapshotError: The copy could not be read.
        """
        origin = self._queries.origin(data_set)
        with readable(data_set):
            return int(self._connection.execute(f"SELECT count(*) {origin}").fetchone()[0])

    def rows(self, data_set: str, refine: Refine | None = None) -> Iterator[RowBatch]:
        """Yield a table in the order of its key, with facts; each batch as `refine` returns it, if given.

        Raises:
            ConfigError: There is no such data set.
            IncompleteSnapshotError: The copy could not be read.
        """
        found = self._queries.of(data_set)
        job = RangeJob(
            path=self._path,
            table=found.table.name,
            cells=tuple(self._queries.columns(data_set, (*found.layout.columns, *found.layout.linked))),
            origin=self._queries.origin(data_set),
            key=tuple(self._queries.key(data_set)),
            plan=fact_plan(found.layout, found.data_set, self._source.time_zone),
            rows=1,
            refine=refine,
            encoding=str(pragma(self._connection, "encoding")),
            direct=direct_of(self._connection, found),
        )
        reader = TableReader(self._connection, job, integer_key=found.key == (found.table.rowid,))
        return reader.read(self._readers)

    def recordings(self, data_set: str, unchanged: Unchanged | None = None) -> Iterator[RecordingBatch]:  # noqa: ARG002 - the port's names
        """Refuse: a database holds no recordings.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"data set {data_set} is a table")

    def open(self, recording: Recording) -> BinaryIO:  # noqa: ARG002 - the port's name
        """Refuse: a database holds no recordings.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("a SQLite source holds no recordings")

    def lookup(self, data_set: str) -> SqliteLookup:
        """Return a lookup into a data set of this view.

        Raises:
            ConfigError: There is no such data set.
        """
        self._queries.of(data_set)
        return SqliteLookup(self._connection, self._queries, data_set)

    def lookups(self) -> Lookups:
        """Return a lookup for every data set of this view."""
        return {name: self.lookup(name) for name in self._queries.sets}

    def close(self) -> None:
        """Let go of the copy and remove it; safe to call twice."""
        self._connection.close()
        if not self._closed:
            self._closed = True
            _let_go(self._place)


def _let_go(place: Claim) -> None:
    shutil.rmtree(place.path, ignore_errors=True)
    place.release()
