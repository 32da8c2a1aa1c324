"""Packs: many sealed chunks in one object, named by the BLAKE3 of its bytes.

Workers reserve a place in the open pack and seal straight into it, so no chunk is copied after it was sealed.
Companions gather behind the chunks they describe: one ranged read brings all of a pack's. Buffers are few
and used again, which bounds the memory and saves the page faults.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field

from tenure.crypto.hashing import content_hash
from tenure.domain.errors import PreconditionFailedError
from tenure.objectstore.base import ObjectStore
from tenure.repository import names

MAGIC = b"TNRP\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
"""First 16 bytes of a pack: what it is, its version, zeros."""


@dataclass(slots=True, eq=False)
class OpenPack:
    """A pack being filled. `id` is there once it was put."""

    buffer: bytearray
    own: bool = False  # a buffer made for one chunk larger than a pack, not to be used again
    used: int = len(MAGIC)
    pending: int = 0
    closed: bool = False
    tail: list[tuple[bytes, Callable[["OpenPack", int], None]]] = field(default_factory=list)
    tail_bytes: int = 0
    id: bytes = b""


@dataclass(frozen=True, slots=True)
class Slot:
    """A reserved place: fill `view`, then `release`."""

    pack: OpenPack
    offset: int
    view: memoryview


class Packer:
    """Fills packs and puts them. Thread-safe. The caller sees the errors of background puts in `flush`."""

    def __init__(self, store: ObjectStore, executor: Executor, *, pack_bytes: int, buffers: int = 3) -> None:
        self._store = store
        self._executor = executor
        self._size = pack_bytes
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._unmade = buffers
        self._lock = threading.Lock()
        self._open: OpenPack | None = None
        self._puts: list[Future[None]] = []
        self._failure: BaseException | None = None
        self.bytes_put = 0
        self.packs_put = 0

    def reserve(self, size: int) -> Slot:
        """Return a place for `size` bytes in the open pack; waits while every buffer is on its way to the store."""
        while True:
            if self._failure is not None:
                raise self._failure  # no use in sealing on while nothing arrives
            with self._lock:
                pack = self._open
                if pack is not None and pack.used + size + pack.tail_bytes <= len(pack.buffer):
                    return self._take(pack, size)
                self._close_open()
            fresh = self._fresh(size)
            with self._lock:
                if self._open is None:
                    self._open = fresh
                    return self._take(fresh, size)
            self._give_back(fresh)

    def release(self, slot: Slot) -> None:
        """Say that a slot is filled."""
        slot.view.release()
        with self._lock:
            slot.pack.pending -= 1
            if slot.pack.closed and slot.pack.pending == 0:
                self._ship(slot.pack)

    def add_tail(self, sealed: bytes, placed: Callable[[OpenPack, int], None]) -> None:
        """Put a small sealed chunk at the end of the open pack; `placed` is told where once that is known."""
        slot = None
        with self._lock:
            pack = self._open
            if pack is not None and pack.used + len(sealed) + pack.tail_bytes <= len(pack.buffer):
                pack.tail.append((sealed, placed))
                pack.tail_bytes += len(sealed)
                return
        slot = self.reserve(len(sealed))
        slot.view[:] = sealed
        placed(slot.pack, slot.offset)
        self.release(slot)

    def flush(self) -> None:
        """Put what is left and wait for every put.

        Raises:
            ObjectStoreError: A pack could not be put.
        """
        with self._lock:
            self._close_open()
            puts, self._puts = self._puts, []
        for future in puts:
            future.result()

    def _take(self, pack: OpenPack, size: int) -> Slot:
        slot = Slot(pack, pack.used, memoryview(pack.buffer)[pack.used : pack.used + size])
        pack.used += size
        pack.pending += 1
        return slot

    def _fresh(self, size: int) -> OpenPack:
        need = size + len(MAGIC)
        if need > self._size:
            return OpenPack(bytearray(need), own=True)
        with self._lock:
            make = self._unmade > 0
            self._unmade -= make
        return OpenPack(bytearray(self._size) if make else self._free.get())

    def _give_back(self, pack: OpenPack) -> None:
        if not pack.own:
            self._free.put(pack.buffer)

    def _close_open(self) -> None:
        pack, self._open = self._open, None
        if pack is None:
            return
        pack.closed = True
        if pack.pending == 0:
            self._ship(pack)

    def _ship(self, pack: OpenPack) -> None:
        self._puts = [p for p in self._puts if not p.done() or p.exception() is not None]
        self._puts.append(self._executor.submit(self._put, pack))

    def _put(self, pack: OpenPack) -> None:
        try:
            for sealed, placed in pack.tail:
                pack.buffer[pack.used : pack.used + len(sealed)] = sealed
                placed(pack, pack.used)
                pack.used += len(sealed)
            pack.buffer[: len(MAGIC)] = MAGIC
            with memoryview(pack.buffer)[: pack.used] as view:
                pack.id = content_hash(view)
                # Taken means that the same bytes are there: a put that worked and was answered with an error.
                with suppress(PreconditionFailedError):
                    self._store.put(names.pack(pack.id), view)
            with self._lock:
                self.bytes_put += pack.used
                self.packs_put += 1
        except BaseException as e:
            self._failure = e
            raise
        finally:
            buffer, pack.buffer = pack.buffer, bytearray()
            if not pack.own:
                self._free.put(buffer)
