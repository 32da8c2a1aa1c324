"""Checks: how far stored data was read back. Losing them makes a verification begin anew, and nothing worse."""

from collections.abc import Collection
from dataclasses import asdict

from sqlalchemy import delete, insert, select

from tenure.control.database import ControlDatabase
from tenure.control.schema import checks
from tenure.repository.readback import Check


class Checks:
    """Keep checks, one for each cohort."""

    def __init__(self, database: ControlDatabase) -> None:
        """Work in `database`."""
        self._database = database

    def all(self) -> dict[bytes, Check]:
        """Return every check, by cohort tag."""
        with self._database.reading() as connection:
            rows = connection.execute(select(checks)).all()
        return {row.tag: Check(**row._asdict()) for row in rows}

    def save(self, check: Check) -> None:
        """Keep a check in place of the one before."""
        with self._database.writing() as connection:
            connection.execute(delete(checks).where(checks.c.tag == check.tag))
            connection.execute(insert(checks).values(asdict(check)))

    def drop_others(self, tags: Collection[bytes]) -> int:
        """Drop the checks of cohorts that are not there any more; returns how many went."""
        gone = [tag for tag in self.all() if tag not in tags]
        with self._database.writing() as connection:
            for tag in gone:
                connection.execute(delete(checks).where(checks.c.tag == tag))
        return len(gone)
