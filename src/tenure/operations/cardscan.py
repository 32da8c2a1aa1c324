"""Finds card data in the live stores: how much, in which data set and column, how certain. Never a digit.

A number is exposed where no rule in force expects it; security codes and track data are exposed wherever they are
(PCI DSS 3.3.1, 12.10.7).
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from tenure.cards import blobs, prefilter
from tenure.cards.columns import ColumnKind, judge_column
from tenure.cards.detect import find
from tenure.cards.findings import Confidence, Finding, Kind
from tenure.cards.rows import regrade, text_of
from tenure.domain.catalogue import SourceKind
from tenure.domain.errors import ConfigError
from tenure.operations.inforce import rules_in_force
from tenure.operations.installation import Installation
from tenure.rules.ruleset import RuleSet
from tenure.sources.base import RowBatch, RowLayout, View
from tenure.sources.folderfacts import read_sidecar
from tenure.sources.rowtext import CellTable, plain_text

COLUMN_SAMPLE = 1_000
"""Values that a column is judged by, from its first rows: cards, or ids of which some look like cards."""

SIDECAR, SOUND = "sidecar", "sound"
_NULL = rb"\N"
_ESCAPED = re.compile(rb"\\[\\tnr0]")
_UNESCAPE = {rb"\\": b"\\", rb"\t": b"\t", rb"\n": b"\n", rb"\r": b"\r", rb"\0": b"\0"}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Spot:
    """Where and what was found."""

    data_set: str
    column: str
    kind: Kind
    confidence: Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Tallied:
    """How much of it. `exposed`: it must not be there; `test_numbers`: those published for testing, among them."""

    spot: Spot
    count: int
    test_numbers: int
    exposed: bool


@dataclass(slots=True, kw_only=True)
class Scanned:
    """What was looked at and found. `by`: sure findings for each value of the column asked for.

    `unreadable`: cells, or recordings' sound, that nobody can say hold no card data, by data set and column.
    """

    records: int = 0
    counts: Counter[Spot] = field(default_factory=Counter)
    tests: Counter[Spot] = field(default_factory=Counter)
    by: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable: Counter[tuple[str, str]] = field(default_factory=Counter)
    expected: frozenset[str] = frozenset()

    def tallies(self) -> list[Tallied]:
        """Return the findings by place, the certain ones first."""
        order = sorted(self.counts, key=lambda s: (-s.confidence, s.data_set, s.column, s.kind))
        return [
            Tallied(spot=s, count=self.counts[s], test_numbers=self.tests[s], exposed=self._exposed(s))
            for s in order
        ]

    @property
    def exposed(self) -> int:
        """Return how much was found where it must not be."""
        return sum(count for spot, count in self.counts.items() if self._exposed(spot))

    def _exposed(self, spot: Spot) -> bool:
        sure = spot.confidence is Confidence.SURE
        return sure and (spot.kind is not Kind.NUMBER or spot.data_set not in self.expected)


def scanned(installation: Installation, source: str | None = None, *, by: str = "") -> Scanned:
    """Scan the live stores of one source or of all; `by`: a column whose values the sure findings are counted by.

    Raises:
        ConfigError: There is no such source, or no data set has the column.
        SourceUnavailableError: A live store is not there.
    """
    known = installation.catalogue.sources
    if source is not None and source not in known:
        raise ConfigError(
            f"there is no source {source!r}", hint=f"configured are: {', '.join(sorted(known)) or 'none'}"
        )
    rules, _ = rules_in_force(installation.open_writing())
    found, has_column = Scanned(expected=_expected(rules)), not by
    for name in [source] if source is not None else sorted(known):
        has_column |= _source(installation, name, by, found)
    if not has_column:
        raise ConfigError(
            f"no data set has a column {by!r}", hint="name one that stands beside what is scanned"
        )
    installation.evidence.log.append(
        "card-scan",
        who=installation.officer,
        at=installation.clock.now(),
        subject_of_entry=source or "every source",
        outcome="found where it must not be" if found.exposed else "nothing exposed",
        details={
            "records": found.records,
            "exposed": found.exposed,
            "likely": _likely(found),
            "unreadable": found.unreadable.total(),
        },
    )
    return found


def _source(installation: Installation, name: str, by: str, found: Scanned) -> bool:
    """Scan one source; return whether it has the column `by`."""
    sources, has_column = installation.catalogue.sources, False
    folder = sources[name].kind is SourceKind.FOLDER
    with ExitStack() as stack:
        lookups: dict[str, Any] = {}
        for other in sources if folder else ():
            if (
                sources[other].kind is not SourceKind.FOLDER
            ):  # recordings may take facts from a database's rows
                live = cast("Any", installation.sources[other].live())
                lookups.update(stack.enter_context(live.lookups()))
        view = installation.sources[name].begin(lookups)
        stack.callback(view.close)
        for data_set in view.data_sets():
            work = _recordings if folder else _table
            has_column |= work(installation, view, data_set, by, found)
    return has_column


def _expected(rules: RuleSet) -> frozenset[str]:
    return frozenset(d for rule in rules.card_rules for d in rule.expected_in)


def _likely(found: Scanned) -> int:
    return sum(n for s, n in found.counts.items() if s.confidence is Confidence.LIKELY)


def _table(installation: Installation, view: View, data_set: str, by: str, found: Scanned) -> bool:
    """Scan a table; return whether it has the column `by`."""
    layout = view.layout(data_set)
    beside = layout.columns.index(by) if by in layout.columns else -1
    kinds: dict[int, ColumnKind] = {}
    task = installation.progress.begin(f"Scanning {data_set}", total=view.count(data_set), unit="rows")
    for batch in view.rows(data_set):
        found.records += len(batch)
        for row in _rows_to_look_at(batch, layout, data_set, found):
            for column, finding in _findings(batch, row, layout, kinds):
                _count(
                    found,
                    Spot(data_set=data_set, column=column, kind=finding.kind, confidence=finding.confidence),
                    finding,
                )
                if beside >= 0 and finding.confidence is Confidence.SURE:
                    found.by[data_set, _value(_cells(batch, row)[beside])] += 1
        task.advance(len(batch))
    task.end()
    return beside >= 0


def _rows_to_look_at(batch: RowBatch, layout: RowLayout, data_set: str, found: Scanned) -> list[int]:
    """Return the rows that may hold card data; count the binary cells that cannot be looked into."""
    found_here = prefilter.scanned(batch.text, batch.offsets)
    if not found_here.blobs:
        return found_here.rows.tolist()  # type: ignore[no-any-return]
    seen = blobs.look(batch.text, batch.offsets, range(layout.key_cells, len(layout.columns)))
    for at, cells in seen.unreadable.items():
        found.unreadable[data_set, layout.columns[at]] += cells
    rows: list[int] = np.union1d(found_here.rows, seen.rows).tolist()
    return rows


def _count(found: Scanned, spot: Spot, finding: Finding) -> None:
    found.counts[spot] += 1
    found.tests[spot] += finding.test_number


def _cells(batch: RowBatch, row: int) -> list[bytes]:
    start, end = int(batch.offsets[row]), int(batch.offsets[row + 1])
    return bytes(batch.text[start : end - 1]).split(b"\t")


def _findings(
    batch: RowBatch, row: int, layout: RowLayout, kinds: dict[int, ColumnKind]
) -> Iterator[tuple[str, Finding]]:
    """Yield (column, finding) of one row's own cells; the linked ones stand in another data set."""
    cells = _cells(batch, row)
    for at, column in enumerate(layout.columns):
        cell = cells[at]
        raw = None if cell == _NULL else text_of(cell) if cell[:1] == b"b" else _plain(cell)
        if raw is None:
            continue
        rough = find(raw)
        if rough and at not in kinds:
            kinds[at] = _column_kind(batch, layout, at)
        for finding in regrade(raw, rough, kinds[at]) if rough else ():
            yield column, finding


