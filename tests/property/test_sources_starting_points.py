"""Law: a starting point reads as Python's own date arithmetic says, or not at all."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tenure.sources.rowtext import encode_column, plain_text
from tenure.sources.startingpoints import starting_points

ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"]
AROUND = st.datetimes(datetime.fromisoformat("1971-01-01"), datetime.fromisoformat("2150-01-01"))
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


def read(values: list[Any], zone: str = "Europe/Berlin") -> NDArray[np.datetime64]:
    cells = encode_column(values)
    return starting_points(cells, plain_text(cells), zone)


def naive(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(microsecond=0, tzinfo=None), "s")


@given(
    st.lists(st.tuples(AROUND, st.none() | OFFSETS | st.just(UTC), st.sampled_from([" ", "T"])), min_size=1),
    st.sampled_from(ZONES),
)
def test_date_times_read_as_the_local_time_of_the_zone(
    drawn: list[tuple[datetime, timezone | None, str]], zone: str
) -> None:
    texts = [moment.replace(tzinfo=offset).isoformat(sep=sep) for moment, offset, sep in drawn]
    want = [
        naive(moment) if offset is None else naive(moment.replace(tzinfo=offset).astimezone(ZoneInfo(zone)))
        for moment, offset, _ in drawn
    ]
    assert read(texts, zone).tolist() == np.array(want).tolist()


@given(st.lists(st.dates(), min_size=1))
def test_a_date_is_the_start_of_its_day(dates: list[date]) -> None:
    assert read([d.isoformat() for d in dates]).tolist() == [datetime.combine(d, time()) for d in dates]


@given(st.lists(st.integers(100_000_000, 7_000_000_000), min_size=1), st.sampled_from(ZONES))
def test_unix_seconds_read_as_the_local_time_of_the_zone(seconds: list[int], zone: str) -> None:
    want = [naive(datetime.fromtimestamp(s, ZoneInfo(zone))) for s in seconds]
    assert read(list(seconds), zone).tolist() == np.array(want).tolist()


@given(st.lists(st.text(), min_size=1, max_size=20))
def test_text_that_is_no_date_is_missing_and_one_cell_never_touches_another(texts: list[str]) -> None:
    mixed = [t for text in texts for t in (text, "2026-03-01")]
    found = read(mixed)
    assert set(found[1::2].tolist()) == {datetime.fromisoformat("2026-03-01")}
    assert [str(f) for f in found[::2]] == [str(read([t])[0]) for t in texts]


@pytest.mark.parametrize(
    "doubtful",
    [
        "2026-02-29", "2026-13-01", "2026-00-10", "0000-01-01", "2026-1-1", "01.02.2026", "2026-03-01T25:00", "2026-03-01T10",
        "2026-03-01T10:00:60", "2026-03-01T10:00.5", "2026-03-01T10:00:00+16:00", "2026-03-01T10:00:00+01:60", "2026-03-01Z",
        "2026-03-01T10:00:00 UTC", "2026-03-01T10:00:00.", "2026-03-01T10:00:00.1234567890", "\u0662\u0660\u0662\u0666-\u0660\u0663-\u0660\u0661", "1780000000",
        20_260_301, 2026, 2_461_000.5, 1_780_000_000_000, 2**62, -5, b"2026-03-01", None, float("inf"), "",
    ],
)  # fmt: skip
def test_what_could_mean_something_else_is_missing(doubtful: Any) -> None:
    assert np.isnat(read([doubtful, "2026-03-01"])).tolist() == [True, False]
