"""The ObjectStore port."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, cast

from tenure.domain.errors import ConfigError

Buffer = bytes | bytearray | memoryview

MOST_NAME_CHARS = 512
MOST_PART_CHARS = (
    240  # NAME_MAX of Linux file systems is 255; servers that keep versions in files add to a name
)

# Printable ASCII but space, slash and backslash; the first character of a part is no dot either.
_NAME = re.compile(r"[!-\-0-\[\]-~][!-.0-\[\]-~]{0,239}(?:/[!-\-0-\[\]-~][!-.0-\[\]-~]{0,239})*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What a store knows about an object. `size` in bytes; `modified`: aware, UTC, by the store's own clock.

    `until`: when its lock ends, as `stat` tells it; None without a lock, and in what `put` and `list` return.
    """

    name: str
    size: int
    modified: datetime
    until: datetime | None = None


class ObjectStore(Protocol):
    """A flat set of named, immutable byte strings.

    Callers may rely on this:

    * **Written once.** `put` creates and never replaces. Of several puts of one name, from any number of threads,
      processes and machines, at most one returns.
    * **Atomic.** An object is there whole or not at all; no reader and no listing ever meets a part of one.
    * **Durable.** What `put` returned for survives a power cut; so does what `delete` removed.
    * **Read after write.** `get`, `stat` and `list`, called by anyone after `put` or `delete` returned, see it.
    * **Ordered.** `list` yields names in the order of their characters; an object put or deleted meanwhile may or
      may not be in it, all others are, once.
    * **Dated by the store.** `modified` and `now` are of one clock, which is not a client's.
    * **Safe to call from several threads.**

    A `put` that raised, or whose caller died, may or may not have taken effect: look before trying again.
    Names are those that `validate_name` accepts. Callers never use a name that continues another object's name
    after a slash (``a`` and ``a/b``): a file system cannot hold both.
    """

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        """Create an object (``If-None-Match: *``), under a lock that ends at `until` where one is given.

        Raises:
            PreconditionFailedError: The name is taken; that object is unchanged, whole and durable.
            StoreUnavailableError: The store did not answer; retryable.
            StoreDeniedError: The store refused.
            ObjectStoreError: Anything else: a full disk, or a store that has no locks and was asked for one.
            ValueError: The name is not one.
        """
        ...

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return an object, or `length` bytes of it from `offset` (bytes from its start).

        Raises:
            ObjectNotFoundError: No object has this name.
            TruncatedError: Fewer than `length` bytes are there, or it ends before `offset`.
            StoreUnavailableError: The store did not answer; retryable.
            StoreDeniedError: The store refused.
            ValueError: The name is not one, or the range is negative.
        """
        ...

    def stat(self, name: str) -> ObjectInfo:
        """Return an object's size and date.

        Raises:
            ObjectNotFoundError: No object has this name.
            StoreUnavailableError: The store did not answer; retryable.
            StoreDeniedError: The store refused.
            ValueError: The name is not one.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove an object; fine where there is none.

        Raises:
            ObjectLockedError: A lock forbids it.
            StoreUnavailableError: The store did not answer; retryable.
            StoreDeniedError: The store refused.
            ValueError: The name is not one.
        """
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose name starts with `prefix` (any string, "" for all), sorted by name.

        Raises:
            StoreUnavailableError: The store did not answer; retryable.
            StoreDeniedError: The store refused.
        """
        ...

    def now(self) -> datetime:
        """Return the store's time, aware, UTC.

        Raises:
            StoreUnavailableError: The store did not answer; retryable.
        """
        ...


class LockingStore(ObjectStore, Protocol):
    """A store that keeps objects from everybody until a time, or until told otherwise. Locks are never shortened."""

    def lock(self, name: str, until: datetime) -> None:
        """Lock an object until a time, aware, UTC; a lock that lasts longer stays as it is.

        Raises:
            ObjectNotFoundError: No object has this name.
            StoreUnavailableError: The store did not answer; retryable.
            StoreDeniedError: The store refused.
            ObjectStoreError: It has no locks.
        """
        ...

    def hold(self, name: str, *, on: bool) -> None:
        """Place or lift a legal hold: a lock without an end, beside the one that has one.

        Raises:
            ObjectNotFoundError: No object has this name.
            StoreUnavailableError: The store did not answer; retryable.
            StoreDeniedError: The store refused.
            ObjectStoreError: It has no locks.
        """
        ...


def locking(store: ObjectStore, what: str) -> LockingStore:
    """Return a store as one that locks.

    Raises:
        ConfigError: It has no locks.
    """
    if not (hasattr(store, "lock") and hasattr(store, "hold")):
        raise ConfigError(
            f"{what} needs a store that locks objects, and this one is a folder",
            hint="use a bucket with Object Lock, or leave `locks` out of tenure.yaml",
        )
    return cast(LockingStore, store)


def validate_name(name: str) -> str:
    """Return `name` if every store can hold it.

    That is: at most 512 characters, parts of at most 240 between single slashes, printable ASCII without spaces and
    backslashes; no part is empty or begins with a dot (``..`` leads out of the store, others are the stores' own).

    Raises:
        ValueError: It is not such a name.
    """
    if len(name) > MOST_NAME_CHARS or _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{name[:MOST_NAME_CHARS]!r} is no object name: printable ASCII parts of at most {MOST_PART_CHARS} "
            f"characters between single slashes, none beginning with a dot, {MOST_NAME_CHARS} characters in all"
        )
    return name


def validate_range(offset: int, length: int | None) -> None:
    """Check the range of a `get`.

    Raises:
        ValueError: A negative offset or length.
    """
    if offset < 0 or (length is not None and length < 0):
        raise ValueError("offset and length are not negative")
