"""Pages a person can read: certificate, drill report, installation report.

Each is one file: style and charts inside, no script, nothing fetched from elsewhere (the page forbids it itself),
readable in light and dark, on paper and by a screen reader. All text from outside is escaped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

from tenure.crypto.hashing import content_hash
from tenure.evidence.certificate import Certificate, CertificateKind
from tenure.evidence.documents import SignedDocument
from tenure.evidence.drill_record import CheckOutcome, DrillOutcome, DrillRecord
from tenure.evidence.svg import Chart, Mark, bar_chart, line_chart
from tenure.evidence.units import Unit, in_words
from tenure.evidence.views import CohortCell, DrillView, InstallationView, Issuer, SnapshotPoint

if TYPE_CHECKING:
    from jinja2 import Environment

SHADES = 5
"""Steps of the tint that tells how many records a month holds."""

MONTHS_SHOWN = 24
"""Newest months with a column of their own; older ones share one."""

DRILLS_SHOWN = 12
"""Newest drills in the table of checks."""

_TONES = {
    DrillOutcome.PASSED: "ok",
    DrillOutcome.FAILED: "bad",
    DrillOutcome.MISSED: "warn",
    DrillOutcome.SKIPPED: "warn",
}


@cache
def _environment() -> "Environment":
    # Imported here: most commands make no page, and none should wait for it.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    loader = PackageLoader("tenure.evidence")
    found = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters["bytes"] = lambda n: in_words(n, Unit.BYTES)
    found.filters["seconds"] = lambda n: in_words(n, Unit.SECONDS)
    found.filters["count"] = lambda n: f"{n:,}"
    found.filters["day"] = _day
    found.filters["moment"] = _moment
    found.filters["short"] = lambda text: f"{text[:12]}…" if len(text) > 12 else text
    return found


def _day(value: date | None) -> str:
    return f"{value.day} {value:%B %Y}" if value else "no date yet"


def _moment(value: datetime) -> str:
    return f"{value.day} {value:%b %Y, %H:%M} UTC"


def certificate_page(certificate: Certificate, document: SignedDocument, issuer: Issuer) -> str:
    """Return the page of a signed certificate, in words that can be sent to the person."""
    template = _environment().get_template("certificate.html")
    return template.render(
        c=certificate,
        document=document,
        issuer=issuer,
        is_erasure=certificate.kind is CertificateKind.ERASURE,
        deferred_records=sum(d.records for d in certificate.deferred),
    )


def drill_page(view: DrillView) -> str:
    """Return the report of a drill, with charts over all drills of its source."""
    history = view.history if view.record in view.history else (*view.history, view.record)
    shown = history[-DRILLS_SHOWN:]
    return (
        _environment()
        .get_template("drill.html")
        .render(
            view=view,
            d=view.record,
            tone=_TONES[view.record.outcome],
            charts=_drill_charts(history),
            shown=shown,
            tones=_TONES,
            matrix=_check_matrix(shown),
            total=len(view.record.checks),
            skipped=sum(c.outcome is CheckOutcome.SKIPPED for c in view.record.checks),
        )
    )


def installation_page(view: InstallationView) -> str:
    """Return the report of the whole installation: what is held, what was removed and why, and the proof."""
    months, rows = _cohort_table(view.cohorts)
    return (
        _environment()
        .get_template("installation.html")
        .render(
            v=view,
            months=months,
            rows=rows,
            charts=_snapshot_charts(view.snapshots),
            drill_charts=_drill_charts_by_source(view.drills),
            drill_tones=_TONES,
            held=sum(c.held for c in view.cohorts),
            on_hold=sum(c.on_hold for c in view.cohorts),
            removed=sum(r.records for r in view.removals),
            erasures=sum(r.kind is CertificateKind.ERASURE for r in view.removals),
            last_drill=view.drills[-1] if view.drills else None,
        )
    )


Charts = tuple[tuple[str, Markup], ...]
"""Pictures with their headings."""


def _drill_charts(history: Sequence[DrillRecord], prefix: str = "") -> Charts:
    """Charts of durations, sizes and ages of one source's drills; the last one's objectives are drawn."""
    last = history[-1]

    def chart(title: str, unit: Unit, values: Iterable[float], limit: float | None = None) -> Chart:
        marks = [
            Mark(at=d.started, value=v, tone=_TONES[d.outcome], note=f"snapshot {d.snapshot}, {d.outcome}")
            for d, v in zip(history, values, strict=True)
        ]
        return _chart(f"{prefix}{title}", unit, marks, limit, width=350)

    restore = chart("Time to restore", Unit.SECONDS, [d.seconds for d in history], last.restore_objective)
    size = chart("Bytes restored", Unit.BYTES, [d.bytes for d in history])
    age = chart("Age of the snapshot", Unit.SECONDS, [d.snapshot_age for d in history], last.age_objective)
    return ((restore.title, line_chart(restore)), (size.title, bar_chart(size)), (age.title, line_chart(age)))


def _chart(
    title: str, unit: Unit, marks: Sequence[Mark], limit: float | None = None, *, width: int = 480
) -> Chart:
    # The id has to be unique in a page and is derived, so that the same input always draws the same page.
    name = f"chart-{content_hash(title.encode()).hex()[:10]}"
    return Chart(
        id=name, title=title, unit=unit, marks=marks, limit=limit, limit_name="objective", width=width
    )


def _drill_charts_by_source(drills: Sequence[DrillRecord]) -> Charts:
    """Charts of every source that was drilled; sources are never mixed in one chart."""
    names = list(dict.fromkeys(d.source for d in drills))
    return tuple(
        chart
        for name in names
        for chart in _drill_charts(
            [d for d in drills if d.source == name], f"{name}: " if len(names) > 1 else ""
        )
    )


def _snapshot_charts(snapshots: Sequence[SnapshotPoint]) -> Charts:
    """Charts of what each source's snapshots held and what each added."""
    charts: list[tuple[str, Markup]] = []
    for source in dict.fromkeys(s.source for s in snapshots):
        own = [s for s in snapshots if s.source == source]
        notes = [f"snapshot {s.number}" for s in own]
        added = [Mark(at=s.at, value=s.stored, note=n) for s, n in zip(own, notes, strict=True)]
        held = [Mark(at=s.at, value=s.records, note=n) for s, n in zip(own, notes, strict=True)]
        for title, unit, marks in (
            (f"{source}: stored anew by each snapshot", Unit.BYTES, added),
            (f"{source}: records in each snapshot", Unit.COUNT, held),
        ):
            charts.append((title, bar_chart(_chart(title, unit, marks))))
    return tuple(charts)


