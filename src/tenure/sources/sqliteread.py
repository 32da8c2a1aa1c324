"""Reads a table of a private SQLite copy in key order, in ranges that workers can take.

A table whose key is its rowid, as most are, is read from its pages (`sqlitepages`), by threads: that needs no statement
and no object a row. What cannot be read so goes through SQLite, range by range, which writes the lines itself where it
can (`sqlitelines`). There threads do not help, and processes do: all connections of a process share one allocator
with one lock, and two threads of it took twice the time of one (three times the processor's). Ranges are
handed out in order, a few at a time, and come back in order. A range ends early when it has given its bytes; what is
left of it is read next. Text that is not valid UTF-8 makes its batch be read again as bytes.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tenure.domain.errors import IncompleteSnapshotError
from tenure.sources.base import Refine, RowBatch
from tenure.sources.rowtext import (
    FactPlan,
    decode_keys,
    encode_cell,
    encode_column,
    encode_columns,
    facts_by_plan,
)
from tenure.sources.sqlitecells import batch_of_rows
from tenure.sources.sqlitedirect import Direct, leaves_of, read_pages
from tenure.sources.sqlitefetch import no_collection, rows_of
from tenure.sources.sqlitelines import LineWriter, Shape, join, shape_of, writable
from tenure.sources.sqlitepages import Leaves, Rows
from tenure.sources.sqlitequery import parameter
from tenure.sources.sqliteutf16 import bound, columns, reads

_BATCH_BYTES = 2 << 20  # of row text: large enough to be columnar, small enough to have several in flight
_RANGE_BYTES = 8 << 20
_FIRST_ROWS = 1024  # of a table whose rows nobody has measured yet
_MOST_ROWS = 32_768
_FEW_ROWS = 256  # from which on lines that SQLite writes are the faster way: its expressions copy long cells many times
_MOST_BYTES = 16 << 20  # of the lines that SQLite writes in one statement
IN_FLIGHT = 6
UTF8 = "UTF-8"


def connect(path: Path, *, options: str, timeout: float = 5.0) -> sqlite3.Connection:
    """Open a database by path and URI options, in autocommit; `timeout` in seconds, for locks."""
    uri = f"file:{quote(str(path.absolute()))}?{options}"
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def fetch_tolerant(make: Callable[[], Any], connection: sqlite3.Connection) -> Any:
    """Run `make`; where text is not valid UTF-8 run it again with text as bytearray, so that no byte is lost."""
    try:
        return make()
    except (sqlite3.OperationalError, UnicodeDecodeError) as e:
        if isinstance(e, sqlite3.OperationalError) and "decode" not in str(e):
            raise
    connection.text_factory = bytearray
    try:
        return make()
    finally:
        connection.text_factory = str


def fetch_rows(
    connection: sqlite3.Connection,
    cells: Sequence[str],
    rest: str,
    values: Sequence[Any] = (),
    *,
    encoding: str,
    also: Sequence[str] = (),
) -> list[tuple[Any, ...]]:
    """Return rows of `cells`, exact also where text is UTF-16, and of what is `also` read, as SQLite hands it out.

    `rest`: SQL from FROM on; `encoding`: of the database's text.

    Raises:
        IntegrityError: A text of the database is not a whole number of code units.
    """
    asked = reads(cells, encoding)
    sql = f"SELECT {', '.join((*asked, *also))} {rest}"
    found = fetch_tolerant(lambda: connection.execute(sql, values).fetchall(), connection)
    if not found:
        return []
    exact = columns(cells, [row[: len(asked)] for row in found], encoding)
    return list(zip(*exact, *zip(*(row[len(asked) :] for row in found), strict=True), strict=True))


@contextmanager
def readable(table: str) -> Iterator[None]:
    """Turn what SQLite says of a damaged table into an error of ours.

    Raises:
        IncompleteSnapshotError: The table could not be read.
    """
    try:
        yield
    except (sqlite3.Error, OSError):  # not chained: SQLite's messages can quote a cell
        raise IncompleteSnapshotError(
            f"table {table} could not be read to its end",
            hint="run `PRAGMA integrity_check` on the database; older snapshots are not touched and can be restored",
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeJob:
    """A range of a table: rows with `after` < key <= `until` (record keys; None: no bound). Picklable.

    `encoding`: of the database's text; where it is UTF-8, SQLite can write lines; `shape`: see `sqlitelines`.
    `refine` is applied to every batch where it was read; it has to be picklable. `direct`: set where pages can be
    read; `pages`: the leaf pages of this range then, none where SQLite has to read it.
    """

    path: Path
    table: str
    cells: tuple[str, ...]  # SQL of each cell
    origin: str  # SQL from FROM on, without conditions
    key: tuple[str, ...]
    plan: FactPlan
    rows: int
    refine: Refine | None = None
    encoding: str = UTF8
    shape: Shape = ()
    after: bytes | None = None
    until: bytes | None = None
    direct: Direct | None = None
    pages: tuple[int, ...] = ()

    def ranged(self, select: str, after: bytes | None, until: bytes | None) -> tuple[str, tuple[Any, ...]]:
        """Add bounds and order to a SELECT; see `ranged`."""
        return ranged(select, self.key, after, until, encoding=self.encoding)


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRows:
    """What a range gave; `rest`: the last key read where bytes ran out before the range did, `rows`: to read then."""

    batches: tuple[RowBatch, ...]
    shape: Shape
    rest: bytes | None = None
    rows: int = 0


def _bound(key: tuple[str, ...], sign: str, at: bytes, encoding: str) -> tuple[str, tuple[Any, ...]]:
    values = bound(decode_keys([at], len(key))[0], encoding)
    marks = ", ".join(map(parameter, values))
    return f"({', '.join(key)}) {sign} ({marks})", values


def ranged(
    select: str, key: Sequence[str], after: bytes | None, until: bytes | None, *, encoding: str = UTF8
) -> tuple[str, tuple[Any, ...]]:
    """Add bounds and order to a SELECT on a database of this encoding; return it with its parameters."""
    names = tuple(key)
    bounds = [_bound(names, sign, b, encoding) for sign, b in ((">", after), ("<=", until)) if b is not None]
    where = f" WHERE {' AND '.join(text for text, _ in bounds)}" if bounds else ""
    return f"{select}{where} ORDER BY {', '.join(names)}", tuple(v for _, values in bounds for v in values)


class _RangeReader:
    """Reads one range batch by batch, by SQLite's own lines where the shape allows."""

    def __init__(self, connection: sqlite3.Connection, job: RangeJob) -> None:
        self._connection, self._job = connection, job
        self._after = job.after
        self._more = True
        self.shape: Shape = ()
        self._writer: LineWriter | None = None
        self._learn(job.shape)

    def _learn(self, shape: Shape) -> None:
        self.shape = join(self.shape, shape)
        self._writer = LineWriter(self.shape) if self._job.encoding == UTF8 and writable(self.shape) else None

    def all(self) -> RangeRows:
        """Read until the range, or the bytes of a range, end."""
        job, size, rows = self._job, 0, self._job.rows
        batches: list[RowBatch] = []
        while True:
            batch = self._next(rows)
            if batch is None:
                return RangeRows(batches=tuple(batches), shape=self.shape)
            self._after = _last_key(batch, len(job.key))
            size += len(batch.text)
            rows = min(rows, max(1, _BATCH_BYTES * len(batch) // (len(batch.text) + 1)))
            batch = replace(batch, facts=facts_by_plan(job.plan, batch))
            batches.append(batch if job.refine is None else job.refine(batch))
            if not self._more or size >= _RANGE_BYTES:
                rest = self._after if self._more else None
                return RangeRows(batches=tuple(batches), shape=self.shape, rest=rest, rows=rows)

    def _next(self, rows: int) -> RowBatch | None:
        """Return the next rows, at most so many, and remember whether there may be more."""
        writes = self._writer if rows >= _FEW_ROWS else None
        batch = None if writes is None else self._written(writes, rows)
        if batch is not None:
            self._more = len(batch) >= rows
            return batch
        read: RowBatch | None = fetch_tolerant(lambda: self._fetched(rows), self._connection)
        return read

    def _written(self, writer: LineWriter, rows: int) -> RowBatch | None:
        job = self._job
        sql, values = job.ranged(writer.sql(job.cells, job.origin), self._after, job.until)
        before = self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
        try:
            count, text = self._connection.execute(f"{sql} LIMIT {rows:d})", values).fetchone()
        except sqlite3.DataError:  # together, or alone, they are longer than is to be in memory at once
            return None
        finally:
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
        return writer.batch(count, text) if count and text else None

    def _fetched(self, rows: int) -> RowBatch | None:
        job = self._job
        select = f"SELECT {', '.join(reads(job.cells, job.encoding))} {job.origin}"
        sql, values = job.ranged(select, self._after, job.until)
        with no_collection():
            found, stopped = rows_of(self._connection.execute(f"{sql} LIMIT {rows:d}", values), _BATCH_BYTES)
            self._more = stopped or len(found) >= rows
            if not found:
                return None
            cells = columns(job.cells, found, job.encoding)
            self._learn(shape_of(cells))
            return encode_columns(cells)


def _last_key(batch: RowBatch, cells: int) -> bytes:
    line = bytes(batch.text[int(batch.offsets[-2]) : -1])
    return b"\t".join(line.split(b"\t", cells)[:cells])


def read_range(job: RangeJob) -> RangeRows:
    """Read a range; the unit of work of a worker process.

    Raises:
        IncompleteSnapshotError: The copy could not be read.
    """
    with readable(job.table):
        if job.direct is not None and job.pages:
            found = read_pages(job.path, job.direct, job.pages, (job.after, job.until))
            made = None if found is None else _of_pages(job, job.direct, found)
            if made is not None:
                return made
        with closing(connect(job.path, options="mode=ro&immutable=1")) as connection:
            return _RangeReader(connection, job).all()


def _of_pages(job: RangeJob, direct: Direct, rows: Rows) -> RangeRows | None:
    """Make the batch of rows read from pages; None where what they refer to does not fit them."""
    if not len(rows):
        return RangeRows(batches=(), shape=())
    cells = job.cells[len(direct.picked) :]
    linked = _linked(job, cells)
    if len(linked) != len(cells) or any(len(column) != len(rows) for column in linked):
        return None
    batch = batch_of_rows(rows, direct.picked, linked, job.plan)
    return RangeRows(batches=(batch if job.refine is None else job.refine(batch),), shape=())


def _linked(job: RangeJob, cells: Sequence[str]) -> list[Any]:
    """Return the cells of a range that come from other tables (large_binary, null where they are), by SQLite."""
    if not cells:
        return []
    sql, values = job.ranged(f"SELECT {', '.join(cells)} {job.origin}", job.after, job.until)
    with closing(connect(job.path, options="mode=ro&immutable=1")) as connection, no_collection():
        found = fetch_tolerant(lambda: connection.execute(sql, values).fetchall(), connection)
    return [encode_column(column) for column in zip(*found, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Who reads ranges: `threads` pages, `processes` what goes through SQLite; None: the caller itself."""

    threads: Executor | None = None
    processes: Executor | None = None


_Waiting = deque[tuple[RangeJob, Executor, Future[RangeRows]]]


class TableReader:
    """Reads one table of a private copy."""

    def __init__(self, connection: sqlite3.Connection, job: RangeJob, *, integer_key: bool) -> None:
        """Take the job that reads the whole table; `integer_key`: its key is one integer, as rowids are."""
        self._connection, self._job, self._integer_key = connection, job, integer_key
        self._rows = _FIRST_ROWS

    def _jobs(self) -> Iterator[RangeJob]:
        """Yield ranges in order; how large they are follows what earlier ones gave."""
        after: bytes | None = None
        found = None if self._job.direct is None else leaves_of(self._job.path, self._job.direct)
        if found is not None:
            yield from self._paged(found, max(1, _BATCH_BYTES // found.page_size))
            return
        for until in self._integer_bounds() if self._integer_key else self._walked_bounds():
            yield replace(self._job, after=after, until=until, rows=self._rows)
            after = until
        yield replace(self._job, after=after, rows=self._rows)

    def _paged(self, found: Leaves, step: int) -> Iterator[RangeJob]:
        after: bytes | None = None
        for start in range(0, len(found.pages), step):
            pages = found.pages[start : start + step]
            is_last = start + step >= len(found.pages)
            until = None if is_last else b"i%d" % found.last[start + step - 1]
            yield replace(self._job, after=after, until=until, rows=self._rows, pages=tuple(pages.tolist()))
            after = until

    def _integer_bounds(self) -> Iterator[bytes]:
        (key,) = self._job.key
        low, high, count = self._connection.execute(
            f"SELECT min({key}), max({key}), count(*) {self._job.origin}"
        ).fetchone()
        span = high - low + 1 if count else 0
        while count and low < high:
            low += max(1, span * self._rows // count)
            if low < high:
                yield b"i%d" % low

    def _walked_bounds(self) -> Iterator[bytes]:
        after: bytes | None = None
        job = self._job
        select = f"SELECT {', '.join(reads(job.key, job.encoding))} {job.origin}"

        def following(start: bytes | None) -> Any:
            sql, values = job.ranged(select, start, None)
            found = self._connection.execute(f"{sql} LIMIT 1 OFFSET {self._rows}", values).fetchall()
            return [column[0] for column in columns(job.key, found, job.encoding)]

        while True:
            found = fetch_tolerant(partial(following, after), self._connection)
            if not found:
                return
            after = b"\t".join(map(encode_cell, found))
            yield after

    def _measured(self, found: RangeRows) -> RangeRows:
        rows = sum(map(len, found.batches))
        self._job = replace(self._job, shape=join(self._job.shape, found.shape))
        if rows:
            size = sum(len(b.text) for b in found.batches)
            self._rows = min(_MOST_ROWS, max(1, _BATCH_BYTES * rows // size))
        return found

    def _whole(
        self, job: RangeJob, first: RangeRows, read: Callable[[RangeJob], RangeRows]
    ) -> Iterator[RowBatch]:
        """Yield a range's batches, those left when its bytes ran out too."""
        found = self._measured(first)
        yield from found.batches
        while found.rest is not None:
            found = read(replace(job, after=found.rest, shape=found.shape, rows=found.rows))
            yield from found.batches

    def read(self, readers: Readers) -> Iterator[RowBatch]:
        """Yield the table in key order, its first rows read here, the others by `readers`.

        Raises:
            IncompleteSnapshotError: The copy could not be read, or a worker died.
        """
        with readable(self._job.table):
            yield from self._ranges(readers)

    def _ranges(self, readers: Readers) -> Iterator[RowBatch]:
        waiting: _Waiting = deque()
        try:
            for number, job in enumerate(self._jobs()):
                executor = readers.threads if job.pages else readers.processes
                if (number == 0 and not job.pages) or executor is None:
                    yield from self._rest(waiting)
                    yield from self._whole(job, read_range(job), read_range)
                    continue
                waiting.append((job, executor, executor.submit(read_range, job)))
                while len(waiting) >= IN_FLIGHT:
                    yield from self._next(waiting)
            yield from self._rest(waiting)
        except BrokenExecutor as e:
            raise IncompleteSnapshotError(f"a worker that read table {self._job.table} died") from e
        finally:
            for *_, future in waiting:
                future.cancel()

    def _rest(self, waiting: _Waiting) -> Iterator[RowBatch]:
        while waiting:
            yield from self._next(waiting)

    def _next(self, waiting: _Waiting) -> Iterator[RowBatch]:
        job, executor, future = waiting.popleft()
        yield from self._whole(job, future.result(), lambda j: executor.submit(read_range, j).result())
