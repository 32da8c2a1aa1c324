"""keys shares make, join."""

from pathlib import Path

import click

from tenure.cli.frame import Frame, common, number
from tenure.cli.keyphrase import new_passphrase
from tenure.cli.sharetyping import key_of
from tenure.keys.local import KeyKind, destroy_key_file, read_key_file, write_key_file
from tenure.keys.shares import Division, write_sheets
from tenure.keys.sharewords import LEAST_NEED, MOST_SHARES

_COUNT = click.IntRange(LEAST_NEED, MOST_SHARES)


@click.group()
def shares() -> None:
    """The recovery key on several sheets, of which so many open the repository."""


@shares.command()
@click.argument("recovery_key", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--of", type=_COUNT, default=3, show_default=True, help="How many sheets there are.")
@click.option("--need", type=_COUNT, default=2, show_default=True, help="How many of them open it.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="A folder that is not there yet.",
)
@click.option("--destroy", is_flag=True, help="Destroy RECOVERY_KEY once the sheets are proven.")
@common
def make(frame: Frame, recovery_key: Path, of: int, need: int, into: Path, destroy: bool) -> int:  # noqa: FBT001 - a flag of the command line
    """Share RECOVERY_KEY out on sheets to print, and prove that every choice of enough of them opens it."""
    if need > of:
        raise click.UsageError(f"{need} sheets cannot be needed where there are {of}")
    key = read_key_file(recovery_key, passphrase=frame.passphrase, kind=KeyKind.RECOVERY)
    division = Division(need=need, of=of, made=frame.clock.now())
    with frame.progress() as progress:
        made = write_sheets(into, key, division, progress)
    frame.say(
        f"Made {of} sheets, set {made.set_id:05}, in [bold]{into}[/]; any {need} open the recovery key: all"
        f" {number(made.proven)} choices were tried."
    )
    frame.say("Print each (.html, or .txt), give them to different people, then delete the folder.")
    if destroy:
        destroy_key_file(recovery_key)
        frame.say(
            f"Destroyed: {recovery_key}. Copies made by hand, and backups of this disk, are out of reach."
        )
    else:
        frame.say(
            f"[bold yellow]{recovery_key} still opens everything alone[/]: try the printed sheets with `tenure keys"
            " check-recovery --share SHEET --share SHEET`, then destroy the file and its copies."
        )
    frame.document(
        {
            "set": made.set_id,
            "need": need,
            "sheets": made.sheets,
            "pages": made.pages,
            "choices_proven": made.proven,
            "destroyed": recovery_key if destroy else None,
        }
    )
    return 0


@shares.command()
@click.argument("sheets", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A file that is not there yet.",
)
@click.option("--protect", is_flag=True, help="Ask for a passphrase for the file.")
@common
def join(frame: Frame, sheets: tuple[Path, ...], into: Path, protect: bool) -> int:  # noqa: FBT001 - a flag of the command line
    """Put SHEETS together into a recovery key file; what is missing is asked for, to be typed off the paper.

    Restoring and checking work straight from sheets: see --recovery-share of `tenure restore`.
    """
    key = key_of(frame, sheets)
    write_key_file(into, key, passphrase=new_passphrase() if protect else None)
    frame.say(f"Wrote [bold]{into}[/], a recovery key of repository {key.repository}.")
    frame.say("Destroy it when it has done its work: it opens everything alone.")
    frame.document({"recovery_key": into, "repository": key.repository, "name": key.name})
    return 0
