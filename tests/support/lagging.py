"""A store whose listings are late, as those of eventually consistent ones are: `get` and `put` are not."""

from collections.abc import Iterator
from datetime import datetime

from tenure.objectstore.base import Buffer, ObjectInfo, ObjectStore


class LaggingStore:
    """Lists an object only from the third listing after its put on, and until the third after its deletion."""

    LATE = 2

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner
        self._listings = 0
        self._hidden: dict[str, int] = {}
        self._ghosts: dict[str, tuple[int, ObjectInfo]] = {}

    def settle(self) -> None:
        """List everything as it is from now on, until the next change."""
        self._hidden.clear()
        self._ghosts.clear()

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        info = self.inner.put(name, content, until=until)
        self._hidden[name] = self._listings + self.LATE
        self._ghosts.pop(name, None)
        return info

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return self.inner.get(name, offset=offset, length=length)

    def stat(self, name: str) -> ObjectInfo:
        return self.inner.stat(name)

    def delete(self, name: str) -> None:
        info = self.inner.stat(name)
        self.inner.delete(name)
        if self._hidden.pop(name, -1) < self._listings:
            self._ghosts[name] = (self._listings + self.LATE, info)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._listings += 1
        seen = [i for i in self.inner.list(prefix) if self._hidden.get(i.name, 0) < self._listings]
        seen += [
            info
            for name, (until, info) in self._ghosts.items()
            if name.startswith(prefix) and until >= self._listings
        ]
        return iter(sorted(seen, key=lambda info: info.name))

    def now(self) -> datetime:
        return self.inner.now()
