"""Puts what belongs to a repository under a lock, so that nobody can delete it before its time."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from tenure.objectstore.base import Buffer, LockingStore, ObjectInfo


class LockedStore:
    """A `LockingStore` around another that locks each object below `prefixes` for `period` from its put on.

    A caller's own `until` wins. Times are the store's: a machine whose clock is wrong locks for no other time.
    """

    def __init__(self, store: LockingStore, *, period: timedelta, prefixes: tuple[str, ...]) -> None:
        """Wrap a store; names that begin with none of `prefixes` are left as they are."""
        self.inner = store
        self._period = period
        self._prefixes = prefixes

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        """See `ObjectStore.put`."""
        if until is None and name.startswith(self._prefixes):
            until = self.inner.now() + self._period
        return self.inner.put(name, content, until=until)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        return self.inner.get(name, offset=offset, length=length)

    def stat(self, name: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        return self.inner.stat(name)

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        self.inner.delete(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        return self.inner.list(prefix)

    def now(self) -> datetime:
        """See `ObjectStore.now`."""
        return self.inner.now()

    def lock(self, name: str, until: datetime) -> None:
        """See `LockingStore.lock`."""
        self.inner.lock(name, until)

    def hold(self, name: str, *, on: bool) -> None:
        """See `LockingStore.hold`."""
        self.inner.hold(name, on=on)
