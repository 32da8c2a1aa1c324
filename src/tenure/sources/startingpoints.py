"""Starting points out of cells: dates, times with and without an offset, Unix seconds; vectorised.

Read as an instant only what can mean nothing else. A wrong reading would delete early, so whatever is in doubt is
NaT, which keeps the record and is reported.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_WIDTH = 36  # "2026-03-01T12:00:00.123456789+02:00" has 35 characters; one more shows that something follows
_LEAST_SECONDS = 100_000_000
"""Unix seconds below this (March 1973) are refused: a year, a Julian day or 20260301 written as a number."""
_MOST_SECONDS = 253_402_300_799  # the end of the year 9999; milliseconds of our time lie above
_ZONE_FROM, _ZONE_TO = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_DAY = 86_400
_NAT = np.datetime64("NaT", "s")


def _offset_at(zone: ZoneInfo, seconds: int) -> int:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    offset = moment.astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


@lru_cache(maxsize=32)
def _transitions(zone_name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return when a zone's offset changes (Unix seconds, ascending) and the offset from then on (seconds).

    Probed in steps of five days, then bisected: no zone has gone and come back within five days.
    """
    zone = ZoneInfo(zone_name)
    first, last = int(_ZONE_FROM.timestamp()), int(_ZONE_TO.timestamp())
    starts, offsets = [first], [_offset_at(zone, first)]
    for at in range(first + 5 * _DAY, last, 5 * _DAY):
        offset = _offset_at(zone, at)
        if offset == offsets[-1]:
            continue
        low, high = at - 5 * _DAY, at
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _offset_at(zone, middle) == offset else (middle, high)
        starts.append(high)
        offsets.append(offset)
    return np.array(starts, np.int64), np.array(offsets, np.int64)


def local_time(instants: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Turn instants (Unix seconds, UTC) into wall-clock seconds of an IANA zone."""
    starts, offsets = _transitions(zone)
    at = np.clip(np.searchsorted(starts, instants, side="right") - 1, 0, None)
    return instants + offsets[at]


def _characters(texts: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the first `_WIDTH` bytes of each text (n x `_WIDTH`, zeros behind its end) and the lengths."""
    n = len(texts)
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + n + 1]
    lengths = np.diff(offsets)
    held = texts.buffers()[2]
    data = np.frombuffer(held, np.uint8) if held is not None and held.size else np.zeros(1, np.uint8)
    at = offsets[:-1, None] + np.arange(_WIDTH)
    inside = np.arange(_WIDTH) < lengths[:, None]
    return np.where(inside, data[np.minimum(at, len(data) - 1)], 0).astype(np.uint8), lengths


def _number(digits: NDArray[np.int64], first: int, last: int) -> NDArray[np.int64]:
    """Read columns `first` to `last` (exclusive) as a decimal number."""
    powers = 10 ** np.arange(last - first - 1, -1, -1, dtype=np.int64)
    return digits[:, first:last] @ powers


def _at(matrix: NDArray[Any], column: NDArray[np.int64]) -> NDArray[Any]:
    return np.take_along_axis(matrix, np.minimum(column, _WIDTH - 1)[:, None], axis=1)[:, 0]