def _check_matrix(drills: Sequence[DrillRecord]) -> list[tuple[str, list[str]]]:
    """Rows of check names with the outcome in each drill; "" where a drill did not have the check."""
    names = list(dict.fromkeys(c.name for d in reversed(drills) for c in d.checks))
    outcomes = [{c.name: str(c.outcome) for c in d.checks} for d in drills]
    return [(name, [o.get(name, "") for o in outcomes]) for name in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortBox:
    """One box of the table of what is held. `shade` 0 to `SHADES`: how many records beside the fullest box."""

    held: int = 0
    removed: int = 0
    on_hold: int = 0
    shade: int = 0

    @property
    def is_gone(self) -> bool:
        """Whether there were records and none is left."""
        return self.removed > 0 and self.held == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortRow:
    """One data set: a box a month, and the sums."""

    data_set: str
    boxes: tuple[CohortBox, ...]
    held: int
    removed: int


def _cohort_table(cells: Sequence[CohortCell]) -> tuple[list[str], list[CohortRow]]:
    """Turn cells into rows of data sets and columns of months, oldest first, "" (no starting point) last."""
    months = sorted({c.month for c in cells if c.month})
    early = set(months[:-MONTHS_SHOWN])
    columns = (
        (["earlier"] if early else [])
        + months[-MONTHS_SHOWN:]
        + ([""] if any(not c.month for c in cells) else [])
    )
    sums: dict[tuple[str, str], list[int]] = {}
    for c in cells:
        total = sums.setdefault((c.data_set, "earlier" if c.month in early else c.month), [0, 0, 0])
        for i, n in enumerate((c.held, c.removed, c.on_hold)):
            total[i] += n
    rows = []
    for name in dict.fromkeys(c.data_set for c in cells):
        picked = [sums.get((name, column), [0, 0, 0]) for column in columns]
        fullest = max(p[0] for p in picked)
        boxes = tuple(
            CohortBox(held=h, removed=r, on_hold=o, shade=-(-h * SHADES // fullest) if h else 0)
            for h, r, o in picked
        )
        rows.append(
            CohortRow(
                data_set=name, boxes=boxes, held=sum(p[0] for p in picked), removed=sum(p[1] for p in picked)
            )
        )
    return columns, rows
