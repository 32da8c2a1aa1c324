"""Row text in bulk: record keys, their identities, row hashes, and picking rows, for whole batches at a time.

Knows lines, tabs and newlines, and nothing of what cells mean. Nothing here loops over rows in Python, but for the
two maps of native hash functions.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from tenure.crypto.hashing import keyed_hash
from tenure.domain.errors import TamperedError
from tenure.rules.facts import Facts
from tenure.sources.base import RowBatch

IDENTITY_BYTES = 16
LONGEST_EMBEDDED = 15
"""Key texts of up to 15 bytes are their own identity; the 16th byte holds the length."""

HASHED = 0xFF
"""The 16th byte of the identity of a longer key text; no length is 255, so the two sorts never meet."""

_HASHED_TOGETHER = 512  # lines: as objects they stay in a core's own cache

Bits = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Words = NDArray[np.uint64]
Text = bytes | memoryview

_EMBEDDED_MASKS = np.zeros((LONGEST_EMBEDDED + 1, IDENTITY_BYTES), np.uint8)
for _length in range(LONGEST_EMBEDDED + 1):
    _EMBEDDED_MASKS[_length, :_length] = 0xFF
_EMBEDDED_MASKS = _EMBEDDED_MASKS.view("<u8")


def batch_of(text: Text, facts: Facts | None = None) -> RowBatch:
    """Find the lines of row text.

    Raises:
        TamperedError: The text does not end with a newline.
    """
    buffer = np.frombuffer(text, np.uint8)
    if buffer.size and buffer[-1] != 0x0A:
        raise TamperedError("row text does not end with a newline")
    offsets = np.concatenate((np.zeros(1, np.int64), np.flatnonzero(buffer == 0x0A) + 1))
    return RowBatch(text=text, offsets=offsets, facts=facts)


def key_spans(batch: RowBatch, key_cells: int) -> tuple[Offsets, Offsets]:
    """Return where each row's key text begins and ends (int64, n each), its last tab or newline not included.

    Raises:
        ValueError: `key_cells` is under 1.
    """
    if key_cells < 1:
        raise ValueError("a record key has at least one cell")
    starts, line_ends = batch.offsets[:-1], batch.offsets[1:] - 1
    if not len(batch):
        return starts, line_ends
    text = pa.py_buffer(batch.text)
    ends = starts - 1
    for _ in range(key_cells):
        # Searching from behind the last tab to the next row's same place: what lies in between covers the rest of
        # this line, and a tab found beyond the line's end counts as none.
        begins = np.minimum(ends + 1, line_ends)
        bounds = np.append(begins, len(batch.text))
        rest = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(begins), [None, pa.py_buffer(bounds), text]
        )
        found = np.asarray(pc.find_substring(rest, pattern=b"\t"))
        ends = np.where(found < 0, line_ends, np.minimum(begins + found, line_ends))
    return starts, ends


def identities(batch: RowBatch, key_cells: int, key: bytes) -> Bytes:
    """Return the identity of every row's key (uint8, n x 16).

    A key text of at most 15 bytes: the text, zeros, its length in the last byte. A longer one: 15 bytes of keyed
    BLAKE3 and 0xFF. So identities are injective or cryptographic, and two keys never share one by chance.

    Args:
        batch: The rows.
        key_cells: How many cells make the key.
        key: 32 bytes, for the hash of long keys.
    """
    starts, ends = key_spans(batch, key_cells)
    return span_identities(batch.text, starts, ends, key)


def identity_of(key_text: bytes, key: bytes) -> bytes:
    """Return the 16-byte identity of one key text."""
    if len(key_text) <= LONGEST_EMBEDDED:
        return key_text.ljust(LONGEST_EMBEDDED, b"\0") + bytes([len(key_text)])
    return keyed_hash(key, key_text, length=LONGEST_EMBEDDED) + bytes([HASHED])


def span_identities(text: Text, starts: Offsets, ends: Offsets, key: bytes) -> Bytes:
    """Return the identities of the texts between `starts` and `ends` (uint8, n x 16)."""
    if not len(starts):
        return np.empty((0, IDENTITY_BYTES), np.uint8)
    lengths = ends - starts
    lanes = _first_sixteen(np.frombuffer(text, np.uint8), starts)
    lanes &= _EMBEDDED_MASKS[np.minimum(lengths, LONGEST_EMBEDDED)]
    lanes[:, 1] |= lengths.astype(np.uint64) << np.uint64(56)
    out = lanes.view(np.uint8)
    long = np.flatnonzero(lengths > LONGEST_EMBEDDED)
    if long.size:
        slices = map(memoryview(text).__getitem__, map(slice, starts[long].tolist(), ends[long].tolist()))
        hashed = b"".join(map(partial(keyed_hash, key, length=LONGEST_EMBEDDED), slices))
        out[long, :LONGEST_EMBEDDED] = np.frombuffer(hashed, np.uint8).reshape(-1, LONGEST_EMBEDDED)
        out[long, LONGEST_EMBEDDED] = HASHED
    return out


def _first_sixteen(buffer: Bytes, starts: Offsets) -> Words:
    """Return the 16 bytes at each start as two little-endian words (n x 2), zeros beyond the end of the buffer."""
    size, last = IDENTITY_BYTES, buffer.size - IDENTITY_BYTES
    late = starts > last
    tail = np.concatenate((buffer[max(last, 0) :], np.zeros(2 * size, np.uint8)))
    at_end = np.ndarray((tail.size - size + 1,), "V16", tail, strides=(1,))
    out = np.empty(len(starts), "V16")
    out[late] = at_end[starts[late] - max(last, 0)]
    if last >= 0:
        everywhere = np.ndarray((last + 1,), "V16", buffer, strides=(1,))
        early = slice(None) if not late.any() else ~late
        out[early] = everywhere[starts[early]]
    return out.view("<u8").reshape(-1, 2)


def row_hashes(batch: RowBatch, seed: int) -> Words:
    """Return the XXH3-128 of every line without its newline (uint64, n x 2: low lane, high lane).

    Raises:
        ValueError: The offsets are not where the newlines are.
    """
    view, offsets = memoryview(batch.text), batch.offsets
    digests: list[bytes] = []
    for start in range(0, len(batch), _HASHED_TOGETHER):
        stop = min(start + _HASHED_TOGETHER, len(batch))
        lines = bytes(view[offsets[start] : offsets[stop]]).split(b"\n")
        if len(lines) != stop - start + 1 or lines.pop():
            raise ValueError("a batch's offsets disagree with its newlines")
        digests += map(xxhash.xxh3_128_digest, lines, repeat(seed))
    return np.frombuffer(b"".join(digests), ">u8").reshape(-1, 2)[:, ::-1].astype(np.uint64)


def content_hash(hashes: Words) -> tuple[int, int]:
    """Return the order-free hash of rows: both lanes of their row hashes, each summed modulo 2^64."""
    low, high = hashes.sum(axis=0, dtype=np.uint64).tolist()
    return low, high


def add_content(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Return the content hash of two sets of rows together."""
    return (one[0] + other[0]) % (1 << 64), (one[1] + other[1]) % (1 << 64)


