from datetime import UTC, date, datetime

import numpy as np
import pytest

from tenure.domain.errors import ConfigError
from tenure.rules.model import Period, Unit
from tenure.rules.periods import due_day, due_days, due_instant, due_instants, may_exceed, zone


def period(text: str) -> Period:
    count, unit = text.split()
    return Period(count=int(count), unit=Unit(unit))


@pytest.mark.parametrize(
    ("event", "length", "due"),
    [
        ("2026-01-01", "90 days", "2026-04-02"),
        ("2026-03-02", "1 days", "2026-03-04"),
        ("2026-03-02", "2 weeks", "2026-03-17"),
        ("2026-01-31", "1 months", "2026-03-01"),
        ("2024-01-31", "1 months", "2024-03-01"),
        ("2024-01-29", "1 months", "2024-03-01"),
        ("2026-01-15", "1 months", "2026-02-16"),
        ("2025-12-31", "2 months", "2026-03-01"),
        ("2025-11-30", "13 months", "2026-12-31"),
        ("2024-02-29", "1 years", "2025-03-01"),
        ("2024-02-29", "4 years", "2028-03-01"),
        ("2023-02-28", "1 years", "2024-02-29"),
        ("2020-12-31", "6 years", "2027-01-01"),
        ("9999-01-01", "6 years", "9999-12-31"),
        ("9999-12-31", "1 months", "9999-12-31"),
        ("0001-01-01", "1 years", "0002-01-02"),
    ],
)
def test_a_period_is_due_on_the_day_after_its_last_day(event: str, length: str, due: str) -> None:
    assert due_day(date.fromisoformat(event), period(length)).isoformat() == due
    assert due_days(np.array([event], "datetime64[s]"), period(length)) == np.array([due], "datetime64[D]")


def test_the_hour_of_the_event_does_not_matter_to_days() -> None:
    late = due_days(np.array(["2026-01-01T23:59:59"], "datetime64[s]"), period("90 days"))
    assert late == np.array(["2026-04-02"], "datetime64[D]")


def test_a_missing_event_is_due_never() -> None:
    events = np.array(["NaT"], "datetime64[s]")
    for unit in Unit:
        length = Period(count=1, unit=unit)
        due = due_instants(events, length, "UTC") if unit is Unit.HOURS else due_days(events, length)
        assert np.isnat(due).all()


@pytest.mark.parametrize(
    ("event", "hours", "due"),
    [
        ("2026-01-01T12:00:00", 1, "2026-01-01T12:00:00"),
        ("2026-03-29T01:30:00", 1, "2026-03-29T01:30:00"),  # one hour later the clock shows 03:30
        ("2026-03-29T02:30:00", 1, "2026-03-29T02:30:00"),  # never shown: read as 03:30
        ("2026-10-25T02:30:00", 1, "2026-10-25T02:30:00"),  # shown twice: the later
        ("2026-10-25T01:30:00", 3, "2026-10-25T02:30:00"),
        ("2026-07-01T00:00:00", 24, "2026-07-01T22:00:00"),
    ],
)
def test_hours_are_exact_across_a_change_of_the_clock(event: str, hours: int, due: str) -> None:
    length = Period(count=hours, unit=Unit.HOURS)
    expected = datetime.fromisoformat(due).replace(tzinfo=UTC)
    assert due_instant(datetime.fromisoformat(event), length, "Europe/Berlin") == expected
    columns = due_instants(np.array([event], "datetime64[s]"), length, "Europe/Berlin")
    assert columns == np.array([due], "datetime64[s]")


def test_hours_have_no_last_day() -> None:
    with pytest.raises(ValueError, match="no last day"):
        due_day(date(2026, 1, 1), period("3 hours"))
    with pytest.raises(ValueError, match="no last day"):
        due_days(np.array(["2026-01-01"], "datetime64[s]"), period("3 hours"))


@pytest.mark.parametrize(
    ("duty", "limit", "exceeds"),
    [
        ("90 days", "90 days", False),
        ("91 days", "90 days", True),
        ("13 months", "1 years", True),
        ("12 months", "1 years", False),
        ("1 months", "31 days", False),
        ("1 months", "30 days", True),
        ("28 days", "1 months", False),
        ("29 days", "1 months", True),
        ("365 days", "1 years", False),
        ("366 days", "1 years", True),
        ("4 weeks", "28 days", False),
        ("24 hours", "1 days", False),
        ("1 days", "24 hours", True),
    ],
)
def test_a_duty_is_compared_with_a_limit_over_every_calendar(duty: str, limit: str, exceeds: object) -> None:
    assert may_exceed(period(duty), period(limit)) is exceeds


def test_an_unknown_time_zone_is_refused() -> None:
    for name in ("Europe/Berlim", "", "/etc/passwd", "../x"):
        with pytest.raises(ConfigError, match="IANA"):
            zone(name)
