"""Numbers as people read them: bytes, durations, counts, and the round steps of an axis."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """What a number counts."""

    BYTES = "bytes"
    SECONDS = "seconds"
    COUNT = "count"


_STEPS: dict[Unit, tuple[tuple[float, str], ...]] = {
    Unit.BYTES: ((1, "B"), (1024, "KiB"), (1024**2, "MiB"), (1024**3, "GiB"), (1024**4, "TiB")),
    Unit.SECONDS: ((0.001, "ms"), (1, "s"), (60, "min"), (3600, "h"), (86400, "days")),
    Unit.COUNT: ((1, ""), (1e6, "million"), (1e9, "billion")),
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A unit at a readable size: value / `divisor` is told with `suffix`."""

    divisor: float
    suffix: str


def measure_for(unit: Unit, largest: float) -> Measure:
    """Choose the measure in which `largest` reads best."""
    steps = _STEPS[unit]
    fitting = [s for s in steps if s[0] <= largest]
    # Two of the next smaller read better than one and a bit ("90 s", not "1.5 min"), save for bytes and counts.
    if unit is Unit.SECONDS and len(fitting) > 1 and largest < 2 * fitting[-1][0]:
        fitting.pop()
    return Measure(*(fitting[-1] if fitting else steps[0]))


def in_words(value: float, unit: Unit) -> str:
    """Return a value with its unit: ``1.5 MiB``, ``90 s``, ``12,345``."""
    if value == 0 and unit is Unit.SECONDS:
        return "0 s"
    measure = measure_for(unit, abs(value))
    scaled = value / measure.divisor
    whole = scaled == int(scaled) or abs(scaled) >= 100
    text = f"{scaled:,.0f}" if whole else f"{scaled:,.1f}"
    return f"{text} {measure.suffix}".strip()


def ticks(largest: float) -> list[float]:
    """Return 3 to 6 round steps from 0 to at least `largest`."""
    if largest <= 0:
        return [0.0, 1.0]
    rough = largest / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    count = math.ceil(largest / step - 1e-9)
    return [step * i for i in range(count + 1)]
