"""Progress bars on a terminal, in bytes or in counts."""

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
from rich.text import Text

from tenure.domain.progress import ProgressTask


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
