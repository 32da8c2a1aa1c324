"""cards scan."""

import click

from tenure.cli.frame import INCOMPLETE, Frame, common, number
from tenure.operations import cardscan
from tenure.operations.cardscan import Scanned


@click.group()
def cards() -> None:
    """Card data: find it."""


@cards.command()
@click.argument("source", required=False)
@click.option(
    "--by", default="", metavar="COLUMN", help="Count sure findings by the values of this column, too."
)
@common
def scan(frame: Frame, source: str | None, by: str) -> int:
    """Scan the live stores, SOURCE or all; exit 3 when card data is where it must not be."""
    with frame.installation() as installation:
        found = cardscan.scanned(installation, source, by=by)
    _tell(frame, found, by)
    frame.document(_document(found))
    return INCOMPLETE if found.exposed else 0


def _tell(frame: Frame, found: Scanned, by: str) -> None:
    rows = [
        [
            t.spot.data_set,
            t.spot.column,
            str(t.spot.kind),
            t.spot.confidence.name.lower(),
            number(t.count),
            number(t.test_numbers) if t.test_numbers else "",
            "[bold red]must not be there[/]" if t.exposed else "",
        ]
        for t in found.tallies()
    ]
    columns = ["data set", "column", "found", "confidence", "count", "test numbers", ""]
    if rows:
        frame.table("", columns, rows, numbers=(4, 5))
    if found.by:
        beside = [[d, v.replace("[", r"\["), number(n)] for (d, v), n in found.by.most_common()]
        frame.table(f"sure findings by {by}", ["data set", by, "count"], beside, numbers=(2,))
    frame.say(
        f"{number(found.records)} records scanned; {number(found.exposed)} findings where card data must not be."
    )
    if found.exposed:
        frame.say(
            "Snapshots cut them in flight; the live store still has them. Correct them there, and tell security."
        )


def _document(found: Scanned) -> dict[str, object]:
    return {
        "records": found.records,
        "exposed": found.exposed,
        "findings": [
            {
                "data_set": t.spot.data_set,
                "column": t.spot.column,
                "kind": t.spot.kind,
                "confidence": t.spot.confidence.name.lower(),
                "count": t.count,
                "test_numbers": t.test_numbers,
                "exposed": t.exposed,
            }
            for t in found.tallies()
        ],
        "by": [{"data_set": d, "value": v, "count": n} for (d, v), n in found.by.most_common()],
    }


COMMANDS = (cards,)
