"""Runs: what was begun, by which process, and how it ended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, insert, select, update

from tenure.control.database import ControlDatabase
from tenure.control.processes import Process, may_be_alive
from tenure.control.schema import runs


class RunOutcome(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    DONE = "done"
    INCOMPLETE = "incomplete"  # done, but something was left out or found
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # its process ended without a word


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. `error`: class and message, "" for none; `counts`: what it did, by name."""

    id: int
    kind: str
    source: str
    started: datetime
    ended: datetime | None
    outcome: RunOutcome
    exit_code: int | None
    error: str
    counts: Mapping[str, int]
    process: Process


class Runs:
    """Begin and end runs, and find them."""

    def __init__(self, database: ControlDatabase) -> None:
        """Work in `database`."""
        self._database = database

    def begin(self, kind: str, *, source: str, at: datetime, process: Process) -> int:
        """Record that a run began; returns its id. `source`: "" where it is about no single one."""
        values = {
            "kind": kind,
            "source": source,
            "started": at,
            "outcome": RunOutcome.RUNNING,
            "error": "",
            "counts": {},
            "host": process.host,
            "pid": process.pid,
            "boot_id": process.boot_id,
            "process_start": process.start,
        }
        with self._database.writing() as connection:
            return int(connection.execute(insert(runs).values(values).returning(runs.c.id)).scalar_one())

    def end(
        self,
        run: int,
        *,
        at: datetime,
        outcome: RunOutcome,
        exit_code: int,
        error: str = "",
        counts: Mapping[str, int] | None = None,
    ) -> None:
        """Record how a run ended.

        Raises:
            ValueError: No such run, or it has ended already.
        """
        values = {
            "ended": at,
            "outcome": outcome,
            "exit_code": exit_code,
            "error": error,
            "counts": dict(counts or {}),
        }
        open_run = (runs.c.id == run) & (runs.c.outcome == RunOutcome.RUNNING)
        with self._database.writing() as connection:
            if connection.execute(update(runs).where(open_run).values(values)).rowcount != 1:
                raise ValueError(f"run {run} is not running")

    def close_interrupted(
        self, *, at: datetime, is_alive: Callable[[Process], bool] = may_be_alive
    ) -> tuple[Run, ...]:
        """Close the runs whose process is gone, and return them; called at every start. Writes only where there are some."""
        still = runs.c.outcome == RunOutcome.RUNNING
        with self._database.reading() as connection:
            rows = connection.execute(select(runs).where(still)).all()
        gone = [r.id for r in rows if not is_alive(_run(r).process)]
        if not gone:
            return ()
        with self._database.writing() as connection:
            closed = {"outcome": RunOutcome.INTERRUPTED, "ended": at}
            connection.execute(update(runs).where(still, runs.c.id.in_(gone)).values(closed))
            found = connection.execute(select(runs).where(runs.c.id.in_(gone)).order_by(runs.c.id)).all()
        return tuple(_run(r) for r in found)

    def latest(self, kind: str, *, source: str, outcomes: Sequence[RunOutcome] = ()) -> Run | None:
        """Return the newest run of a kind and source, among `outcomes` where given."""
        query = select(runs).where(runs.c.kind == kind, runs.c.source == source).order_by(runs.c.id.desc())
        if outcomes:
            query = query.where(runs.c.outcome.in_(outcomes))
        with self._database.reading() as connection:
            row = connection.execute(query.limit(1)).first()
        return _run(row) if row else None

    def recent(self, limit: int) -> tuple[Run, ...]:
        """Return the newest runs, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(runs).order_by(runs.c.id.desc()).limit(limit)).all()
        return tuple(_run(r) for r in rows)


def _run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        kind=row.kind,
        source=row.source,
        started=row.started,
        ended=row.ended,
        outcome=RunOutcome(row.outcome),
        exit_code=row.exit_code,
        error=row.error,
        counts=row.counts,
        process=Process(host=row.host, pid=row.pid, boot_id=row.boot_id, start=row.process_start),
    )
