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
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TextIO, TypeVar

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.table import Table
from rich.text import Text

from tenure.bootstrap.clock import SystemClock
from tenure.bootstrap.settings import FILE_NAME
from tenure.bootstrap.wiring import Machine, build
from tenure.domain.clock import Clock
from tenure.domain.errors import KeyUnavailableError, TenureError
from tenure.domain.progress import Progress, ProgressTask, SilentProgress
from tenure.operations.installation import Installation

P = ParamSpec("P")
R = TypeVar("R")

DONE, BUG, USAGE, INCOMPLETE, CANCELLED = 0, 1, 2, 3, 130
"""Exit codes; 10 to 89 come from the error (domain/errors.py)."""

LOG_WIDTH = 200
"""Columns where nobody's terminal sets them: names of objects stay whole, to be copied out of a log."""


class _Speed(TransferSpeedColumn):
    """Bytes a second; nothing, rather than a question mark, where a bar was over at once."""

    def render(self, task: Task) -> Text:
        """Return the speed in words."""
        return super().render(task) if task.finished_speed or task.speed else Text("")


class BarTask:
    """One bar, drawn in bytes or in counts."""

    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, amount: int) -> None:
        """Move the bar."""
        self._bars.advance(self._task, amount)

    def end(self) -> None:
        """Fill the bar and stop its clock."""
        task = self._bars.tasks[self._bars.task_ids.index(self._task)]
        self._bars.update(self._task, total=max(task.completed, 1), completed=max(task.completed, 1))
        self._bars.stop_task(self._task)


class BarProgress:
    """Draws progress bars on stderr while a command runs."""

    def __init__(self, console: Console) -> None:
        columns = (
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
        )
        self._bytes = Bars(*columns, DownloadColumn(), _Speed(), TimeElapsedColumn(), console=console)
        self._counts = Bars(*columns, MofNCompleteColumn(), TimeElapsedColumn(), console=console)
        self._console = console
        self._live: Bars | None = None

    def begin(self, title: str, *, total: int | None, unit: str) -> ProgressTask:
        """Open a bar."""
        bars = self._bytes if unit == "bytes" else self._counts
        if self._live is not bars:
            self.close()
            bars.start()
            self._live = bars
        return BarTask(bars, bars.add_task(title, total=total))

    def close(self) -> None:
        """Leave the bars as they are and give the terminal back."""
        if self._live is not None:
            self._live.stop()
            for task in self._live.task_ids:
                self._live.remove_task(task)
            self._live = None


def _width(stream: TextIO) -> int | None:
    """Return the width to print to: a terminal's own, and enough for whole names where a log or a pipe reads."""
    return None if stream.isatty() else LOG_WIDTH


@dataclass(slots=True)
class Frame:
    """One command's surroundings."""

    config: Path
    as_json: bool
    quiet: bool
    verbose: bool
    clock: Clock = field(default_factory=SystemClock)
    out: Console = field(default_factory=lambda: Console(highlight=False, width=_width(sys.stdout)))
    err: Console = field(
        default_factory=lambda: Console(stderr=True, highlight=False, width=_width(sys.stderr))
    )

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Yield what draws progress; nothing where stderr is no terminal, or --quiet was given."""
        if self.quiet or not self.err.is_terminal:
            yield SilentProgress()
            return
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
