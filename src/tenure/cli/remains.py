"""Options of a strange machine: the stores and the recovery key, a file or sheets, instead of tenure.yaml."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from tenure.bootstrap.recovering import Remains
from tenure.cli.frame import Frame
from tenure.cli.sharetyping import key_of
from tenure.keys.local import KeyFile

_OPTIONS = (
    click.option(
        "--ledger-store",
        "ledger",
        default="",
        metavar="URL",
        help="With a recovery key: where the ledger lies apart.",
    ),
    click.option(
        "--key-store", "key_stores", multiple=True, metavar="URL", help="With a recovery key: each of them."
    ),
    click.option(
        "--repository", default="", metavar="URL", help="With a recovery key: file:FOLDER or s3://..."
    ),
    click.option(
        "--recovery-share",
        "sheets",
        multiple=True,
        type=click.Path(path_type=Path, dir_okay=False),
        help="Instead of --recovery-key: a sheet of it; repeat until there are enough.",
    ),
    click.option(
        "--recovery-key",
        type=click.Path(path_type=Path, dir_okay=False),
        default=None,
        help="Open a repository with nothing but this key file, --repository and --key-store; no tenure.yaml.",
    ),
)


class Stored(NamedTuple):
    """Addresses of stores, as options give them; "" and () where they do not."""

    repository: str
    key_stores: tuple[str, ...]
    ledger: str

    def remains(self, key: Path | KeyFile) -> Remains:
        """Return what remains with a recovery key: its file, or what sheets of it came to."""
        return Remains(key=key, repository=self.repository, key_stores=self.key_stores, ledger=self.ledger)


def with_remains(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, and hand it `remains`: a function that returns them, or None where none were given.

    It is called within the command, so that what sheets and prompts refuse ends like every other error.
    """

    @functools.wraps(command)
    def wrapped(
        frame: Frame,
        *args: Any,
        recovery_key: Path | None,
        sheets: tuple[Path, ...],
        repository: str,
        key_stores: tuple[str, ...],
        ledger: str,
        **rest: Any,
    ) -> Any:
        remains = told(frame, recovery_key, sheets, Stored(repository, key_stores, ledger))
        return command(frame, *args, remains=remains, **rest)

    for option in _OPTIONS:
        wrapped = option(wrapped)
    return wrapped


def told(
    frame: Frame,
    recovery_key: Path | None,
    sheets: tuple[Path, ...],
    stored: Stored,
) -> Remains | None:
    """Return what was told of a repository's remains; None where nothing was.

    Raises:
        UsageError: Half of it was.
        KeyProviderError: The sheets do not give a key.
    """
    if recovery_key is not None and sheets:
        raise click.UsageError("--recovery-key and --recovery-share exclude each other")
    if recovery_key is None and not sheets:
        if any(stored):
            raise click.UsageError("addresses of stores go with --recovery-key or --recovery-share")
        return None
    if not stored.repository or not stored.key_stores:
        given = "--recovery-share" if sheets else "--recovery-key"
        raise click.UsageError(f"{given} needs --repository and --key-store")
    return stored.remains(recovery_key if recovery_key is not None else key_of(frame, sheets))
