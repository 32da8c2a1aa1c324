"""Drills: what each measured, for the charts, for lateness and for on-call."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select

from tenure.control.database import ControlDatabase
from tenure.control.schema import drills
from tenure.evidence.drill_record import CheckResult, DrillOutcome, DrillRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillEntry:
    """One drill as kept here. `rpo`: age of the snapshot, `rto`: time to restore, both measured, in seconds."""

    id: str
    source: str
    snapshot: int
    started: datetime
    outcome: DrillOutcome
    seconds: float
    bytes: int
    rpo: float
    rto: float
    checks: tuple[CheckResult, ...]


class Drills:
    """Record drills and read their history."""

    def __init__(self, database: ControlDatabase) -> None:
        """Work in `database`."""
        self._database = database

    def record(self, drill: DrillRecord, *, seconds: float) -> None:
        """Keep a drill; the same id again changes nothing. `seconds`: the whole drill, checks included."""
        values = {
            "id": drill.id,
            "source": drill.source,
            "snapshot": drill.snapshot,
            "started": drill.started,
            "outcome": drill.outcome,
            "seconds": seconds,
            "bytes": drill.bytes,
            "rpo": drill.snapshot_age,
            "rto": drill.seconds,
            "checks": msgspec.to_builtins(drill.checks),
        }
        with self._database.writing() as connection:
            if connection.execute(select(drills.c.id).where(drills.c.id == drill.id)).first() is None:
                connection.execute(insert(drills).values(values))

    def history(self, source: str, *, limit: int) -> tuple[DrillEntry, ...]:
        """Return the newest drills of a source, oldest of them first."""
        query = select(drills).where(drills.c.source == source).order_by(drills.c.started.desc()).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return tuple(_drill(r) for r in reversed(rows))

    def latest(self, source: str) -> DrillEntry | None:
        """Return the newest drill of a source."""
        return next(iter(self.history(source, limit=1)), None)

    def keep_last(self, source: str, count: int) -> int:
        """Drop all but the newest `count` of a source here (evidence keeps them); returns how many went."""
        newest = (
            select(drills.c.id)
            .where(drills.c.source == source)
            .order_by(drills.c.started.desc())
            .limit(count)
        )
        with self._database.writing() as connection:
            old = delete(drills).where(drills.c.source == source, drills.c.id.not_in(newest))
            return connection.execute(old).rowcount


def _drill(row: Row[Any]) -> DrillEntry:
    checks = msgspec.convert(row.checks, tuple[CheckResult, ...])
    return DrillEntry(**{**row._asdict(), "outcome": DrillOutcome(row.outcome), "checks": checks})
