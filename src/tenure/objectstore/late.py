"""A store that could not be opened when a process began: its disk is not mounted, perhaps, or its server is down.

One key store of several may be away: what is read comes from another, what is deleted stays open there. So the process
goes on, and each call tries to open the store again.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from threading import Lock

from tenure.objectstore.base import Buffer, ObjectInfo, ObjectStore


class LateStore:
    """An `ObjectStore` that is opened at the first call at which that works; until then every call says why not."""

    def __init__(self, reopen: Callable[[], ObjectStore]) -> None:
        """Take what opens it; it raises `ObjectStoreError` where it cannot."""
        self._reopen = reopen
        self._lock = Lock()
        self._opened: ObjectStore | None = None

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        """See `ObjectStore.put`."""
        return self._store().put(name, content, until=until)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        return self._store().get(name, offset=offset, length=length)

    def stat(self, name: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        return self._store().stat(name)

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        self._store().delete(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        return self._store().list(prefix)

    def now(self) -> datetime:
        """See `ObjectStore.now`."""
        return self._store().now()

    def _store(self) -> ObjectStore:
        with self._lock:
            if self._opened is None:
                self._opened = self._reopen()
            return self._opened
