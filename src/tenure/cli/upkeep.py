"""verify, status, report, control rebuild."""

from datetime import timedelta
from pathlib import Path

import click

from tenure.cli.frame import INCOMPLETE, Frame, common, number, size
from tenure.evidence.views import StepWeight
from tenure.operations import probing, rebuilding, reporting, verifying
from tenure.operations import status as standing
from tenure.operations.probing import Probe
from tenure.operations.status import KeyStoreStatus, SourceStatus, Status
from tenure.operations.verifying import ALL, DEFAULT_SHARE, Depth, Verified

_WEIGHTS = {StepWeight.NOW: "bold red", StepWeight.SOON: "yellow", StepWeight.CURIOUS: "dim"}


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


@click.command()
@click.option(
    "--read-data",
    default="",
    metavar="N%",
    help="Read this share of the data back, what was looked at longest ago first. Default: 5%, or with --for: 100%.",
)
@click.option("--for", "time", default="", metavar="TIME", help="Stop reading data back after 30m, 2h ...")
@click.option(
    "--without-keys", is_flag=True, help="Only what anyone can check: names against bytes, signatures."
)
@common
def verify(frame: Frame, read_data: str, time: str, without_keys: bool) -> int:  # noqa: FBT001 - a flag
    """Check the repository: bytes against names, structure, and a share of the data."""
    if (read_data or time) and without_keys:
        raise click.UsageError("--read-data and --for need keys; leave one of the two out")
    depth = Depth(
        share=verifying.share_of(read_data) if read_data else ALL if time else DEFAULT_SHARE,
        time=verifying.time_of(time) if time else None,
        keys=not without_keys,
    )
    with frame.installation() as installation:
        found = verifying.verified(installation, depth)
    _tell_verified(frame, found)
    frame.document(
        {
            "damage": [{"what": d.what, "where": d.where, "snapshots": d.snapshots} for d in found.damage],
            "entries": found.plain.entries,
            "packs": found.plain.packs,
            "bytes": found.plain.bytes,
            "key_pages": found.plain.pages,
            "snapshots": found.sealed.snapshots if found.sealed else 0,
            "chunks_unsealed": found.sealed.chunks if found.sealed else 0,
            "bytes_unsealed": found.sealed.bytes if found.sealed else 0,
            "verified_snapshots": sorted(found.snapshots),
        }
    )
    return found.exit_code


def _tell_verified(frame: Frame, found: Verified) -> None:
    plain, sealed = found.plain, found.sealed
    frame.say(
        f"Without keys: {number(plain.entries)} ledger entries, {number(plain.packs)} packs ({size(plain.bytes)}),"
        f" {number(plain.manifests)} manifests, {number(plain.pages)} key pages."
    )
    if sealed is not None:
        frame.say(
            f"With keys: {number(sealed.snapshots)} snapshots resolve, {number(sealed.chunks)} chunks"
            f" ({size(sealed.bytes)}) read back. {number(len(found.snapshots))} are verified: read back whole since"
            " they were taken."
        )
    if not found.damage:
        frame.say("[green]Nothing is damaged.[/]")
        return
    rows = [[_plain(d.where), ", ".join(map(str, d.snapshots)), _plain(d.what)] for d in found.damage]
    frame.table("damage", ["object", "snapshots", "what"], rows)
    hint = "restore the objects from a version or a copy; snapshots not named here are whole"
    if found.mendable:
        hint = "run `tenure prune --mend`: it copies these pages back from another key store"
    frame.err.print(f"[bold]next:[/] {hint}", soft_wrap=True)


@click.command()
@click.option("--probe", is_flag=True, help="Try what every store promises, on an object of its own.")
@common
def status(frame: Frame, probe: bool) -> int:  # noqa: FBT001 - a flag of the command line
    """Show how the installation stands and what to do next; exit 3 when something has to be done now."""
    with frame.installation() as installation:
        found = standing.status(installation)
        probes = list(probing.probed(installation).probes) if probe else []
    rows = [_source_row(s) for s in found.sources]
    frame.table("", ["source", "snapshots", "newest", "age", "objective", "last drill"], rows, numbers=(1, 2))
    frame.table("", ["key store", "pages", "state"], [_store_row(k) for k in found.key_stores], numbers=(1,))
    for line in _lines(found):
        frame.say(line)
    if probes:
        frame.table("", ["store", "promise", "kept", "note"], [_probe_row(p) for p in probes])
    steps = [
        [f"[{_WEIGHTS[s.weight]}]{s.weight}[/]", _plain(s.command), _plain(s.words)] for s in found.next_steps
    ]
    frame.table("next steps", ["when", "type", "why"], steps)
    frame.document(_document(found, probes))
    return 0 if found.is_well and all(p.kept or p.idle for p in probes) else INCOMPLETE


