"""Card data is cut in flight, before a batch becomes a chunk: what the detector is sure of is never stored.

Every cell of every table is looked at, whether a rule names the table or not (PCI DSS 3.3.1 knows no undeclared
column), but for key cells, which name records and must stay what they are. The rule in force says what stays of a
number; where none does, the last four digits.
"""

from dataclasses import dataclass
from functools import partial

from tenure.cards.cardrule import keep_of
from tenure.cards.redact import Keep
from tenure.cards.rows import Cells, Numeric, RowsPlan, redact_rows
from tenure.domain.catalogue import Catalogue
from tenure.domain.errors import IncompleteSnapshotError
from tenure.rules.ruleset import RuleSet
from tenure.sources.base import Refine, RowBatch, RowLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What was cut out of one batch. `likely`: found, not sure, left; `refused`: numbers in numeric cells."""

    numbers: int
    codes: int
    likely: int
    refused: int


def cut(plan: RowsPlan, batch: RowBatch) -> RowBatch:
    """Return the batch with everything cut that the detector is sure of; what it cut is noted on it."""
    found = redact_rows(batch.text, batch.offsets, plan)
    counts = found.counts
    noted = Cut(
        numbers=counts.numbers,
        codes=counts.codes + counts.tracks,
        likely=counts.likely,
        refused=len(found.refused_cells),
    )
    return RowBatch(text=found.text, offsets=found.offsets, facts=batch.facts, noted=noted)


@dataclass(slots=True)
class TableRedactor:
    """Redacts the batches of one table, and counts. `likely`: found, not sure, left as it is."""

    data_set: str
    plan: RowsPlan
    numbers: int = 0
    codes: int = 0
    likely: int = 0

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
        self.numbers += found.numbers
        self.codes += found.codes
        self.likely += found.likely

    def __call__(self, batch: RowBatch) -> RowBatch:
        """Return the batch with everything cut that the detector is sure of, counted.

        Raises:
            IncompleteSnapshotError: See `count`.
        """
        clean = self.refine(batch)
        self.count(clean)
        return clean


class Redactor:
    """What the rules in force say of card data."""

    def __init__(self, rules: RuleSet, catalogue: Catalogue) -> None:
        self._keep = {d: keep_of(rule.truncation.value) for rule in rules.card_rules for d in rule.data}
        self._catalogue = catalogue

    def for_table(self, data_set: str, layout: RowLayout) -> TableRedactor:
        """Return the redactor of a table's lines; linked cells are looked at too."""
        cells = tuple(range(layout.key_cells, len(layout.columns) + len(layout.linked)))
        keep = self._keep.get(data_set, Keep.LAST_4)
        plan = RowsPlan(cells=cells, written=Cells.CLASSED, number=keep, numeric=Numeric.REFUSE)
        return TableRedactor(data_set, plan)
