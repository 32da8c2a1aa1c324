"""What a drill checks of restored recordings: bytes against their ids, and that each can be played to its end."""

import json
import struct
import wave
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tenure.cards.detect import find
from tenure.cards.findings import Confidence
from tenure.evidence.drill_record import CheckResult
from tenure.operations.drillchecks import Ground, Seen, gone_prints, judged
from tenure.operations.unfinished import Unfinished
from tenure.operations.world import prints_of
from tenure.repository import rows
from tenure.repository.mediacompanion import RecordingMeta
from tenure.repository.model import Cohort
from tenure.repository.snapshotreader import Balance

SECONDS_OFF = 2.0
"""How far a sidecar's times, often whole seconds, may be from the recording's own length."""

SHARE_OFF = 0.02
"""And the share of its length: some phone systems count from the ringing."""

IN_FLIGHT = 32
_FRAMES = 65_536
_RIFF = b"RIFF"


@dataclass(slots=True, kw_only=True)
class Played:
    """What was found in restored recordings. `wrong`: how many have which problem."""

    files: int = 0
    waves: int = 0
    changed: int = 0
    wrong: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    is_wave: bool
    changed: bool
    problem: str
    there: bool = True


def read_back_recordings(ground: Ground) -> tuple[Mapping[str, Seen], Played]:
    """Read every restored recording once; return by data set what was found, and how they played."""
    played, found = Played(wrong={}), dict[str, Seen]()
    unfinished = Unfinished.of(ground.repository, ground.reader)
    for name, line in ground.reader.manifest.data_sets.items():
        seen, paths = Seen(), list[bytes]()
        task = ground.installation.progress.begin(f"Checking {name}", total=line.plain, unit="bytes")
        for meta, heard in _all(ground, name, unfinished):
            task.advance(meta.recording.size)
            if not heard.there:
                continue
            paths.append(meta.recording.path)
            seen.cards += _card_data(meta)
            _add(played, heard)
        task.end()
        seen.records = len(paths)
        seen.returned = _returned(ground, name, paths)
        found[name] = seen
    return found, played


def _all(ground: Ground, name: str, unfinished: Unfinished) -> Iterator[tuple[RecordingMeta, _Heard]]:
    balance = Balance()
    jobs: list[tuple[RecordingMeta, Future[_Heard]]] = []
    for cohort, meta in ground.reader.recordings(name, balance):
        if unfinished.takes(name, meta.recording.path, balance):
            continue
        jobs.append((meta, ground.installation.executor.submit(_hear, ground, cohort, meta)))
        if len(jobs) >= IN_FLIGHT:
            first, job = jobs.pop(0)
            yield first, job.result()
    for rest, job in jobs:
        yield rest, job.result()


def _add(played: Played, heard: _Heard) -> None:
    played.files += 1
    played.waves += heard.is_wave
    played.changed += heard.changed
    if heard.problem:
        played.wrong[heard.problem] = played.wrong.get(heard.problem, 0) + 1


def _hear(ground: Ground, cohort: Cohort, meta: RecordingMeta) -> _Heard:
    path = ground.target / meta.recording.path.decode("utf-8", "surrogateescape")
    try:
        with path.open("rb") as file:
            changed = not _is_what_was_stored(ground, cohort, meta, file)
            file.seek(0)
            is_wave = file.read(4) == _RIFF
    except OSError:
        return _Heard(is_wave=False, changed=False, problem="", there=False)
    is_wave = is_wave or path.suffix.lower() == ".wav"
    return _Heard(is_wave=is_wave, changed=changed, problem=play(path, meta) if is_wave else "")


def _is_what_was_stored(ground: Ground, cohort: Cohort, meta: RecordingMeta, file: BinaryIO) -> bool:
    """Whether the file's bytes make the chunk ids that the companion names."""
    keys, step = ground.reader.chunks.keys, ground.repository.marker.parameters.media_chunk
    tag, made = keys.tag(cohort), list[bytes]()
    for position in range(0, meta.recording.size, step):
        made.append(keys.media_id(tag, meta.recording.path, position, file.read(step)))
    return made == [c.id for c in meta.chunks] and not file.read(1)


def play(path: Path, meta: RecordingMeta) -> str:
    """Decode a WAV file to its end; return what is wrong with it in words, or an empty text."""
    try:
        with wave.open(str(path)) as audio:
            told, rate = audio.getnframes(), audio.getframerate()
            width = audio.getnchannels() * audio.getsampwidth()
            got = 0
            while piece := audio.readframes(_FRAMES):
                got += len(piece) // width
    except wave.Error as e:
        return _shape(path) if "unknown format" in str(e) else "do not decode"
    except (EOFError, OSError, ValueError):
        return "do not decode"
    if got != told:
        return "end before their header says"
    seconds, expected = (got / rate if rate else 0.0), length_of(meta.recording.sidecar)
    if expected is not None and abs(seconds - expected) > max(SECONDS_OFF, SHARE_OFF * expected):
        return "are not as long as their sidecar says"
    return ""


def _shape(path: Path) -> str:
    """Check a WAV file in a coding that the library does not decode (G.711): its parts must be as long as they say."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[8:] != b"WAVE":
            return "do not decode"
        at = 12
        while at + 8 <= size:
            file.seek(at)
            name, length = struct.unpack("<4sI", file.read(8))
            if name == b"data":
                return "" if at + 8 + length <= size else "end before their header says"
            at += 8 + length + length % 2
    return "do not decode"


def length_of(sidecar: bytes | None) -> float | None:
    """Return how many seconds a sidecar says its recording has; None where it says nothing."""
    try:
        told = json.loads(sidecar) if sidecar else None
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    for name in ("duration_s", "duration_seconds", "duration"):
        if isinstance(told.get(name), int | float):
            return float(told[name])
    start, end = _instant(told.get("started_at")), _instant(told.get("ended_at"))
    if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
        return None
    return (end - start).total_seconds()


def _instant(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _card_data(meta: RecordingMeta) -> int:
    found = find(meta.recording.sidecar) if meta.recording.sidecar else ()
    return sum(f.confidence is Confidence.SURE for f in found)


def _returned(ground: Ground, name: str, paths: list[bytes]) -> int:
    gone = gone_prints(ground, name)
    if not len(gone) or not paths:
        return 0
    identity = ground.reader.chunks.keys.identity
    ids = np.frombuffer(b"".join(rows.identity_of(p, identity) for p in paths), np.uint8)
    prints = prints_of(ground.repository.secrets.fingerprint, name, ids.reshape(-1, rows.IDENTITY_BYTES))
    return int(rows.contains(gone, prints).sum())


def recording_checks(played: Played) -> Iterator[CheckResult]:
    """Yield the checks of recordings: their bytes, and that they play."""
    told = [f"{played.changed} recordings are not the bytes that were stored"] if played.changed else []
    yield judged("content", f"{played.files} recordings", f"{played.files - played.changed} equal", told)
    wrong = [f"{count} recordings {problem}" for problem, count in sorted(played.wrong.items())]
    whole = played.waves - sum(played.wrong.values())
    others = played.files - played.waves
    note = f"{others} files are no WAV and were not decoded" if others else ""
    yield judged("recordings play", f"{played.waves} WAV files", f"{whole} play to their end", wrong, note)
