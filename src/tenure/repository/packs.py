"""Packs: many sealed chunks in one object, named by the BLAKE3 of its bytes.

Workers reserve a place in an open pack and seal straight into it, so no chunk is copied after it was sealed. Each
group of chunks (a retention class) has an open pack of its own, so that what falls due together lies together. Its
buffer begins small and doubles, so that many small groups cost little; together all buffers stay below a bound, and
full ones are used again, which saves the page faults. What of many groups is small at the end, or is
in the way of others, shares a pack. Companions gather behind the chunks: one ranged read brings all of a pack's.
"""

import threading
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from tenure.crypto.hashing import content_hash, random_bytes
from tenure.domain.errors import PreconditionFailedError
from tenure.objectstore.base import ObjectStore
from tenure.repository import names
from tenure.repository.blocks import block
from tenure.repository.model import Cohort

MAGIC = b"TNRP\x01"
HEADER_BYTES = 16
"""A pack begins with what it is, its version, and 11 random bytes: packs that a repacking fills alike have two names.

Else a rerun would meet the object that a dead run left, old enough for a sweep to delete it before it is named.
"""

Until = Callable[[Collection[Hashable]], datetime | None]
"""When the lock of a pack with chunks of these groups ends."""

_SMALLEST = 16  # the part of a pack that a group's first buffer is


def group_of(cohort: Cohort) -> Hashable:
    """Return the retention class that shares packs: a data set's records of one rule, whatever their month."""
    return cohort.data_set, cohort.rule_class


@dataclass(slots=True, eq=False)
class OpenPack:
    """A pack being filled. `id` is there once it was put; `moved`: the pack its content went to, and how far behind."""

    buffer: memoryview
    used: int = HEADER_BYTES
    pending: int = 0
    closed: bool = False
    tail: list[tuple[bytes, Callable[["OpenPack", int], None]]] = field(default_factory=list)
    tail_bytes: int = 0
    moved: tuple["OpenPack", int] | None = None
    id: bytes = b""
    groups: set[Hashable] = field(default_factory=set)

    def __len__(self) -> int:
        """Return how many bytes it would have were it put now."""
        return self.used + self.tail_bytes

    def place(self, offset: int) -> tuple[bytes, int]:
        """Return the pack, and where in it, that what was put at `offset` is in. Final once the packer was flushed."""
        if self.moved is None:
            return self.id, offset
        home, shift = self.moved
        return home.place(offset + shift)

    def take(self, size: int) -> "Slot":
        """Reserve `size` bytes that are free."""
        slot = Slot(self, self.used, self.buffer[self.used : self.used + size])
        self.used += size
        self.pending += 1
        return slot

    def take_in(self, other: "OpenPack") -> None:
        """Take over all that another pack holds; there is room for it, and nobody is filling the other."""
        shift = self.used - HEADER_BYTES
        end = self.used + other.used - HEADER_BYTES
        self.buffer[self.used : end] = other.buffer[HEADER_BYTES : other.used]
        self.used, self.tail_bytes = end, self.tail_bytes + other.tail_bytes
        self.groups |= other.groups
        self.tail += other.tail
        other.moved, other.tail = (self, shift), []


@dataclass(frozen=True, slots=True)
class Slot:
    """A reserved place: fill `view`, then `release`."""

    pack: OpenPack
    offset: int
    view: memoryview


