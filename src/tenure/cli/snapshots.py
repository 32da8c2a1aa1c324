"""snapshot, snapshots, show."""

import os
from datetime import UTC, datetime

import click

from tenure.bootstrap.recovering import Remains, recovered
from tenure.cli.frame import INCOMPLETE, Frame, common, number, size
from tenure.cli.remains import with_remains
from tenure.domain.errors import IntegrityError, KeyMismatchError
from tenure.operations import proven
from tenure.operations import snapshot as taking
from tenure.operations.installation import unknown_source
from tenure.operations.snapshot import Taken
from tenure.repository.manifest import Manifest, cut_in
from tenure.repository.repository import Repository
from tenure.repository.state import SnapshotState, State


@click.command()
@click.argument("sources", nargs=-1)
@common
def snapshot(frame: Frame, sources: tuple[str, ...]) -> int:
    """Take snapshots of SOURCES now (default: all)."""
    with frame.installation() as installation:
        taken = taking.take(installation, sources)
    rows = []
    for t in taken:
        redacted = sum(t.redacted.values())
        rows.append(
            [str(t.number), t.source, number(t.records), size(t.plain), size(t.stored), number(redacted)]
        )
    frame.table(
        "", ["snapshot", "source", "records", "size", "added", "redacted"], rows, numbers=(0, 2, 3, 4, 5)
    )
    for t in taken:
        for finding in t.findings:
            where = f": {os.fsdecode(finding.where)!r}" if finding.where else ""
            frame.say(f"[yellow]{t.source}: {finding.reason}[/]" + where.replace("[", r"\["))
        _tell_left(frame, t)
    frame.document({"snapshots": [_taken(t) for t in taken]})
    return INCOMPLETE if any(t.findings for t in taken) else 0


def _tell_left(frame: Frame, t: Taken) -> None:
    """Print what of a snapshot may be card data all the same."""
    if waiting := sum(t.quarantined.values()):
        frame.say(
            f"{t.source}: {number(waiting)} rows may hold card data and are sealed apart; it is cut after 7 days:"
            " [bold]tenure cards quarantine list[/]"
        )
    if likely := sum(t.likely.values()):
        frame.say(
            f"{t.source}: {number(likely)} findings look like card data and were left: in numeric columns, in columns of"
            " ids, or answered for; see [bold]tenure cards scan[/]"
        )
    if unreadable := sum(n for cells in t.unreadable.values() for n in cells.values()):
        frame.say(
            f"{t.source}: {number(unreadable)} binary cells could not be looked into: [bold]tenure show {t.number}[/]"
        )


def _taken(t: Taken) -> dict[str, object]:
    return {
        "number": t.number,
        "source": t.source,
        "taken_at": t.taken_at.isoformat(),
        "records": t.records,
        "bytes": t.plain,
        "added_bytes": t.stored,
        "redacted": t.redacted,
        "likely_card_data": t.likely,
        "quarantined": t.quarantined,
        "unreadable": t.unreadable,
        "findings": [f.reason for f in t.findings],
    }


@click.command()
@click.argument("source", required=False)
@common
@with_remains
def snapshots(frame: Frame, source: str | None, remains: Remains | None) -> int:
    """List snapshots, of SOURCE or of all."""
    state, sources, cards, verified = _listed(frame) if remains is None else _recovered_state(frame, remains)
    if source is not None and source not in sources and not state.snapshots_of(source):
        raise unknown_source(source, sources)
    found = state.snapshots_of(source)
    rows = [_row(s, verified) for s in found]
    frame.table("", ["snapshot", "source", "taken", "records", "size", "verified"], rows, numbers=(0, 3, 4))
    if not found:
        frame.say("There is no snapshot yet. Run [bold]tenure snapshot[/].")
    frame.document(
        {
            "snapshots": [
                {
                    "number": s.number,
                    "source": s.entry.source,
                    "taken_at": datetime.fromtimestamp(s.entry.taken_at, UTC).isoformat(),
                    "records": s.entry.rows,
                    "bytes": s.entry.plain,
                    "verified": s.number in verified,
                    **cards[s.number],
                }
                for s in found
            ]
        }
        if frame.as_json
        else {}
    )
    return 0


_Listed = tuple[State, set[str], dict[int, dict[str, object]], frozenset[int]]