def _source_row(s: SourceStatus) -> list[str]:
    age = _span(s.age) if s.age is not None else "never"
    drilled = f"{s.drilled_at:%Y-%m-%d}, {s.drill_outcome}" if s.drilled_at else "never"
    return [
        s.name,
        number(s.snapshots),
        str(s.newest or ""),
        f"[bold red]{age}, late[/]" if s.late else age,
        _span(s.objectives.age) if s.objectives.age else "",
        drilled,
    ]


def _store_row(k: KeyStoreStatus) -> list[str]:
    state = _plain(k.problem) or (
        f"[bold red]lacks {k.lacks} live pages[/]" if k.lacks else "[green]whole[/]"
    )
    return [k.name, number(k.pages), state]


def _probe_row(p: Probe) -> list[str]:
    return [
        p.store,
        p.what,
        "[green]yes[/]" if p.kept else "[dim]no[/]" if p.idle else "[bold red]no[/]",
        _plain(p.note),
    ]


def _lines(found: Status) -> list[str]:
    epochs = ", ".join(f"{n} {state}" for n, state in found.epochs)
    lines = [f"Rules in force: {found.rules[:12] or 'none'}   key epochs: {epochs}"]
    lines += [f"Hold {_plain(repr(h.matter))}, review by {h.review_by}" for h in found.holds]
    if found.open_forgettings:
        lines.append(f"{found.open_forgettings} purges or erasures are not finished")
    lines += [f"[bold red]Ledger entry {n} counts for nothing[/]: {_plain(why)}" for n, why in found.refused]
    return lines


def _span(span: timedelta) -> str:
    seconds = max(span.total_seconds(), 0.0)
    for unit, length, least in (("days", 86_400, 172_800), ("h", 3600, 3600), ("min", 60, 60)):
        if seconds >= least:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _document(found: Status, probes: list[Probe]) -> dict[str, object]:
    return {
        "installation": found.name,
        "well": found.is_well,
        "sources": [
            {
                "name": s.name,
                "snapshots": s.snapshots,
                "newest": s.newest,
                "taken_at": s.taken_at.isoformat() if s.taken_at else None,
                "age_seconds": s.age.total_seconds() if s.age is not None else None,
                "late": s.late,
                "last_drill": s.drilled_at.isoformat() if s.drilled_at else None,
                "last_drill_outcome": s.drill_outcome,
            }
            for s in found.sources
        ],
        "holds": [
            {"hold": h.hold, "matter": h.matter, "review_by": h.review_by.isoformat()} for h in found.holds
        ],
        "open_forgettings": found.open_forgettings,
        "epochs": dict(found.epochs),
        "rules": found.rules,
        "plans_waiting": found.plans_waiting,
        "refused": dict(found.refused),
        "key_stores": [
            {"name": k.name, "pages": k.pages, "lacks": k.lacks, "problem": k.problem}
            for k in found.key_stores
        ],
        "probe": [
            {"store": p.store, "what": p.what, "kept": p.kept, "relied_on": not p.idle, "note": p.note}
            for p in probes
        ],
        "next_steps": [{"type": s.command, "why": s.words, "when": s.weight} for s in found.next_steps],
    }


@click.command()
@click.option(
    "--to", "target", type=click.Path(path_type=Path, dir_okay=False), default=Path("tenure-report.html")
)
@common
def report(frame: Frame, target: Path) -> int:
    """Write the whole installation on one page (default: ./tenure-report.html)."""
    with frame.installation() as installation:
        written = reporting.report(installation, target)
    frame.say(f"Wrote [bold]{written}[/]")
    frame.document({"report": str(written)})
    return 0


@click.group()
def control() -> None:
    """The control database."""


@control.command()
@common
def rebuild(frame: Frame) -> int:
    """Fill a new control database: rules in force and holds from the ledger, drills from evidence."""
    with frame.installation() as installation:
        done = rebuilding.rebuilt(installation)
    rules = f"rule set {done.rules[:12]}" if done.rules else "no rule set"
    frame.say(f"Put back: {rules} in force, {done.holds} holds, {done.drills} drills.")
    frame.say("Plans that were never executed and their approvals are lost: make and approve them again.")
    frame.document({"rules": done.rules, "holds": done.holds, "drills": done.drills})
    return 0


COMMANDS = (verify, status, report, control)