class Packer:
    """Fills packs and puts them. Thread-safe. The caller sees the errors of background puts in `flush`."""

    def __init__(
        self,
        store: ObjectStore,
        executor: Executor,
        *,
        pack_bytes: int,
        buffers: int = 3,
        until: Until = lambda _: None,
    ) -> None:
        """Begin with nothing.

        Args:
            store: Where packs go.
            executor: Puts them; not the one whose workers reserve places, or they would wait for themselves.
            pack_bytes: The most that a pack has, but for one chunk that is larger.
            buffers: How many packs' worth of buffers there may be, filled and on their way to the store together.
            until: Says when the lock of a pack ends that holds chunks of these groups; None: as the store does by itself.
        """
        self._store = store
        self._executor = executor
        self._size = pack_bytes
        self._until = until
        self._most = pack_bytes * buffers
        self._held = 0
        self._free: list[memoryview] = []
        self._changed = threading.Condition(threading.Lock())
        self._open: dict[Hashable, OpenPack] = {}  # the one used last stands last
        self._begin_with: dict[Hashable, int] = {}
        self._shared: OpenPack | None = None
        self._flying = 0
        self._puts: list[Future[None]] = []
        self._failure: BaseException | None = None
        self.bytes_put = 0
        self.packs_put = 0

    def reserve(self, size: int, group: Hashable = None) -> Slot:
        """Return a place for `size` bytes in the group's open pack; waits while every buffer is on its way.

        Raises:
            BaseException: A pack could not be put; no use in sealing on.
        """
        with self._changed:
            if size + HEADER_BYTES > self._size:
                alone = OpenPack(block(size + HEADER_BYTES), closed=True, groups={group})
                self._held += len(alone.buffer)
                return alone.take(size)
            pack = self._with_room(size, group)
            pack.groups.add(group)
            return pack.take(size)

    def release(self, slot: Slot) -> None:
        """Say that a slot is filled."""
        slot.view.release()
        with self._changed:
            slot.pack.pending -= 1
            if not slot.pack.pending:
                if slot.pack.closed:
                    self._ship(slot.pack)
                self._changed.notify_all()

    def add_tail(
        self, sealed: bytes, placed: Callable[[OpenPack, int], None], group: Hashable = None
    ) -> None:
        """Put a small sealed chunk at the end of the group's pack; `placed` is told where once that is known."""
        if len(sealed) + HEADER_BYTES > self._size:
            slot = self.reserve(len(sealed), group)
            slot.view[:] = sealed
            placed(slot.pack, slot.offset)
            self.release(slot)
            return
        with self._changed:
            pack = self._with_room(len(sealed), group)
            pack.groups.add(group)
            pack.tail.append((sealed, placed))
            pack.tail_bytes += len(sealed)

    def flush(self) -> None:
        """Put what is left, small remains together, and wait for every put.

        Raises:
            ObjectStoreError: A pack could not be put.
        """
        with self._changed:
            left = sorted(self._open.items(), key=lambda item: -len(item[1]))
            for group, pack in left:
                if len(left) == 1 or len(pack) * 2 >= self._size:
                    self._close(group)
            while self._flying and self._open:
                self._changed.wait()  # so that there are buffers to gather remains in
            for group, _ in left:
                if group in self._open:
                    self._gather(group)
            self._close_shared()
            puts, self._puts = self._puts, []
        for future in puts:
            future.result()

    def _with_room(self, size: int, group: Hashable) -> OpenPack:
        """Return the group's open pack with room for `size` bytes: as it is, with a larger buffer, or a new one."""
        while True:
            if self._failure is not None:
                raise self._failure
            pack = self._open.pop(group, None)
            if pack is not None:
                self._open[group] = pack  # the last in use is the last to make room
            need = size + (HEADER_BYTES if pack is None else len(pack))
            if pack is not None and need <= len(pack.buffer):
                return pack
            if need > self._size:
                self._close(group)
            elif pack is None or not pack.pending:
                self._enlarge(group, need)
            else:
                self._changed.wait()  # its buffer cannot be changed while somebody seals into it

    def _enlarge(self, group: Hashable, need: int) -> None:
        """Give a group's pack a buffer of at least `need` bytes, or make room for one and change nothing yet."""
        old = self._open.get(group)
        size = max(
            self._size // _SMALLEST, HEADER_BYTES, self._begin_with.get(group, 0) if old is None else 0
        )
        while size < need:
            size *= 2
        buffer = self._buffer(min(size, self._size))
        if buffer is None:
            return
        if old is None:
            self._open[group] = OpenPack(buffer)
        else:
            buffer[: old.used] = old.buffer[: old.used]
            self._give_back(old)
            old.buffer = buffer
        self._begin_with[group] = len(buffer)

    def _buffer(self, size: int) -> memoryview | None:
        """Return a buffer; None where there was none, so that something was set going or waited for."""
        if size == self._size and self._free:
            return self._free.pop()
        while self._free and self._held + size > self._most:
            self._held -= len(self._free.pop())
        if self._held + size <= self._most:
            self._held += size
            return block(size)
        if self._flying:
            self._changed.wait()
        else:
            self._make_room()
        return None

    def _make_room(self) -> None:
        """Ship the fullest pack where it is at least half full, else let the one used longest ago share a pack."""
        idle = [(group, pack) for group, pack in self._open.items() if not pack.pending]
        if not idle:
            if self._shared is not None:
                self._close_shared()
            else:
                self._changed.wait()
            return
        group, fullest = max(idle, key=lambda item: len(item[1]))
        if len(fullest) * 2 >= self._size:
            self._close(group)
        else:
            self._gather(idle[0][0])

    def _gather(self, group: Hashable) -> None:
        """Move a group's pack into the shared one.

        Its buffer comes on top of the bound for a moment; but it is not touched before the ones it takes in go.
        """
        pack = self._open.pop(group)
        if self._shared is not None and len(self._shared) + len(pack) - HEADER_BYTES > self._size:
            self._close_shared()
        if self._shared is None:
            if len(pack.buffer) == self._size:
                self._shared = pack
                return
            self._held += 0 if self._free else self._size
            self._shared = OpenPack(self._free.pop() if self._free else block(self._size))
        self._shared.take_in(pack)
        self._give_back(pack)

    def _give_back(self, pack: OpenPack) -> None:
        if len(pack.buffer) == self._size:
            self._free.append(pack.buffer)
        else:
            self._held -= len(pack.buffer)
        pack.buffer = block(0)

    def _close(self, group: Hashable) -> None:
        self._ship_when_filled(self._open.pop(group))

    def _close_shared(self) -> None:
        pack, self._shared = self._shared, None
        if pack is not None:
            self._ship_when_filled(pack)

    def _ship_when_filled(self, pack: OpenPack) -> None:
        pack.closed = True
        if not pack.pending:
            self._ship(pack)

    def _ship(self, pack: OpenPack) -> None:
        self._puts = [p for p in self._puts if not p.done() or p.exception() is not None]
        self._flying += 1
        self._puts.append(self._executor.submit(self._put, pack))

    def _put(self, pack: OpenPack) -> None:
        try:
            for sealed, placed in pack.tail:
                pack.buffer[pack.used : pack.used + len(sealed)] = sealed
                placed(pack, pack.used)
                pack.used += len(sealed)
            pack.buffer[:HEADER_BYTES] = MAGIC + random_bytes(HEADER_BYTES - len(MAGIC))
            with pack.buffer[: pack.used] as view:
                pack.id = content_hash(view)
                # Taken means that the same bytes are there: a put that worked and was answered with an error.
                with suppress(PreconditionFailedError):
                    self._store.put(names.pack(pack.id), view, until=self._until(pack.groups))
            with self._changed:
                self.bytes_put += pack.used
                self.packs_put += 1
        except BaseException as e:
            self._failure = e
            raise
        finally:
            with self._changed:
                self._give_back(pack)
                self._flying -= 1
                self._changed.notify_all()
