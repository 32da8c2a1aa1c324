"""drill."""

import time

import click

from tenure.cli.frame import Frame, common, number, size
from tenure.domain.errors import ConfigError, DrillMismatchError, ObjectiveMissedError
from tenure.evidence.drill_record import CheckOutcome, DrillOutcome, DrillRecord
from tenure.operations import drilling
from tenure.operations.drilling import EXIT_CODES, Means

_STYLES = {CheckOutcome.PASSED: "green", CheckOutcome.FAILED: "bold red", CheckOutcome.SKIPPED: "yellow"}
_NEXT = {
    DrillOutcome.FAILED: DrillMismatchError.default_hint,
    DrillOutcome.MISSED: ObjectiveMissedError.default_hint
    or "take snapshots more often or restore from a nearer store, or set an objective that can be met",
    DrillOutcome.SKIPPED: "free space in the scratch place, or set `scratch` in tenure.yaml to a larger one",
}
_WORST = (DrillOutcome.FAILED, DrillOutcome.MISSED, DrillOutcome.SKIPPED, DrillOutcome.PASSED)


@click.command()
@click.argument("sources", nargs=-1)
@click.option("--snapshot", type=int, default=None, help="This snapshot instead of the newest.")
@click.option("--seed", type=int, default=None, help="Draw the samples that an earlier drill drew.")
@common
def drill(frame: Frame, sources: tuple[str, ...], snapshot: int | None, seed: int | None) -> int:
    """Restore the newest snapshot of SOURCES (default: all) to a scratch place, check it, and wipe it."""
    if snapshot is not None and len(sources) != 1:
        raise click.UsageError("--snapshot goes with one source")
    done: list[tuple[DrillRecord, str]] = []
    with frame.installation() as installation:
        names = sources or tuple(sorted(installation.catalogue.sources))
        if not names:
            raise ConfigError("no source is configured", hint="name one under `sources` in tenure.yaml")
        for name in names:
            means = Means(timer=time.monotonic, seed=drilling.new_seed() if seed is None else seed)
            record = drilling.drill(installation, name, means, number=snapshot)
            done.append((record, str(drilling.report_path(installation, record))))
    for record, report in done:
        _tell(frame, record, report)
    frame.document({"drills": [_plain(record, report) for record, report in done]})
    worst = next(o for o in _WORST if any(r.outcome is o for r, _ in done))
    if worst in _NEXT:
        frame.err.print(f"[bold]next:[/] {_NEXT[worst]}", soft_wrap=True)
    return EXIT_CODES[worst]


def _tell(frame: Frame, record: DrillRecord, report: str) -> None:
    style = "green" if record.outcome is DrillOutcome.PASSED else "bold red"
    frame.say(
        f"Drill of [bold]{record.source}[/], snapshot {record.snapshot}: [{style}]{record.outcome}[/];"
        f" {size(record.bytes)} restored in {record.seconds:.1f} s"
    )
    rows = [
        [c.name, f"[{_STYLES[c.outcome]}]{c.outcome}[/]", c.expected, c.found, c.note.replace("[", r"\[")]
        for c in record.checks
    ]
    frame.table("", ["check", "result", "expected", "found", "note"], rows)
    if record.outcome is DrillOutcome.MISSED:
        frame.say(_objectives(record))
    frame.say(f"Evidence and report: {report}")


def _objectives(record: DrillRecord) -> str:
    words = []
    if record.restore_objective is not None:
        words.append(f"restore within {record.restore_objective:.0f} s, took {record.seconds:.1f} s")
    if record.age_objective is not None:
        words.append(
            f"at most {number(int(record.age_objective))} s old, was {number(int(record.snapshot_age))} s"
        )
    return f"Objectives: {'; '.join(words)}"


def _plain(record: DrillRecord, report: str) -> dict[str, object]:
    return {
        "id": record.id,
        "source": record.source,
        "snapshot": record.snapshot,
        "outcome": record.outcome,
        "seconds": record.seconds,
        "bytes": record.bytes,
        "snapshot_age": record.snapshot_age,
        "wiped": record.wiped,
        "report": report,
        "checks": [
            {"name": c.name, "outcome": c.outcome, "expected": c.expected, "found": c.found, "note": c.note}
            for c in record.checks
        ],
    }


COMMANDS = (drill,)
