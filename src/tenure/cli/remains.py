"""Options of a strange machine: stores and the recovery key instead of tenure.yaml."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path

import click

from tenure.bootstrap.recovering import Remains

_OPTIONS = (
    click.option(
        "--ledger-store",
        default="",
        metavar="URL",
        help="With --recovery-key: where the ledger lies apart.",
    ),
    click.option(
        "--key-store",
        "key_stores",
        multiple=True,
        metavar="URL",
        help="With --recovery-key: each of them.",
    ),
    click.option(
        "--repository", default="", metavar="URL", help="With --recovery-key: file:FOLDER or s3://..."
    ),
    click.option(
        "--recovery-key",
        type=click.Path(path_type=Path, dir_okay=False),
        default=None,
        help="Open a repository with nothing but this key file, --repository and --key-store; no tenure.yaml.",
    ),
)


def with_remains(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command the options, and `remains`: what they say, None where there is a tenure.yaml."""

    @wraps(command)
    def told(
        *args: object,
        recovery_key: Path | None,
        repository: str,
        key_stores: tuple[str, ...],
        ledger_store: str,
        **named: object,
    ) -> object:
        remains = _told(recovery_key, repository, key_stores, ledger_store)
        return command(*args, remains=remains, **named)

    with_options: Callable[..., object] = told
    for option in _OPTIONS:
        with_options = option(with_options)
    return with_options


def _told(key: Path | None, repository: str, key_stores: tuple[str, ...], ledger: str) -> Remains | None:
    if key is None:
        if repository or key_stores or ledger:
            raise click.UsageError("--repository, --key-store and --ledger-store go with --recovery-key")
        return None
    if not repository or not key_stores:
        raise click.UsageError("--recovery-key needs --repository and --key-store")
    return Remains(key=key, repository=repository, key_stores=key_stores, ledger=ledger)
