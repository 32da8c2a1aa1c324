"""What is personal about up to 256 recordings: paths, times, sidecars, facts. It dies with them, one by one.

A companion lists its recordings in the order trees number them; a forgotten one leaves an empty place, so that
the numbers of the others stay right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tenure.repository import wire
from tenure.repository.model import ChunkRef
from tenure.repository.nodes import join, split
from tenure.repository.wire import Wire
from tenure.sources.base import Recording

MOST_RECORDINGS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingMeta:
    """A recording, the facts it was judged by, and its chunks. Facts: text by name, absent where unknown."""

    recording: Recording
    chunks: tuple[ChunkRef, ...]
    subjects: Mapping[str, str] = field(default_factory=dict)
    starting: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)


class _MetaWire(Wire, frozen=True, kw_only=True):
    path: bytes
    size: int
    mtime_ns: int
    mode: int
    sidecar_path: bytes | None
    sidecar: bytes | None
    sidecar_mtime_ns: int
    sidecar_mode: int
    chunks: bytes
    subjects: dict[str, str]
    starting: dict[str, str]
    attributes: dict[str, str]


class _CompanionWire(Wire, frozen=True, kw_only=True):
    recordings: tuple[_MetaWire | None, ...]


def encode(recordings: Sequence[RecordingMeta | None]) -> bytes:
    """Return the companion of these recordings.

    Raises:
        ValueError: More than `MOST_RECORDINGS`.
    """
    if len(recordings) > MOST_RECORDINGS:
        raise ValueError(f"a companion describes at most {MOST_RECORDINGS} recordings")
    return wire.encode(
        _CompanionWire(recordings=tuple(None if r is None else _to_wire(r) for r in recordings))
    )


def decode(raw: bytes) -> tuple[RecordingMeta | None, ...]:
    """Return the recordings of a companion, None where one was forgotten."""
    found = wire.decode(raw, _CompanionWire, what="a companion of recordings")
    return tuple(None if m is None else _from_wire(m) for m in found.recordings)


def _to_wire(meta: RecordingMeta) -> _MetaWire:
    r = meta.recording
    return _MetaWire(
        path=r.path,
        size=r.size,
        mtime_ns=r.mtime_ns,
        mode=r.mode,
        sidecar_path=r.sidecar_path,
        sidecar=r.sidecar,
        sidecar_mtime_ns=r.sidecar_mtime_ns,
        sidecar_mode=r.sidecar_mode,
        chunks=b"".join(join(c) for c in meta.chunks),
        subjects=dict(meta.subjects),
        starting=dict(meta.starting),
        attributes=dict(meta.attributes),
    )


def _from_wire(m: _MetaWire) -> RecordingMeta:
    recording = Recording(
        path=m.path,
        size=m.size,
        mtime_ns=m.mtime_ns,
        mode=m.mode,
        sidecar_path=m.sidecar_path,
        sidecar=m.sidecar,
        sidecar_mtime_ns=m.sidecar_mtime_ns,
        sidecar_mode=m.sidecar_mode,
    )
    return RecordingMeta(
        recording=recording,
        chunks=tuple(split(m.chunks)),
        subjects=m.subjects,
        starting=m.starting,
        attributes=m.attributes,
    )
