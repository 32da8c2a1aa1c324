"""Holds a stream of bytes to a rate, all threads of a store together."""

import threading
import time
from collections.abc import Callable

AHEAD_S = 0.25
"""How much of a second's bytes may go at once after a pause: a line is never idle for want of a permit."""


class Pace:
    """Lets so many bytes through in a second. Thread-safe."""

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begin. `rate`: bytes a second; 0 for as many as come.

        Raises:
            ValueError: A negative rate.
        """
        if rate < 0:
            raise ValueError("a rate is not negative")
        self._rate = rate
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._free_at = clock()  # when all that was let through has gone, at the rate

    def take(self, count: int) -> None:
        """Wait until `count` more bytes may go."""
        if not self._rate or not count:
            return
        with self._lock:
            now = self._clock()
            begun = max(self._free_at, now - AHEAD_S)
            self._free_at = begun + count / self._rate
            wait = self._free_at - now
        if wait > 0:
            self._sleep(wait)


FREE = Pace(0)
"""Lets everything through."""
