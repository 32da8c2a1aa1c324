"""Takes plaintext chunks, stores the unknown ones, and turns them into key pages.

Ids are made in the caller's thread, so that two equal chunks of one session are stored once; compressing and
sealing happen in the executor, straight into a pack. What is known of a cohort, its session's `Basis` says.
"""

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from tenure.crypto.aead import KEY_BYTES, OVERHEAD, seal
from tenure.crypto.hashing import random_bytes
from tenure.domain.errors import IncompleteSnapshotError
from tenure.repository import chunks, codings
from tenure.repository.model import NO_CHUNK, ChunkKind, ChunkRef, Cohort
from tenure.repository.packs import OpenPack, Packer, group_of
from tenure.repository.page import ENTRY, GONE, Array, PagePlain, pages_of
from tenure.repository.secrets import STRUCTURE, SourceKeys

Buffer = bytes | bytearray | memoryview


@dataclass(slots=True, eq=False)
class Stored:
    """A chunk this session stores. `pack.place(offset)` is final once the packer was flushed."""

    ref: ChunkRef
    kind: ChunkKind
    plain: int
    companion: ChunkRef = NO_CHUNK
    group: Hashable = None
    coding: int = codings.RAW
    length: int = 0
    offset: int = 0
    pack: OpenPack | None = None
    dek: bytes = field(default=b"", repr=False)


