"""Keeps each table's row cache beside the installation's state, one file and one fresh key for each snapshot."""

import os
from contextlib import suppress
from pathlib import Path

from tenure.crypto.hashing import content_hash, random_bytes
from tenure.domain.errors import TenureError
from tenure.operations.installation import Installation
from tenure.repository import layouts
from tenure.repository.cachecontents import CacheContents, CacheStamp, write
from tenure.repository.freshrows import Scratch
from tenure.repository.layering import TableSettings
from tenure.repository.layouts import Expressions
from tenure.repository.repository import Repository
from tenure.repository.rowcache import RowCache
from tenure.repository.session import Session
from tenure.sources.base import RowLayout


class RowCaches:
    """The caches of one source in one session. What cannot be read is rebuilt; nothing here stops a snapshot.

    `scratch`: takes what the new caches will hold, until they are written. Close it where `keep` is not reached.
    """

    def __init__(self, installation: Installation, repository: Repository, session: Session) -> None:
        folder = installation.place.state / "rows" / session.begin.writer.hex()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._repository = repository.id
        self._base = session.begin.base if session.may_reuse else 0
        self.scratch = Scratch(folder)
        self._open: list[RowCache] = []
        self._new: list[tuple[str, TableSettings, RowLayout, CacheContents]] = []

    def open(self, data_set: str, settings: TableSettings, layout: RowLayout) -> RowCache | None:
        """Return what is known of a table in the base snapshot, or None."""
        path = self._path(data_set, self._base)
        try:
            key = path.with_suffix(".key").read_bytes()
        except OSError:
            return None
        if len(key) != 32:
            return None
        found = RowCache.open(path, key, self._stamp(data_set, settings, layout, self._base))
        if found is not None:
            self._open.append(found)
        return found

    def add(self, data_set: str, settings: TableSettings, layout: RowLayout, contents: CacheContents) -> None:
        """Take in what the new snapshot holds of a table."""
        self._new.append((data_set, settings, layout, contents))

    def keep(self, snapshot: int) -> None:
        """Write the new caches, then remove the old ones and their keys."""
        for data_set, settings, layout, contents in self._new:
            path, key = self._path(data_set, snapshot), random_bytes(32)
            with suppress(OSError, TenureError):
                _write_private(path.with_suffix(".key"), key)
                write(path, key, self._stamp(data_set, settings, layout, snapshot), contents)
        self.close()
        for old in self._folder.iterdir():
            if not old.name.startswith(f"{snapshot}-"):
                with suppress(OSError):
                    old.unlink()

    def close(self) -> None:
        """Let go of every file; safe to call twice."""
        self.scratch.close()
        for cache in self._open:
            cache.close()

    def _path(self, data_set: str, snapshot: int) -> Path:
        return self._folder / f"{snapshot}-{content_hash(data_set.encode()).hex()[:16]}.rows"

    def _stamp(self, data_set: str, settings: TableSettings, layout: RowLayout, snapshot: int) -> CacheStamp:
        expressions = layouts.encode(Expressions(layout=layout, subjects={}, zone=""))
        return CacheStamp(
            snapshot=self._repository + snapshot.to_bytes(8, "little"),
            table=data_set,
            layout=content_hash(expressions),
            keys=settings.keys_check(),
        )


def _write_private(path: Path, content: bytes) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as f:
        f.write(content)
