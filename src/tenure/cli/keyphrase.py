"""keys passphrase."""

import functools
from pathlib import Path

import click

from tenure.bootstrap import passphrases
from tenure.bootstrap.settings import read
from tenure.cli.frame import Frame, common
from tenure.domain.errors import ConfigError
from tenure.keys.resealing import change_passphrase


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--remove", is_flag=True, help="Leave the files without passphrase.")
@click.option(
    "--new-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File whose one line is the new passphrase; without it, it is asked for.",
)
@common
def passphrase(frame: Frame, files: tuple[Path, ...], remove: bool, new_file: Path | None) -> int:  # noqa: FBT001 - a flag of the command line
    """Set, change or remove the passphrase of key FILES; without FILES, of all in the key folder.

    The recovery key is changed only where it is named: it has to open where this machine is gone. A change that was
    cut short goes on when the command is run again.
    """
    settings, root = read(frame.config), frame.config.absolute().parent
    if remove and new_file is not None:
        raise ConfigError("--remove and --new-file exclude each other", hint="leave one of them out")
    old = passphrases.asking(passphrases.given(settings, root), functools.cache(frame.passphrase))
    chosen = files or _own(root / settings.keys)
    new = None if remove else passphrases.read_passphrase(new_file) if new_file else new_passphrase()
    changed = [
        path
        for path in chosen
        if change_passphrase(path, old=old, new=new, repository=settings.repository.id)
    ]
    for path in changed:
        frame.say(f"{'Without passphrase' if remove else 'Under the new passphrase'}: {path}")
    if not changed:
        frame.say("Every file is so already; nothing was changed.")
    frame.say(_next(remove=remove))
    frame.document({"changed": changed, "unchanged": [path for path in chosen if path not in changed]})
    return 0


def new_passphrase() -> bytes:
    """Ask for a new passphrase, twice."""
    return str(
        click.prompt("Passphrase of the new key files", hide_input=True, confirmation_prompt=True, err=True)
    ).encode()


def _own(folder: Path) -> tuple[Path, ...]:
    found = tuple(sorted(p for p in folder.glob("*.key") if not p.name.startswith("recovery")))
    if not found:
        raise ConfigError(f"there is no key file in {folder}", hint="name the files, or check `keys`")
    return found


def _next(*, remove: bool) -> str:
    if remove:
        return "Take `key_passphrase_file` out of the settings, and TENURE_KEY_PASSPHRASE out of the environment."
    return (
        "Where nobody types it, give it with `key_passphrase_file` or TENURE_KEY_PASSPHRASE. Copies of the old files"
        " (backups of this disk) open as they did."
    )
