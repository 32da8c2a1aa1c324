"""keys status, rotate, check-recovery."""

from pathlib import Path
from typing import Any

import click

from tenure.cli.frame import INCOMPLETE, Frame, common, number
from tenure.cli.keyphrase import new_passphrase, passphrase
from tenure.cli.keyrecovery import check_recovery
from tenure.cli.keyshares import shares
from tenure.operations import keystatus, rotating
from tenure.operations.keystorestatus import KeyStoreStatus
from tenure.operations.retiring import Ended
from tenure.operations.rotating import Rotated, Secrecy

OUT_OF_REACH = (
    "Copies of key files are out of reach: backups and snapshots of this disk, or copies made by hand, still open"
    " old key pages where somebody kept those too."
)


@click.group()
def keys() -> None:
    """Keys: who may read, rotation, the recovery key."""


@keys.command("status")
@common
def keys_status(frame: Frame) -> int:
    """Show epochs, their recipients, writers, key stores, and which key files are here.

    Exit code 3: a key store is away, or lacks pages.
    """
    with frame.installation() as installation:
        found = keystatus.keys_status(
            installation, Secrecy(ask=frame.passphrase, reader=installation.key_passphrase)
        )
    rows = [
        [
            str(k.epoch),
            k.state,
            k.role,
            k.key_id.hex()[:12],
            k.provider,
            _place(k),
            _day(k),
        ]
        for k in found.recipients
    ]
    frame.table("", ["epoch", "state", "key", "id", "provider", "where", "made"], rows, numbers=(0,))
    writers = [
        [w.source, w.writer.hex(), "removed" if w.removed else "may add snapshots"] for w in found.writers
    ]
    frame.table("", ["writer of", "id", ""], writers)
    frame.table(
        "",
        ["key store", "pages", "missing", "not in the ledger", "state"],
        [_store_row(s) for s in found.stores],
        numbers=(1, 2, 3),
    )
    for s in found.stores:
        if s.to_do:
            frame.say(f"[bold]{_plain(s.name)}:[/] {s.to_do}")
    frame.say(f"Key pages: {number(found.pages)} in the open epoch, {number(found.old_pages)} in older ones.")
    frame.document(_document(found))
    return 0 if all(s.whole for s in found.stores) else INCOMPLETE


def _store_row(s: KeyStoreStatus) -> list[str]:
    state = "[green]whole[/]" if s.whole else f"[bold red]{_plain(s.problem or 'pages are missing')}[/]"
    if s.problem:
        return [_plain(s.name), "", "", "", state]
    return [_plain(s.name), number(s.pages), number(s.lacking), number(s.left), state]


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _document(found: keystatus.KeysStatus) -> dict[str, Any]:
    return {
        "recipients": [
            {
                "epoch": k.epoch,
                "state": k.state,
                "role": k.role,
                "key": k.key_id.hex(),
                "provider": k.provider,
                "address": k.address,
                "file": k.file,
            }
            for k in found.recipients
        ],
        "writers": [
            {"source": w.source, "writer": w.writer.hex(), "removed": w.removed} for w in found.writers
        ],
        "key_stores": [
            {
                "name": s.name,
                "pages": s.pages,
                "lacking": s.lacking,
                "not_in_ledger": s.left,
                "problem": s.problem,
                "to_do": s.to_do,
            }
            for s in found.stores
        ],
        "pages": found.pages,
        "old_pages": found.old_pages,
    }


def _place(key: keystatus.RecipientStatus) -> str:
    return key.address or (key.file.name if key.file else "[dim]not here[/]")


def _day(key: keystatus.RecipientStatus) -> str:
    return f"{key.created:%Y-%m-%d}" if key.created else ""


@keys.command()
@click.option("--protect", is_flag=True, help="Ask for a passphrase for the new key files.")
@click.option(
    "--recovery-key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The new recovery key, where a rotation was cut short and the file is elsewhere by now.",
)
@common
def rotate(frame: Frame, protect: bool, recovery_key: Path | None) -> int:  # noqa: FBT001 - a flag of the command line
    """Replace the reading and the recovery key; what was forgotten before becomes final.

    Both new keys prove that they open what is theirs, before an old one goes. A rotation that was cut short goes on
    when it is run again.
    """
    phrase = new_passphrase() if protect else None
    with frame.installation() as installation:
        secrecy = Secrecy(ask=frame.passphrase, protect=phrase, reader=installation.key_passphrase)
        done = rotating.rotate(installation, secrecy, recovery=recovery_key)
    _tell(frame, done)
    frame.document(
        {
            "epoch": done.epoch,
            "pages": done.pages,
            "closed": done.closed,
            "destroyed": done.destroyed,
            "reader_key": done.reader,
            "recovery_key": done.recovery,
            "recovery_proven": done.recovery_proven,
            "keys_ended": [
                {"key": str(e.key), "at": e.at.isoformat() if e.at else None, "why": e.why}
                for e in done.ended
            ],
            "final_at": done.final_at.isoformat() if done.final_at else None,
        }
    )
    return 0 if done.complete else INCOMPLETE


def _tell(frame: Frame, done: Rotated) -> None:
    frame.say(f"Epoch {done.epoch} is open; {number(done.pages)} key pages were sealed anew.")
    if done.proven is not None:
        frame.say(
            f"The new {'keys' if done.recovery_proven else 'key'} opened {done.proven.chunks} chunks, a sample of all"
            f" {done.proven.cohorts} cohorts."
        )
    for path in done.destroyed:
        frame.say(f"Destroyed: {path}")
    if done.recovery is not None:
        frame.say(
            f"[bold yellow]Take {done.recovery} off this machine now[/], and destroy the old recovery key."
        )
    else:
        frame.say(
            "[yellow]The new recovery key is not here[/]: prove it with `tenure keys check-recovery FILE`."
        )
    for ended in done.ended:
        frame.say(_fate(ended))
    frame.say(_finality(done))
    frame.say(OUT_OF_REACH)
    frame.say(f"Then pin it: set `least_epoch: {done.epoch}` under `repository` in {frame.config}.")


def _fate(ended: Ended) -> str:
    if ended.at is None:
        return f"[yellow]{ended.key} is not destroyed[/]: {ended.why}."
    return f"{ended.key} is destroyed on {ended.at:%Y-%m-%d}."


def _finality(done: Rotated) -> str:
    if not done.complete:
        return "[yellow]An old epoch is not closed yet[/]: a key store did not confirm. Run it again."
    if done.final_at is not None:
        return f"What was forgotten before is final on {done.final_at:%Y-%m-%d}: from then no key opens an old key page."
    return (
        "[yellow]What was forgotten before is not final yet[/]: that waits until the keys named above are destroyed at"
        " their services."
    )


keys.add_command(passphrase)
keys.add_command(shares)
keys.add_command(check_recovery)

COMMANDS = (keys,)
