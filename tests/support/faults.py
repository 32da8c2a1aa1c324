"""An object store that dies, fails or lies at a chosen call.

One `FaultPlan` is shared by every `FaultyStore` of an installation, so "the n-th call" counts over all of them. A
plan strikes once (damage to reads: at every matching read) and knows whether it struck: end each test with
`plan.assert_used()`, or the test proves nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import Literal

from tenure.domain.errors import ObjectNotFoundError, TruncatedError
from tenure.objectstore.base import Buffer, ObjectInfo, ObjectStore

When = Literal["before", "after"]
Damage = Callable[[str, bytes], bytes]
"""What becomes of the bytes that a read of an object returns, from its name and what is stored."""


class Died(BaseException):
    """The process was killed here. No ``except Exception`` swallows it."""


class FaultPlan:
    """What goes wrong, and when. Without arguments it only counts.

    `at`: the call to strike at, counted from 1; only calls of `methods` (all if empty) on names starting with
    `prefix` count. `when`: before or after the call took effect. `error`: raised instead of `Died`. `damage`: done
    to what reads return. `hidden`: how many later calls a new object stays invisible for.
    """

    def __init__(
        self,
        *,
        at: int | None = None,
        when: When = "before",
        error: Exception | None = None,
        damage: Damage | None = None,
        hidden: int = 0,
        methods: frozenset[str] = frozenset(),
        prefix: str = "",
    ) -> None:
        self.calls = 0
        self.journal: list[str] = []
        self._at = at
        self._when = when
        self._error = error
        self._damage = damage
        self._hidden = hidden
        self._methods = methods
        self._prefix = prefix
        self._used = False
        self._lock = Lock()

    @property
    def used(self) -> bool:
        return self._used

    def assert_used(self) -> None:
        assert self._used, f"the fault never struck: {self.calls} calls, planned at {self._at}"

    def strike(self) -> None:
        self._used = True
        raise self._error if self._error is not None else Died

    @contextmanager
    def around(self, method: str, name: str) -> Iterator[None]:
        """Count a call and strike before or after it."""
        struck = False
        if self._concerns(method, name):
            with self._lock:
                self.calls += 1
                self.journal.append(f"{method} {name}")
                struck = self.calls == self._at and self._damage is None
        if struck and self._when == "before":
            self.strike()
        try:
            yield
        finally:
            if struck:
                self.strike()

    def damaged(self, name: str, content: bytes) -> bytes:
        """Return what a read of the whole object returns under this plan."""
        if self._damage is None or not self._concerns("get", name) or self._at not in (None, self.calls):
            return content
        try:
            changed = self._damage(name, content)
        except ObjectNotFoundError:
            self._used = True
            raise
        self._used = self._used or changed != content
        return changed

    @property
    def damages(self) -> bool:
        return self._damage is not None

    def hides(self, put_at: int) -> bool:
        """Whether an object put when `put_at` calls had been made is still invisible."""
        hidden = self._hidden > 0 and self.calls <= put_at + self._hidden
        self._used = self._used or hidden
        return hidden

    def _concerns(self, method: str, name: str) -> bool:
        return (not self._methods or method in self._methods) and name.startswith(self._prefix)


class FaultyStore:
    """Any store, under a plan."""

    def __init__(self, inner: ObjectStore, plan: FaultPlan) -> None:
        self._inner = inner
        self._plan = plan
        self._put_at: dict[str, int] = {}

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        with self._plan.around("put", name):
            info = self._inner.put(name, content, until=until)
            self._put_at[name] = self._plan.calls
            return info

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        with self._plan.around("get", name):
            self._require_visible(name)
            if not self._plan.damages:
                return self._inner.get(name, offset=offset, length=length)
            # Damaged as a whole, so that a range of it is what a range of the damaged object is.
            content = self._plan.damaged(name, self._inner.get(name))
            end = len(content) if length is None else offset + length
            if offset > len(content) or end > len(content):
                raise TruncatedError(
                    f"{name} has {len(content)} bytes, bytes {offset} to {end} were asked for"
                )
            return content[offset:end]

    def stat(self, name: str) -> ObjectInfo:
        with self._plan.around("stat", name):
            self._require_visible(name)
            return self._inner.stat(name)

    def delete(self, name: str) -> None:
        with self._plan.around("delete", name):
            self._inner.delete(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._plan.around("list", prefix):
            return iter([info for info in self._inner.list(prefix) if not self._is_hidden(info.name)])

    def now(self) -> datetime:
        return self._inner.now()

    def _is_hidden(self, name: str) -> bool:
        return name in self._put_at and self._plan.hides(self._put_at[name])

    def _require_visible(self, name: str) -> None:
        if self._is_hidden(name):
            raise ObjectNotFoundError(f"{name} is not visible yet")


def flip(position: int) -> Damage:
    """Change one bit of the byte at `position` (negative: from the end)."""

    def change(name: str, content: bytes) -> bytes:
        changed = bytearray(content)
        changed[position] ^= 1
        return bytes(changed)

    return change


def truncate(keep: int) -> Damage:
    """Keep the first `keep` bytes."""
    return lambda name, content: content[:keep]


def swap(store: ObjectStore, first: str, second: str) -> Damage:
    """Return the one object's bytes for the other's name, both ways."""
    other = {first: second, second: first}
    return lambda name, content: store.get(other[name]) if name in other else content


def lose(lost: str) -> Damage:
    """Lose one object: its name is still listed, its bytes are gone."""

    def change(name: str, content: bytes) -> bytes:
        if name == lost:
            raise ObjectNotFoundError(f"{name} is lost")
        return content

    return change