def _column_kind(batch: RowBatch, layout: RowLayout, at: int) -> ColumnKind:
    """Judge a column by the batch at hand."""
    table = CellTable(batch.text, batch.offsets, len(layout.columns) + len(layout.linked))
    values: Sequence[str | None] = plain_text(table.column(at))[:COLUMN_SAMPLE].to_pylist()
    return judge_column(v for v in values if v is not None).kind


def _plain(cell: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: _UNESCAPE[match.group()], cell[1:])


def _value(cell: bytes) -> str:
    return "(none)" if cell == _NULL else _plain(cell).decode("utf-8", "replace")


def _recordings(installation: Installation, view: View, data_set: str, by: str, found: Scanned) -> bool:
    """Scan the sidecars of recordings; return whether any has the field `by`."""
    field_name, has_field = by.removeprefix("sidecar."), False
    task = installation.progress.begin(f"Scanning {data_set}", total=view.count(data_set), unit="recordings")
    for batch in view.recordings(data_set):
        found.records += len(batch.recordings)
        found.unreadable[data_set, SOUND] += len(batch.recordings)
        for recording in batch.recordings:
            told = read_sidecar(recording.sidecar) if recording.sidecar else None
            there = bool(by) and isinstance(told, dict) and field_name in told
            has_field |= there
            for finding in find(recording.sidecar) if recording.sidecar else ():
                spot = Spot(
                    data_set=data_set, column=SIDECAR, kind=finding.kind, confidence=finding.confidence
                )
                _count(found, spot, finding)
                if there and finding.confidence is Confidence.SURE and told is not None:
                    found.by[data_set, str(told[field_name])] += 1
        task.advance(len(batch.recordings))
    task.end()
    return has_field
