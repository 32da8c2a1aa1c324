r"""Cut card data out of whole batches of row text while they flow by.

Row text: one row a line, cells separated by tabs, escapes ``\\ \t \n \r \0``, ``\N`` for null. In the cells of a
SQLite source the first byte is the storage class: i integer, r real, t text, b blob in hex. Only rows that the
prefilter names are touched by Python; what lies between them is copied as it is. Blobs that are UTF-8 are looked into
as text, and stay blobs; the others are counted (`blobs`).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tenure.cards import blobs
from tenure.cards.blobs import BlobsSeen
from tenure.cards.columns import ColumnKind, judge_column
from tenure.cards.detect import find
from tenure.cards.findings import Confidence, Finding, Kind
from tenure.cards.prefilter import scanned
from tenure.cards.quarantine import TableAnswers, Verdict, Waiting
from tenure.cards.redact import ROUNDS, Keep, redact

_NULL = rb"\N"
_ESCAPE = {b"\\": rb"\\", b"\t": rb"\t", b"\n": rb"\n", b"\r": rb"\r", b"\0": rb"\0"}
_UNESCAPE = {escaped: byte for byte, escaped in _ESCAPE.items()}
_SPECIAL = re.compile(rb"[\\\t\n\r\0]")
_ESCAPED = re.compile(rb"\\[\\tnr0]")

COLUMN_SAMPLE = 1_000
"""Rows of a batch that a column is judged by: ids of which some look like cards, or text."""


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
    storage classes the class tells); `columns`: what `judge_column` said of a cell's column; `waits`: what is known of
    likely findings in cells with storage classes, None where they are only counted.
    """

    cells: tuple[int, ...]
    written: Cells = Cells.PLAIN
    number: Keep = Keep.LAST_4
    at_least: Confidence = Confidence.SURE
    numeric: Numeric = Numeric.REFUSE
    numeric_cells: frozenset[int] = frozenset()
    columns: dict[int, ColumnKind] = field(default_factory=dict)
    waits: TableAnswers | None = None


@dataclass(slots=True, kw_only=True)
class CellCounts:
    """What was cut in one cell's column."""

    numbers: int = 0
    codes: int = 0
    tracks: int = 0


