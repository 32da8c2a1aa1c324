"""Ledger entries as objects: listed from about the head that was last seen here, read many at a time, each once.

Nothing here is trusted: `Ledger` verifies what it takes.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from tenure.domain.errors import ObjectNotFoundError
from tenure.objectstore.base import ObjectInfo, ObjectStore
from tenure.repository import names

FEW, TOGETHER, READERS = 4, 256, 8
"""From how many entries on they are read at once; how many at a time, and by how many threads."""

LOOK_BACK = 500
"""How far before the head that was last seen a listing begins: a checkpoint is rarely older."""


class HeadMemory(Protocol):
    """Remembers, outside the repository, the last ledger entry this installation has seen."""

    def load(self) -> tuple[int, bytes] | None:
        """Return (number, hash), or None where nothing was seen yet."""
        ...

    def store(self, number: int, entry_hash: bytes) -> None:
        """Remember (number, hash), durably."""
        ...


def numbered(store: ObjectStore, prefix: str = names.LEDGER) -> Iterator[tuple[int, ObjectInfo]]:
    """Yield (number, object) of every ledger entry in order; objects that only pretend to be some are passed over.

    `prefix`: that of a block, for its entries alone.
    """
    for info in store.list(prefix):
        try:
            number = names.ledger_number(info.name)
        except ValueError:
            continue
        yield number, info


class EntryObjects:
    """The entries of one ledger. Belongs to one thread at a time."""

    def __init__(self, store: ObjectStore, memory: HeadMemory) -> None:
        self._store = store
        self._memory = memory
        self._infos: dict[int, ObjectInfo] | None = None
        self._raw: dict[int, bytes] = {}
        self._read_to = (
            0  # what lies before is read in blocks, once `ahead` has told how far it goes for sure
        )

    def newest(self) -> int:
        """Return the highest number there was when this was first asked; 0 for none."""
        return max(self._listed(), default=0)

    def backwards(self) -> Iterator[tuple[int, bytes]]:
        """Yield (number, bytes) of the entries that are there, newest first."""
        for number in range(self.newest(), 0, -1):
            if number not in self._raw and number < self._read_to:
                self._fetch(range(max(number - TOGETHER, 0) + 1, number + 1))
            raw = self._raw.get(number) or self._get(number)
            if raw is not None:
                self._raw[number] = raw
                yield number, raw

    def ahead(self, first: int) -> None:
        """Read the newest entries down to `first` at once: somebody is about to ask for them."""
        newest = self.newest()
        self._read_to = max(first, newest - TOGETHER, 1)
        self._fetch(range(self._read_to, newest + 1))

    def raw(self, number: int) -> bytes:
        """Return an entry.

        Raises:
            ObjectNotFoundError: It is not there.
        """
        return self._raw.get(number) or self._store.get(names.ledger_entry(number))

    def take(self, number: int) -> tuple[bytes, ObjectInfo] | None:
        """Return an entry for the last time, and its object; None where it is not there."""
        infos = self._listed()
        if number not in self._raw and number in infos:
            self._fetch(range(number, number + TOGETHER))
        raw, info = self._raw.pop(number, None) or self._get(number), infos.pop(number, None)
        if raw is None:
            return None
        return raw, info or self._store.stat(names.ledger_entry(number))

    def _listed(self) -> dict[int, ObjectInfo]:
        if self._infos is None:
            self._infos = dict(self._listing())
        return self._infos

    def _listing(self) -> Iterator[tuple[int, ObjectInfo]]:
        """Yield (number, object) of the entries from about the head on that was last seen here; all for a stranger.

        So the requests that opening takes do not grow with the years. A block further is looked at than the entries
        reach: one that was taken away at the end of a block does not hide those behind it.
        """
        seen = self._memory.load()
        last = 0 if seen is None else seen[0] // names.LEDGER_BLOCK
        block = 0 if seen is None else max(seen[0] - LOOK_BACK, 0) // names.LEDGER_BLOCK
        any_seen, found = False, seen is not None
        while found or (seen is not None and block <= last + 1):
            found = False
            for pair in self._block(block):
                any_seen = found = True
                yield pair
            block += 1
        if not any_seen:  # a stranger; or what was seen is gone: then all that is left
            yield from numbered(self._store)

    def _block(self, block: int) -> Iterator[tuple[int, ObjectInfo]]:
        return numbered(self._store, names.ledger_block(block * names.LEDGER_BLOCK))

    def _fetch(self, wanted: Sequence[int]) -> None:
        """Read entries at once: across a network each takes as long as all."""
        listed = self._listed()
        numbers = [n for n in wanted if n not in self._raw and (n in listed or n < min(listed, default=0))]
        if len(numbers) < FEW:
            return
        with ThreadPoolExecutor(READERS, thread_name_prefix="tenure-ledger") as pool:
            for number, raw in zip(numbers, pool.map(self._get, numbers), strict=True):
                if raw is not None:
                    self._raw[number] = raw

    def _get(self, number: int) -> bytes | None:
        try:
            return self._store.get(names.ledger_entry(number))
        except ObjectNotFoundError:
            return None
