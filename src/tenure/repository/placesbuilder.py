"""Makes the index of a cohort (`places`) of its key pages: in slabs, and sorted eight bytes at a time.

At five million chunks a second copy of any of it would cost as much as the keys.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.repository.model import ChunkRef
from tenure.repository.page import Array
from tenure.repository.places import KINDS, REF_BYTES, FewPlaces, ManyPlaces, Place, Places, first_bits

_NO_ROWS = np.zeros(0, np.int64)
_RESOLVED = 1 << 20  # companions that are looked up together
_SLAB = 65_536  # chunks whose values are put together
_MAPPED = 65_536  # bytes of an array from which on it lies in memory of its own
_FEW = 16_384  # chunks of a cohort up to which an object for each is no burden
_BESIDE = np.dtype({"names": ["ref"], "formats": ["S24"], "offsets": [24], "itemsize": 64})  # of `page.ENTRY`


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
        self._parts: list[tuple[Array, Sequence[bytes], Array | None]] = []
        self._count = 0

    def add(self, entries: Array, packs: Sequence[bytes], deks: Array | None) -> None:
        """Take in what one page holds: see `page.ENTRY`; `deks`: uint8, n x 32."""
        self._count += len(entries)
        self._parts.append((entries, packs, deks))
        if self._count > _FEW:
            for part in self._parts:
                self._put(*part)
            self._parts.clear()

    def _put(self, entries: Array, packs: Sequence[bytes], deks: Array | None) -> None:
        if not len(entries):
            return
        beside, which = np.unique(entries.view(_BESIDE)["ref"], return_inverse=True)
        known = len(self._beside) // REF_BYTES
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
        if self._count <= _FEW:
            return FewPlaces({place.ref: place for part in self._parts for place in _each(*part)})
        columns = {name: column.end() for name, column in self._columns.items()}
        first = first_bits(columns["id"].view(np.uint64))
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


def _each(entries: Array, packs: Sequence[bytes], deks: Array | None) -> Iterator[Place]:
    keys = b"" if deks is None else deks.tobytes()
    for i, row in enumerate(entries.tolist()):
        chunk_id, inc, cid, cinc, offset, length, plain, pack, kind, coding = row
        yield Place(
            ref=ChunkRef(chunk_id, inc), companion=ChunkRef(cid, cinc), pack=packs[pack], offset=offset,
            length=length, plain=plain, kind=KINDS[kind], coding=coding, dek=keys[i * 32 : (i + 1) * 32],
        )  # fmt: skip


def _resolved(columns: dict[str, Array], beside: bytes, packs: Sequence[bytes]) -> ManyPlaces:
    """Return places whose companions are known by number: they are chunks of the same cohort, described once."""
    refs, numbers = np.frombuffer(beside, "S24"), columns["beside"]
    found = ManyPlaces(columns, b"", packs)
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
        # "clip" checks nothing, and so needs no second copy.
        return np.take(column, order, out=out, mode="clip")
    parts = column.view(np.uint64).reshape(len(column), column.dtype.itemsize // 8)
    for part in range(parts.shape[1]):
        parts[: len(order), part] = parts[order, part]
    return column[: len(order)]