def _days(digits: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return days since 1970 of YYYY-MM-DD, and which of them are dates of the calendar."""
    year, month, day = _number(digits, 0, 4), _number(digits, 5, 7), _number(digits, 8, 10)
    good = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    after = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return first + day - 1, good & (day <= after - first)


def _zone_offset(
    chars: NDArray[np.uint8], is_digit: NDArray[np.bool_], at: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Read what stands from column `at` on: nothing, ``Z``, ``+HH``, ``+HHMM`` or ``+HH:MM``.

    Returns seconds east of UTC, whether there is a zone, and whether it could be read.
    """
    left = lengths - at
    sign = _at(chars, at)
    zulu = (left == 1) & ((sign == ord("Z")) | (sign == ord("z")))
    signed = (sign == ord("+")) | (sign == ord("-"))
    colon = (left == 6) & (_at(chars, at + 3) == ord(":"))
    shape = signed & ((left == 3) | (left == 5) | colon)
    minute_at = at + 3 + colon
    has_minutes = left != 3
    pairs = _at(is_digit, at + 1) & _at(is_digit, at + 2)
    minutes_read = ~has_minutes | (_at(is_digit, minute_at) & _at(is_digit, minute_at + 1))
    value = chars.astype(np.int64) - ord("0")
    hours = _at(value, at + 1) * 10 + _at(value, at + 2)
    minutes = np.where(has_minutes, _at(value, minute_at) * 10 + _at(value, minute_at + 1), 0)
    numeric = shape & pairs & minutes_read & (hours <= 15) & (minutes <= 59)
    east = np.where(numeric, (hours * 3600 + minutes * 60) * np.where(sign == ord("-"), -1, 1), 0)
    return east, zulu | numeric, (left == 0) | zulu | numeric


def _clock_time(
    chars: NDArray[np.uint8],
    is_digit: NDArray[np.bool_],
    digits: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Read ``HH:MM[:SS[.fraction]]`` from column 11 on: seconds of the day, the column after it, whether readable."""
    hour, minute = _number(digits, 11, 13), _number(digits, 14, 16)
    separator = (chars[:, 10] == ord("T")) | (chars[:, 10] == ord("t")) | (chars[:, 10] == ord(" "))
    good = separator & is_digit[:, [11, 12, 14, 15]].all(axis=1) & (chars[:, 13] == ord(":"))
    with_seconds = chars[:, 16] == ord(":")
    good &= ~with_seconds | is_digit[:, 17:19].all(axis=1)
    second = np.where(with_seconds, _number(digits, 17, 19), 0)
    point = with_seconds & ((chars[:, 19] == ord(".")) | (chars[:, 19] == ord(",")))
    run = np.logical_and.accumulate(is_digit[:, 20:30], axis=1).sum(axis=1)
    good &= ~point | ((run >= 1) & (run <= 9))
    end = np.where(point, 20 + run, np.where(with_seconds, 19, 16))
    good &= (hour <= 23) & (minute <= 59) & (second <= 59) & (lengths >= end)
    return hour * 3600 + minute * 60 + second, end, good


def _from_text(texts: Any, zone: str) -> NDArray[np.datetime64]:
    """Read ISO 8601 dates and date-times (large_string, no nulls); those without an offset are local already."""
    chars, lengths = _characters(texts)
    digits = chars.astype(np.int64) - ord("0")
    is_digit = (digits >= 0) & (digits <= 9)
    days, good = _days(digits)
    good &= is_digit[:, [0, 1, 2, 3, 5, 6, 8, 9]].all(axis=1)
    good &= (chars[:, 4] == ord("-")) & (chars[:, 7] == ord("-"))
    date_only = lengths == 10
    seconds, end, readable = _clock_time(chars, is_digit, digits, lengths)
    east, zoned, zone_read = _zone_offset(chars, is_digit, end, lengths)
    good &= date_only | (readable & zone_read & (lengths < _WIDTH))
    moment = days * _DAY + np.where(date_only, 0, seconds)
    moment = np.where(zoned & ~date_only, local_time(moment - east, zone), moment)
    return np.where(good, moment.astype("datetime64[s]"), _NAT)


def _from_seconds(texts: Any, zone: str) -> NDArray[np.datetime64]:
    """Read Unix seconds, whole or with a fraction, written in decimal (large_string, no nulls)."""
    values = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
    good = (values >= _LEAST_SECONDS) & (values <= _MOST_SECONDS)
    whole = np.floor(np.where(good, values, 0)).astype(np.int64)
    return np.where(good, local_time(whole, zone).astype("datetime64[s]"), _NAT)


def starting_points(cells: Any, texts: Any, zone: str) -> NDArray[np.datetime64]:
    """Return local times (datetime64[s], NaT where missing or unreadable) of n cells.

    `cells`: pyarrow large_binary, the first byte being the storage class; `texts`: their values as text
    (large_string); `zone`: IANA name of the source's time zone.
    """
    found = np.full(len(cells), _NAT, "datetime64[s]")
    classes = pc.binary_slice(cells, 0, 1)
    readable = pc.is_valid(texts)
    for kinds, read in (((b"t",), _from_text), ((b"i", b"r"), _from_seconds)):
        fits = pc.and_(readable, pc.is_in(classes, value_set=pa.array(kinds, pa.large_binary())))
        here = np.asarray(fits)
        if here.any():
            found[here] = read(texts if here.all() else texts.filter(fits), zone)
    return found
