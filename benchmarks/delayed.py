"""A store across a network, as far as its latency goes: every request takes so much longer."""

import time
from collections.abc import Iterator
from datetime import datetime

from tenure.objectstore.base import Buffer, ObjectInfo, ObjectStore


class DelayedStore:
    """Any `ObjectStore`, each request of which begins `seconds` late; `now` is no request."""

    def __init__(self, inner: ObjectStore, seconds: float) -> None:
        self._inner = inner
        self._seconds = seconds

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        time.sleep(self._seconds)
        return self._inner.put(name, content, until=until)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        time.sleep(self._seconds)
        return self._inner.get(name, offset=offset, length=length)

    def stat(self, name: str) -> ObjectInfo:
        time.sleep(self._seconds)
        return self._inner.stat(name)

    def delete(self, name: str) -> None:
        time.sleep(self._seconds)
        self._inner.delete(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for number, info in enumerate(self._inner.list(prefix)):
            if number % 1000 == 0:
                time.sleep(self._seconds)
            yield info

    def now(self) -> datetime:
        return self._inner.now()
