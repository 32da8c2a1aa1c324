"""What is true elsewhere and remembered here: holds, and heads of chains."""

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import insert, select, update

from tenure.control.database import ControlDatabase
from tenure.control.schema import heads, holds
from tenure.domain.errors import RollbackError


@dataclass(frozen=True, slots=True, kw_only=True)
class MirroredHold:
    """A hold of the repository's ledger, by its number there."""

    number: int
    matter: str
    review_by: date
    released: datetime | None = None


class Holds:
    """The holds as last read from the ledger; to show and to remind, never to decide by."""

    def __init__(self, database: ControlDatabase) -> None:
        """Work in `database`."""
        self._database = database

    def mirror(self, hold: MirroredHold) -> None:
        """Remember a hold as it stands now."""
        values = {"matter": hold.matter, "review_by": hold.review_by, "released": hold.released}
        with self._database.writing() as connection:
            if not connection.execute(
                update(holds).where(holds.c.number == hold.number).values(values)
            ).rowcount:
                connection.execute(insert(holds).values(number=hold.number, **values))

    def in_force(self) -> tuple[MirroredHold, ...]:
        """Return those not released, by number."""
        query = select(holds).where(holds.c.released.is_(None)).order_by(holds.c.number)
        with self._database.reading() as connection:
            return tuple(MirroredHold(**r._asdict()) for r in connection.execute(query).all())


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How far a chain had come: number and 32-byte hash of its last entry."""

    number: int
    hash: bytes


class Heads:
    """How far each chain (the ledger, the evidence log) was last seen, so that a shorter one is noticed."""

    def __init__(self, database: ControlDatabase) -> None:
        """Work in `database`."""
        self._database = database

    def remember(self, name: str, head: Head) -> None:
        """Note the head of the chain `name`.

        Raises:
            RollbackError: The chain was longer before, or this number had another hash.
        """
        with self._database.writing() as connection:
            row = connection.execute(select(heads).where(heads.c.name == name)).first()
            if row is None:
                connection.execute(insert(heads).values(name=name, number=head.number, hash=head.hash))
                return
            if head.number < row.number or (head.number == row.number and head.hash != row.hash):
                raise RollbackError(
                    f"{name} stands at entry {head.number}, but entry {row.number} was seen before"
                )
            values = {"number": head.number, "hash": head.hash}
            connection.execute(update(heads).where(heads.c.name == name).values(values))

    def last(self, name: str) -> Head | None:
        """Return the head last noted; None when the chain was never seen."""
        with self._database.reading() as connection:
            row = connection.execute(select(heads).where(heads.c.name == name)).first()
        return Head(number=row.number, hash=row.hash) if row else None
