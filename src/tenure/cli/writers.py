"""writers: who may add snapshots."""

from datetime import UTC, datetime

import click

from tenure.cli.frame import Frame, common, number
from tenure.operations import writers as operation


@click.group()
def writers() -> None:
    """Writers: who may add snapshots of a source."""


@writers.command("list")
@common
def list_(frame: Frame) -> int:
    """Show every writer, and what it added."""
    with frame.installation() as installation:
        found = operation.listed(installation)
    rows = [
        [
            w.source,
            w.writer.hex(),
            "[dim]removed[/]" if w.removed else "may add snapshots",
            number(w.snapshots),
            f"{datetime.fromtimestamp(w.last_at, UTC):%Y-%m-%d %H:%M}" if w.last_at else "",
            "here" if w.here else "[dim]not here[/]",
        ]
        for w in found
    ]
    frame.table("", ["writer of", "id", "", "snapshots", "last (UTC)", "key file"], rows, numbers=(3,))
    frame.document(
        {
            "writers": [
                {
                    "source": w.source,
                    "writer": w.writer.hex(),
                    "removed": w.removed,
                    "snapshots": w.snapshots,
                    "last_at": w.last_at or None,
                    "here": w.here,
                }
                for w in found
            ]
        }
    )
    return 0


@writers.command()
@click.argument("source")
@common
def admit(frame: Frame, source: str) -> int:
    """Admit a writer for SOURCE, for a host that takes its snapshots and has no other key."""
    with frame.installation() as installation:
        made = operation.admit(installation, source)
    frame.say(f"Made [bold]{made}[/]. Move it to the host that takes the snapshots; it reads nothing.")
    frame.document({"source": source, "file": made})
    return 0


@writers.command()
@click.argument("source")
@click.option("--reason", required=True, help="Why; it stands in the ledger for good. No personal data.")
@common
def renew(frame: Frame, source: str, reason: str) -> int:
    """Replace the writer of SOURCE; the old key is worth nothing from then on.

    A snapshot that the old one has under way elsewhere is refused when it commits. The next snapshot stores all of
    the source anew: what a writer stored is named and keyed by its own secrets.
    """
    with frame.installation() as installation:
        made = operation.renew(installation, source, reason)
    frame.say(f"Made [bold]{made}[/]; the old writer is removed, its snapshots stay.")
    frame.document({"source": source, "file": made})
    return 0


@writers.command()
@click.argument("source")
@click.option("--reason", required=True, help="Why; it stands in the ledger for good. No personal data.")
@common
def remove(frame: Frame, source: str, reason: str) -> int:
    """Take the writer of SOURCE away: what it signs from now on counts for nothing; its snapshots stay."""
    with frame.installation() as installation:
        operation.remove(installation, source, reason)
    frame.say(
        f"The writer of {source} is removed. Its snapshots stay; a new one: tenure writers admit {source}"
    )
    frame.document({"source": source, "removed": True})
    return 0


COMMANDS = (writers,)
