"""locks status, extend, hold, release: what the object store itself keeps from everybody."""

import click

from tenure.cli.frame import INCOMPLETE, Frame, common, number
from tenure.control.locks import Locks
from tenure.operations import locking


@click.group()
def locks() -> None:
    """Locks that the object store enforces, whoever asks it to delete."""


@locks.command()
@common
def status(frame: Frame) -> int:
    """Show for how long what is put is locked, and which snapshots are under a legal hold."""
    with frame.installation() as installation:
        policy = installation.where().locks
        held = Locks(installation.control).held()
    if policy.most:
        rows = [
            ["everything else", f"{policy.days:g}"],
            *([d, f"{n:g}"] for d, n in policy.data_sets.items()),
        ]
        rows.append(["key pages", f"{policy.page_days:g}"])
        frame.table("", ["what", "days"], rows, numbers=(1,))
    else:
        frame.say("No locks are set: whoever may delete in the store can delete snapshots at once.")
    if held:
        frame.table("legal holds", ["snapshot", "why"], [[str(n), why] for n, why in sorted(held.items())])
    frame.document(
        {
            "days": policy.days,
            "data_sets": dict(policy.data_sets),
            "key_page_days": policy.page_days,
            "legal_holds": held,
        }
    )
    return 0


@locks.command()
@common
def extend(frame: Frame) -> int:
    """Make the locks of all that snapshots share last as long as the newest snapshot's; run it daily."""
    with frame.installation() as installation:
        done = locking.extended(installation)
    frame.say(f"{number(done.extended)} of {number(done.objects)} locks were made to last longer.")
    if done.least is not None:
        frame.say(f"Nothing that a snapshot needs can be deleted before {done.least:%Y-%m-%d %H:%M} UTC.")
    if done.missing:
        frame.say(f"[red]Not there[/]: {', '.join(sorted(done.missing))}. Run `tenure verify`.")
    frame.document(
        {
            "objects": done.objects,
            "extended": done.extended,
            "locked_until": done.least.isoformat() if done.least else None,
            "missing": sorted(done.missing),
        }
    )
    return INCOMPLETE if done.missing else 0


@locks.command()
@click.argument("snapshot", type=click.IntRange(min=1))
@click.option("--reason", required=True)
@common
def hold(frame: Frame, snapshot: int, reason: str) -> int:
    """Put SNAPSHOT under a legal hold: nobody deletes what it needs until the hold is lifted.

    It keeps sealed data, not keys: what rules and erasures forget becomes unreadable all the same.
    """
    with frame.installation() as installation:
        objects = locking.hold(installation, snapshot, reason)
    frame.say(f"Snapshot {snapshot} is under a legal hold: {number(objects)} objects.")
    frame.document({"snapshot": snapshot, "objects": objects})
    return 0


@locks.command()
@click.argument("snapshot", type=click.IntRange(min=1))
@common
def release(frame: Frame, snapshot: int) -> int:
    """Lift the legal hold of SNAPSHOT, from all that no other held snapshot needs."""
    with frame.installation() as installation:
        objects = locking.release(installation, snapshot)
    frame.say(f"The legal hold of snapshot {snapshot} is lifted: {number(objects)} objects.")
    frame.document({"snapshot": snapshot, "objects": objects})
    return 0


COMMANDS = (locks,)
