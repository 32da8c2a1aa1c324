"""What is personal about a chunk of rows, beside it in a chunk of its own: it answers "may this be in there?".

A search opens companions first and only those chunks whose companion does not deny. Filters (`filters`) hold 64-bit
hashes: of a record key the mix of its identity, of a subject the mix of the identity of its value's text. A companion
is sealed under its own DEK, so the mix needs no secret: its key is a constant of the format.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.repository import filters, rows
from tenure.sources.base import RowBatch

VERSION = 1
FILTER_KEY = 0x54454E5552450001  # "TENURE", version 1


class Companion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """About one chunk of rows or deletes.

    `first`, `last`: key texts of the first and last row; of deletes, which know keys by identity only, the first
    and last identity. `keys`: filter of record keys. `subjects`: a filter for each kind of subject, of the distinct
    values; a kind that is missing was not looked for. `rows`: rows or identities. `content`: order-free content
    hash of the rows, two lanes; zeros for deletes. `expressions`: hash of the subject expressions it was made
    with. `detector`: version of the card-data detector that the rows went through.
    """

    version: int = VERSION
    first: bytes
    last: bytes
    keys: bytes
    subjects: dict[str, bytes]
    rows: int
    content: tuple[int, int]
    expressions: bytes
    detector: str

    def may_hold_keys(self, identities: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Say of each of n identities (uint8, n x 16) whether its record may be in the chunk; never wrongly False."""
        return filters.probe(self.keys, rows.mix(identities, FILTER_KEY))

    def may_hold_subject(self, kind: str, value: str, key: bytes) -> bool:
        """Whether a row about this subject may be in the chunk; True too where the kind was not looked for.

        Args:
            kind: The catalogue's name of the subject.
            value: Its value as text.
            key: The source's identity key, for values longer than 15 bytes.
        """
        if kind not in self.subjects:
            return True
        return bool(filters.probe(self.subjects[kind], subject_hash_of(value, key)).any())


def subject_hash(values: Any, key: bytes) -> NDArray[np.uint64]:
    """Return the hashes of n subject values (uint64, n); 0 where there is none.

    Args:
        values: pyarrow large_string (or large_binary), null where unknown.
        key: The source's identity key, 32 bytes.
    """
    text, bounds, known = rows.column_spans(values)
    hashes = rows.mix(rows.span_identities(text, bounds[:-1], bounds[1:], key), FILTER_KEY)
    hashes[hashes == 0] = 1
    hashes[~known] = 0
    return hashes


def subject_hash_of(value: str, key: bytes) -> NDArray[np.uint64]:
    """Return the hash of one value, as an array of one."""
    identity = np.frombuffer(rows.identity_of(value.encode(), key), np.uint8).reshape(1, -1)
    return np.maximum(rows.mix(identity, FILTER_KEY), np.uint64(1))


def of_rows(
    batch: RowBatch,
    *,
    key_cells: int,
    identities: NDArray[np.uint8],
    hashes: NDArray[np.uint64],
    subjects: Mapping[str, NDArray[np.uint64]],
    expressions: bytes,
    detector: str,
) -> Companion:
    """Make the companion of a chunk of at least one row.

    Args:
        batch: The chunk's rows.
        key_cells: How many cells make the key.
        identities: Of the same n rows (uint8, n x 16).
        hashes: Their row hashes (uint64, n x 2).
        subjects: Their subject hashes by kind (uint64, n), 0 for none.
        expressions: See `Companion`.
        detector: See `Companion`.
    """
    text, offsets = memoryview(batch.text), batch.offsets.tolist()
    return Companion(
        first=_key_text(bytes(text[: offsets[1] - 1]), key_cells),
        last=_key_text(bytes(text[offsets[-2] : offsets[-1] - 1]), key_cells),
        keys=filters.build(rows.mix(identities, FILTER_KEY)),
        subjects={kind: filters.build(values[values != 0]) for kind, values in sorted(subjects.items())},
        rows=len(identities),
        content=rows.content_hash(hashes),
        expressions=expressions,
        detector=detector,
    )


def of_deletes(identities: NDArray[np.uint8], *, expressions: bytes, detector: str) -> Companion:
    """Make the companion of a chunk of at least one deleted key (uint8, n x 16, sorted)."""
    return Companion(
        first=identities[0].tobytes(),
        last=identities[-1].tobytes(),
        keys=filters.build(rows.mix(identities, FILTER_KEY)),
        subjects={},
        rows=len(identities),
        content=(0, 0),
        expressions=expressions,
        detector=detector,
    )


def encode(companion: Companion) -> bytes:
    """Return the bytes that are stored; equal companions give equal bytes."""
    return msgspec.msgpack.encode(companion, order="deterministic")


def decode(raw: bytes) -> Companion:
    """Return what `encode` was given.

    Raises:
        UnsupportedFormatError: Another version, or a field this one does not know.
        TamperedError: Not a companion.
    """
    try:
        companion = msgspec.msgpack.decode(raw, type=Companion)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as e:
        raise _refusal(raw) from e
    if companion.version != VERSION:
        raise _refusal(raw)
    return companion


def _refusal(raw: bytes) -> Exception:
    """Tell a later version's companion from damage."""
    try:
        loose = msgspec.msgpack.decode(raw)
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError, OverflowError):
        return TamperedError("a companion is damaged")
    known = set(Companion.__struct_fields__)
    if isinstance(loose, dict) and (loose.get("version", VERSION) != VERSION or set(loose) - known):
        return UnsupportedFormatError("a companion is of a form this version does not know")
    return TamperedError("a companion is damaged")


def _key_text(line: bytes, key_cells: int) -> bytes:
    return b"\t".join(line.split(b"\t", key_cells)[:key_cells])
