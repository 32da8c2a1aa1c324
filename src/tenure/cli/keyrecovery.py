"""keys check-recovery."""

from collections.abc import Callable
from pathlib import Path

import click

from tenure.bootstrap.recovering import recovered
from tenure.cli.frame import Frame, common, number
from tenure.cli.remains import Stored
from tenure.cli.sharetyping import key_of
from tenure.keys.local import KeyFile, KeyKind, read_key_file
from tenure.operations.recoverycheck import RecoveryCheck, StoreCheck
from tenure.operations.recoverycheck import check_recovery as check

_MOST_TOLD = 20
"""Objects that are named one by one for a person; --json has all."""


@click.command("check-recovery")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--share",
    "sheets",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Instead of FILE: a sheet of it; repeat until there are enough.",
)
@click.option(
    "--repository", default="", metavar="URL", help="Without tenure.yaml: file:FOLDER, with --key-store."
)
@click.option(
    "--key-store", "key_stores", multiple=True, metavar="URL", help="With --repository: each of them."
)
@click.option(
    "--ledger-store",
    "ledger",
    default="",
    metavar="URL",
    help="With --repository: where the ledger lies apart.",
)
@common
def check_recovery(
    frame: Frame,
    file: Path | None,
    sheets: tuple[Path, ...],
    repository: str,
    key_stores: tuple[str, ...],
    ledger: str,
) -> int:
    """Prove that the recovery key in FILE, or on sheets, opens a sample of everything in every key store.

    Nothing is written to the repository, and no other key is used. Exit code 3: everything can be restored, but one of
    the key stores alone would not do.
    """
    if (file is None) == (not sheets):
        raise click.UsageError("name the recovery key file, or sheets of it with --share")
    stored = Stored(repository, key_stores, ledger)
    if bool(repository) != bool(key_stores) or (ledger and not repository):
        raise click.UsageError("--repository and --key-store go together, and --ledger-store with them")

    def read() -> KeyFile:
        if file is None:
            return key_of(frame, sheets)
        return read_key_file(file, passphrase=frame.passphrase, kind=KeyKind.RECOVERY)

    found = _elsewhere(frame, read, stored) if repository else _here(frame, read)
    _tell(frame, found)
    frame.document(_document(found))
    return found.exit_code


def _here(frame: Frame, read: Callable[[], KeyFile]) -> RecoveryCheck:
    with frame.installation() as installation:
        return check(installation, read)


def _elsewhere(frame: Frame, read: Callable[[], KeyFile], stored: Stored) -> RecoveryCheck:
    remains = stored.remains(read())
    with frame.machine() as machine, recovered(remains, machine) as opened:
        return opened.checked()


def _tell(frame: Frame, found: RecoveryCheck) -> None:
    words = (
        "The recovery key opened"
        if not (found.closed or found.lost)
        else "The recovery key opened no more than"
    )
    frame.say(f"{words} {number(found.chunks)} chunks, a sample of all {number(found.cohorts)} cohorts.")
    epochs = [
        [str(e.epoch), e.state, number(e.pages), number(e.sealed_for_others) if e.sealed_for_others else ""]
        for e in found.epochs
    ]
    frame.table("", ["epoch", "state", "pages tried", "not for this key"], epochs, numbers=(0, 2, 3))
    frame.table(
        "", ["key store", "pages opened", "state"], [_store_row(s) for s in found.stores], numbers=(1,)
    )
    told = [f"{page} is sealed for other keys" for page in found.closed] + list(found.lost)
    for line in told[:_MOST_TOLD]:
        frame.err.print(f"[bold red]not recovered:[/] {_plain(line)}", soft_wrap=True)
    if len(told) > _MOST_TOLD:
        frame.err.print(f"and {len(told) - _MOST_TOLD} more", soft_wrap=True)
    if found.exit_code:
        frame.err.print(f"[bold]next:[/] {_next(found)}", soft_wrap=True)


def _store_row(s: StoreCheck) -> list[str]:
    if s.problem:
        return [_plain(s.name), "", f"[bold red]{_plain(s.problem)}[/]"]
    bad = [f"{number(n)} {what}" for n, what in ((s.missing, "missing"), (s.damaged, "damaged")) if n]
    return [_plain(s.name), number(s.opened), f"[bold red]{', '.join(bad)}[/]" if bad else "[green]whole[/]"]


def _next(found: RecoveryCheck) -> str:
    if found.closed:
        return "finish the rotation with `tenure keys rotate`; until then keep the old recovery key too"
    if found.lost:
        return "run `tenure verify` to see which snapshots this touches; restore the objects from a version or a copy"
    return "run `tenure prune --mend` where the purge key is: it copies pages back; until then the other key stores have to last"


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _document(found: RecoveryCheck) -> dict[str, object]:
    return {
        "cohorts": found.cohorts,
        "chunks": found.chunks,
        "outcome": found.outcome,
        "key_stores": [
            {
                "name": s.name,
                "opened": s.opened,
                "missing": s.missing,
                "damaged": s.damaged,
                "problem": s.problem,
            }
            for s in found.stores
        ],
        "epochs": [
            {"epoch": e.epoch, "state": e.state, "pages": e.pages, "sealed_for_others": e.sealed_for_others}
            for e in found.epochs
        ],
        "sealed_for_others": found.closed,
        "lost": found.lost,
    }
