"""The clock as an argument, so that time is never read where something is decided."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time; tests and simulations hand in one that stands still or jumps."""

    def now(self) -> datetime:
        """Return the present instant, timezone-aware, in UTC."""
        ...
