"""A plan for people: tables and sentences."""

from tenure.cli.frame import Frame, number
from tenure.operations.planbody import PlanBody
from tenure.operations.planning import PurgePlan

MOST_LINES = 12


def show_plan(frame: Frame, plan: PurgePlan) -> None:
    """Print a plan."""
    body = plan.body
    frame.say(
        f"Plan [bold]{plan.hash[:12]}[/], judged at {body.moment:%Y-%m-%d %H:%M} UTC. Nothing was touched."
    )
    _changes(frame, body)
    rows = [
        [c.rule, c.data_set, c.action, number(c.live), number(c.past), number(c.newly)] for c in body.counts
    ]
    if rows:
        columns = ["rule", "data set", "does", "live", "only in snapshots", "newly due"]
        frame.table("What goes", columns, rows, numbers=(3, 4, 5))
    else:
        frame.say("Nothing is due.")
    if body.kept:
        kept = [[k.data_set, number(k.records), k.why, str(k.until or "")] for k in body.kept]
        frame.table("What stays, and why", ["data set", "records", "why", "until"], kept, numbers=(1,))
    _snapshots(frame, body)
    if body.samples:
        samples = [[s.data_set, s.which, s.record, str(s.due or "")] for s in body.samples]
        frame.table("Samples (keys masked)", ["data set", "which", "record", "due"], samples)
    _forecast(frame, body)
    for note in body.notes:
        frame.say(f"Note: {note}.")
    for refusal in body.refusals:
        frame.say(f"[bold red]This plan cannot be executed:[/] {refusal}.")


def _changes(frame: Frame, body: PlanBody) -> None:
    if not body.changes:
        frame.say("The rule files are the rules in force.")
        return
    frame.say(f"[yellow]{len(body.changes)} changes against the rules in force:[/]")
    for line in body.changes[:MOST_LINES]:
        frame.out.print(f"  {line}", markup=False, soft_wrap=True) if not (
            frame.as_json or frame.quiet
        ) else None
    if len(body.changes) > MOST_LINES:
        frame.say(f"  and {len(body.changes) - MOST_LINES} more (--json lists all)")


def _snapshots(frame: Frame, body: PlanBody) -> None:
    if not body.cohorts:
        return
    whole = sum(c.whole for c in body.cohorts)
    records = sum(c.records for c in body.cohorts)
    frame.say(
        f"In {body.snapshots} snapshots: {number(records)} records in {len(body.cohorts)} cohorts"
        f" ({whole} go whole), {number(body.chunks)} chunks are touched."
    )


def _forecast(frame: Frame, body: PlanBody) -> None:
    weeks = [w for w in body.forecast if w.records][:4]
    if weeks:
        said = ", ".join(f"{number(w.records)} in the week from {w.start}" for w in weeks)
        frame.say(f"Coming: {said}.")
