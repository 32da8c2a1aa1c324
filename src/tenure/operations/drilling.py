"""A drill: restore a snapshot to a scratch place, check everything, measure, wipe, and put it into evidence.

What a drill finds wrong is in its record and raises nothing: a drill that failed has done its work.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from tenure.control.drills import DrillEntry, Drills
from tenure.control.processes import this_process
from tenure.control.runs import RunOutcome, Runs
from tenure.crypto.hashing import content_hash, random_bytes
from tenure.domain.catalogue import Source
from tenure.domain.errors import ConfigError, DrillMismatchError, ObjectiveMissedError, TenureError
from tenure.evidence.drill_record import CheckOutcome, CheckResult, DrillOutcome, DrillRecord
from tenure.evidence.views import DrillView
from tenure.operations import drillchecks, drillrecordings
from tenure.operations.drillchecks import Ground, failed, passed, skipped
from tenure.operations.drilltwins import live_twins
from tenure.operations.installation import Installation, Objectives
from tenure.operations.restore import Part, load
from tenure.repository.snapshotreader import SnapshotReader
from tenure.repository.state import SnapshotState

HISTORY = 60
"""Drills of a source that its charts show, and that the control database keeps; evidence keeps all."""

ROOM_FOR_ROWS = 4.0
"""Scratch bytes for each byte of row text: the restored database with its indexes, a copy to read, journals."""

ROOM_FOR_RECORDINGS = 1.05
"""And for each byte of recordings: what file systems round up."""

EXIT_CODES = {
    DrillOutcome.PASSED: 0,
    DrillOutcome.SKIPPED: 3,
    DrillOutcome.FAILED: DrillMismatchError.exit_code,
    DrillOutcome.MISSED: ObjectiveMissedError.exit_code,
}


def free_bytes(folder: Path) -> int:
    """Return how much room a folder has."""
    return shutil.disk_usage(folder).free


def new_seed() -> int:
    """Return a seed for a drill's samples."""
    return int.from_bytes(random_bytes(6), "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a drill measures and draws with. `timer`: seconds, only ever forward; `room`: free bytes of a folder."""

    timer: Callable[[], float]
    seed: int = field(default_factory=new_seed)
    room: Callable[[Path], int] = free_bytes


@dataclass(slots=True, kw_only=True)
class _Findings:
    """A drill while it runs."""

    checks: list[CheckResult] = field(default_factory=list)
    seconds: float = 0.0
    bytes: int = 0
    no_room: bool = False


def drill(installation: Installation, source: str, means: Means, *, number: int | None = None) -> DrillRecord:
    """Drill the newest snapshot of a source, or the one given; return what is now in evidence.

    Raises:
        ConfigError: There is no such source, or the snapshot is another source's.
        RepositoryNotFoundError: There is no such snapshot.
        LeasedError: Another drill of this source is at work.
    """
    if source not in installation.catalogue.sources:
        known = ", ".join(sorted(installation.catalogue.sources)) or "none"
        raise ConfigError(f"there is no source {source!r}", hint=f"configured are: {known}")
    with installation.alone(f"drill-{source}"):
        runs, began = Runs(installation.control), means.timer()
        run = runs.begin("drill", source=source, at=installation.clock.now(), process=this_process())
        try:
            record = _drill(installation, source, means, number)
            _keep(installation, record, means.timer() - began)
        except BaseException as e:
            code = e.exit_code if isinstance(e, TenureError) else 1
            outcome = RunOutcome.CANCELLED if isinstance(e, KeyboardInterrupt) else RunOutcome.FAILED
            runs.end(
                run, outcome=outcome, at=installation.clock.now(), exit_code=code, error=type(e).__name__
            )
            raise
        code = EXIT_CODES[record.outcome]
        outcome = RunOutcome.DONE if not code else RunOutcome.INCOMPLETE if code == 3 else RunOutcome.FAILED
        counts = {"snapshot": record.snapshot, "bytes": record.bytes}
        runs.end(run, outcome=outcome, at=installation.clock.now(), exit_code=code, counts=counts)
        return record


def _drill(installation: Installation, source: str, means: Means, number: int | None) -> DrillRecord:
    started = installation.clock.now()
    chosen = _snapshot(installation, source, number)
    found = _Findings()
    place = _place(installation, source)
    _reap(place.parent, source)
    try:
        if chosen is None:
            found.checks.append(
                failed("there is a snapshot", "1 or more", "0", f"{source} was never snapshotted")
            )
        else:
            _work(installation, chosen, place, means, found)
    finally:
        wiped = _wipe(place)
    if not wiped:
        found.checks.append(
            failed("scratch place wiped", "gone", "still there", "remove what was restored by hand")
        )
    age = started.timestamp() - chosen.entry.taken_at if chosen else 0.0
    record = DrillRecord(
        id=f"drill-{started:%Y%m%d-%H%M%S}-{random_bytes(4).hex()}",
        source=source,
        snapshot=chosen.number if chosen else 0,
        started=started,
        outcome=DrillOutcome.FAILED,
        seconds=found.seconds,
        bytes=found.bytes,
        snapshot_age=age,
        checks=tuple(found.checks),
        wiped=wiped,
    )
    return _judged(record, found, installation.objectives.get(source, Objectives()))


def _snapshot(installation: Installation, source: str, number: int | None) -> SnapshotState | None:
    repository = installation.open_writing()
    if number is None:
        return next(iter(repository.state.snapshots_of(source)[::-1]), None)
    chosen = repository.snapshot(number)
    if chosen.entry.source != source:
        raise ConfigError(
            f"snapshot {number} is of source {chosen.entry.source!r}, not of {source!r}",
            hint="`tenure snapshots` lists them",
        )
    return chosen


def _judged(record: DrillRecord, found: _Findings, objectives: Objectives) -> DrillRecord:
    """Return the record with its objectives and outcome: right comes before fast."""
    rto = objectives.restore.total_seconds() if objectives.restore else None
    rpo = objectives.age.total_seconds() if objectives.age else None
    outcome = DrillOutcome.PASSED
    if any(c.outcome is CheckOutcome.FAILED for c in record.checks) or not record.wiped:
        outcome = DrillOutcome.FAILED
    elif found.no_room:
        outcome = DrillOutcome.SKIPPED
    elif (rto is not None and record.seconds > rto) or (rpo is not None and record.snapshot_age > rpo):
        outcome = DrillOutcome.MISSED
    return replace(record, outcome=outcome, restore_objective=rto, age_objective=rpo)


def _work(
    installation: Installation, chosen: SnapshotState, place: Path, means: Means, found: _Findings
) -> None:
    """Restore and check; whatever goes wrong with the repository or the keys is a finding."""
    try:
        _refuse_live(installation, place)
        place.mkdir(parents=True, mode=0o700)
        repository = installation.open_reading()
        reader = repository.read(chosen.number, installation.executor)
        if not _fits(reader, place, means, found):
            return
        _log_access(installation, reader)
        began = means.timer()
        restored = load(installation, repository, reader, place / "restored", Part())
        found.seconds = means.timer() - began
    except TenureError as e:
        found.checks.append(failed("restore", "restored", type(e).__name__, str(e)))
        return
    found.bytes = sum(line.plain for line in reader.manifest.data_sets.values())
    found.checks.append(passed("restore", "restored", "restored"))
    ground = Ground(
        installation=installation,
        repository=repository,
        reader=reader,
        source=msgspec.json.decode(reader.manifest.catalogue, type=Source),
        restored=restored,
        scratch=place,
    )
    try:
        found.checks.extend(_checked(ground, means))
    except (TenureError, sqlite3.Error) as e:
        found.checks.append(failed("reading back", "readable", type(e).__name__, _words(e)))


def _words(error: Exception) -> str:
    """Return our own message; SQLite's may quote a value."""
    return str(error) if isinstance(error, TenureError) else "SQLite cannot read the restored file"


def _fits(reader: SnapshotReader, place: Path, means: Means, found: _Findings) -> bool:
    lines = reader.manifest.data_sets.values()
    factor = {"recordings": ROOM_FOR_RECORDINGS}
    needed = int(sum(line.plain * factor.get(line.kind, ROOM_FOR_ROWS) for line in lines))
    free = means.room(place)
    if free >= needed:
        return True
    found.no_room = True
    note = f"no space: {needed} bytes are needed in the scratch place and {free} are free"
    found.checks.append(skipped("room", note))
    return False


def _log_access(installation: Installation, reader: SnapshotReader) -> None:
    """Tell of the access before the first byte is released (PCI DSS 10.2.1.2)."""
    installation.evidence.log.append(
        "drill",
        who=installation.officer,
        at=installation.clock.now(),
        subject_of_entry=f"snapshot {reader.snapshot.number}",
        outcome="begun",
        details={"source": reader.manifest.source},
    )


def _checked(ground: Ground, means: Means) -> Iterator[CheckResult]:
    """Make every check, the cheap and telling ones first."""
    if ground.source.kind == "folder":
        seen, played = drillrecordings.read_back_recordings(ground)
        yield drillchecks.counts(ground, seen)
        yield from drillrecordings.recording_checks(played)
    else:
        yield drillchecks.soundness(ground)
        seen = drillchecks.read_back(ground)
        yield drillchecks.counts(ground, seen)
        yield drillchecks.content(ground, seen)
    yield live_twins(ground, means.seed)
    yield from drillchecks.summed(ground, seen)


def _refuse_live(installation: Installation, place: Path) -> None:
    """Refuse a scratch place in which a live store lies, or that lies in one.

    Raises:
        ConfigError: It does.
    """
    scratch = place.resolve()
    for name, source in installation.catalogue.sources.items():
        live = Path(source.path).resolve()
        if scratch == live or scratch.is_relative_to(live) or live.is_relative_to(scratch):
            raise ConfigError(
                f"the scratch place lies in the live store of source {name!r}",
                hint="set `scratch` in tenure.yaml to a folder of its own",
            )


def _mark(source: str) -> str:
    return f"drill-{content_hash(source.encode()).hex()[:8]}-"


def _place(installation: Installation, source: str) -> Path:
    return installation.place.scratch / f"{_mark(source)}{random_bytes(4).hex()}"


def _reap(scratch: Path, source: str) -> None:
    """Wipe what a killed drill of this source left: its lock is ours, so no living one owns it."""
    for left in scratch.glob(f"{_mark(source)}*") if scratch.is_dir() else ():
        _wipe(left)


def _wipe(place: Path) -> bool:
    """Remove a scratch place with everything in it; return whether it is gone."""
    with suppress(OSError):
        shutil.rmtree(place)
    return not os.path.lexists(place)


def _keep(installation: Installation, record: DrillRecord, seconds: float) -> None:
    """Record a drill: in the control database for charts and lateness, in evidence for good."""
    drills = Drills(installation.control)
    drills.record(record, seconds=seconds)
    drills.keep_last(record.source, HISTORY)
    earlier = tuple(recorded(d) for d in drills.history(record.source, limit=HISTORY) if d.id != record.id)
    view = DrillView(installation=installation.name, record=record, history=(*earlier, record))
    installation.evidence.record_drill(view, who=installation.officer, at=record.started)


def recorded(entry: DrillEntry) -> DrillRecord:
    """Return an earlier drill as charts want it."""
    return DrillRecord(
        id=entry.id,
        source=entry.source,
        snapshot=entry.snapshot,
        started=entry.started,
        outcome=entry.outcome,
        seconds=entry.rto,
        bytes=entry.bytes,
        snapshot_age=entry.rpo,
        checks=entry.checks,
    )


def report_path(installation: Installation, record: DrillRecord) -> Path:
    """Return where a drill's report for people lies."""
    return installation.evidence.log.directory.parent / "drills" / f"{record.id}.html"
