"""Where the chunks of one cohort lie and what opens them: a column for each field, some 80 bytes a chunk.

A month of calls is millions of chunks, and an object for each would take gigabytes. Values are made when asked for.
"""

from abc import abstractmethod
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, ValuesView

import msgspec
import numpy as np
from numpy.typing import NDArray

from tenure.repository.model import ChunkKind, ChunkRef
from tenure.repository.page import Array

_ID_BYTES = 16
REF_BYTES = 24
_OBJECT = 640  # bytes of a `Place` with its references and key, in a dictionary
_BUCKET = 32  # chunks looked through for one
_SLICE = 8192  # chunks that are made into objects at a time
KINDS = {int(kind): kind for kind in ChunkKind}  # what `ChunkKind(number)` says, in a tenth of the time


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
    """The chunks of a cohort. Any thread may read."""

    @abstractmethod
    def of_kinds(self, kinds: Collection[ChunkKind]) -> Iterator[Place]:
        """Yield the chunks of some kinds."""

    @abstractmethod
    def part(self, refs: Iterable[ChunkRef]) -> "Places":
        """Return some of the chunks.

        Raises:
            KeyError: One is not among them.
        """

    @property
    @abstractmethod
    def kinds(self) -> set[ChunkKind]:
        """Return the kinds that there are."""

    @property
    @abstractmethod
    def stored(self) -> int:
        """Return the chunks' sealed bytes together."""

    @property
    @abstractmethod
    def held(self) -> int:
        """Return how much memory this takes, about, in bytes."""


class FewPlaces(Places):
    """An object for each chunk: erasures ask for the same ones again and again, in cohort after cohort."""

    def __init__(self, places: dict[ChunkRef, Place]) -> None:
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, ref: object) -> bool:
        return ref in self._places

    def __getitem__(self, ref: ChunkRef) -> Place:
        return self._places[ref]

    def __iter__(self) -> Iterator[ChunkRef]:
        return iter(self._places)

    def values(self) -> ValuesView[Place]:
        """Return where all chunks lie."""
        return self._places.values()

    def of_kinds(self, kinds: Collection[ChunkKind]) -> Iterator[Place]:
        """See `Places.of_kinds`."""
        return (place for place in self._places.values() if place.kind in kinds)

    def part(self, refs: Iterable[ChunkRef]) -> Places:
        """See `Places.part`."""
        return FewPlaces({ref: self._places[ref] for ref in refs})

    @property
    def kinds(self) -> set[ChunkKind]:
        """See `Places.kinds`."""
        return {place.kind for place in self._places.values()}

    @property
    def stored(self) -> int:
        """See `Places.stored`."""
        return sum(place.length for place in self._places.values())

    @property
    def held(self) -> int:
        """See `Places.held`."""
        return _OBJECT * len(self._places)


class ManyPlaces(Places):
    """Columns, in the order of ids.

    Ids are keyed hashes and so spread evenly: their first bits say where in the list to look.
    """

    def __init__(
        self,
        columns: dict[str, Array],
        others: bytes,
        packs: Sequence[bytes],
        whole: "ManyPlaces | None" = None,
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
        first = first_bits(np.frombuffer(self._ids, np.uint64))
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
        return ManyPlaces(columns, self._others, self._packs, self._whole)

    def name_others(self, others: bytes) -> None:
        """Name the references that are not among the chunks, n x 24 bytes."""
        self._others = others

    @property
    def kinds(self) -> set[ChunkKind]:
        """Return the kinds that there are."""
        return {KINDS[number] for number in np.unique(self._columns["kind"]).tolist()}

    @property
    def stored(self) -> int:
        """Return the chunks' sealed bytes together."""
        return int(self._columns["length"].sum(dtype=np.int64))

    @property
    def held(self) -> int:
        """Return how much memory this takes, about, in bytes."""
        return sum(column.nbytes for column in self._columns.values()) + len(self._ids) + len(self._others)

    def ref(self, number: int) -> ChunkRef:
        """Return a chunk's reference, or what else `beside` numbers."""
        if number < len(self):
            raw = self._ids[number * _ID_BYTES : (number + 1) * _ID_BYTES]
            return ChunkRef(raw, self._incarnations[number].to_bytes(8, "little"))
        at = (number - len(self)) * REF_BYTES
        return ChunkRef(self._others[at : at + _ID_BYTES], self._others[at + _ID_BYTES : at + REF_BYTES])

    def rows_of(self, refs: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Return the numbers of chunks by references ("S24", n), -1 for each that is not among them."""
        raw = np.ascontiguousarray(refs).view(np.uint64).reshape(-1, 3)
        ids = np.frombuffer(self._ids, np.uint64).reshape(-1, 2)
        if not len(ids):
            return np.full(len(refs), -1)
        at = np.minimum(np.searchsorted(first_bits(ids.ravel()), raw[:, 0].byteswap()), len(ids) - 1)
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
                length=length, plain=plain, kind=KINDS[kind], coding=coding, dek=deks[i * 32 : (i + 1) * 32],
            )  # fmt: skip


class _Values(ValuesView[Place]):
    def __init__(self, places: ManyPlaces) -> None:
        super().__init__(places)
        self._places = places

    def __iter__(self) -> Iterator[Place]:
        return self._places.all()


def first_bits(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the first 64 bits of ids, as numbers in the order of the ids."""
    return ids[::2].byteswap()
