"""Opening the control database: create, upgrade or refuse; and its transactions."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import StaticPool

from tenure.domain.errors import ConfigError, LeasedError, UnsupportedFormatError

BUSY_SECONDS = 30
"""How long a transaction waits for another process before it gives up; transactions here take milliseconds."""

NEWEST = "0003"
"""The newest step in `migrations/`; a test holds it equal to what is there."""

MIGRATIONS = Path(__file__).parent / "migrations"


class ControlDatabase:
    """The database behind every class of this room."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine whose schema is current; use `open`."""
        self._engine = engine
        self._for_reading = engine.execution_options(tenure_reads=True)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open `url`, creating or upgrading the schema.

        Args:
            url: ``sqlite:///PATH``, or ``sqlite://`` for one in memory that ends with this object.

        Raises:
            ConfigError: No database there, or not one of ours.
            UnsupportedFormatError: Written by a newer Tenure.
            LeasedError: Another process held it for `BUSY_SECONDS`.
        """
        try:
            engine = _engine(url)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as e:
            raise ConfigError(
                "the control database's address cannot be used", hint="write sqlite:///PATH"
            ) from e
        try:
            _upgrade(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a transaction that may write; committed at the end, undone by any exception.

        Raises:
            LeasedError: Another process held the database for `BUSY_SECONDS`.
            ConfigError: The database cannot be used.
        """
        with _translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a transaction for reading one state; it waits for no writer.

        Raises:
            ConfigError: The database cannot be used.
        """
        with _translated(), self._for_reading.begin() as connection:
            yield connection

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as e:
        if "locked" in str(e.orig) or "busy" in str(e.orig):
            raise LeasedError("another process holds the control database") from e
        raise ConfigError("the control database cannot be used", hint="check its path and permissions") from e
    except DatabaseError as e:
        if isinstance(e.orig, sqlite3.DatabaseError) and "not a database" in str(e.orig):
            raise ConfigError("the control database's file is not a database", hint="check its path") from e
        raise


def _engine(url: str) -> Engine:
    """Make an engine whose SQLite transactions begin when we say so and in the way we say."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed)
    in_memory = parsed.database in (None, "", ":memory:")
    arguments: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS, "check_same_thread": False}}
    engine = create_engine(parsed, **arguments, **({"poolclass": StaticPool} if in_memory else {}))
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own BEGIN comes late and only before some statements; None leaves transactions to _begin.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # an approval that was acknowledged survives a power cut
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete":
        connection.execute("PRAGMA journal_mode = WAL")


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock first: a transaction that reads, then writes, cannot fail halfway.
    reads = connection.get_execution_options().get("tenure_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _upgrade(engine: Engine) -> None:
    """Bring the schema to the newest step, in one transaction.

    Raises:
        UnsupportedFormatError: The schema is at a step this version does not know.
    """
    with _translated(), engine.begin() as connection:
        if _current(connection) != NEWEST:
            _migrate(connection)


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _migrate(connection: Connection) -> None:
    # Imported here: loading Alembic takes longer than most commands run, and the schema is nearly always current.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    current = _current(connection)
    if current is not None and current not in known:
        raise UnsupportedFormatError(
            f"the control database is at schema {current}, which this version does not know"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
