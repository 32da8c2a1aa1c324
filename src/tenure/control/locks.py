"""What is known of locks in the object store. Losing it costs one question for each object, and nothing worse.

Legal holds are the exception: the store keeps them, and which snapshots they are for stands here alone.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select

from tenure.control.database import ControlDatabase
from tenure.control.schema import legal_holds, locks, page_packs

_PACK_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePacks:
    """The packs that a key page names, and its data set; pages never change."""

    page: bytes
    data_set: str
    packs: tuple[bytes, ...]


class Locks:
    """Keeps until when objects are locked, which packs pages name, and legal holds on snapshots."""

    def __init__(self, database: ControlDatabase) -> None:
        """Work in `database`."""
        self._database = database

    def known(self) -> dict[str, float]:
        """Return name -> end of its lock, in seconds since the epoch."""
        with self._database.reading() as connection:
            return {row.name: row.until for row in connection.execute(select(locks))}

    def learn(self, ends: Mapping[str, float]) -> None:
        """Note the ends of locks, in place of what was known."""
        rows = [{"name": name, "until": until} for name, until in ends.items()]
        with self._database.writing() as connection:
            for row in rows:
                connection.execute(delete(locks).where(locks.c.name == row["name"]))
            if rows:
                connection.execute(insert(locks), rows)

    def forget_others(self, names: Collection[str]) -> None:
        """Drop what is known of other objects than these."""
        gone = [name for name in self.known() if name not in names]
        with self._database.writing() as connection:
            for name in gone:
                connection.execute(delete(locks).where(locks.c.name == name))

    def pages(self) -> dict[bytes, PagePacks]:
        """Return page id -> its packs."""
        with self._database.reading() as connection:
            rows = connection.execute(select(page_packs)).all()
        return {
            row.page: PagePacks(page=row.page, data_set=row.data_set, packs=_split(row.packs)) for row in rows
        }

    def learn_pages(self, found: Iterable[PagePacks], *, drop: Collection[bytes]) -> None:
        """Note which packs pages name, and drop pages that are gone."""
        rows = [{"page": p.page, "data_set": p.data_set, "packs": b"".join(p.packs)} for p in found]
        with self._database.writing() as connection:
            for page in drop:
                connection.execute(delete(page_packs).where(page_packs.c.page == page))
            if rows:
                connection.execute(insert(page_packs), rows)

    def held(self) -> dict[int, str]:
        """Return snapshot -> why it is under a legal hold."""
        with self._database.reading() as connection:
            return {row.snapshot: row.reason for row in connection.execute(select(legal_holds))}

    def hold(self, snapshot: int, reason: str, at: datetime) -> None:
        """Note a legal hold; a second one of a snapshot takes the first one's place."""
        self.release(snapshot)
        with self._database.writing() as connection:
            connection.execute(
                insert(legal_holds).values(snapshot=snapshot, reason=reason, at=at.timestamp())
            )

    def release(self, snapshot: int) -> None:
        """Note that a legal hold is lifted."""
        with self._database.writing() as connection:
            connection.execute(delete(legal_holds).where(legal_holds.c.snapshot == snapshot))


def _split(packs: bytes) -> tuple[bytes, ...]:
    return tuple(packs[i : i + _PACK_BYTES] for i in range(0, len(packs), _PACK_BYTES))
