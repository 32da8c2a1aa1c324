"""What a drill found: the signed record, and its place in the history of drills."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import TamperedError
from tenure.evidence.documents import SignedDocument, canonical, sign_document, typed

FORMAT = "tenure drill 1"


class CheckOutcome(StrEnum):
    """How one check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class DrillOutcome(StrEnum):
    """How a drill ended. `MISSED`: everything was right, but too slow or too old."""

    PASSED = "passed"
    FAILED = "failed"
    MISSED = "objective missed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check. `expected` and `found`: counts, hashes or short words, never personal data."""

    name: str
    outcome: CheckOutcome
    expected: str = ""
    found: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRecord:
    """One drill. `seconds` to restore, `snapshot_age` in seconds when it began; objectives in seconds, None: not set."""

    id: str
    source: str
    snapshot: int
    started: datetime
    outcome: DrillOutcome
    seconds: float
    bytes: int
    snapshot_age: float
    checks: tuple[CheckResult, ...]
    restore_objective: float | None = None  # RTO
    age_objective: float | None = None  # RPO
    requests: int = 0
    seed: str = ""  # how a random snapshot was drawn; empty: the newest
    wiped: bool = True  # the scratch place is gone

    @property
    def passed_checks(self) -> int:
        """How many checks passed."""
        return sum(c.outcome is CheckOutcome.PASSED for c in self.checks)


def sign_drill(record: DrillRecord, signing_key: SigningKey) -> SignedDocument:
    """Sign a drill record."""
    return sign_document(FORMAT, record, signing_key)


def verify_drill(document: SignedDocument, key: VerifyKey) -> DrillRecord:
    """Prove a signed drill record and return it.

    Raises:
        TamperedError: Edited, forged, signed by another key, or holding fields that a record has not.
        UnsupportedFormatError: No drill record, or of another version.
    """
    document.verify(key)
    record = typed(document, FORMAT, DrillRecord)
    if canonical(record) != canonical(document.content):
        raise TamperedError(f"drill record {record.id} holds other fields than a drill record does")
    return record
