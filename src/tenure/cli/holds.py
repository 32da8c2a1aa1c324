"""hold place, list, release."""

from datetime import date
from typing import Any

import click

from tenure.cli.frame import Frame, common
from tenure.cli.purge import subject_of
from tenure.domain.errors import ConfigError
from tenure.operations import holding
from tenure.operations.explaining import keys_of
from tenure.rules.holds import HoldScope


@click.group()
def hold() -> None:
    """Orders not to delete, whatever a rule says."""


@hold.command()
@click.option("--matter", required=True, help="The case it is for.")
@click.option("--reason", required=True)
@click.option("--review-by", required=True, type=click.DateTime(["%Y-%m-%d"]))
@click.option("--subject", "people", multiple=True, help="KIND=ID; may be given often.")
@click.option("--data-set", "data_sets", multiple=True, help="All its records.")
@click.option("--record", "records", nargs=2, multiple=True, metavar="DATASET KEY")
@click.option(
    "--everything", is_flag=True, help="All records of all data sets: purge and prune stop at once."
)
@common
def place(
    frame: Frame,
    matter: str,
    reason: str,
    review_by: Any,
    people: tuple[str, ...],
    data_sets: tuple[str, ...],
    records: tuple[tuple[str, str], ...],
    everything: bool,  # noqa: FBT001 - an option
) -> int:
    """Place a hold; it is in force as soon as this returns."""
    with frame.installation() as installation:
        asked = holding.Asked(
            matter=matter,
            reason=reason,
            review_by=review_by.date(),
            scope=_scope(installation.catalogue.data_sets(), people, data_sets, records, whole=everything),
        )
        placed = holding.place(installation, asked)
    frame.say(f"Hold [bold]{placed}[/] for {matter} is in force, to be reviewed by {review_by:%Y-%m-%d}.")
    frame.document({"hold": placed, "matter": matter, "review_by": review_by.date().isoformat()})
    return 0


@hold.command("list")
@click.option("--all", "released_too", is_flag=True, help="Released ones, too.")
@common
def list_(frame: Frame, released_too: bool) -> int:  # noqa: FBT001 - an option
    """List the holds in force."""
    with frame.installation() as installation:
        found = holding.listed(installation, released=released_too)
        today: date = installation.clock.now().date()
    rows = [
        [
            h.hold,
            h.matter,
            h.covers,
            h.placed_by,
            f"{h.review_by}{'  overdue' if h.review_by < today else ''}",
            h.released,
        ]
        for h in found
    ]
    frame.table("", ["hold", "matter", "covers", "placed by", "review by", "released"], rows)
    if not found:
        frame.say("No hold is in force.")
    frame.document(
        {
            "holds": [
                {
                    "hold": h.hold,
                    "matter": h.matter,
                    "reason": h.reason,
                    "covers": h.covers,
                    "placed_by": h.placed_by,
                    "review_by": h.review_by.isoformat(),
                    "released": h.released,
                }
                for h in found
            ]
        }
    )
    return 0


@hold.command()
@click.argument("hold_id")
@click.option("--reason", required=True)
@common
def release(frame: Frame, hold_id: str, reason: str) -> int:
    """Release a hold; what it deferred is in the next plan."""
    with frame.installation() as installation:
        released = holding.release(installation, hold_id, reason=reason)
    frame.say(f"Hold [bold]{released}[/] is released; what it kept is in the next plan.")
    frame.document({"hold": released, "released": reason})
    return 0


def _scope(
    known: Any,
    people: tuple[str, ...],
    data_sets: tuple[str, ...],
    records: tuple[tuple[str, str], ...],
    *,
    whole: bool,
) -> HoldScope:
    subjects: dict[str, list[str]] = {}
    for one in map(subject_of, people):
        subjects.setdefault(one.kind, []).append(one.value)
    keys: dict[str, list[bytes]] = {}
    for name, key in records:
        if name not in known:
            raise ConfigError(f"there is no data set {name!r}", hint=f"there are: {', '.join(sorted(known))}")
        keys.setdefault(name, []).extend(keys_of(key, recording=not known[name].table))
    try:
        return HoldScope(
            everything=whole,
            data_sets=data_sets,
            subjects={kind: tuple(ids) for kind, ids in subjects.items()},
            keys={name: tuple(some) for name, some in keys.items()},
        )
    except ValueError as e:
        raise ConfigError(str(e), hint="say --subject, --record, --data-set or --everything") from None


COMMANDS = (hold,)
