"""Where the chunks of one cohort lie and what opens them: a column for each field, some 80 bytes a chunk.

A month of calls is millions of chunks, and an object for each would take gigabytes. Values are made when asked for.
"""

from array import array
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, ValuesView
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tenure.repository.model import ChunkKind, ChunkRef
from tenure.repository.page import Array

_ID_BYTES = 16
_REF_BYTES = 24
_BUCKET = 32  # chunks looked through for one
_RESOLVED = 1 << 20  # companions that are looked up together
_SLAB = 65_536  # chunks whose values are put together
_MAPPED = 65_536  # bytes of an array from which on it lies in memory of its own
_SLICE = 8192  # chunks that are made into objects at a time
_NO_ROWS = np.zeros(0, np.int64)
_KINDS = {int(kind): kind for kind in ChunkKind}  # what `ChunkKind(number)` says, in a tenth of the time
_BESIDE = np.dtype({"names": ["ref"], "formats": ["S24"], "offsets": [24], "itemsize": 64})  # of `page.ENTRY`


class Place(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a chunk lies and what opens it."""

    ref: ChunkRef
    companion: ChunkRef
    pack: bytes
    offset: int
    length: int
    plain: int
    kind: ChunkKind
    coding: int
    dek: bytes

    def __repr__(self) -> str:
        """Return it without its key."""
        return f"Place({self.kind.name} {self.ref.id.hex()}, pack {self.pack.hex()}, bytes {self.offset}+{self.length})"


class Places(Mapping[ChunkRef, Place]):
    """The chunks of a cohort, in the order of their ids. Any thread may read.

    Ids are keyed hashes and so spread evenly: their first bits say where in the list to look.
    """

    def __init__(
        self, columns: dict[str, Array], others: bytes, packs: Sequence[bytes], whole: "Places | None" = None
    ) -> None:
        """Take columns in the order of ids.

        The column `beside` numbers the chunks of `whole`, by default these; from their count on, references in
        `others`.
        """
        self._ids = columns.pop("id").tobytes()
        self._columns = columns
        self._whole = whole or self
        self._incarnations = memoryview(columns["inc"].data)
        self._others = others
        self._packs = packs
        bits = (len(columns["inc"]) // _BUCKET).bit_length()
        self._shift = 64 - bits
        first = _first_bits(np.frombuffer(self._ids, np.uint64))
        edges = (
            np.arange(1 << bits, dtype=np.uint64) << np.uint64(self._shift)
            if bits
            else np.zeros(1, np.uint64)
        )
        starts = [*np.searchsorted(first, edges).tolist(), len(first)]
        self._starts = array("I", starts)

    def __len__(self) -> int:
        """Return how many chunks there are."""
        return len(self._incarnations)

    def __contains__(self, ref: object) -> bool:
        """Whether a chunk is among them."""
        return isinstance(ref, ChunkRef) and self._row(ref) >= 0

    def __getitem__(self, ref: ChunkRef) -> Place:
        """Return where a chunk lies.

        Raises:
            KeyError: It is not among them.
        """
        row = self._row(ref)
        if row < 0:
            raise KeyError(ref)
        return next(self._made(np.array([row])))

    def __iter__(self) -> Iterator[ChunkRef]:
        """Yield every chunk's reference."""
        return (place.ref for place in self.all())

    def values(self) -> ValuesView[Place]:
        """Return where all chunks lie; each is made as it is asked for."""
        return _Values(self)

    def of_kinds(self, kinds: Collection[ChunkKind]) -> Iterator[Place]:
        """Yield the chunks of some kinds."""
        rows = np.flatnonzero(np.isin(self._columns["kind"], list(kinds)))
        return (
            place
            for start in range(0, len(rows), _SLICE)
            for place in self._made(rows[start : start + _SLICE])
        )

    def part(self, refs: Iterable[ChunkRef]) -> "Places":
        """Return some of the chunks.

        Raises:
            KeyError: One is not among them.
        """
        found = {ref: self._row(ref) for ref in refs}
        missing = next((ref for ref, row in found.items() if row < 0), None)
        if missing is not None:
            raise KeyError(missing)
        rows = np.sort(np.fromiter(found.values(), np.intp, len(found)))
        ids = np.frombuffer(self._ids, "V16")
        columns = {"id": ids[rows]} | {name: column[rows] for name, column in self._columns.items()}
        return Places(columns, self._others, self._packs, self._whole)

    def name_others(self, others: bytes) -> None:
        """Name the references that are not among the chunks, n x 24 bytes."""
        self._others = others

    @property
    def kinds(self) -> set[ChunkKind]:
        """Return the kinds that there are."""
        return {_KINDS[number] for number in np.unique(self._columns["kind"]).tolist()}

    @property
    def stored(self) -> int:
        """Return the chunks' sealed bytes together."""
        return int(self._columns["length"].sum(dtype=np.int64))

    def ref(self, number: int) -> ChunkRef:
        """Return a chunk's reference, or what else `beside` numbers."""
        if number < len(self):
            raw = self._ids[number * _ID_BYTES : (number + 1) * _ID_BYTES]
            return ChunkRef(raw, self._incarnations[number].to_bytes(8, "little"))
        at = (number - len(self)) * _REF_BYTES
        return ChunkRef(self._others[at : at + _ID_BYTES], self._others[at + _ID_BYTES : at + _REF_BYTES])

    def rows_of(self, refs: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Return the numbers of chunks by references ("S24", n), -1 for each that is not among them."""
        raw = np.ascontiguousarray(refs).view(np.uint64).reshape(-1, 3)
        ids = np.frombuffer(self._ids, np.uint64).reshape(-1, 2)
        if not len(ids):
            return np.full(len(refs), -1)
        at = np.minimum(np.searchsorted(_first_bits(ids.ravel()), raw[:, 0].byteswap()), len(ids) - 1)
        same = (ids[at] == raw[:, :2]).all(axis=1) & (self._columns["inc"][at] == raw[:, 2])
        for other in np.flatnonzero(~same).tolist():  # not there, or behind one that begins alike
            at[other] = self._row(ChunkRef(raw[other, :2].tobytes(), raw[other, 2].tobytes()))
        return at

    def _row(self, ref: ChunkRef) -> int:
        """Return a chunk's number, -1 where it is not among them."""
        if len(ref.id) != _ID_BYTES:
            return -1
        bucket = int.from_bytes(ref.id[:8]) >> self._shift
        at, end = self._starts[bucket] * _ID_BYTES, self._starts[bucket + 1] * _ID_BYTES
        incarnation = int.from_bytes(ref.incarnation, "little")
        while (at := self._ids.find(ref.id, at, end)) >= 0:
            row, rest = divmod(at, _ID_BYTES)
            if not rest and self._incarnations[row] == incarnation:
                return row
            at += 1
        return -1

    def all(self) -> Iterator[Place]:
        """Yield where all chunks lie."""
        for start in range(0, len(self), _SLICE):
            yield from self._made(np.arange(start, min(start + _SLICE, len(self))))

    def _made(self, rows: NDArray[np.intp]) -> Iterator[Place]:
        """Yield what stands in some rows."""
        columns = self._columns
        deks = columns["dek"][rows].tobytes() if "dek" in columns else b""
        names = ("inc", "beside", "pack", "offset", "length", "plain", "kind", "coding")
        fields = zip(rows.tolist(), *(columns[name][rows].tolist() for name in names), strict=True)
        for i, (row, inc, beside, pack, offset, length, plain, kind, coding) in enumerate(fields):
            yield Place(
                ref=ChunkRef(self._ids[row * _ID_BYTES : (row + 1) * _ID_BYTES], inc.to_bytes(8, "little")),
                companion=self._whole.ref(beside), pack=self._packs[pack], offset=offset,
                length=length, plain=plain, kind=_KINDS[kind], coding=coding, dek=deks[i * 32 : (i + 1) * 32],
            )  # fmt: skip


class _Values(ValuesView[Place]):
    def __init__(self, places: Places) -> None:
        super().__init__(places)
        self._places = places

    def __iter__(self) -> Iterator[Place]:
        return self._places.all()


class _Column:
    """Values that come in parts, in slabs that the system has back as soon as they are let go."""

    def __init__(self, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self._slabs: deque[Array] = deque()
        self._used = _SLAB  # of the last slab

    def add(self, values: Array) -> None:
        while len(values):
            if self._used == _SLAB:
                self._slabs.append(_mapped(_SLAB, self._dtype))
                self._used = 0
            part = values[: _SLAB - self._used]
            self._slabs[-1][self._used : self._used + len(part)] = part
            self._used += len(part)
            values = values[len(part) :]

    def end(self) -> Array:
        """Return all values; no more may be added then."""
        count = max(len(self._slabs) - 1, 0) * _SLAB + (self._used if self._slabs else 0)
        whole = _mapped(count, self._dtype)
        for start in range(0, count, _SLAB):
            slab = self._slabs.popleft()
            whole[start : start + _SLAB] = slab[: count - start]
        return whole


def _mapped(count: int, dtype: np.dtype[Any]) -> Array:
    """Return an array in memory of its own, which goes back with it: what `malloc` gets back, it may keep."""
    size = count * dtype.itemsize
    if size < _MAPPED:
        return np.zeros(count, dtype)
    return np.frombuffer(mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS), dtype)


class PlacesBuilder:
    """Takes in key pages and makes `Places` of them; of a chunk that two pages hold, the last one counts."""

    def __init__(self, *, keyed: bool) -> None:
        """Begin with nothing; `keyed`: DEKs come along."""
        widths = {"id": "V16", "inc": "u8", "beside": "u4", "pack": "u4", "offset": "u4", "length": "u4"}
        widths |= {"plain": "u4", "kind": "u1", "coding": "u1"} | ({"dek": "V32"} if keyed else {})
        self._columns = {name: _Column(dtype) for name, dtype in widths.items()}
        self._beside = bytearray()
        self._packs: dict[bytes, int] = {}

    def add(self, entries: Array, packs: Sequence[bytes], deks: Array | None) -> None:
        """Take in what one page holds: see `page.ENTRY`; `deks`: uint8, n x 32."""
        if not len(entries):
            return
        beside, which = np.unique(entries.view(_BESIDE)["ref"], return_inverse=True)
        known = len(self._beside) // _REF_BYTES
        self._beside += beside.tobytes()
        numbers = np.array([self._packs.setdefault(pack, len(self._packs)) for pack in packs], np.uint32)
        columns: dict[str, Array] = {
            name: entries[name] for name in ("id", "offset", "length", "plain", "kind", "coding")
        }
        columns |= {"beside": which + known, "pack": numbers[entries["pack"]]}
        columns["inc"] = np.ascontiguousarray(entries["inc"]).view("<u8")
        if deks is not None:
            columns["dek"] = np.ascontiguousarray(deks).view("V32").ravel()
        for name, column in self._columns.items():
            column.add(columns[name])

    def end(self) -> Places:
        """Return what was taken in."""
        columns = {name: column.end() for name, column in self._columns.items()}
        first = _first_bits(columns["id"].view(np.uint64))
        order = np.argsort(first, kind="stable")
        first = first[order]
        again = np.flatnonzero(first[1:] == first[:-1]) + 1
        del first
        if len(again):
            order = np.delete(order, _overruled(columns, order, again))
        for name in list(columns):
            columns[name] = _ordered(columns[name], order)
        del order
        return _resolved(columns, bytes(self._beside), list(self._packs))


def _resolved(columns: dict[str, Array], beside: bytes, packs: Sequence[bytes]) -> Places:
    """Return places whose companions are known by number: they are chunks of the same cohort, described once."""
    refs, numbers = np.frombuffer(beside, "S24"), columns["beside"]
    found = Places(columns, b"", packs)
    rows = np.concatenate(
        [found.rows_of(refs[at : at + _RESOLVED]) for at in range(0, len(refs), _RESOLVED)] or [_NO_ROWS]
    )
    missing = np.flatnonzero(rows < 0)
    others, which = np.unique(refs[missing], return_inverse=True)
    rows[missing] = which + len(found)
    rows = rows.astype(np.uint32)
    for at in range(0, len(numbers), _SLAB):
        numbers[at : at + _SLAB] = rows[numbers[at : at + _SLAB]]
    found.name_others(others.tobytes())
    return found


def _first_bits(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the first 64 bits of ids, as numbers in the order of the ids."""
    return ids[::2].byteswap()


def _overruled(columns: Mapping[str, Array], order: NDArray[np.intp], again: NDArray[np.intp]) -> list[int]:
    """Return which places in `order` hold a chunk that a later one holds too; `again`: those that begin as their neighbour."""
    near = np.union1d(again, again - 1)
    rows = order[near]
    keys = zip(columns["id"][rows].tolist(), columns["inc"][rows].tolist(), strict=True)
    last: dict[tuple[bytes, int], int] = {}
    overruled = []
    for at, key in zip(near.tolist(), keys, strict=True):
        if key in last:
            overruled.append(last[key])
        last[key] = at
    return overruled


def _ordered(column: Array, order: NDArray[np.intp]) -> Array:
    """Return a column in another order, put so eight bytes at a time: a second copy would cost as much as the keys."""
    if column.dtype.itemsize <= 8:
        out = _mapped(len(order), column.dtype)
        return np.take(
            column, order, out=out, mode="clip"
        )  # which checks nothing, and so needs no second copy
    parts = column.view(np.uint64).reshape(len(column), column.dtype.itemsize // 8)
    for part in range(parts.shape[1]):
        parts[: len(order), part] = parts[order, part]
    return column[: len(order)]
