"""An object store in memory, for tests, rehearsals and scratch work; gone with the process."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from threading import Lock

from tenure.domain.clock import Clock
from tenure.domain.errors import (
    ObjectLockedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    TruncatedError,
)
from tenure.objectstore.base import Buffer, ObjectInfo, validate_name, validate_range


class MemoryStore:
    """Keeps every promise of `ObjectStore` but durability, and those of `LockingStore`."""

    def __init__(self, clock: Clock) -> None:
        """Begin empty; `clock` is the store's own."""
        self._clock = clock
        self._lock = Lock()
        self._objects: dict[str, tuple[bytes, ObjectInfo]] = {}
        self._held: set[str] = set()

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        """See `ObjectStore.put`."""
        validate_name(name)
        kept = bytes(content)  # the caller may reuse its buffer
        info = ObjectInfo(name=name, size=len(kept), modified=self._clock.now())
        with self._lock:
            if name in self._objects:
                raise PreconditionFailedError(f"{name} exists already in the memory store")
            self._objects[name] = (kept, replace(info, until=until))
        return info

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        validate_range(offset, length)
        content, info = self._find(name)
        end = info.size if length is None else offset + length
        if offset > info.size or end > info.size:
            raise TruncatedError(f"{name} has {info.size} bytes, bytes {offset} to {end} were asked for")
        return content[offset:end]

    def stat(self, name: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        return self._find(name)[1]

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        validate_name(name)
        with self._lock:
            found = self._objects.get(name)
            until = found[1].until if found is not None else None
            locked = until is not None and until > self._clock.now()
            if locked or name in self._held:
                ends = f" until {until:%Y-%m-%d %H:%M} UTC" if until is not None and locked else ""
                raise ObjectLockedError(
                    f"{name} is under a lock in the memory store{ends}",
                    until=None if name in self._held else until,
                )
            self._objects.pop(name, None)

    def lock(self, name: str, until: datetime) -> None:
        """See `LockingStore.lock`."""
        content, info = self._find(name)
        with self._lock:
            self._objects[name] = (content, replace(info, until=max(until, info.until or until)))

    def hold(self, name: str, *, on: bool) -> None:
        """See `LockingStore.hold`."""
        self._find(name)
        with self._lock:
            (self._held.add if on else self._held.discard)(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        with self._lock:
            found = [
                replace(info, until=None)
                for name, (_, info) in self._objects.items()
                if name.startswith(prefix)
            ]
        yield from sorted(found, key=lambda info: info.name)

    def now(self) -> datetime:
        """See `ObjectStore.now`."""
        return self._clock.now()

    def _find(self, name: str) -> tuple[bytes, ObjectInfo]:
        validate_name(name)
        with self._lock:
            try:
                return self._objects[name]
            except KeyError:
                raise ObjectNotFoundError(f"{name} is not in the memory store") from None
