"""Reads a table of a private SQLite copy in key order, in ranges that workers can take.

Where SQLite writes the lines itself (`sqlitelines`) threads do the work at once, because it needs no Python. Where it
cannot, Python turns cells into objects under its own lock: there threads do not help, and processes do. Ranges are
handed out in order, a few at a time, and come back in order. A range ends early when it has given its bytes; what is
left of it is read next. Text that is not valid UTF-8 makes its batch be read again as bytes.
"""

import gc
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
from tenure.sources.rowtext import FactPlan, decode_keys, encode_cell, encode_columns, facts_by_plan
from tenure.sources.sqlitelines import LineWriter, Shape, join, shape_of, writable
from tenure.sources.sqlitequery import parameter

_BATCH_BYTES = 2 << 20  # of row text: large enough to be columnar, small enough to have several in flight
_RANGE_BYTES = 8 << 20
_FIRST_ROWS = 1024  # of a table whose rows nobody has measured yet
_MOST_ROWS = 32_768
IN_FLIGHT = 6


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

    `utf8`: the database keeps text as UTF-8, so SQLite can write lines; `shape`: see `sqlitelines`. `refine` is
    applied to every batch where it was read; it has to be picklable.
    """

    path: Path
    table: str
    cells: tuple[str, ...]  # SQL of each cell
    origin: str  # SQL from FROM on, without conditions
    key: tuple[str, ...]
    plan: FactPlan
    rows: int
    refine: Refine | None = None
    utf8: bool = True
    shape: Shape = ()
    after: bytes | None = None
    until: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRows:
    """What a range gave; `rest`: the last key read where bytes ran out before the range did."""

    batches: tuple[RowBatch, ...]
    shape: Shape
    rest: bytes | None = None


def _bound(key: tuple[str, ...], sign: str, bound: bytes) -> tuple[str, tuple[Any, ...]]:
    values = decode_keys([bound], len(key))[0]
    marks = ", ".join(map(parameter, values))
    return f"({', '.join(key)}) {sign} ({marks})", values


def ranged(
    select: str, key: Sequence[str], after: bytes | None, until: bytes | None
) -> tuple[str, tuple[Any, ...]]:
    """Add bounds and order to a SELECT; return it with its parameters."""
    columns = tuple(key)
    bounds = [_bound(columns, sign, b) for sign, b in ((">", after), ("<=", until)) if b is not None]
    where = f" WHERE {' AND '.join(text for text, _ in bounds)}" if bounds else ""
    return f"{select}{where} ORDER BY {', '.join(columns)}", tuple(v for _, values in bounds for v in values)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the cycle collector from walking millions of row tuples, which hold no cycles."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _RangeReader:
    """Reads one range batch by batch, by SQLite's own lines where the shape allows."""

    def __init__(self, connection: sqlite3.Connection, job: RangeJob) -> None:
        self._connection, self._job = connection, job
        self._after = job.after
        self.shape: Shape = ()
        self._writer: LineWriter | None = None
        self._learn(job.shape)

    def _learn(self, shape: Shape) -> None:
        self.shape = join(self.shape, shape)
        self._writer = LineWriter(self.shape) if self._job.utf8 and writable(self.shape) else None

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
            full = len(batch) >= rows
            rows = min(rows, max(1, _BATCH_BYTES * len(batch) // (len(batch.text) + 1)))
            batch = replace(batch, facts=facts_by_plan(job.plan, batch))
            batches.append(batch if job.refine is None else job.refine(batch))
            if not full or size >= _RANGE_BYTES:
                return RangeRows(batches=tuple(batches), shape=self.shape, rest=self._after if full else None)

    def _next(self, rows: int) -> RowBatch | None:
        batch = None if self._writer is None else self._written(self._writer, rows)
        return batch or fetch_tolerant(lambda: self._fetched(rows), self._connection)

    def _written(self, writer: LineWriter, rows: int) -> RowBatch | None:
        job = self._job
        sql, values = ranged(writer.sql(job.cells, job.origin), job.key, self._after, job.until)
        try:
            count, text = self._connection.execute(f"{sql} LIMIT {rows:d})", values).fetchone()
        except sqlite3.DataError:  # together they are longer than any value may be
            return None
        return writer.batch(count, text) if count and text else None

    def _fetched(self, rows: int) -> RowBatch | None:
        job = self._job
        select = f"SELECT {', '.join(job.cells)} {job.origin}"
        sql, values = ranged(select, job.key, self._after, job.until)
        with _no_collection():
            found = self._connection.execute(f"{sql} LIMIT {rows:d}", values).fetchall()
            if not found:
                return None
            columns = list(zip(*found, strict=True))
            self._learn(shape_of(columns))
            return encode_columns(columns)


def _last_key(batch: RowBatch, cells: int) -> bytes:
    line = bytes(batch.text[int(batch.offsets[-2]) : -1])
    return b"\t".join(line.split(b"\t", cells)[:cells])


def read_range(job: RangeJob) -> RangeRows:
    """Read a range; the unit of work of a worker process.

    Raises:
        IncompleteSnapshotError: The copy could not be read.
    """
    with (
        readable(job.table),
        closing(connect(job.path, options="mode=ro&immutable=1")) as connection,
    ):
        return _RangeReader(connection, job).all()


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Who reads ranges: `threads` those that SQLite writes, `processes` the others; None: the caller itself."""

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
        for until in self._integer_bounds() if self._integer_key else self._walked_bounds():
            yield replace(self._job, after=after, until=until, rows=self._rows)
            after = until
        yield replace(self._job, after=after, rows=self._rows)

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
        select = f"SELECT {', '.join(self._job.key)} {self._job.origin}"

        def following(start: bytes | None) -> Any:
            sql, values = ranged(select, self._job.key, start, None)
            return self._connection.execute(f"{sql} LIMIT 1 OFFSET {self._rows}", values).fetchone()

        while True:
            found = fetch_tolerant(partial(following, after), self._connection)
            if found is None:
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
            found = read(replace(job, after=found.rest, shape=found.shape))
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
                executor = readers.threads if self._by_threads(readers) else readers.processes
                if number == 0 or executor is None:
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

    def _by_threads(self, readers: Readers) -> bool:
        return readers.threads is not None and self._job.utf8 and writable(self._job.shape)

    def _rest(self, waiting: _Waiting) -> Iterator[RowBatch]:
        while waiting:
            yield from self._next(waiting)

    def _next(self, waiting: _Waiting) -> Iterator[RowBatch]:
        job, executor, future = waiting.popleft()
        yield from self._whole(job, future.result(), lambda j: executor.submit(read_range, j).result())
