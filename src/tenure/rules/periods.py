"""Periods: when something is due, counted as in Regulation (EEC, Euratom) No 1182/71, Article 3.

The day of the event is not counted (3(1)). A period ends with the last hour of its last day: for months and years
the day of the same date, or the month's last day where that date does not exist (3(2)(c)). A record is due on the
day *after* the last day. The working-day clause (3(4)) protects people who have to act before a term ends; it does
not apply to retention. Hours are exact durations. Days are local days of the source's time zone.

Each function exists twice, for one date and for columns; a property test holds them equal.
"""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tenure.domain.errors import ConfigError
from tenure.rules.model import Period, Unit

LAST_DAY = np.datetime64(date.max, "D")  # no calendar reaches further; what is due then is never due
_MONTHS = {Unit.MONTHS: 1, Unit.YEARS: 12}
_DAYS = {Unit.DAYS: 1, Unit.WEEKS: 7}
_ONE_DAY = timedelta(days=1)


def zone(time_zone: str) -> ZoneInfo:
    """Return the time zone of this IANA name.

    Raises:
        ConfigError: There is no such zone.
    """
    try:
        return ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(f"`{time_zone}` is no IANA time zone; write one such as `Europe/Berlin`") from error


def due_day(event: date, period: Period) -> date:
    """Return the first local day on which something that counts from `event` is due; `date.max` if none.

    Raises:
        ValueError: The period is in hours; those have an instant, see `due_instant`.
    """
    try:
        return _last_day(event, period) + _ONE_DAY
    except OverflowError:
        return date.max


def _last_day(event: date, period: Period) -> date:
    if period.unit in _DAYS:
        return event + timedelta(days=period.count * _DAYS[period.unit])
    if period.unit not in _MONTHS:
        raise ValueError(f"{period} has no last day")
    months = event.year * 12 + event.month - 1 + period.count * _MONTHS[period.unit]
    year, month = months // 12, months % 12 + 1
    if year > date.max.year:
        raise OverflowError
    return date(year, month, min(event.day, monthrange(year, month)[1]))


def due_days(events: NDArray[np.datetime64], period: Period) -> NDArray[np.datetime64]:
    """Return `due_day` of every event: datetime64[D], NaT where the event is NaT.

    Raises:
        ValueError: The period is in hours.
    """
    days = events.astype("datetime64[D]")
    due: NDArray[np.datetime64]
    if period.unit in _DAYS:
        due = np.add(days, np.timedelta64(period.count * _DAYS[period.unit] + 1, "D"))
    elif period.unit in _MONTHS:
        month = days.astype("datetime64[M]")
        target = month + np.timedelta64(period.count * _MONTHS[period.unit], "M")
        due = target.astype("datetime64[D]") + (days - month.astype("datetime64[D]"))
        due += np.timedelta64(1, "D")
        np.minimum(due, (target + np.timedelta64(1, "M")).astype("datetime64[D]"), out=due)
    else:
        raise ValueError(f"{period} has no last day")
    return np.minimum(due, LAST_DAY, out=due)


def due_instant(event: datetime, period: Period, time_zone: str) -> datetime:
    """Return when (UTC) a period of hours is over that counts from `event`, naive local time.

    A local time that the clock showed twice, or skipped, is read as the later of the two instants: doubt keeps.
    """
    local = zone(time_zone)
    try:
        readings = [event.replace(tzinfo=local, fold=fold).astimezone(UTC) for fold in (0, 1)]
        return max(readings) + timedelta(hours=period.count)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def due_instants(events: NDArray[np.datetime64], period: Period, time_zone: str) -> NDArray[np.datetime64]:
    """Return `due_instant` of every event: datetime64[s] in UTC, NaT where the event is NaT."""
    seconds = events.astype("datetime64[s]")
    _, switches, offsets = _offsets(time_zone)
    past = offsets[np.searchsorted(switches, seconds, side="right")]
    due: NDArray[np.datetime64] = np.add(seconds, np.timedelta64(period.count * 3600, "s") - past)
    return np.where(np.isnat(seconds), np.datetime64("NaT", "s"), due)


def local_days(instants: NDArray[np.datetime64], time_zone: str) -> NDArray[np.datetime64]:
    """Return the local day of every UTC instant: datetime64[D]."""
    transitions, _, offsets = _offsets(time_zone)
    local = instants + offsets[np.searchsorted(transitions, instants, side="right")]
    days: NDArray[np.datetime64] = np.minimum(local.astype("datetime64[D]"), LAST_DAY)
    days[np.isnat(instants)] = np.datetime64("NaT", "D")
    return days


@lru_cache(maxsize=64)
def _offsets(
    time_zone: str,
) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64], NDArray[np.timedelta64]]:
    """Return transitions in UTC, the local times from which each new offset is used, and k + 1 offsets.

    Covers 1970 to 2099, which is where hours can matter. A new offset counts from transition + new offset, local
    time: that reads a repeated hour by its second instant and a skipped one by the offset before it.
    """
    local = zone(time_zone)
    edges = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=7 * i) for i in range(6784)]
    found: list[tuple[datetime, timedelta]] = []
    for left, right in pairwise(edges):
        if _offset(left, local) != _offset(right, local):
            at = _transition(left, right, local)
            found.append((at, _offset(at, local)))
    offsets = [_offset(edges[0], local), *(offset for _, offset in found)]
    transitions = np.array([at.replace(tzinfo=None) for at, _ in found], "datetime64[s]")
    deltas = np.array(offsets, "timedelta64[s]")
    return transitions, transitions + deltas[1:], deltas


def _offset(at: datetime, local: ZoneInfo) -> timedelta:
    return at.astimezone(local).utcoffset() or timedelta()


def _transition(left: datetime, right: datetime, local: ZoneInfo) -> datetime:
    """Return the first second in (left, right] whose offset is that of `right`."""
    before = _offset(left, local)
    while (right - left) > timedelta(seconds=1):
        middle = left + timedelta(seconds=int((right - left).total_seconds()) // 2)
        if _offset(middle, local) == before:
            left = middle
        else:
            right = middle
    return right


@lru_cache(maxsize=256)
def may_exceed(duty: Period, limit: Period) -> bool:
    """Whether a duty can end later than a limit that counts from the same event, for any event."""
    for kind in (_MONTHS, _DAYS, {Unit.HOURS}):
        if duty.unit in kind and limit.unit in kind:
            return _length(duty) > _length(limit)
    if duty.unit is Unit.HOURS:  # an event at the end of its day is the worst case; it is due a day sooner
        return duty.count / 24 > int(_spans(limit).min()) - 1
    if limit.unit is Unit.HOURS:
        return int(_spans(duty).max()) > limit.count / 24
    return int(_spans(duty).max()) > int(_spans(limit).min())


def _length(period: Period) -> int:
    return period.count * (_MONTHS.get(period.unit) or _DAYS.get(period.unit) or 1)


def _spans(period: Period) -> NDArray[np.int64]:
    """Return the days until the period is due, from every day of a time with leap years and a century without."""
    days = np.arange("1996-01-01", "2108-01-01", dtype="datetime64[D]")
    return (due_days(days, period) - days).astype(np.int64)
