r"""Cut card data out of whole batches of row text while they flow by.

Row text: one row a line, cells separated by tabs, escapes ``\\ \t \n \r \0``, ``\N`` for null. In the cells of a
SQLite source the first byte is the storage class: i integer, r real, t text, b blob in hex. Only rows that the
prefilter names are touched by Python; what lies between them is copied as it is. Blobs are not looked into.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tenure.cards.columns import ColumnKind
from tenure.cards.detect import find
from tenure.cards.findings import Confidence, Finding, Kind
from tenure.cards.prefilter import scan
from tenure.cards.redact import Keep, redact, redact_found

_NULL = rb"\N"
_ESCAPE = {b"\\": rb"\\", b"\t": rb"\t", b"\n": rb"\n", b"\r": rb"\r", b"\0": rb"\0"}
_UNESCAPE = {escaped: byte for byte, escaped in _ESCAPE.items()}
_SPECIAL = re.compile(rb"[\\\t\n\r\0]")
_ESCAPED = re.compile(rb"\\[\\tnr0]")


class Cells(StrEnum):
    """How cells are written."""

    PLAIN = "plain"
    CLASSED = "with storage class"


class Numeric(StrEnum):
    """What becomes of a numeric cell that is a card number: stars are no number."""

    BLANK = "blank"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsPlan:
    """What to do with a data set.

    `cells`: indexes of the cells to look into; `numeric_cells`: those of numeric type where cells are plain (with
    storage classes the class tells); `columns`: what `judge_column` said of a cell's column.
    """

    cells: tuple[int, ...]
    written: Cells = Cells.PLAIN
    number: Keep = Keep.LAST_4
    at_least: Confidence = Confidence.SURE
    numeric: Numeric = Numeric.REFUSE
    numeric_cells: frozenset[int] = frozenset()
    columns: dict[int, ColumnKind] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Counts:
    """What was cut, and what was found but left."""

    rows: int = 0  # changed
    numbers: int = 0
    codes: int = 0
    tracks: int = 0
    test_numbers: int = 0  # among `numbers` and `tracks`
    blanked: int = 0  # numeric cells set to null
    likely: int = 0  # findings below `at_least` and above ask
    asked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsResult:
    """A batch after redaction.

    `offsets` (int64, n + 1) as in a `RowBatch`; `likely_rows`: rows that hold a likely finding, for quarantine;
    `refused_cells`: (row, cell) of numeric cells left as they are because the plan says refuse. The batch must
    not be stored while there are any.
    """

    text: bytes | memoryview
    offsets: NDArray[np.int64]
    counts: Counts
    likely_rows: NDArray[np.int64]
    refused_cells: tuple[tuple[int, int], ...]


@dataclass(slots=True, kw_only=True)
class _Tally:
    counts: Counts = field(default_factory=Counts)
    likely_rows: list[int] = field(default_factory=list)
    refused: list[tuple[int, int]] = field(default_factory=list)


def regrade(text: bytes, findings: Iterable[Finding], column: ColumnKind) -> tuple[Finding, ...]:
    """Return the findings of a cell as sure in a column of cards; in a column of ids without whole-cell numbers."""
    graded = []
    for finding in findings:
        whole = finding.kind is Kind.NUMBER and finding.start == 0 and finding.end == len(text)
        if whole and column is ColumnKind.IDS:
            continue
        sure = finding.kind is Kind.NUMBER and column is ColumnKind.CARDS
        graded.append(replace(finding, confidence=Confidence.SURE) if sure else finding)
    return tuple(graded)


def redact_column(
    values: Sequence[str | None], *, column: ColumnKind = ColumnKind.MIXED, number: Keep = Keep.LAST_4
) -> list[str | None]:
    """Return the values of one column with everything sure cut."""
    plan = RowsPlan(cells=(0,), number=number, columns={0: column})
    result: list[str | None] = []
    for value in values:
        if value is None:
            result.append(None)
            continue
        raw = value.encode("utf-8", "surrogatepass")
        result.append(_cut_text(raw, 0, plan, _Tally()).decode("utf-8", "surrogatepass"))
    return result


def redact_rows(text: bytes | memoryview, offsets: NDArray[np.int64], plan: RowsPlan) -> RowsResult:
    """Return a batch with everything the plan says cut; a batch without card data is returned as it came.

    `offsets` (int64, n + 1) as in a `RowBatch`.
    """
    tally = _Tally()
    view = memoryview(text).cast("B")
    changed: list[int] = []
    lines: list[bytes] = []
    for row in scan(text, offsets).tolist():
        line = bytes(view[offsets[row] : offsets[row + 1]])
        new = _redact_line(line, row, plan, tally)
        if new != line:
            changed.append(row)
            lines.append(new)
    tally.counts.rows = len(changed)
    made, moved = _assemble(view, offsets, changed, lines) if changed else (text, offsets)
    return RowsResult(
        text=made,
        offsets=moved,
        counts=tally.counts,
        likely_rows=np.array(tally.likely_rows, np.int64),
        refused_cells=tuple(tally.refused),
    )


def _assemble(
    view: memoryview, offsets: NDArray[np.int64], changed: list[int], lines: list[bytes]
) -> tuple[bytes, NDArray[np.int64]]:
    pieces: list[bytes | memoryview] = []
    done = 0
    grown = np.zeros(len(offsets), np.int64)
    for row, line in zip(changed, lines, strict=True):
        start, end = int(offsets[row]), int(offsets[row + 1])
        pieces += (view[done:start], line)
        done = end
        grown[row + 1] = len(line) - (end - start)
    pieces.append(view[done:])
    return b"".join(pieces), offsets + np.cumsum(grown)


def _redact_line(line: bytes, row: int, plan: RowsPlan, tally: _Tally) -> bytes:
    ended = line.endswith(b"\n")
    cells = (line[:-1] if ended else line).split(b"\t")
    likely = tally.counts.likely
    for at in plan.cells:
        if at < len(cells) and cells[at] != _NULL:
            cells[at] = _redact_cell(cells[at], row, at, plan, tally)
    if tally.counts.likely > likely:
        tally.likely_rows.append(row)
    return b"\t".join(cells) + (b"\n" if ended else b"")


def _redact_cell(cell: bytes, row: int, at: int, plan: RowsPlan, tally: _Tally) -> bytes:
    storage = cell[:1] if plan.written is Cells.CLASSED else b""
    if storage == b"b":
        return cell
    raw = _ESCAPED.sub(lambda match: _UNESCAPE[match.group()], cell[len(storage) :])
    numeric = storage in {b"i", b"r"} or (not storage and at in plan.numeric_cells)
    if numeric:
        return _redact_numeric(cell, raw, (row, at), plan, tally)
    new = _cut_text(raw, at, plan, tally)
    return storage + _SPECIAL.sub(lambda match: _ESCAPE[match.group()], new) if new != raw else cell


def _redact_numeric(cell: bytes, raw: bytes, place: tuple[int, int], plan: RowsPlan, tally: _Tally) -> bytes:
    findings = _graded(raw, place[1], plan)
    _count_left(findings, plan, tally)
    acted = [finding for finding in findings if finding.confidence >= plan.at_least]
    if not acted:
        return cell
    if plan.numeric is Numeric.REFUSE:
        tally.refused.append(place)
        return cell
    _count(acted, tally)
    tally.counts.blanked += 1
    return _NULL


def _graded(raw: bytes, at: int, plan: RowsPlan) -> tuple[Finding, ...]:
    return regrade(raw, find(raw), plan.columns.get(at, ColumnKind.MIXED))


def _cut_text(raw: bytes, at: int, plan: RowsPlan, tally: _Tally) -> bytes:
    findings = _graded(raw, at, plan)
    _count_left(findings, plan, tally)
    acted = [finding for finding in findings if finding.confidence >= plan.at_least]
    if not acted:
        return raw
    _count(acted, tally)
    first = redact(raw, acted, plan.number)
    again = redact_found(first, at_least=plan.at_least, how=plan.number)
    _count(again.findings, tally)
    return again.text


def _count(findings: Iterable[Finding], tally: _Tally) -> None:
    for finding in findings:
        tally.counts.numbers += finding.kind is Kind.NUMBER
        tally.counts.codes += finding.kind is Kind.CODE
        tally.counts.tracks += finding.kind is Kind.TRACK
        tally.counts.test_numbers += finding.test_number


def _count_left(findings: Iterable[Finding], plan: RowsPlan, tally: _Tally) -> None:
    for finding in findings:
        if finding.confidence < plan.at_least:
            tally.counts.likely += finding.confidence is Confidence.LIKELY
            tally.counts.asked += finding.confidence is Confidence.ASK