class ChunkWriter:
    """The chunks of one session (implements `model.ChunkSink`). `put` belongs to one thread; see `put_file`."""

    def __init__(
        self,
        *,
        keys: SourceKeys,
        repository: bytes,
        packer: Packer,
        executor: Executor,
        in_flight: int = 8,
        known: Callable[[Cohort, bytes], dict[bytes, tuple[ChunkRef, ChunkRef]]] | None = None,
    ) -> None:
        """Begin with nothing. `known`: returns, by id, what is stored of a cohort (and its tag) and may be named again."""
        self._keys = keys
        self._repository = repository
        self._packer = packer
        self._executor = executor
        self._room = threading.BoundedSemaphore(in_flight)
        self._known_of = known
        self._known: dict[bytes, dict[bytes, tuple[ChunkRef, ChunkRef]]] = {}
        self._new: dict[Cohort, list[Stored]] = {}
        self._tags: dict[Cohort, bytes] = {}
        self._jobs: list[Future[None]] = []
        # Reentrant: `_begin` is called with it held and without.
        self._lock = threading.RLock()
        self.stored_chunks = 0
        self.stored_plain = 0
        self.known_chunks = 0

    @property
    def bytes_put(self) -> int:
        """Return how many bytes of packs were put so far."""
        return self._packer.bytes_put

    def tag(self, cohort: Cohort) -> bytes:
        """Return the cohort's tag."""
        found = self._tags.get(cohort)
        if found is None:
            found = self._tags[cohort] = self._keys.tag(cohort)
        return found

    def put(
        self, cohort: Cohort, kind: ChunkKind, plain: Buffer, companion: Callable[[], bytes] | None
    ) -> tuple[ChunkRef, ChunkRef | None]:
        """Store a chunk of rows, deletes or structure unless its cohort has it (see `ChunkSink.put`)."""
        tag = self.tag(cohort)
        chunk_id = self._keys.row_id(tag, kind, plain)
        known = self.known(cohort).get(chunk_id)
        if known is not None:
            self.known_chunks += 1
            return known[0], None if known[1] == NO_CHUNK else known[1]
        beside = self.put_companion(cohort, companion()) if companion is not None else NO_CHUNK
        stored = self._begin(cohort, chunk_id, kind, len(plain), beside)
        self._submit(stored, tag, bytes(plain))
        return stored.ref, None if beside == NO_CHUNK else beside

    def put_companion(self, cohort: Cohort, plain: bytes) -> ChunkRef:
        """Store a companion; it gathers at the end of a pack."""
        tag = self.tag(cohort)
        stored = self._begin(
            cohort,
            self._keys.row_id(tag, ChunkKind.COMPANION, plain),
            ChunkKind.COMPANION,
            len(plain),
            NO_CHUNK,
        )
        stored.coding, payload = codings.encode_text(plain)
        codings.check(stored.coding, payload, plain)
        stored.dek = random_bytes(KEY_BYTES)
        sealed = seal(stored.dek, payload, aad=self._aad(stored, tag))
        stored.length = len(sealed)

        def placed(pack: OpenPack, offset: int) -> None:
            stored.pack, stored.offset = pack, offset

        self._packer.add_tail(sealed, placed, stored.group)
        return stored.ref

    def put_media(
        self,
        cohort: Cohort,
        record: bytes,
        position: int,
        plain: Buffer,
        known: Mapping[bytes, ChunkRef] | None = None,
    ) -> tuple[Stored | None, ChunkRef]:
        """Seal one piece of a recording, in the calling thread. Thread-safe.

        Returns what is stored, or None where that is among `known`, and the reference. The companion comes later, by
        `attach`: one companion describes many recordings.
        """
        tag = self.tag(cohort)
        chunk_id = self._keys.media_id(tag, record, position, plain)
        found = None if known is None else known.get(chunk_id)
        with self._lock:
            if found is not None:
                self.known_chunks += 1
                return None, found
            stored = self._begin(cohort, chunk_id, ChunkKind.MEDIA, len(plain), NO_CHUNK)
        self._seal(stored, tag, plain)
        return stored, stored.ref

    def attach(self, stored: Iterable[Stored], companion: ChunkRef) -> None:
        """Name the companion of chunks already sealed."""
        for one in stored:
            one.companion = companion

    def forget_unfinished(self, cohort: Cohort, stored: Iterable[Stored]) -> None:
        """Drop the chunks of a recording that changed while it was read: nothing of it is half-stored."""
        dropped = {id(one) for one in stored}
        with self._lock:
            self._new[cohort] = [one for one in self._new[cohort] if id(one) not in dropped]

    def known(self, cohort: Cohort) -> dict[bytes, tuple[ChunkRef, ChunkRef]]:
        """Return chunk id -> (reference, companion) of a cohort, of what was stored before and by this session."""
        tag = self.tag(cohort)
        with self._lock:
            found = self._known.get(tag)
            if found is None:
                found = self._known[tag] = {} if self._known_of is None else self._known_of(cohort, tag)
            return found

    def end(self) -> list[PagePlain]:
        """Wait for every chunk, put the last pack, and return the new pages, unsealed.

        Raises:
            ObjectStoreError: A pack could not be put.
        """
        for job in self._jobs:
            job.result()
        self._packer.flush()
        pages: list[PagePlain] = []
        for cohort, stored in self._new.items():
            if stored:
                pages += pages_of(cohort, *_columns(stored))
        return pages

    def _begin(
        self, cohort: Cohort, chunk_id: bytes, kind: ChunkKind, plain: int, companion: ChunkRef
    ) -> Stored:
        stored = Stored(ChunkRef(chunk_id, random_bytes(8)), kind, plain, companion, group_of(cohort))
        with self._lock:
            self._new.setdefault(cohort, []).append(stored)
            if kind not in {ChunkKind.MEDIA, ChunkKind.COMPANION}:  # which nobody looks for by id
                self.known(cohort)[chunk_id] = (stored.ref, companion)
            self.stored_chunks += 1
            self.stored_plain += plain
        return stored

    def _submit(self, stored: Stored, tag: bytes, plain: bytes) -> None:
        self._jobs = [j for j in self._jobs if not j.done() or j.exception() is not None]
        self._room.acquire()

        def work() -> None:
            try:
                self._seal(stored, tag, plain)
            finally:
                self._room.release()

        self._jobs.append(self._executor.submit(work))

    def _seal(self, stored: Stored, tag: bytes, plain: Buffer) -> None:
        encode = codings.encode_media if stored.kind is ChunkKind.MEDIA else codings.encode_text
        stored.coding, payload = encode(plain)
        aad = self._aad(stored, tag)
        slot = self._packer.reserve(len(payload) + OVERHEAD, stored.group)
        try:
            if stored.kind is ChunkKind.STRUCTURE:
                # Writers must read these again, so their keys come from the index key and from no page.
                codings.check(stored.coding, payload, plain)
                slot.view[:] = seal(self._keys.structure_key(stored.ref), payload, aad=aad)
                stored.dek = bytes(KEY_BYTES)
            else:
                stored.dek = chunks.seal_chunk(payload, slot.view, coding=stored.coding, plain=plain, aad=aad)
            stored.pack, stored.offset, stored.length = slot.pack, slot.offset, len(slot.view)
        finally:
            self._packer.release(slot)

    def _aad(self, stored: Stored, tag: bytes) -> bytes:
        return chunks.bound_to(
            self._repository, tag, stored.ref, kind=stored.kind, coding=stored.coding, plain=stored.plain
        )

    def put_structure(self, plain: bytes) -> ChunkRef:
        """Store something that is not personal, readable by writers: a tree node, a root, a schema."""
        return self.put(STRUCTURE, ChunkKind.STRUCTURE, plain, None)[0]


def read_exactly(stream: BinaryIO, view: memoryview, *, what: str) -> None:
    """Fill `view` from `stream`.

    Raises:
        IncompleteSnapshotError: The stream ends before.
    """
    got = 0
    while got < len(view):
        count = stream.readinto(view[got:])  # type: ignore[attr-defined]
        if not count:
            raise IncompleteSnapshotError(f"{what} became shorter while it was read")
        got += count


def _columns(stored: list[Stored]) -> tuple[Array, Array, Array, list[bytes]]:
    packs: dict[bytes, int] = {}
    entries = np.zeros(len(stored), ENTRY)
    for i, one in enumerate(stored):
        pack_id, offset = one.pack.place(one.offset) if one.pack is not None else (b"", 0)
        if not pack_id:
            raise RuntimeError("a chunk was never put")
        place = packs.setdefault(pack_id, len(packs))
        companion = one.companion
        entries[i] = (
            one.ref.id, one.ref.incarnation, companion.id, companion.incarnation,
            offset, one.length, one.plain, place, one.kind, one.coding,
        )  # fmt: skip
    deks = np.frombuffer(b"".join(one.dek for one in stored), np.uint8).reshape(-1, KEY_BYTES)
    return entries, deks, np.zeros(0, GONE), list(packs)
