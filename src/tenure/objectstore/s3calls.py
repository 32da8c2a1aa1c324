"""Asks an S3 server: again while it is busy, with its time noted, its errors told as ours."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any, TypeVar

import stamina
from stamina.instrumentation import set_on_retry_hooks

from tenure.domain.clock import Clock
from tenure.objectstore.s3client import S3Settings, make_client
from tenure.objectstore.s3errors import Foreign, code_of, is_passing, retry_after, translated

T = TypeVar("T")

_FRESH = timedelta(minutes=1)  # how long one answer's time is good for
_WAIT_FIRST, _WAIT_MOST = 0.2, 20.0  # seconds between tries, doubling, with jitter


class S3Calls:
    """One client and its way of asking. Thread-safe."""

    def __init__(self, settings: S3Settings, clock: Clock) -> None:
        """Get ready; nothing is asked yet. `clock`: this machine's.

        Raises:
            ConfigError: The settings name a file that is not there.
        """
        self.settings = settings
        self.client = make_client(settings)
        self._clock = clock
        self._lock = Lock()
        self._ahead: tuple[datetime, timedelta] | None = None  # when it was asked; how far the store is ahead
        self.client.meta.events.register("after-call.s3", self._note_time)
        set_on_retry_hooks([])  # the command tells what failed in the end; each try is nobody's news

    def tried(self, once: Callable[[], T], what: str, *, passed: tuple[str, ...] = ()) -> T:
        """Ask, and ask again while the store or the way to it is busy; as long as the store said, where it did.

        Args:
            once: One try.
            what: What is being done, for the message: "data/ab/1 cannot be read".
            passed: Codes of answers that the caller wants to see as boto3 raises them.

        Raises:
            TenureError: What boto3's error means (`s3errors.translated`).
            ClientError: One of `passed`.
        """

        def again(error: Exception) -> bool | float:
            asked = retry_after(error) if is_passing(error) else None
            return is_passing(error) if asked is None else asked

        try:
            for attempt in stamina.retry_context(
                on=again,
                attempts=self.settings.attempts,
                timeout=self.settings.give_up,
                wait_initial=_WAIT_FIRST,
                wait_max=_WAIT_MOST,
                wait_jitter=_WAIT_FIRST,
            ):
                with attempt:
                    return once()
        except Foreign as e:
            if code_of(e) in passed:
                raise
            raise translated(e, what, self.settings.where) from e
        raise AssertionError("a call ends with its result or with an error")

    def now(self) -> datetime:
        """Return the store's time, aware, UTC; off by up to a second, as the store's own dates are."""
        known = self._ahead
        if known is None or not timedelta(0) <= self._clock.now() - known[0] < _FRESH:
            self.tried(
                lambda: self.client.head_bucket(Bucket=self.settings.bucket),
                "the store's time cannot be read",
            )
            known = self._ahead
        return self._clock.now() + (known[1] if known else timedelta(0))

    def _note_time(self, parsed: dict[str, Any] | None = None, **_: Any) -> None:
        headers = (parsed or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
        date = date_of(headers)
        if date is not None:
            with self._lock:
                self._ahead = (self._clock.now(), date - self._clock.now())


def date_of(headers: dict[str, str]) -> datetime | None:
    """Return the time that an answer carries."""
    try:
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None
