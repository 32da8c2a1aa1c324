"""A small contact centre whose recordings can be played, drilled; and the ground that single checks look at."""

import io
import json
import os
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from support.retention import CALLS, Centre, found
from tenure.domain.catalogue import Source
from tenure.evidence.drill_record import CheckResult, DrillRecord
from tenure.operations.drillchecks import Ground
from tenure.operations.drilling import Means, drill
from tenure.operations.restore import Part, load

LONG_AGO = 1_600_000_000
"""Time of change of live files that nobody touched since any snapshot, seconds."""

PLENTY = 1 << 60


def tone(seconds: float = 1.0, rate: int = 8000) -> bytes:
    """Return a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(rate)
        audio.writeframes(bytes(range(256)) * int(seconds * rate / 128))
    return buffer.getvalue()


def centre_with_tones(folder: Path) -> Centre:
    """Make the centre; its recordings last 1 s, and their sidecars say so."""
    centre = found(folder)
    for path, (customer, ended) in CALLS.items():
        file = folder / "recordings" / path
        file.write_bytes(tone())
        if customer:
            told = {"customer": customer, "ended": ended, "duration_s": 1}
            file.with_suffix(".json").write_text(json.dumps(told))
    untouched(centre)
    return centre


def untouched(centre: Centre) -> None:
    """Give the live database a time of change before every snapshot."""
    os.utime(centre.folder / "crm.sqlite", (LONG_AGO, LONG_AGO))


def ticking(step: float) -> Callable[[], float]:
    """Return a timer that goes on by `step` seconds each time it is asked."""
    at = 0.0

    def timer() -> float:
        nonlocal at
        at += step
        return at

    return timer


def drilled(
    centre: Centre, source: str = "crm", *, number: int | None = None, step: float = 0.5, room: int = PLENTY
) -> DrillRecord:
    """Drill as a process of its own would."""
    with centre.open() as installation:
        means = Means(timer=ticking(step), seed=11, room=lambda _: room)
        return drill(installation, source, means, number=number)


def check(record: DrillRecord, name: str) -> CheckResult:
    return next(c for c in record.checks if c.name == name)


def left_in_scratch(centre: Centre) -> list[Path]:
    scratch = centre.folder / "state" / "scratch"
    return [p for p in scratch.rglob("*") if p.is_file()] if scratch.exists() else []


@contextmanager
def grounded(
    centre: Centre, scratch: Path, source: str = "crm", number: int | None = None
) -> Iterator[Ground]:
    """Restore a snapshot and yield what checks look at; the restored place may be broken before they do."""
    scratch.mkdir(parents=True, exist_ok=True)
    with centre.open() as installation:
        repository = installation.open_reading()
        chosen = repository.state.snapshots_of(source)[-1].number if number is None else number
        reader = repository.read(chosen, installation.executor)
        restored = load(installation, repository, reader, scratch / "restored", Part())
        yield Ground(
            installation=installation,
            repository=repository,
            reader=reader,
            source=msgspec.json.decode(reader.manifest.catalogue, type=Source),
            restored=restored,
            scratch=scratch,
        )
