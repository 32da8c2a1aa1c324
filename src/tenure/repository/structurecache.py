"""Tree nodes that were read before, kept beside the installation: a snapshot asks the store for new ones only.

One file for each writer, sealed chunks as they lie in packs: ``"TNRS" 01``, then for each its reference (24), its length
(4) and its bytes. Nothing in it is trusted, for each chunk proves itself when it is opened; what is torn or damaged is
read from the store again, and without the file a snapshot only takes longer. A folder of ten million recordings has
nodes of 800 MB.
"""

import fcntl
import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path

from tenure.repository.model import ChunkRef

_MAGIC = b"TNRS\x01"
_RECORD = struct.Struct("<16s8sI")
_LEAST_WASTE = 1 << 20  # bytes that nobody asks for any more, below which the file is left as it is


class StructureCache:
    """Sealed structure chunks by reference. Belongs to one process and one thread while it is open."""

    def __init__(self, path: Path, fd: int) -> None:
        """Take a file that is open and locked."""
        self._path = path
        self._fd = fd
        self._at: dict[ChunkRef, tuple[int, int]] = {}
        self._used = set[ChunkRef]()
        self._end = len(_MAGIC)
        self._scan()

    @classmethod
    def open(cls, path: Path) -> "StructureCache | None":
        """Open a cache, made where it is missing; None where it cannot be used, or another process uses it."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(path, fd)
        except OSError:
            os.close(fd)
            return None

    def __contains__(self, ref: ChunkRef) -> bool:
        """Whether a chunk is here; it is asked for then, as `close` counts."""
        found = ref in self._at
        if found:
            self._used.add(ref)
        return found

    def get(self, ref: ChunkRef) -> bytes | None:
        """Return a chunk's sealed bytes; None where they are not here."""
        found = self._at.get(ref)
        if found is None:
            return None
        self._used.add(ref)
        with suppress(OSError):
            return os.pread(self._fd, found[1], found[0])
        return None

    def add(self, ref: ChunkRef, sealed: bytes | memoryview) -> None:
        """Keep a chunk; where the disk is full it is not kept."""
        self._used.add(ref)
        head = _RECORD.pack(ref.id, ref.incarnation, len(sealed))
        with suppress(OSError):
            if os.pwritev(self._fd, [head, sealed], self._end) == len(head) + len(sealed):
                self._at[ref] = self._end + len(head), len(sealed)
                self._end += len(head) + len(sealed)

    def drop(self, ref: ChunkRef) -> None:
        """Forget a chunk that does not open."""
        self._at.pop(ref, None)

    def close(self, *, tidy: bool = False) -> None:
        """Let go of the file; `tidy`: drop what was not asked for, where that is more than what was."""
        if self._fd < 0:
            return
        with suppress(OSError):
            used = sum(length for ref, (_, length) in self._at.items() if ref in self._used)
            if tidy and self._end - used > max(used, _LEAST_WASTE):
                self._rewrite()
        os.close(self._fd)
        self._fd = -1

    def _scan(self) -> None:
        """Find what is in the file; it ends where a record does not."""
        size = os.fstat(self._fd).st_size
        if size < len(_MAGIC) or os.pread(self._fd, len(_MAGIC), 0) != _MAGIC:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, _MAGIC, 0)
            return
        with mmap.mmap(self._fd, size, access=mmap.ACCESS_READ) as whole:
            at = len(_MAGIC)
            while at + _RECORD.size <= size:
                chunk_id, incarnation, length = _RECORD.unpack_from(whole, at)
                if at + _RECORD.size + length > size:
                    break
                self._at[ChunkRef(chunk_id, incarnation)] = at + _RECORD.size, length
                at += _RECORD.size + length
        self._end = at
        os.ftruncate(self._fd, at)

    def _rewrite(self) -> None:
        beside = self._path.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(_MAGIC)
            for ref, (offset, length) in sorted(self._at.items(), key=lambda item: item[1]):
                if ref in self._used:
                    out.write(_RECORD.pack(ref.id, ref.incarnation, length))
                    out.write(os.pread(self._fd, length, offset))
        beside.replace(self._path)
