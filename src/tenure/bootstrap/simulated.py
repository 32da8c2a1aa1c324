"""A clock that is moved by hand: `tenure demo` lives through weeks in seconds."""

from datetime import datetime, timedelta


class SimulatedClock:
    """Stands still, but for one microsecond each time it is asked, until it is moved."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """Return the simulated instant, UTC."""
        self._at += timedelta(microseconds=1)
        return self._at

    def move_to(self, at: datetime) -> None:
        """Go on to a later instant.

        Raises:
            ValueError: It is not later.
        """
        if at < self._at:
            raise ValueError("a simulated clock does not go back")
        self._at = at
