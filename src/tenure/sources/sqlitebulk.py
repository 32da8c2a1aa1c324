"""Loads a table by building its pages (`sqlitebuild`) where that can be done, and says what is left for SQLite."""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from tenure.sources.base import RowBatch, RowLayout
from tenure.sources.sqlitebuild import HELD_BYTES, TableBuilder
from tenure.sources.sqliterecords import LeafCells, Places, RecordPlan, UnbuildableError, leaf_cells, lines_at
from tenure.sources.sqliteschema import Table, pragma, quoted

LATE_BYTES = 8 << 20
"""Row text that came too late to be built in, or is too long: with more of it the rest goes through SQLite."""

AHEAD = 2
"""Batches whose cells are made before they are asked for."""

Made = Callable[[], tuple[LeafCells, Places]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """A table that can be built. `root`: its root page."""

    root: int
    plan: RecordPlan


@dataclass(slots=True)
class Left:
    """What SQLite has to insert: rows set aside, then whatever the batches still give. `built`: rows that are in."""

    aside: list[RowBatch] = field(default_factory=list)
    size: int = 0
    built: int = 0

    def add(self, batch: RowBatch) -> None:
        """Set rows aside."""
        self.aside.append(batch)
        self.size += len(batch.text)


def bulk_of(connection: sqlite3.Connection, found: Table, layout: RowLayout) -> Bulk | None:
    """Return how an empty table can be built; None where only SQLite can fill it.

    That is a table without rowids, or with generated columns; text in UTF-16; a file that moves its own pages
    (auto-vacuum); a layout that lacks a column.
    """
    if pragma(connection, "encoding") != "UTF-8" or pragma(connection, "auto_vacuum"):
        return None
    if found.rowid is None or any(c.generated for c in found.columns):
        return None
    places = {name: i for i, name in enumerate(layout.columns)}
    names = [c.name for c in found.columns]
    if found.rowid not in places or not set(names) <= set(places):
        return None
    root = connection.execute(
        "SELECT rootpage FROM main.sqlite_schema WHERE type = 'table' AND name = ?", (found.name,)
    ).fetchone()[0]
    rowid = found.rowid
    plan = RecordPlan(
        cells=len(layout.columns) + len(layout.linked),
        rowid=places[rowid],
        columns=tuple(-1 if found.alias and name == rowid else places[name] for name in names),
        required=frozenset(
            i for i, c in enumerate(found.columns) if c.not_null and not (found.alias and c.name == rowid)
        ),
    )
    return Bulk(root=root, plan=plan)


def build(
    path: Path,
    bulk: Bulk,
    batches: Iterator[RowBatch],
    *,
    executor: Executor | None = None,
    held_bytes: int = HELD_BYTES,
) -> Left:
    """Build a table's pages from row text; nobody may have the file open.

    Args:
        path: The database.
        bulk: How its table can be built.
        batches: Rows, in any order.
        executor: Makes cells of row text beside this thread; None: it is made here.
        held_bytes: See `TableBuilder`.

    Returns:
        What is left: where `batches` still has some, they are to be inserted too.

    Raises:
        IntegrityError: The row text does not fit, or two rows have the same rowid.
        OSError: The file cannot be written.
    """
    left, waiting = Left(), _Waiting(batches, bulk.plan, executor)
    builder = TableBuilder(path, bulk.root, held_bytes=held_bytes)
    try:
        for batch, cells in waiting:
            if not _add(builder, batch, cells, left) or left.size > LATE_BYTES:
                break
        builder.end()
    finally:
        builder.close()
        left.aside += waiting.rest()
    return left


class _Waiting:
    """Batches with what makes their cells, a few of them begun ahead."""

    def __init__(self, batches: Iterator[RowBatch], plan: RecordPlan, executor: Executor | None) -> None:
        self._batches, self._plan, self._executor = batches, plan, executor
        self._begun: deque[tuple[RowBatch, Made]] = deque()

    def __iter__(self) -> Iterator[tuple[RowBatch, Made]]:
        for batch in self._batches:
            if not len(batch):
                continue
            self._begun.append((batch, self._begin(batch)))
            if self._executor is None or len(self._begun) > AHEAD:
                yield self._begun.popleft()
        while self._begun:
            yield self._begun.popleft()

    def _begin(self, batch: RowBatch) -> Made:
        if self._executor is None:
            return partial(leaf_cells, batch, self._plan)
        return self._executor.submit(leaf_cells, batch, self._plan).result

    def rest(self) -> list[RowBatch]:
        """Return the batches that were begun and not asked for."""
        return [batch for batch, _ in self._begun]


def _add(builder: TableBuilder, batch: RowBatch, made: Made, left: Left) -> bool:
    """Build a batch in, but for rows that have to be set aside; False where that is all of it, as will be the next."""
    try:
        cells, sizes = made()
    except UnbuildableError:
        left.add(batch)
        return False
    apart = (cells.rowids <= builder.last) | (sizes > builder.longest)
    if apart.any():
        left.add(lines_at(batch, np.flatnonzero(apart)))
        cells = cells.take(np.flatnonzero(~apart))
    if len(cells):
        builder.add(cells)
        left.built += len(cells)
    return True


def rebuild_indexes(connection: sqlite3.Connection, table: str) -> None:
    """Fill the indexes that came with a table's own constraints.

    Raises:
        sqlite3.IntegrityError: Rows do not keep them.
    """
    connection.execute(f"REINDEX {quoted(table)}")
