"""Progress as an argument: operations tell it, entry points draw it."""

from typing import Protocol


class ProgressTask(Protocol):
    """One bar."""

    def advance(self, amount: int) -> None:
        """Add `amount` units (bytes, rows or objects, as the task was begun with)."""
        ...

    def end(self) -> None:
        """Close the bar; safe to call twice."""
        ...


class Progress(Protocol):
    """Draws what an operation does; callable from several threads."""

    def begin(self, title: str, *, total: int | None, unit: str) -> ProgressTask:
        """Open a bar titled `title`; `total` in `unit`s where it is known beforehand."""
        ...


class _SilentTask:
    def advance(self, amount: int) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class SilentProgress:
    """Draws nothing."""

    def begin(self, title: str, *, total: int | None, unit: str) -> ProgressTask:  # noqa: ARG002 - the port's names
        """Return a task that draws nothing."""
        return _SilentTask()