@dataclass(slots=True, kw_only=True)
class Counts:
    """What was cut, and what was found but left. `cells`: what was cut, by index of the cell."""

    rows: int = 0  # changed
    numbers: int = 0
    codes: int = 0
    tracks: int = 0
    test_numbers: int = 0  # among `numbers` and `tracks`
    blanked: int = 0  # numeric cells set to null
    likely: int = 0  # findings below `at_least` and above ask
    asked: int = 0
    waiting: int = 0  # likely ones among `likely` that nobody answered for, see `RowsResult.waiting`
    answered: int = 0  # likely ones that were cut all the same: somebody said so, or nobody answered in time
    cells: dict[int, CellCounts] = field(default_factory=dict)
    unreadable: dict[int, int] = field(default_factory=dict)  # blobs that are no text, by index of the cell


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsResult:
    """A batch after redaction.

    `offsets` (int64, n + 1) as in a `RowBatch`; `likely_rows`: rows that hold a likely finding; `waiting`: those of
    them that nobody answered for, text cells only; `refused_cells`: (row, cell) of numeric cells left as they are because the plan says refuse. The batch must
    not be stored while there are any.
    """

    text: bytes | memoryview
    offsets: NDArray[np.int64]
    counts: Counts
    likely_rows: NDArray[np.int64]
    refused_cells: tuple[tuple[int, int], ...]
    waiting: tuple[Waiting, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Tally:
    """`text`, `offsets`: the batch, to judge a column by; `kinds`: what was judged; `row`: what waits in this row."""

    counts: Counts = field(default_factory=Counts)
    likely_rows: list[int] = field(default_factory=list)
    refused: list[tuple[int, int]] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    text: memoryview = field(default_factory=lambda: memoryview(b""))
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    kinds: dict[int, ColumnKind] = field(default_factory=dict)
    row: list[bytes] = field(default_factory=list)

    def is_id_column(self, at: int) -> bool:
        """Whether the column of a cell holds ids, by the first rows of the batch."""
        if at not in self.kinds:
            last = min(len(self.offsets) - 1, COLUMN_SAMPLE)
            lines = bytes(self.text[: self.offsets[last]]).split(b"\n")[:-1]
            cells = (line.split(b"\t")[at] for line in lines)
            self.kinds[at] = judge_column(cell[1:] for cell in cells if cell != _NULL).kind
        return self.kinds[at] is ColumnKind.IDS


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


def likely_in(line: bytes, cells: Iterable[int]) -> Iterator[tuple[int, bytes, Finding]]:
    """Yield (cell, its text, finding) of what is likely in the text cells of a line with storage classes."""
    found = line.rstrip(b"\n").split(b"\t")
    for at in cells:
        text = text_of(found[at])
        for finding in find(text) if text else ():
            if finding.confidence is Confidence.LIKELY:
                yield at, text or b"", finding


def text_of(cell: bytes) -> bytes | None:
    """Return the text in a cell with its storage class, or in a blob that is UTF-8; None for anything else."""
    if cell[:1] == b"t":
        return _ESCAPED.sub(lambda match: _UNESCAPE[match.group()], cell[1:])
    return blobs.text_of(cell) if cell[:1] == b"b" else None


def settle(text: bytes, plan: RowsPlan) -> bytes:
    """Return the text of cell 0 with what was answered for cut (`RowsPlan.waits`), and then what is sure beside it."""
    tally = _Tally()
    settled = _cut_text(text, 0, plan, tally)
    return settled if tally.counts.answered else text


def redact_rows(text: bytes | memoryview, offsets: NDArray[np.int64], plan: RowsPlan) -> RowsResult:
    """Return a batch with everything the plan says cut; a batch without card data is returned as it came.

    `offsets` (int64, n + 1) as in a `RowBatch`.
    """
    view = memoryview(text).cast("B")
    tally = _Tally(text=view, offsets=offsets)
    found = scanned(text, offsets)
    classed = plan.written is Cells.CLASSED
    seen = blobs.look(text, offsets, plan.cells) if classed and found.blobs else BlobsSeen()
    tally.counts.unreadable = seen.unreadable
    changed: list[int] = []
    lines: list[bytes] = []
    for row in np.union1d(found.rows, seen.rows).tolist():
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
        waiting=tuple(tally.waiting),
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
    tally.row.clear()
    for at in plan.cells:
        if at < len(cells) and cells[at] != _NULL:
            cells[at] = _redact_cell(cells[at], row, at, plan, tally)
    if tally.counts.likely > likely:
        tally.likely_rows.append(row)
    tally.counts.waiting += len(tally.row)
    if tally.row and plan.waits is not None:
        day = min(map(plan.waits.answers.day, tally.row))
        tally.waiting.append(Waiting(row=row, day=day, findings=tuple(dict.fromkeys(tally.row))))
    return b"\t".join(cells) + (b"\n" if ended else b"")


def _redact_cell(cell: bytes, row: int, at: int, plan: RowsPlan, tally: _Tally) -> bytes:
    storage = cell[:1] if plan.written is Cells.CLASSED else b""
    if storage == b"b":
        blob = blobs.text_of(cell)
        new = blob if blob is None else _cut_text(blob, at, plan, tally)
        return cell if new == blob else b"b" + (new or b"").hex().encode()
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
    _count(acted, place[1], tally)
    tally.counts.blanked += 1
    return _NULL


def _graded(raw: bytes, at: int, plan: RowsPlan) -> tuple[Finding, ...]:
    return regrade(raw, find(raw), plan.columns.get(at, ColumnKind.MIXED))


def _cut_text(raw: bytes, at: int, plan: RowsPlan, tally: _Tally) -> bytes:
    """Cut what is sure, then what was answered, until neither is left; note what waits for an answer."""
    findings = _graded(raw, at, plan)
    for _ in range(ROUNDS):
        acted = _acted(findings, raw, at, plan)
        if not acted:
            break
        _count(acted, at, tally)
        tally.counts.answered += sum(f.confidence < plan.at_least for f in acted)
        raw = redact(raw, acted, plan.number)
        findings = _graded(raw, at, plan)
    _count_left(findings, plan, tally)
    if plan.waits is not None:
        tally.row += _waiting(findings, raw, at, plan.waits, tally)
    return raw


def _acted(findings: Iterable[Finding], raw: bytes, at: int, plan: RowsPlan) -> list[Finding]:
    # Answered findings only where nothing is sure any more: names of codes go by the text that is then left, which is
    # what a snapshot stored.
    sure = [finding for finding in findings if finding.confidence >= plan.at_least]
    if sure or plan.waits is None:
        return sure
    return [
        f
        for f in findings
        if f.confidence is Confidence.LIKELY
        and plan.waits.answers.verdict(plan.waits.name(at, raw, f)) is Verdict.CUT
    ]


def _waiting(
    findings: Iterable[Finding], raw: bytes, at: int, waits: TableAnswers, tally: _Tally
) -> Iterable[bytes]:
    for finding in findings:
        if finding.confidence is not Confidence.LIKELY:
            continue
        name = waits.name(at, raw, finding)
        if waits.answers.verdict(name) is not Verdict.WAIT:
            continue
        whole = finding.kind is Kind.NUMBER and finding.start == 0 and finding.end == len(raw)
        if not (whole and tally.is_id_column(at)):
            yield name


def _count(findings: Iterable[Finding], at: int, tally: _Tally) -> None:
    cell, counts = tally.counts.cells.setdefault(at, CellCounts()), tally.counts
    for finding in findings:
        numbers, codes, tracks = (finding.kind is kind for kind in (Kind.NUMBER, Kind.CODE, Kind.TRACK))
        counts.numbers, cell.numbers = counts.numbers + numbers, cell.numbers + numbers
        counts.codes, cell.codes = counts.codes + codes, cell.codes + codes
        counts.tracks, cell.tracks = counts.tracks + tracks, cell.tracks + tracks
        counts.test_numbers += finding.test_number


def _count_left(findings: Iterable[Finding], plan: RowsPlan, tally: _Tally) -> None:
    for finding in findings:
        if finding.confidence < plan.at_least:
            tally.counts.likely += finding.confidence is Confidence.LIKELY
            tally.counts.asked += finding.confidence is Confidence.ASK
