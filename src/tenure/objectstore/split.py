"""Two stores as one: a few names lie in the second. For servers whose locked buckets honour no conditional writes."""

from collections.abc import Iterator
from datetime import datetime
from heapq import merge

from tenure.objectstore.base import Buffer, LockingStore, ObjectInfo, ObjectStore, locking


class SplitStore:
    """An `ObjectStore` of which what begins with one of `prefixes` lies in `apart`, and all else in `main`."""

    def __init__(self, main: ObjectStore, apart: ObjectStore, *, prefixes: tuple[str, ...]) -> None:
        """Take both; `main` gives the time."""
        self.main, self.apart = main, apart
        self._prefixes = prefixes

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        """See `ObjectStore.put`; what lies apart is not locked."""
        if name.startswith(self._prefixes):
            return self.apart.put(name, content)
        return self.main.put(name, content, until=until)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        return self._of(name).get(name, offset=offset, length=length)

    def stat(self, name: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        return self._of(name).stat(name)

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        self._of(name).delete(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        apart = (i for i in self.apart.list(prefix) if i.name.startswith(self._prefixes))
        if prefix.startswith(self._prefixes):
            return apart
        main = (i for i in self.main.list(prefix) if not i.name.startswith(self._prefixes))
        return merge(main, apart, key=lambda info: info.name)

    def now(self) -> datetime:
        """See `ObjectStore.now`."""
        return self.main.now()

    def lock(self, name: str, until: datetime) -> None:
        """See `LockingStore.lock`; what lies apart has none."""
        if not name.startswith(self._prefixes):
            self._locking().lock(name, until)

    def hold(self, name: str, *, on: bool) -> None:
        """See `LockingStore.hold`; what lies apart has none."""
        if not name.startswith(self._prefixes):
            self._locking().hold(name, on=on)

    def _of(self, name: str) -> ObjectStore:
        return self.apart if name.startswith(self._prefixes) else self.main

    def _locking(self) -> LockingStore:
        return locking(self.main, "a lock")