def _row(s: SnapshotState, verified: frozenset[int]) -> list[str]:
    entry, mark = s.entry, "yes" if s.number in verified else ""
    return [str(s.number), entry.source, _when(entry.taken_at), number(entry.rows), size(entry.plain), mark]


def _listed(frame: Frame) -> _Listed:
    with frame.installation() as installation:
        repository = installation.open_writing()
        verified = proven.verified(installation, repository.state)
        sources = set(installation.catalogue.sources)
        return repository.state, sources, _cards_by_number(frame, repository), verified


def _recovered_state(frame: Frame, remains: Remains) -> _Listed:
    with frame.machine() as machine, recovered(remains, machine) as opened:
        state = opened.repository.state
        sources = {w.source for w in state.writers.values()}
        return state, sources, _cards_by_number(frame, opened.repository), frozenset()


def _cards_by_number(frame: Frame, repository: Repository) -> dict[int, dict[str, object]]:
    """Return what the manifests say of card data; only with --json, for each manifest is an object to get."""
    found = repository.state.snapshots_of(None) if frame.as_json else []
    return {s.number: _cards_in(repository, s) for s in found}


def _cards_in(repository: Repository, snapshot: SnapshotState) -> dict[str, object]:
    """Return what one manifest says; that it is damaged, or another's to read, must not hide the list."""
    try:
        return _cards_of(repository.manifest(snapshot))
    except (IntegrityError, KeyMismatchError) as e:
        return {"manifest": str(e)}


@click.command()
@click.argument("snapshot", type=int)
@common
def show(frame: Frame, snapshot: int) -> int:
    """Show what is in SNAPSHOT."""
    with frame.installation() as installation:
        repository = installation.open_writing()
        manifest = repository.manifest(repository.snapshot(snapshot))
    rows = [
        [name, line.kind, number(line.records), size(line.plain), number(cut_in(manifest, name).total)]
        for name, line in manifest.data_sets.items()
    ]
    frame.say(
        f"Snapshot {snapshot} of [bold]{manifest.source}[/], taken {_when(manifest.taken_at)} by {manifest.tool}"
    )
    frame.table("", ["data set", "kind", "records", "size", "redacted"], rows, numbers=(2, 3, 4))
    _tell_cards(frame, manifest)
    if manifest.left_out:
        frame.say(f"{manifest.left_out} records changed or vanished while they were read and are not in it")
    frame.document(
        {
            "snapshot": snapshot,
            "source": manifest.source,
            "taken_at": datetime.fromtimestamp(manifest.taken_at, UTC).isoformat(),
            "data_sets": {
                n: {"kind": d.kind, "records": d.records, "bytes": d.plain}
                for n, d in manifest.data_sets.items()
            },
            **_cards_of(manifest),
            "left_out": manifest.left_out,
        }
    )
    return 0


def _tell_cards(frame: Frame, manifest: Manifest) -> None:
    """Print what was cut, what waits for an answer, and what could not be looked into."""
    cut = [
        [name, column, number(line.numbers), number(line.codes), number(line.tracks)]
        for name, lines in manifest.redacted.items()
        for column, line in lines.items()
    ]
    if cut:
        columns = ["data set", "column", "card numbers", "security codes", "track data"]
        frame.table("Card data cut", columns, cut, numbers=(2, 3, 4))
    for name, waiting in manifest.quarantined.items():
        frame.say(f"{number(waiting)} rows of {name} may hold card data and were sealed apart")
    for name, cells in manifest.unreadable.items():
        for column, count in cells.items():
            frame.say(f"{number(count)} cells of {name}.{column} are binary and were not looked into")
    for what in manifest.not_scanned:
        frame.say(f"{what} was not looked into")


def _cards_of(manifest: Manifest) -> dict[str, object]:
    """Return what a manifest says of card data, for --json."""
    return {
        "redacted": {
            name: {
                column: {
                    "card_numbers": line.numbers,
                    "security_codes": line.codes,
                    "track_data": line.tracks,
                }
                for column, line in lines.items()
            }
            for name, lines in manifest.redacted.items()
        },
        "quarantined": manifest.quarantined,
        "unreadable": manifest.unreadable,
        "not_scanned": list(manifest.not_scanned),
    }


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


COMMANDS = (snapshot, snapshots, show)
