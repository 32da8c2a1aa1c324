"""How bytes are held to a rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.objectstore.pacing import AHEAD_S, FREE, Pace


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@given(
    rate=st.integers(1, 10**9),
    takes=st.lists(st.tuples(st.integers(0, 10**8), st.floats(0, 5)), min_size=1, max_size=30),
)
def test_no_stretch_of_time_lets_more_through_than_its_rate(
    rate: int, takes: list[tuple[int, float]]
) -> None:
    time = Time()
    pace = Pace(rate, clock=time.clock, sleep=time.sleep)
    begun, through = time.now, 0
    for count, pause in takes:
        time.sleep(pause)
        pace.take(count)
        through += count
        assert through <= (time.now - begun + AHEAD_S) * rate * (1 + 1e-9) + 1


def test_an_idle_line_is_not_made_to_wait() -> None:
    time = Time()
    pace = Pace(1000, clock=time.clock, sleep=time.sleep)
    time.sleep(10)
    before = time.now
    pace.take(int(1000 * AHEAD_S))
    assert time.now == before


def test_without_a_rate_nothing_waits() -> None:
    FREE.take(1 << 60)
    with pytest.raises(ValueError, match="not negative"):
        Pace(-1)
