"""What the pages show: plain values that operations fill; no page looks anything up itself."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from tenure.evidence.certificate import CertificateKind
from tenure.evidence.drill_record import DrillRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who stands behind a certificate, as the person addressed needs it (GDPR Art. 12(4), 13(1)(a), (b), (d))."""

    organisation: str
    contact: str = ""
    complaints_to: str = ""  # the supervisory authority


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillView:
    """A drill and the ones before it, oldest first, of the same source; `record` may be the last of `history`."""

    installation: str
    record: DrillRecord
    history: tuple[DrillRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPoint:
    """One snapshot. `plain`: bytes of the source; `stored`: new bytes it added to the repository."""

    number: int
    source: str
    at: datetime
    records: int
    plain: int
    stored: int
    redacted: int = 0  # card numbers cut and security codes removed in flight


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortCell:
    """The records of one data set that fall due together. `month`: "2026-03", or "" without a starting point.

    `held` and `removed`: records; `on_hold`: how many of the held ones a hold covers.
    """

    data_set: str
    month: str
    held: int
    removed: int = 0
    on_hold: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLine:
    """A rule in force, as the officer wrote it."""

    name: str
    sentence: str
    data_sets: tuple[str, ...]
    law: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One purge or erasure. `why`: the rule, or the request; `certificate`: relative link to its page, or ""."""

    at: datetime
    kind: CertificateKind
    what: str
    records: int
    snapshots: int
    why: str
    certificate: str = ""
    final_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLine:
    """A hold in force."""

    number: int
    matter: str
    scope: str
    placed_at: date
    review_by: date
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFigures:
    """What the repository takes. `plain`: bytes of all snapshots as if each stood alone; `stored`: bytes in packs."""

    plain: int
    stored: int
    snapshots: int
    chunks: int
    packs: int
    key_pages: int
    forgotten_chunks: int = 0

    @property
    def ratio(self) -> float:
        """How many bytes of snapshots each stored byte stands for; 0 when nothing is stored."""
        return self.plain / self.stored if self.stored else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFigures:
    """Card data found and treated. `waiting`: likely ones in quarantine; `exposed`: where it must not be."""

    numbers: int
    security_codes: int
    waiting: int
    exposed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceState:
    """The state of the audit log. `head`: hash of the last entry in hex."""

    is_sound: bool
    entries: int
    head: str
    words: str


class StepWeight(StrEnum):
    """How much a next step matters."""

    NOW = "now"
    SOON = "soon"
    CURIOUS = "when you like"


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What to do next: a command to type and what it does."""

    command: str
    words: str
    weight: StepWeight = StepWeight.CURIOUS


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationView:
    """The whole installation at one moment; snapshots, removals and drills oldest first."""

    name: str
    made_at: datetime
    version: str
    snapshots: tuple[SnapshotPoint, ...]
    cohorts: tuple[CohortCell, ...]
    rules: tuple[RuleLine, ...]
    removals: tuple[Removal, ...]
    holds: tuple[HoldLine, ...]
    drills: tuple[DrillRecord, ...]
    storage: StorageFigures
    evidence: EvidenceState
    cards: CardFigures | None = None
    next_steps: tuple[NextStep, ...] = ()
    note: str = ""  # one sentence under the title, for example that the data are invented
    one_person_mode: bool = False
    weak_forgetting: bool = False
