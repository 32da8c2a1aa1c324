"""Card data is cut in flight, before a batch becomes a chunk: what the detector is sure of is never stored.

Every cell of every table is looked at, whether a rule names the table or not (PCI DSS 3.3.1 knows no undeclared
column), but for key cells, which name records and must stay what they are. The rule in force says what stays of a
number; where none does, the last four digits. What is only likely is asked about: its row goes into quarantine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from tenure.cards.cardrule import keep_of
from tenure.cards.quarantine import Answers, TableAnswers, Waiting
from tenure.cards.redact import Keep
from tenure.cards.rows import Cells, Numeric, RowsPlan, redact_rows
from tenure.domain.catalogue import Catalogue
from tenure.domain.errors import IncompleteSnapshotError
from tenure.repository.manifest import CutLine
from tenure.rules.ruleset import RuleSet
from tenure.sources.base import Refine, RowBatch, RowLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What was cut out of one batch, and what was not.

    `lines`: by index of the cell; `likely`: found, not sure, left where it is (numeric, a column of ids, or answered
    for with keep); `refused`: numbers in numeric cells;
    `unreadable`: binary cells, by index; `waiting`: rows for quarantine.
    """

    lines: Mapping[int, CutLine]
    likely: int
    refused: int
    unreadable: Mapping[int, int]
    waiting: tuple[Waiting, ...]


def cut(plan: RowsPlan, batch: RowBatch) -> RowBatch:
    """Return the batch with everything cut that the detector is sure of; what it cut is noted on it."""
    found = redact_rows(batch.text, batch.offsets, plan)
    counts = found.counts
    noted = Cut(
        lines={
            at: CutLine(numbers=c.numbers, codes=c.codes, tracks=c.tracks) for at, c in counts.cells.items()
        },
        likely=counts.likely - counts.waiting,
        refused=len(found.refused_cells),
        unreadable=counts.unreadable,
        waiting=found.waiting,
    )
    return RowBatch(text=found.text, offsets=found.offsets, facts=batch.facts, noted=noted)


@dataclass(slots=True)
class TableRedactor:
    """Redacts the batches of one table, and counts by column.

    `likely`: found, not sure, left where it is; `waiting`: rows that went into quarantine; `findings`: what they wait
    for, by name; `unreadable`: binary cells that were not looked into.
    """

    data_set: str
    plan: RowsPlan
    columns: tuple[str, ...]
    lines: dict[str, CutLine] = field(default_factory=dict)
    likely: int = 0
    waiting: int = 0
    findings: set[bytes] = field(default_factory=set)
    unreadable: dict[str, int] = field(default_factory=dict)

    @property
    def refine(self) -> Refine:
        """Return what cuts a batch where it was read; `count` takes what it returned."""
        return partial(cut, self.plan)

    def count(self, batch: RowBatch) -> None:
        """Count what was cut out of a batch.

        Raises:
            IncompleteSnapshotError: A numeric cell is a card number, and no rule says to blank it.
        """
        found: Cut = batch.noted
        if found.refused:
            raise IncompleteSnapshotError(
                f"data set {self.data_set!r} has {found.refused} card numbers in numeric columns; stars are no"
                " number, so they were not cut, and nothing was committed",
                hint="name the column in a rule that blanks it, or correct the data at its source",
            )
        for at, line in found.lines.items():
            before = self.lines.get(self.columns[at], CutLine())
            self.lines[self.columns[at]] = CutLine(
                numbers=before.numbers + line.numbers,
                codes=before.codes + line.codes,
                tracks=before.tracks + line.tracks,
            )
        for at, cells in found.unreadable.items():
            self.unreadable[self.columns[at]] = self.unreadable.get(self.columns[at], 0) + cells
        self.likely += found.likely
        self.waiting += len(found.waiting)
        self.findings.update(f for row in found.waiting for f in row.findings)

    def __call__(self, batch: RowBatch) -> RowBatch:
        """Return the batch with everything cut that the detector is sure of, counted.

        Raises:
            IncompleteSnapshotError: See `count`.
        """
        clean = self.refine(batch)
        self.count(clean)
        return clean


class Redactor:
    """What the rules in force, and the answers of officers, say of card data."""

    def __init__(self, rules: RuleSet, catalogue: Catalogue, answers: Answers | None = None) -> None:
        """Take the rules in force; without `answers` nothing waits, and what is likely is only counted."""
        self._keep = keeps_of(rules)
        self._catalogue = catalogue
        self._answers = answers

    def for_table(self, data_set: str, layout: RowLayout) -> TableRedactor:
        """Return the redactor of a table's lines; linked cells are looked at too."""
        columns = (*layout.columns, *layout.linked)
        waits = None
        if self._answers is not None:
            waits = TableAnswers(answers=self._answers, data_set=data_set, columns=columns)
        plan = RowsPlan(
            cells=tuple(range(layout.key_cells, len(columns))),
            written=Cells.CLASSED,
            number=self._keep.get(data_set, Keep.LAST_4),
            numeric=Numeric.REFUSE,
            waits=waits,
        )
        return TableRedactor(data_set, plan, columns)


def keeps_of(rules: RuleSet) -> dict[str, Keep]:
    """Return what stays of a card number in the data sets that a card rule names; elsewhere the last four digits."""
    return {d: keep_of(rule.truncation.value) for rule in rules.card_rules for d in rule.data}
