"""Settings that people change while the service runs, each with who set it and when."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from tenure.control.database import ControlDatabase
from tenure.control.schema import settings

ONE_PERSON_MODE = "one-person mode"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnePersonMode:
    """Whether the one who asks may approve; who decided that, and when."""

    is_on: bool
    set_by: str = ""
    set_at: datetime | None = None


class Settings:
    """Read and change settings."""

    def __init__(self, database: ControlDatabase) -> None:
        """Work in `database`."""
        self._database = database

    def one_person_mode(self) -> OnePersonMode:
        """Return the mode; off until somebody turns it on."""
        with self._database.reading() as connection:
            row = connection.execute(select(settings).where(settings.c.name == ONE_PERSON_MODE)).first()
        return (
            OnePersonMode(is_on=row.value, set_by=row.set_by, set_at=row.set_at)
            if row
            else OnePersonMode(is_on=False)
        )

    def set_one_person_mode(self, *, is_on: bool, by: str, at: datetime) -> None:
        """Turn one-person mode on or off; every certificate tells it."""
        values = {"name": ONE_PERSON_MODE, "value": is_on, "set_by": by, "set_at": at}
        with self._database.writing() as connection:
            connection.execute(delete(settings).where(settings.c.name == ONE_PERSON_MODE))
            connection.execute(insert(settings).values(values))


def setting(connection: Connection, name: str, *, default: Any) -> Any:
    """Return a setting inside a transaction."""
    row = connection.execute(select(settings.c.value).where(settings.c.name == name)).first()
    return default if row is None else row.value
