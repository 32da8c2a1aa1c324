"""Small charts as inline SVG: bars and lines over time, with title, axes and units.

Written here because the pages must stay one file without scripts or foreign references and follow light and dark:
pygal adds scripts and fixed colours, Matplotlib writes 20 KB of paths a chart and weighs more than Tenure itself.
Colours are classes of the page's style sheet. Every chart has a title, a description and a title on each mark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup, escape

from tenure.evidence.units import Measure, Unit, in_words, measure_for, ticks

HEIGHT = 220
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 28, 28
LABEL_SPACE = 74  # user units that one date under the axis needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One value at one time. `tone`: class of its colour (ok, bad, warn). `note`: told on pointing at it."""

    at: datetime
    value: float
    tone: str = "ok"
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What to draw. `limit`: a dashed line, such as an objective, named by `limit_name`."""

    id: str
    title: str
    unit: Unit
    marks: Sequence[Mark]
    limit: float | None = None
    limit_name: str = ""
    width: int = 480


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values land: `measure` and `steps` of the value axis."""

    chart: Chart
    measure: Measure
    steps: list[float]

    def x(self, index: int) -> float:
        slot = (self.chart.width - LEFT - RIGHT) / max(len(self.chart.marks), 1)
        return LEFT + slot * (index + 0.5)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value / self.measure.divisor) / self.steps[-1] * (HEIGHT - TOP - BOTTOM)


def bar_chart(chart: Chart) -> Markup:
    """Draw one bar a mark, evenly spaced in the order given."""
    frame = _frame(chart)
    slot = (chart.width - LEFT - RIGHT) / max(len(chart.marks), 1)
    wide = min(slot * 0.68, 34)
    base = frame.y(0)
    bars = Markup("").join(
        Markup(
            '<rect class="mark {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2">{}</rect>'
        ).format(
            mark.tone,
            frame.x(i) - wide / 2,
            min(frame.y(mark.value), base - 1),
            wide,
            max(base - frame.y(mark.value), 1),
            _tip(mark, chart.unit),
        )
        for i, mark in enumerate(chart.marks)
    )
    return _picture(frame, bars)


def line_chart(chart: Chart) -> Markup:
    """Draw a line through the marks, evenly spaced in the order given, with a dot at each."""
    frame = _frame(chart)
    path = " ".join(f"{frame.x(i):.1f},{frame.y(m.value):.1f}" for i, m in enumerate(chart.marks))
    area = f"{frame.x(0):.1f},{frame.y(0):.1f} {path} {frame.x(len(chart.marks) - 1):.1f},{frame.y(0):.1f}"
    dots = Markup("").join(
        Markup('<circle class="mark {}" cx="{:.1f}" cy="{:.1f}" r="4">{}</circle>').format(
            mark.tone, frame.x(i), frame.y(mark.value), _tip(mark, chart.unit)
        )
        for i, mark in enumerate(chart.marks)
    )
    under = Markup('<polygon class="area" points="{}"/><polyline class="line" points="{}"/>').format(
        area, path
    )
    return _picture(frame, (under if len(chart.marks) > 1 else Markup("")) + dots)


def _frame(chart: Chart) -> _Frame:
    largest = max([m.value for m in chart.marks] + [chart.limit or 0])
    measure = measure_for(chart.unit, largest)
    return _Frame(chart, measure, ticks(largest / measure.divisor))


def _tip(mark: Mark, unit: Unit) -> Markup:
    note = f" · {mark.note}" if mark.note else ""
    return Markup("<title>{:%d %b %Y %H:%M} · {}{}</title>").format(mark.at, in_words(mark.value, unit), note)


def _picture(frame: _Frame, inside: Markup) -> Markup:
    chart = frame.chart
    if not chart.marks:
        return Markup('<p class="empty">{}: nothing yet.</p>').format(chart.title)
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="{}-t {}-d" '
        'xmlns="http://www.w3.org/2000/svg"><title id="{}-t">{}</title><desc id="{}-d">{}</desc>{}{}{}</svg>'
    ).format(
        chart.width,
        HEIGHT,
        *[chart.id] * 3,
        chart.title,
        chart.id,
        _description(chart),
        _value_axis(frame) + _time_axis(frame),
        inside,
        _limit(frame),
    )


def _description(chart: Chart) -> str:
    values = [m.value for m in chart.marks]
    text = (
        f"{len(values)} values from {chart.marks[0].at:%d %b %Y} to {chart.marks[-1].at:%d %b %Y}; "
        f"smallest {in_words(min(values), chart.unit)}, largest {in_words(max(values), chart.unit)}, "
        f"last {in_words(values[-1], chart.unit)}"
    )
    return text + (f"; {chart.limit_name} {in_words(chart.limit, chart.unit)}." if chart.limit else ".")


def _value_axis(frame: _Frame) -> Markup:
    right = frame.chart.width - RIGHT
    lines = Markup("")
    for step in frame.steps:
        y = frame.y(step * frame.measure.divisor)
        text = f"{step:,.10g}"
        lines += Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
            '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        ).format(LEFT, right, y, y, LEFT - 8, y + 4, text)
    return lines + Markup('<text class="unit" x="{}" y="12" text-anchor="end">{}</text>').format(
        LEFT - 8, frame.measure.suffix
    )


def _time_axis(frame: _Frame) -> Markup:
    marks = frame.chart.marks
    room = max(int((frame.chart.width - LEFT - RIGHT) // LABEL_SPACE), 1)
    every = -(-len(marks) // room)
    same_year = len({m.at.year for m in marks}) == 1
    labels = Markup("")
    for i in range(0, len(marks), every):
        text = f"{marks[i].at:%d %b}" if same_year else f"{marks[i].at:%d %b %y}"
        labels += Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            frame.x(i), HEIGHT - 8, text
        )
    return labels


def _limit(frame: _Frame) -> Markup:
    limit = frame.chart.limit
    if not limit:
        return Markup("")
    y, right = frame.y(limit), frame.chart.width - RIGHT
    return Markup(
        '<line class="limit" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
        '<text class="limit-name" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
    ).format(
        LEFT,
        right,
        y,
        y,
        right,
        y - 5,
        escape(f"{frame.chart.limit_name} {in_words(limit, frame.chart.unit)}"),
    )
