"""prune: drop old snapshots and free space."""

import click

from tenure.cli.frame import INCOMPLETE, Frame, common, number, size
from tenure.operations import pruning
from tenure.repository.keeping import PrunePlan
from tenure.repository.pruning import Freed


@click.command()
@click.option("--plan", "only_plan", is_flag=True, help="Show what would go, and why; change nothing.")
@click.option(
    "--no-repack", is_flag=True, help="Leave packs as they are that are more than a third dead; copy nothing."
)
@click.option(
    "--drop",
    type=click.IntRange(min=0),
    default=None,
    metavar="N",
    help="Confirm that N snapshots are to go, where that is more than the brake lets.",
)
@click.option(
    "--mend",
    is_flag=True,
    help="Read every key page in every key store, and copy back what is damaged, too; what is missing always is.",
)
@common
def prune(
    frame: Frame,
    only_plan: bool,  # noqa: FBT001 - a flag, as all of these
    no_repack: bool,  # noqa: FBT001
    drop: int | None,
    mend: bool,  # noqa: FBT001
) -> int:
    """Drop snapshots that the keep policy lets go, and free space."""
    if only_plan and (no_repack or mend or drop is not None):
        raise click.UsageError("--plan changes nothing; leave one of the two out")
    with frame.installation() as installation:
        if only_plan:
            plan, _ = pruning.planned(installation)
            freed, confirmed = None, tuple[str, ...]()
        else:
            done = pruning.pruned(installation, repack=not no_repack, confirmed=drop, every_page=mend)
            plan, freed, confirmed = done.plan, done.freed, done.confirmed
    _tell_plan(frame, plan)
    document: dict[str, object] = {"drop": dict(plan.drop), "keep": dict(plan.keep)}
    if freed is not None:
        _tell(frame, freed)
        document |= _figures(freed) | {"confirmed": list(confirmed)}
        for name in confirmed:
            frame.say(f"Every key store has confirmed a forgetting now: certificate [bold]{name}[/].")
    frame.document(document)
    return 0 if freed is None or freed.is_whole else INCOMPLETE


def _tell_plan(frame: Frame, plan: PrunePlan) -> None:
    rows = [[str(n), "goes", why] for n, why in plan.drop] + [[str(n), "stays", why] for n, why in plan.keep]
    frame.table("", ["snapshot", "", "why"], sorted(rows, key=lambda r: int(r[0])), numbers=(0,))


def _tell(frame: Frame, freed: Freed) -> None:
    frame.say(
        f"Dropped {freed.snapshots} snapshots; deleted {number(freed.packs)} packs and"
        f" {number(freed.manifests)} manifests; {number(freed.pages)} key pages replaced or removed."
    )
    if freed.repacked:
        frame.say(
            f"Repacked {number(freed.repacked)} packs that were more than a third dead: {size(freed.copied)} of them"
            " live on in new packs."
        )
    frame.say(f"Freed {size(max(freed.bytes - freed.copied, 0))}.")
    if freed.retained:
        until = (
            f"retained until {freed.retained_until:%Y-%m-%d %H:%M} UTC"
            if freed.retained_until
            else "retained"
        )
        frame.say(
            f"{number(freed.retained)} objects are under a lock: {until}, then a later prune deletes them."
        )
    if freed.mended:
        frame.say(
            f"Key pages copied back to a key store that lacked them or had them damaged: {number(freed.mended)}."
        )
    if freed.pending:
        frame.say(
            f"[yellow]Not confirmed by key stores: {', '.join(sorted(freed.pending))}[/]; run it again."
        )
    for name in freed.unsound:
        frame.err.print(f"[bold red]damaged, and left alone:[/] {name}", soft_wrap=True)
    if freed.unsound:
        frame.err.print(
            "[bold]next:[/] run `tenure verify`; restore these packs from a version or a copy", soft_wrap=True
        )


def _figures(freed: Freed) -> dict[str, object]:
    return {
        "bytes": freed.bytes,
        "packs": freed.packs,
        "repacked": freed.repacked,
        "copied": freed.copied,
        "retained": freed.retained,
        "retained_until": freed.retained_until,
        "unsound": freed.unsound,
        "pending": sorted(freed.pending),
    }


COMMANDS = (prune,)