def mix(ids: Bytes, key: int) -> Words:
    """Return a keyed 64-bit mix of identities (uint64, n). Part of the format: ``f(f(low ^ key) ^ high)``.

    `low` and `high` are the identity's two halves as little-endian words. f is the finaliser of SplitMix64
    (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014), all modulo 2^64::

        x += 0x9E3779B97F4A7C15
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB
        x = x ^ (x >> 31)
    """
    lanes = np.ascontiguousarray(ids).view("<u8").reshape(-1, 2)
    mixed = _finalise(lanes[:, 0] ^ np.uint64(key))
    mixed ^= lanes[:, 1]
    return _finalise(mixed)


def _finalise(x: Words) -> Words:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def sortable(ids: Bytes) -> Any:
    """View identities (n x 16) as n values that compare bytewise.

    numpy takes no notice of zeros at the end of byte strings; of two different identities of equal length that
    can hide nothing.
    """
    return np.ascontiguousarray(ids).reshape(-1, IDENTITY_BYTES).view("S16").reshape(-1)


def sorted_unique(ids: Bytes) -> Bytes:
    """Return identities in order, each once (uint8, m x 16)."""
    return np.ascontiguousarray(np.unique(sortable(ids))).view(np.uint8).reshape(-1, IDENTITY_BYTES)


def contains(ordered: Bytes, ids: Bytes) -> Bits:
    """Say of each identity whether it is among `ordered`, which are sorted as `sorted_unique` sorts."""
    if not len(ordered):
        return np.zeros(len(ids), np.bool_)
    known, asked = sortable(ordered), sortable(ids)
    places = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return np.asarray(known[places] == asked, np.bool_)


def lines_of(batch: RowBatch) -> Any:
    """Return the lines, newlines included, as a pyarrow large_binary array over the same memory."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(batch.offsets)), pa.py_buffer(batch.text)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(batch), buffers)


def take(batch: RowBatch, which: NDArray[Any]) -> RowBatch:
    """Return some rows: `which` is a mask (bool, n) or positions in the order wanted; facts come along."""
    order = np.flatnonzero(which) if which.dtype == np.bool_ else which
    if which.dtype == np.bool_ and len(order) == len(batch):
        return batch
    facts = None if batch.facts is None else _take_facts(batch.facts, order)
    if not len(order):
        return RowBatch(text=b"", offsets=np.zeros(1, np.int64), facts=facts)
    taken = lines_of(batch).take(pa.array(order))
    _, offsets, text = taken.buffers()
    return RowBatch(
        text=memoryview(text)[: int(np.frombuffer(offsets, np.int64)[len(order)])],
        offsets=np.frombuffer(offsets, np.int64)[: len(order) + 1],
        facts=facts,
    )


def _take_facts(facts: Facts, order: NDArray[Any]) -> Facts:
    places = pa.array(order)
    return Facts(
        data_set=facts.data_set,
        keys=facts.keys.take(places),
        subjects={name: column.take(places) for name, column in facts.subjects.items()},
        starting={name: column[order] for name, column in facts.starting.items()},
        attributes={name: column.take(places) for name, column in facts.attributes.items()},
    )


def joined_offsets(parts: Iterable[Offsets]) -> Offsets:
    """Return the offsets of texts laid end to end, each part's own counted from its first."""
    lengths = [np.diff(part) for part in parts]
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths), dtype=np.int64)))


def column_spans(column: Any) -> tuple[memoryview, Offsets, Bits]:
    """Return the bytes of a pyarrow large_binary or large_string column, n + 1 offsets into them, and which are set."""
    if hasattr(column, "chunks"):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    _, offsets, text = column.buffers()
    if not len(column) or text is None:
        return memoryview(b""), np.zeros(len(column) + 1, np.int64), ~np.asarray(column.is_null())
    bounds = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    return memoryview(text), bounds, ~np.asarray(column.is_null(), np.bool_)


Hashes = Mapping[str, Words]
"""Subject hashes by kind; 0 stands for "no subject of this kind"."""
