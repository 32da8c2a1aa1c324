"""Rows that may hold card data, in the small contact centre: what a test puts in, asks, answers and gets back."""

import sqlite3
from contextlib import closing
from pathlib import Path

from support.retention import Centre
from tenure.operations import quarantine
from tenure.operations.edits import QUARANTINE
from tenure.operations.planning import PurgePlan
from tenure.operations.purging import Purged, purge
from tenure.operations.quarantine import Question
from tenure.operations.restore import restore
from tenure.repository.manifest import Manifest
from tenure.repository.model import Cohort

ORDER = "order 5425 2334 3010 9903 arrived"
CUT = "order **** **** **** 9903 arrived"
ROW = 104  # of the notes: not due by any rule
OTHER = 105


def manifest(centre: Centre, numbers: dict[str, int]) -> Manifest:
    with centre.open() as installation:
        repository = installation.open_reading()
        return repository.manifest(repository.snapshot(numbers["crm"]))


def cohorts(centre: Centre, numbers: dict[str, int], data_set: str = "notes") -> list[Cohort]:
    with centre.open() as installation:
        reader = installation.open_reading().read(numbers["crm"], installation.executor)
        return [cohort for cohort, _ in reader.root(data_set).cohorts()]


def in_snapshot(
    centre: Centre, numbers: dict[str, int], target: Path, sql: str = "SELECT id, body FROM notes"
) -> dict[int, str]:
    with centre.open() as installation:
        restore(installation, numbers["crm"], target)
    with closing(sqlite3.connect(target)) as back:
        return dict(back.execute(sql).fetchall())


def listed(centre: Centre) -> list[Question]:
    with centre.open() as installation:
        return quarantine.listed(installation)


def answer(centre: Centre, *, keep: str = "", redact: str | None = None) -> int:
    with centre.open() as installation:
        if keep:
            return quarantine.keep(installation, keep)
        return quarantine.redact(installation, redact or "")


def purged(centre: Centre) -> tuple[PurgePlan, Purged]:
    plan = centre.approved()
    with centre.open() as installation:
        return plan, purge(installation, plan.hash)


def cut_lines(plan: PurgePlan) -> list[tuple[str, int, int]]:
    return [(c.data_set, c.live, c.past) for c in plan.body.counts if c.rule == QUARANTINE]
