"""What all commands share: options, the installation, printing, progress bars, and how an error ends a command."""

import functools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TextIO, TypeVar

import click

from tenure.bootstrap.clock import SystemClock
from tenure.bootstrap.settings import FILE_NAME
from tenure.bootstrap.wiring import Machine, build
from tenure.domain.clock import Clock
from tenure.domain.errors import KeyUnavailableError, TenureError
from tenure.domain.progress import Progress, SilentProgress
from tenure.operations.installation import Installation

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")
R = TypeVar("R")

DONE, BUG, USAGE, INCOMPLETE, CANCELLED = 0, 1, 2, 3, 130
"""Exit codes; 10 to 89 come from the error (domain/errors.py)."""

LOG_WIDTH = 200
"""Columns where nobody's terminal sets them: names of objects stay whole, to be copied out of a log."""


def _console(stream: TextIO) -> "Console":
    """Return what prints to a stream, as wide as its terminal; wide enough for whole names where a log or pipe reads."""
    from rich.console import Console  # noqa: PLC0415 - a quiet command prints nothing, and starts sooner without

    return Console(stderr=stream is sys.stderr, highlight=False, width=None if stream.isatty() else LOG_WIDTH)


@dataclass
class Frame:
    """One command's surroundings."""

    config: Path
    as_json: bool
    quiet: bool
    verbose: bool
    clock: Clock = field(default_factory=SystemClock)

    @cached_property
    def out(self) -> "Console":
        """Standard output."""
        return _console(sys.stdout)

    @cached_property
    def err(self) -> "Console":
        """Standard error."""
        return _console(sys.stderr)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Yield what draws progress; nothing where stderr is no terminal, or --quiet was given."""
        if self.quiet or not self.err.is_terminal:
            yield SilentProgress()
            return
        from tenure.cli.bars import BarProgress  # noqa: PLC0415 - see `_console`

        bars = BarProgress(self.err)
        try:
            yield bars
        finally:
            bars.close()

    @contextmanager
    def machine(self) -> Iterator[Machine]:
        """Yield what an installation is built on here: clock, progress, and whom to ask for passphrases."""
        with self.progress() as progress:
            yield Machine(clock=self.clock, progress=progress, passphrase=self.passphrase)

    @contextmanager
    def installation(self) -> Iterator[Installation]:
        """Open the installation; everything it holds is let go at the end."""
        with self.machine() as machine:
            installation = build(self.config, machine)
            try:
                yield installation
            finally:
                installation.close()

    def say(self, text: str) -> None:
        """Print a line for a person; not with --json or --quiet."""
        if not self.as_json and not self.quiet:
            self.out.print(text, soft_wrap=not self.out.is_terminal)  # whole lines in files and pipes

    def table(
        self, title: str, columns: list[str], rows: list[list[str]], *, numbers: tuple[int, ...] = ()
    ) -> None:
        """Print a table for a person; `numbers`: columns that are aligned right."""
        if self.as_json or self.quiet:
            return
        from rich.table import Table  # noqa: PLC0415 - see `_console`

        table = Table(
            title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold"
        )
        for i, column in enumerate(columns):
            table.add_column(column, justify="right" if i in numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        self.out.print(table)

    def document(self, content: Mapping[str, Any]) -> None:
        """Print the command's one JSON document; only with --json."""
        if self.as_json:
            sys.stdout.write(json.dumps(content, indent=2, default=str, ensure_ascii=False) + "\n")

    def passphrase(self) -> bytes:
        """Ask for the passphrase of a key file.

        Raises:
            KeyUnavailableError: Nobody is here to type it.
        """
        if not sys.stdin.isatty():
            raise KeyUnavailableError(
                "a key file is protected by a passphrase, and nobody is here to type it",
                hint="run the command in a terminal, or give it with `key_passphrase_file` or TENURE_KEY_PASSPHRASE",
            )
        return str(click.prompt("Passphrase of the key file", hide_input=True, err=True)).encode()


def common(command: Callable[P, int | None]) -> Callable[..., None]:
    """Give a command the shared options; turn what it returns, or raises, into its exit code."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        default=None,
        help=f"Default: ./{FILE_NAME}",
    )
    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
    @click.option("--quiet", is_flag=True, help="Errors only.")
    @click.option("--verbose", is_flag=True, help="Where an error came from, too.")
    @functools.wraps(command)
    def wrapped(config: Path | None, as_json: bool, quiet: bool, verbose: bool, **rest: Any) -> None:  # noqa: FBT001
        frame = Frame(config or Path(FILE_NAME), as_json=as_json, quiet=quiet, verbose=verbose)
        sys.exit(_run(frame, lambda: command(frame, **rest)))  # type: ignore[arg-type]

    return wrapped


def _run(frame: Frame, work: Callable[[], int | None]) -> int:
    pressed: list[int] = []

    def note(number: int, _: object) -> NoReturn:
        pressed.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        return work() or DONE
    except TenureError as e:
        if (
            pressed
        ):  # native code may turn an interrupt into an error of its own: "this key does not open that"
            return _cancelled(frame)
        _tell(frame, e)
        return e.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _cancelled(frame)
    except (click.ClickException, click.exceptions.Exit, SystemExit):
        raise
    except Exception as e:  # noqa: BLE001 - the entry point: whatever it is, it is told in one line
        return _cancelled(frame) if pressed else _bug(frame, e)
    finally:
        signal.signal(signal.SIGINT, before)


def _cancelled(frame: Frame) -> int:
    frame.err.print(
        "cancelled; nothing that was committed is lost, run the command again to finish it",
        soft_wrap=not frame.err.is_terminal,
    )
    frame.document({"error": "cancelled", "exit_code": CANCELLED})
    return CANCELLED


def _tell(frame: Frame, error: TenureError) -> None:
    """Log once, here: what failed, and what to do next."""
    frame.err.print(f"[bold red]error:[/] {_plain(str(error))}", soft_wrap=not frame.err.is_terminal)
    if error.hint:
        frame.err.print(f"[bold]next:[/] {_plain(error.hint)}", soft_wrap=not frame.err.is_terminal)
    if frame.verbose:
        frame.err.print(_plain("".join(traceback.format_exception(error))), soft_wrap=True)
    frame.document(
        {"error": str(error), "next": error.hint, "exit_code": error.exit_code, "kind": type(error).__name__}
    )


def _bug(frame: Frame, error: Exception) -> int:
    path = Path.cwd() / f"tenure-error-{os.getpid()}.txt"
    try:
        path.write_text("".join(traceback.format_exception(error)), "utf-8")
        where = f"the details are in {path}"
    except OSError:
        where = "run it again with --verbose to see the details"
        if frame.verbose:
            frame.err.print(_plain("".join(traceback.format_exception(error))), soft_wrap=True)
    frame.err.print(
        f"[bold red]this is a bug in Tenure:[/] {type(error).__name__}; {where}",
        soft_wrap=not frame.err.is_terminal,
    )
    frame.document({"error": f"bug: {type(error).__name__}", "exit_code": BUG})
    return BUG


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def size(count: float) -> str:
    """Return bytes in words: ``1.4 GB`` (decimal units)."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def number(count: int) -> str:
    """Return a count with its thousands apart: ``12,345``."""
    return f"{count:,}"
