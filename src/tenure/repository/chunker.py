"""Routes the rows of a table to their cohorts, and cuts each cohort's stream into chunks.

Where to cut is decided by a keyed hash of record keys, so an edit moves no boundary. With b *cut bits*, a chunk has
2^b rows on average: a row begins a new chunk where the lowest b bits of its mixed identity are zero and the chunk
has at least 2^b / 4 rows; a chunk that reaches 2 * 2^b rows is cut before the row with the smallest mixed identity
among those that could have begun one. Rows are counted, not bytes, so changing a row's other cells moves
nothing. Two cuts do depend on bytes and cost dedup only, never correctness, because readers know no boundaries:
a chunk that would exceed four times the target (rows far longer than the average), and buffers over the budget.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.repository import rows
from tenure.repository.rows import Bytes, Offsets, Words
from tenure.sources.base import RowBatch

MIB = 1 << 20
MOST_BITS = 20
_CEILING = 4  # times the target, in bytes
_LONGEST = 2  # times the average, in rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What goes along with n rows: `identities` (n x 16), row `hashes` (n x 2), `subjects` hashes by kind (n)."""

    identities: Bytes
    hashes: Words
    subjects: Mapping[str, Words]

    def take(self, order: NDArray[np.integer] | slice) -> "Carried":
        """Return some of them."""
        return Carried(
            identities=self.identities[order],
            hashes=self.hashes[order],
            subjects={kind: values[order] for kind, values in self.subjects.items()},
        )

    def copy(self) -> "Carried":
        """Return a copy in memory of its own."""
        return Carried(
            identities=self.identities.copy(),
            hashes=self.hashes.copy(),
            subjects={kind: values.copy() for kind, values in self.subjects.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A finished chunk: rows of one cohort, in the order they came."""

    cohort: int
    batch: RowBatch
    carried: Carried


@dataclass(slots=True)
class _Slice:
    """Some rows of one cohort that lie together. `mixed` decides the cuts."""

    text: memoryview
    offsets: Offsets
    mixed: Words
    carried: Carried

    def part(self, start: int, stop: int) -> "_Slice":
        offsets = self.offsets[start : stop + 1]
        return _Slice(
            self.text[int(offsets[0] - self.offsets[0]) : int(offsets[-1] - self.offsets[0])],
            offsets,
            self.mixed[start:stop],
            self.carried.take(slice(start, stop)),
        )

    def own(self) -> "_Slice":
        """Return a copy that keeps nothing else in memory."""
        return _Slice(
            memoryview(bytes(self.text)), self.offsets.copy(), self.mixed.copy(), self.carried.copy()
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(slots=True)
class _Buffer:
    """A cohort's rows since its last cut. `bits` is None until there is enough to measure; `held`: cut nothing yet."""

    target: int
    bits: int | None
    held: bool = False
    slices: list[_Slice] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    @property
    def memory(self) -> int:
        """Bytes held: text, and about 64 a row for what is carried."""
        return self.bytes + 64 * self.rows

    def add(self, piece: _Slice) -> None:
        """Take a copy: a part of a batch, or of a chunk, would keep the whole of it in memory until it is cut."""
        if len(piece):
            self.slices.append(piece.own())
            self.rows += len(piece)
            self.bytes += len(piece.text)

    def empty(self) -> _Slice:
        """Return everything as one, and begin anew."""
        one = self.slices[0] if len(self.slices) == 1 else _join(self.slices)
        self.slices, self.rows, self.bytes = [], 0, 0
        return one


class CohortChunker:
    """Cuts chunks for any number of cohorts at once, under one budget of memory.

    Cohorts are numbers that the caller hands out, each announced by `open` before its first row. Over the budget,
    the largest buffers are cut where they are. That is allowed: a reader takes chunks of any size, and the next
    natural cut brings the boundaries back to where they always were; it only costs dedup of two chunks.
    """

    def __init__(
        self,
        target_bytes: int,
        open_target_bytes: int = 64 << 10,
        budget_bytes: int = 64 * MIB,
        *,
        cut_key: int,
    ) -> None:
        """Begin with no cohort.

        Args:
            target_bytes: Mean size of a chunk.
            open_target_bytes: The same, for cohorts that are still open.
            budget_bytes: How much all buffers together may hold.
            cut_key: 64 bits, secret: whoever knows it can tell keys from sizes.
        """
        self._targets = (target_bytes, open_target_bytes)
        self._budget = budget_bytes
        self._cut_key = cut_key
        self._buffers: dict[int, _Buffer] = {}

    def open(self, cohort: int, *, is_open: bool, bits: int | None = None, held: bool = False) -> None:
        """Announce a cohort.

        Args:
            cohort: Its number.
            is_open: Whether it is of those whose records have no starting point yet.
            bits: Cut bits of its last base, so that boundaries stay; None: measure the rows that come.
            held: Buffer without cutting until `release`.
        """
        self._buffers[cohort] = _Buffer(self._targets[1 if is_open else 0], bits, held)

    def bits(self, cohort: int) -> int:
        """Return the cut bits in use, to be kept with the tree; 0 where no row came yet."""
        return self._buffers[cohort].bits or 0

    def is_held(self, cohort: int) -> bool:
        """Whether `release` has not been called, nor memory forced it."""
        return self._buffers[cohort].held

    def release(self, cohort: int) -> Iterator[Piece]:
        """Let a held cohort go; yields what can be cut of it."""
        buffer = self._buffers[cohort]
        if buffer.held:
            buffer.held = False
            if buffer.rows:
                yield from self._cut(cohort, buffer, buffer.empty())

    def discard(self, cohort: int) -> None:
        """Drop what a cohort has buffered."""
        buffer = self._buffers[cohort]
        if buffer.rows:
            buffer.empty()

    def feed(self, batch: RowBatch, cohorts: NDArray[np.int32], carried: Carried) -> Iterator[Piece]:
        """Take rows in key order and yield the chunks that are finished by them.

        Args:
            batch: n rows.
            cohorts: The cohort of each (n).
            carried: What goes along with them.
        """
        if not len(batch):
            return
        mixed = rows.mix(carried.identities, self._cut_key)
        for cohort, which in groups(cohorts):
            own = rows.take(batch, which)
            part = _Slice(memoryview(own.text), own.offsets, mixed[which], carried.take(which))
            yield from self._add(cohort, part)
        yield from self._within_budget()

    def finish(self) -> Iterator[Piece]:
        """Yield what is left, held cohorts included."""
        for cohort, buffer in self._buffers.items():
            yield from self.release(cohort)
            if buffer.rows and buffer.bits is None:
                yield from self._measured(cohort, buffer)
            if buffer.rows:
                yield _piece(cohort, buffer.empty())

    def _add(self, cohort: int, piece: _Slice) -> Iterator[Piece]:
        buffer = self._buffers[cohort]
        if buffer.held:
            buffer.add(piece)
        else:
            yield from self._cut(cohort, buffer, piece)

    def _cut(self, cohort: int, buffer: _Buffer, piece: _Slice) -> Iterator[Piece]:
        """Append rows to a buffer, cutting wherever it is due."""
        if buffer.bits is None:
            buffer.add(piece)
            if buffer.bytes >= buffer.target // 4:
                yield from self._measured(cohort, buffer)
            return
        natural = np.flatnonzero((piece.mixed & np.uint64((1 << buffer.bits) - 1)) == 0)
        done = 0
        while done < len(piece):
            place, full = _next_cut(buffer, piece, natural, done)
            buffer.add(piece.part(done, place))
            done = place
            if full:
                chunk, least = buffer.empty(), _least(buffer.bits)
                best = least + int(np.argmin(chunk.mixed[least:]))
                yield _piece(cohort, chunk.part(0, best))
                buffer.add(chunk.part(best, len(chunk)))
            elif place < len(piece):
                yield _piece(cohort, buffer.empty())

    def _measured(self, cohort: int, buffer: _Buffer) -> Iterator[Piece]:
        buffer.bits = cut_bits(buffer.target, buffer.bytes / buffer.rows)
        yield from self._cut(cohort, buffer, buffer.empty())

    def _within_budget(self) -> Iterator[Piece]:
        """Cut the largest buffers early until half of the budget is free again."""
        held = sum(buffer.memory for buffer in self._buffers.values())
        if held <= self._budget:
            return
        for cohort, buffer in sorted(self._buffers.items(), key=lambda item: -item[1].memory):
            if held <= self._budget // 2:
                return
            held -= buffer.memory
            yield from self.release(cohort)
            if buffer.rows:
                yield _piece(cohort, buffer.empty())


def cut_bits(target: int, mean_row: float) -> int:
    """Return the cut bits that give chunks of about `target` bytes from rows of `mean_row` bytes."""
    return min(MOST_BITS, max(0, round(math.log2(max(1.0, target / max(1.0, mean_row))))))


def _least(bits: int) -> int:
    return max(1, (1 << bits) // 4)


def _next_cut(buffer: _Buffer, piece: _Slice, natural: NDArray[np.intp], done: int) -> tuple[int, bool]:
    """Return how many rows of `piece` go into the buffer before anything is decided, and whether it is full then.

    Not full and short of the piece's end: the buffer is to be cut there.
    """
    bits = buffer.bits or 0
    after = int(np.searchsorted(natural, done + max(_least(bits) - buffer.rows, 0)))
    longest = done + (_LONGEST << bits) - buffer.rows
    room = _CEILING * buffer.target - buffer.bytes + int(piece.offsets[done])
    fits = int(np.searchsorted(piece.offsets, room, side="right")) - 1
    # A row longer than any chunk is a chunk of its own.
    fits = max(fits, done if buffer.rows else done + 1)
    place = min(int(natural[after]) if after < len(natural) else longest, longest, fits, len(piece))
    return place, place == longest


def groups(numbers: NDArray[np.integer[Any]]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each distinct number and the places where it stands, in order."""
    if not len(numbers):
        return
    narrow = numbers.astype(np.uint16) if int(numbers.max()) < 1 << 16 else numbers  # 16 bits: a radix sort
    order = np.argsort(narrow, kind="stable")
    bounds = np.flatnonzero(np.diff(numbers[order])) + 1
    for places in np.split(order, bounds):
        yield int(numbers[places[0]]), places


def _join(slices: list[_Slice]) -> _Slice:
    carried = [s.carried for s in slices]
    joined = Carried(
        identities=np.concatenate([c.identities for c in carried]),
        hashes=np.concatenate([c.hashes for c in carried]),
        subjects={k: np.concatenate([c.subjects[k] for c in carried]) for k in carried[0].subjects},
    )
    text = memoryview(b"".join(s.text for s in slices))
    return _Slice(
        text,
        rows.joined_offsets(s.offsets for s in slices),
        np.concatenate([s.mixed for s in slices]),
        joined,
    )


def _piece(cohort: int, chunk: _Slice) -> Piece:
    batch = RowBatch(text=chunk.text, offsets=chunk.offsets - chunk.offsets[0])
    return Piece(cohort=cohort, batch=batch, carried=chunk.carried)
