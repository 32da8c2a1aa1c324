"""cards scan, cards quarantine list, redact, keep."""

import click

from tenure.cli.frame import INCOMPLETE, Frame, common, number
from tenure.operations import cardscan, quarantine
from tenure.operations.cardscan import Scanned
from tenure.operations.quarantine import Question

SHORT = 12
"""Hex digits of a finding's name in tables; its beginning is enough to answer."""


@click.group()
def cards() -> None:
    """Card data: find it, and say what becomes of what only looks like some."""


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
    unreadable = [[d, c, number(n)] for (d, c), n in sorted(found.unreadable.items()) if n]
    if unreadable:
        frame.table("could not be looked into", ["data set", "column", "cells"], unreadable, numbers=(2,))
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
        "unreadable": [
            {"data_set": d, "column": c, "cells": n} for (d, c), n in sorted(found.unreadable.items()) if n
        ],
        "by": [{"data_set": d, "value": v, "count": n} for (d, v), n in found.by.most_common()],
    }


@cards.group("quarantine")
def waiting() -> None:
    """What only looks like card data: sealed apart for 7 days, then cut unless somebody says it is none."""


@waiting.command("list")
@common
def list_(frame: Frame) -> int:
    """List what waits for an answer, masked; needs the reading key, and stands in the audit log."""
    with frame.installation() as installation:
        found = quarantine.listed(installation)
    rows = [
        [
            q.name[:SHORT],
            q.data_set,
            q.column,
            q.context.replace("[", r"\["),
            f"{q.first:%Y-%m-%d}",
            _due(q),
            number(q.records),
        ]
        for q in found
    ]
    columns = ["finding", "data set", "column", "looks like this", "first seen", "cut", "rows"]
    frame.table("", columns, rows, numbers=(6,))
    frame.say(
        "It is none: [bold]tenure cards quarantine keep FINDING[/]. It is some: [bold]... redact FINDING[/] or --all."
        if found
        else "Nothing waits for an answer."
    )
    frame.document({"findings": [_question(q) for q in found]})
    return 0


def _question(q: Question) -> dict[str, object]:
    return {
        "finding": q.name,
        "source": q.source,
        "data_set": q.data_set,
        "column": q.column,
        "kind": q.kind,
        "context": q.context,
        "first_seen": q.first.isoformat(),
        "due": q.due.isoformat(),
        "answer": q.answer,
        "is_due": q.is_due,
        "rows": q.records,
    }


def _due(question: Question) -> str:
    return "by the next purge" if question.is_due else f"after {question.due:%Y-%m-%d}"


@waiting.command()
@click.argument("finding", required=False)
@click.option("--all", "every", is_flag=True, help="All that wait for an answer.")
@common
def redact(frame: Frame, finding: str | None, every: bool) -> int:  # noqa: FBT001 - an option
    """Say that FINDING (as listed, or its beginning) is card data: the next purge cuts it."""
    if bool(finding) == every:
        raise click.UsageError("name one finding, or say --all")
    with frame.installation() as installation:
        count = quarantine.redact(installation, finding or "")
    frame.say(
        f"{number(count)} findings are card data. The next purge cuts them, in live stores and in snapshots: "
        "[bold]tenure rules plan[/]."
        if count
        else "Nothing waits for an answer."
    )
    frame.document({"answer": "redact", "findings": count})
    return 0


@waiting.command()
@click.argument("finding")
@common
def keep(frame: Frame, finding: str) -> int:
    """Say that FINDING (as listed, or its beginning) is no card data; it is not asked about again."""
    with frame.installation() as installation:
        count = quarantine.keep(installation, finding)
    frame.say("It is no card data, and is not asked about again in this column.")
    frame.document({"answer": "keep", "findings": count})
    return 0


COMMANDS = (cards,)
