"""The `tenure` command: one group. A command's module is loaded when it is called, so that none waits for the others."""

import atexit
import gc
import importlib
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any, NoReturn

import click

import tenure
from tenure.bootstrap.threads import one_thread_for_matrices
from tenure.cli.blocks import keep_blocks
from tenure.cli.output import UNWRITTEN, Told, UnwrittenError

CANCELLED = 130
"""Exit code of a command that was cancelled before it began (128 + SIGINT, as shells count)."""

MODULES: Mapping[str, tuple[str, ...]] = {
    "init": ("init",),
    "snapshots": ("snapshot", "snapshots", "show"),
    "restore": ("restore",),
    "rules": ("rules",),
    "purge": ("purge", "erase", "subject"),
    "holds": ("hold",),
    "evidence": ("evidence", "ledger"),
    "drills": ("drill",),
    "cards": ("cards",),
    "upkeep": ("verify", "status", "report", "control"),
    "prune": ("prune",),
    "locks": ("locks",),
    "keys": ("keys",),
    "writers": ("writers",),
    "demo": ("demo",),
}
"""Module beside this one -> its commands, in the order of help."""


class _Lazy(click.Group):
    """Knows the names of all commands, and loads the module of the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the base's signature
        return [name for names in MODULES.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        for module, names in MODULES.items():
            if cmd_name in names:
                loaded = _load(f"tenure.cli.{module}")
                return next(c for c in loaded.COMMANDS if c.name == cmd_name)  # type: ignore[no-any-return]
        return None


def _load(module: str) -> Any:
    """Import a module without looking for garbage meanwhile, nor later among what it brought: that stays to the end."""
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(tenure.__version__, prog_name="tenure")
def cli() -> None:
    """Backups that keep what you must and forget what you must."""


def run() -> NoReturn:
    """Run the command line. Click on its own ends a cancelled command with 1, which stands for a bug here."""
    keep_blocks()
    one_thread_for_matrices()
    sys.stdout = Told(sys.stdout)
    code: int | str | None
    try:
        code = cli.main(prog_name="tenure", standalone_mode=False)
    except click.ClickException as e:
        e.show()
        code = e.exit_code
    except (KeyboardInterrupt, click.Abort):  # also before a command could take the signal over
        click.echo("cancelled; nothing was changed", err=True)
        code = CANCELLED
    except SystemExit as e:
        code = e.code
    _leave(code)


def _leave(code: int | str | None) -> NoReturn:
    """End the process without taking the interpreter apart, which takes a fifth of a second and changes nothing."""
    if threading.active_count() > 1 or not isinstance(code, int | None):
        sys.exit(code)  # threads are waited for there
    atexit._run_exitfuncs()  # noqa: SLF001 - `os._exit` skips them, and there is no other way to have them run
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, UnwrittenError):
            code = code or UNWRITTEN
    os._exit(code or 0)
