"""What is known of findings that the detector is not sure of, and so what becomes of each. Never the digits.

A finding is named by a keyed hash of its data set, its column and its digits: the same digits in the same column are
asked about once, wherever else they turn up. A security code has three or four digits, which say nothing outside
their sentence, so it is named by the whole text of its cell.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tenure.cards.findings import Finding, Kind
from tenure.cards.plain import plain
from tenure.crypto.hashing import keyed_hash

ID_BYTES = 16
_NO_DIGIT = re.compile(rb"[^0-9]+")


class Verdict(StrEnum):
    """What becomes of a finding that is only likely."""

    WAIT = "wait"  # nobody answered yet: its row goes into quarantine
    KEEP = "keep"  # it is no card data
    CUT = "cut"  # it is, or nobody answered in time


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What is known of a source's findings. Picklable: batches are looked at where they were read.

    `key`: 32 bytes, names findings; `today`: day of the store's clock (``2026-03-01``), for findings nobody saw
    before; `kept`, `cut`: those that are settled; `since`: the day that each of the others was first seen.
    """

    key: bytes = field(repr=False)
    today: str
    kept: frozenset[bytes] = frozenset()
    cut: frozenset[bytes] = frozenset()
    since: Mapping[bytes, str] = field(default_factory=dict)

    def verdict(self, finding: bytes) -> Verdict:
        """Return what becomes of a finding."""
        if finding in self.kept:
            return Verdict.KEEP
        return Verdict.CUT if finding in self.cut else Verdict.WAIT

    def day(self, finding: bytes) -> str:
        """Return the day that a waiting finding was first seen."""
        return self.since.get(finding, self.today)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAnswers:
    """The same for one table. `columns`: names of its cells, linked ones included."""

    answers: Answers
    data_set: str
    columns: tuple[str, ...]

    def name(self, at: int, text: bytes, finding: Finding) -> bytes:
        """Return the 16 bytes that name a finding in the text of cell `at`."""
        return finding_id(self.answers.key, self.data_set, self.columns[at], text, finding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A row of a batch that goes into quarantine. `day`: when the first of its findings was first seen."""

    row: int
    day: str
    findings: tuple[bytes, ...]


def finding_id(key: bytes, data_set: str, column: str, text: bytes, finding: Finding) -> bytes:
    """Return the 16 bytes that name a finding; `key`: 32 bytes; `text`: its whole cell, as `find` was given it."""
    what = text
    if finding.kind is Kind.NUMBER:
        what = _NO_DIGIT.sub(b"", plain(text[finding.start : finding.end]).text)
    place = (data_set.encode(), column.encode(), finding.kind.encode())
    return keyed_hash(key, *place, what, length=ID_BYTES)
