"""restore."""

from collections.abc import Collection
from pathlib import Path

import click

from tenure.bootstrap.recovering import Remains, recovered
from tenure.cli.frame import Frame, common, number, size
from tenure.cli.remains import with_remains
from tenure.domain.errors import ConfigError
from tenure.operations import restore as restoring
from tenure.operations.installation import unknown_source
from tenure.operations.restore import Part, Restored
from tenure.repository.state import State


@click.command()
@click.argument("snapshot")
@click.option(
    "--to", "target", type=click.Path(path_type=Path), required=True, help="A place that does not exist yet."
)
@click.option("--data-set", default="", help="Only this data set.")
@click.option("--subject", default="", help="Only records about one subject: customer=1234")
@click.option("--record", default="", help="Only the record with this key.")
@common
@with_remains
def restore(
    frame: Frame,
    snapshot: str,
    target: Path,
    data_set: str,
    subject: str,
    record: str,
    remains: Remains | None,
) -> int:
    """Restore SNAPSHOT (a number, or a source's name for its newest) to a new place."""
    kind, _, value = subject.partition("=")
    if subject and not value:
        raise click.UsageError("--subject is written KIND=ID, for example customer=1234")
    part = Part(data_set=data_set, subject=(kind, value) if subject else None, record=record.encode())
    if remains is None:
        with frame.installation() as installation:
            state = installation.open_writing().state
            chosen = _number(state, snapshot, installation.catalogue.sources)
            done = restoring.restore(installation, chosen, target, part)
    else:
        with frame.machine() as machine, recovered(remains, machine) as opened:
            state = opened.repository.state
            chosen = _number(state, snapshot, {w.source for w in state.writers.values()})
            done = opened.restore(chosen, target, part)
    _tell_restored(frame, done)
    return 0


def _tell_restored(frame: Frame, done: Restored) -> None:
    frame.say(
        f"Restored {number(done.records)} records ({size(done.plain)}) of snapshot {done.snapshot} to"
        f" [bold]{done.target}[/]."
    )
    if done.forgotten:
        entries = sorted({n for b in done.balances.values() for n in b.by_entry if n})
        frame.say(f"{number(done.forgotten)} records of it were forgotten since (ledger entries {entries}).")
    frame.document(
        {
            "snapshot": done.snapshot,
            "target": done.target,
            "records": done.records,
            "bytes": done.plain,
            "forgotten": done.forgotten,
            "data_sets": {
                n: {"records": done.records_of(n), "forgotten": b.forgotten} for n, b in done.balances.items()
            },
        }
    )


def _number(state: State, word: str, sources: Collection[str]) -> int:
    if word.isdecimal():
        return int(word)
    found = state.snapshots_of(word)
    if not found and word not in sources:
        raise unknown_source(word, sources)
    if not found:
        raise ConfigError(f"there is no snapshot of {word!r}", hint=f"take one with `tenure snapshot {word}`")
    return int(found[-1].number)


COMMANDS = (restore,)
