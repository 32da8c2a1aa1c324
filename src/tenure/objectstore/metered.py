"""Counts what is asked of a store: how many requests of each kind, of which objects, and how many bytes."""

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from tenure.objectstore.base import Buffer, ObjectInfo, ObjectStore

PAGE_OF_LIST = 1000
"""Objects that S3 lists in one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. `method`: put, get, stat, delete or list; `length` in bytes, of a read what was answered."""

    method: str
    name: str
    offset: int = 0
    length: int = 0

    @property
    def kind(self) -> str:
        """Return what it was about: the first part of the object's name."""
        return self.name.partition("/")[0]


@dataclass(slots=True, kw_only=True)
class Meter:
    """All requests of the stores that share it, in the order in which they ended. Safe to use from several threads."""

    requests: list[Request] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, request: Request) -> None:
        """Note a request."""
        with self._lock:
            self.requests.append(request)

    def take(self) -> list[Request]:
        """Return what was noted so far, and begin anew."""
        with self._lock:
            found, self.requests = self.requests, []
        return found


def counts(requests: list[Request]) -> Counter[tuple[str, str]]:
    """Return how many requests there were, by (method, kind)."""
    return Counter((request.method, request.kind) for request in requests)


class MeteredStore:
    """Any `ObjectStore`, metered. What failed was asked all the same; `now` is no request."""

    def __init__(self, inner: ObjectStore, meter: Meter) -> None:
        """Wrap a store."""
        self.inner = inner
        self._meter = meter

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        """See `ObjectStore.put`."""
        self._meter.add(Request(method="put", name=name, length=memoryview(content).nbytes))
        return self.inner.put(name, content, until=until)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        found = b""
        try:
            found = self.inner.get(name, offset=offset, length=length)
        finally:
            self._meter.add(Request(method="get", name=name, offset=offset, length=len(found)))
        return found

    def stat(self, name: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        self._meter.add(Request(method="stat", name=name))
        return self.inner.stat(name)

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        self._meter.add(Request(method="delete", name=name))
        self.inner.delete(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`; a request for every thousand objects."""
        self._meter.add(Request(method="list", name=prefix))
        for number, info in enumerate(self.inner.list(prefix)):
            if number and number % PAGE_OF_LIST == 0:
                self._meter.add(Request(method="list", name=prefix))
            yield info

    def now(self) -> datetime:
        """See `ObjectStore.now`."""
        return self.inner.now()
