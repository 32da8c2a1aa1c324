"""init: a new installation."""

import getpass
from pathlib import Path

import click

from tenure.bootstrap.init import HERE, Made
from tenure.bootstrap.init import init as make
from tenure.bootstrap.places import Stores
from tenure.bootstrap.settings import MOST_SHRED_DAYS
from tenure.cli.frame import Frame, common
from tenure.repository.locks import LockPolicy


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option(
    "--object-store", metavar="ADDRESS", help="Where sealed data goes: file:FOLDER or s3://BUCKET/PREFIX?..."
)
@click.option(
    "--key-store", "key_stores", multiple=True, metavar="NAME=ADDRESS", help="Where keys go; may be repeated."
)
@click.option(
    "--reader-key",
    "reader_keys",
    multiple=True,
    metavar="ADDRESS",
    help="A key service that reads, in place of a key file: awskms:KEY?... or vault:MOUNT/KEY?...; may be repeated.",
)
@click.option(
    "--ledger-store",
    default="",
    metavar="ADDRESS",
    help="Where marker and ledger go, if apart: for servers that honour If-None-Match only without versions.",
)
@click.option(
    "--lock",
    type=click.Choice(["governance", "compliance"]),
    help="Lock what is put (S3 Object Lock); with --lock-days.",
)
@click.option(
    "--lock-days", type=click.FloatRange(min=0, min_open=True), help="For how long each snapshot is locked."
)
@click.option(
    "--shred-window",
    type=click.IntRange(0, MOST_SHRED_DAYS),
    default=0,
    metavar="DAYS",
    help="Deleted keys stay as old versions for so long, and the bucket's lifecycle ends them: a stolen purger"
    " destroys nothing at once. Default: 0, every version is deleted at once.",
)
@common
def init(
    frame: Frame,
    folder: Path,
    object_store: str | None,
    key_stores: tuple[str, ...],
    reader_keys: tuple[str, ...],
    ledger_store: str,
    lock: str | None,
    lock_days: float | None,
    shred_window: int,
) -> int:
    """Make keys, a repository, a commented tenure.yaml and starter rules in FOLDER (default: here)."""
    if (lock is None) != (lock_days is None):
        raise click.UsageError("--lock and --lock-days go together")
    stores = Stores(
        objects=object_store or HERE.objects,
        keys=_named(key_stores) or HERE.keys,
        ledger=ledger_store,
        mode="" if lock is None else "COMPLIANCE" if lock == "compliance" else "GOVERNANCE",
        locks=LockPolicy(days=lock_days or 0),
        shred_days=shred_window,
    )
    made = make(
        folder,
        clock=frame.clock,
        name=folder.absolute().name or "tenure",
        officer=_user(),
        stores=stores,
        reader_keys=reader_keys,
    )
    _tell(frame, made, len(stores.keys))
    frame.document({"config": made.config, "recovery_key": made.recovery, "rules": made.rules})
    return 0


def _tell(frame: Frame, made: Made, key_stores: int) -> None:
    frame.say(
        f"Made [bold]{made.config}[/], a repository, {key_stores} key stores, keys, and {made.rules} starter"
        " rules."
    )
    frame.say(
        f"[bold yellow]Take {made.recovery} off this machine now.[/]\n"
        "Without it a lost disk is a lost repository."
    )
    frame.say("One-person mode: you approve your own deletions. Every certificate will say so.")
    frame.say(
        "The starter rules speak of a sample's data sets: make them yours, or delete them, before `tenure rules plan`."
    )
    frame.say(f"Next: name a source in {made.config}, then run [bold]tenure snapshot[/].")


def _named(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    if any(not name.isidentifier() or not url for name, _, url in pairs):
        raise click.UsageError("--key-store takes NAME=ADDRESS, as in first=s3://keys-1")
    found = {name: url for name, _, url in pairs}
    if len(found) != len(given):
        raise click.UsageError("two key stores have one name")
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "operator"


COMMANDS = (init,)
