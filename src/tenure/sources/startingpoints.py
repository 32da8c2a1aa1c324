"""Starting points out of cells: dates, times with and without an offset, Unix seconds; vectorised.

Read as an instant only what can mean nothing else. A wrong reading would delete early, so whatever is in doubt is
NaT, which keeps the record and is reported.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_LONGEST = 35  # characters of "2026-03-01T12:00:00.123456789+02:00"
_FARTHEST = 15  # hours east or west of UTC; no zone has been farther
_LEAST_SECONDS = 100_000_000
"""Unix seconds below this (March 1973) are refused: a year, a Julian day or 20260301 written as a number."""
_MOST_SECONDS = 253_402_300_799  # the end of the year 9999; milliseconds of our time lie above
_ZONE_FROM, _ZONE_TO = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_DAY = 86_400
_PLAIN = (10, 19)  # characters of "2026-03-01" and of "2026-03-01 12:00:00"
_FIRST_YEAR = np.datetime64("0001-01-01T00:00:00", "s")
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


def _number(digits: NDArray[np.int32], *columns: int) -> NDArray[np.int32]:
    """Read columns, given as rows of `digits`, as a decimal number."""
    value: NDArray[np.int32] = digits[columns[0]]
    for column in columns[1:]:
        value = value * 10 + digits[column]
    return value


def _days(digits: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return days since 1970 of YYYY-MM-DD, and which of them are dates of the calendar."""
    year, month, day = _number(digits, 0, 1, 2, 3), _number(digits, 5, 6), _number(digits, 8, 9)
    good = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    months = (year.astype(np.int64) - 1970) * 12 + np.clip(month, 1, 12) - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    after = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return first + day - 1, good & (day <= after - first)


_DATE_DIGITS = [0, 1, 2, 3, 5, 6, 8, 9]
_TIME_DIGITS = [11, 12, 14, 15]
_TAIL = re.compile(rb"(?:[.,][0-9]{1,9})?(?:([Zz])|([+-])([0-9]{2})(?::?([0-9]{2}))?)?")


def _tail(text: bytes) -> tuple[int, bool, bool]:
    """Read a fraction and an offset: seconds east of UTC, whether there is an offset, whether it was readable."""
    found = _TAIL.fullmatch(text)
    if found is None:
        return 0, False, False
    zulu, sign, hours, minutes = found.groups()
    east = int(hours or 0) * 3600 + int(minutes or 0) * 60
    readable = int(hours or 0) <= _FARTHEST and int(minutes or 0) <= 59
    return (-east if sign == b"-" else east), bool(zulu or sign), readable


def _tails(
    chars: NDArray[np.uint8], start: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Read what follows the seconds (or minutes) from column `start` on; offsets are few, so each is read once."""
    if start == len(chars):
        n = chars.shape[1]
        return np.zeros(n, np.int64), np.zeros(n, bool), np.ones(n, bool)
    rest = np.ascontiguousarray(chars[start:].T)
    if rest.shape[1] == 1:
        kinds, place = np.unique(rest[:, 0], return_inverse=True)
        texts = [bytes([k]) for k in kinds]
    else:
        whole, place = np.unique(rest.view(f"V{rest.shape[1]}")[:, 0], return_inverse=True)
        texts = [k.tobytes() for k in whole]
    read = [_tail(t) for t in texts]
    east, zoned, readable = (np.array(column) for column in zip(*read, strict=True))
    return east.astype(np.int64)[place], zoned[place], readable[place]


def _with_time(chars: NDArray[np.uint8], zone: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read date-times of one length (one row of `chars` a column): local seconds, and which were readable."""
    with_seconds = len(chars) > 16 and bool(np.all(chars[16] == ord(":")))
    start = 19 if with_seconds else 16
    if len(chars) < start:
        return np.zeros(chars.shape[1], np.int64), np.zeros(chars.shape[1], bool)
    digits = chars[:start].astype(np.int32) - ord("0")
    wanted = [*_DATE_DIGITS, *_TIME_DIGITS, *((17, 18) if with_seconds else ())]
    good = np.logical_and.reduce([(digits[c] >= 0) & (digits[c] <= 9) for c in wanted])
    good &= (chars[4] == ord("-")) & (chars[7] == ord("-")) & (chars[13] == ord(":"))
    good &= (chars[10] == ord("T")) | (chars[10] == ord("t")) | (chars[10] == ord(" "))
    hour, minute = _number(digits, 11, 12), _number(digits, 14, 15)
    second = _number(digits, 17, 18) if with_seconds else np.zeros_like(hour)
    days, real = _days(digits)
    east, zoned, readable = _tails(chars, start)
    if not with_seconds:  # a fraction belongs to seconds
        readable &= chars[16] != ord(".") if len(chars) > 16 else True
        readable &= chars[16] != ord(",") if len(chars) > 16 else True
    good &= real & readable & (hour <= 23) & (minute <= 59) & (second <= 59)
    moment = days * _DAY + hour * 3600 + minute * 60 + second
    if zoned.any():
        moment = np.where(zoned, local_time(moment - east, zone), moment)
    return moment, good


def _dates(chars: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    digits = chars.astype(np.int32) - ord("0")
    good = np.logical_and.reduce([(digits[c] >= 0) & (digits[c] <= 9) for c in _DATE_DIGITS])
    days, real = _days(digits)
    return days * _DAY, good & real & (chars[4] == ord("-")) & (chars[7] == ord("-"))


def _read_matrix(chars: NDArray[np.uint8], zone: str) -> NDArray[np.datetime64]:
    """Read n texts of one length L, given as an L x n matrix."""
    if len(chars) == 10:
        moment, good = _dates(chars)
    else:
        moment, good = _with_time(chars, zone)
    return np.where(good, moment.astype("datetime64[s]"), _NAT)


def _plain(texts: Any) -> NDArray[np.datetime64] | None:
    """Read n >= 1 texts where all are dates, or all date-times to the second without an offset; None where not.

    What Arrow reads of these lengths is read alike here, but for the year 0, and five times as fast.
    """
    shortest, longest = pc.min_max(pc.binary_length(texts)).values()
    if shortest != longest or shortest.as_py() not in _PLAIN:
        return None
    try:
        found = pc.cast(texts, pa.timestamp("s")).to_numpy()
    except pa.ArrowInvalid:
        return None
    return found if found.min() >= _FIRST_YEAR else None


def _from_text(texts: Any, zone: str) -> NDArray[np.datetime64]:
    """Read ISO 8601 dates and date-times (large_string, no nulls); those without an offset are local already.

    Texts of one length stand in memory as a matrix, so each length is read by itself.
    """
    plain = _plain(texts)
    if plain is not None:
        return plain
    found = np.full(len(texts), _NAT, "datetime64[s]")
    lengths = pc.binary_length(texts).to_numpy()
    for length in np.unique(lengths).tolist():
        if length != 10 and not 16 <= length <= _LONGEST:
            continue
        here = lengths == length
        chosen = texts.filter(pa.array(here))
        start = np.frombuffer(chosen.buffers()[1], np.int64)[chosen.offset]
        matrix = np.frombuffer(chosen.buffers()[2], np.uint8)[start : start + length * len(chosen)]
        chars = np.ascontiguousarray(matrix.reshape(len(chosen), length).T)
        seconds = chars[16] == ord(":") if length > 16 else np.zeros(len(chosen), bool)
        part = np.full(len(chosen), _NAT, "datetime64[s]")
        for same in (seconds, ~seconds):
            if same.any():
                part[same] = _read_matrix(chars if same.all() else np.ascontiguousarray(chars[:, same]), zone)
        found[here] = part
    return found


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
