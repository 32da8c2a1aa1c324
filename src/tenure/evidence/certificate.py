"""Certificates of deletion: what was purged or erased, where, by which rule, what is left and until when.

A certificate holds no personal data: subjects and sets appear as keyed hashes. It is signed, and written as JSON
for machines and as a page for people.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import TamperedError
from tenure.evidence.documents import SignedDocument, canonical, sign_document, typed

FORMAT = "tenure certificate 1"
SUPPLEMENT = "-confirmed"
"""How the id of a supplement ends: a certificate that says again what another says, once nothing of that is pending."""


class CertificateKind(StrEnum):
    """Why something was deleted."""

    PURGE = "purge"  # it was due under a rule
    ERASURE = "erasure"  # one subject, on request (GDPR Art. 17)


class DeferredBy(StrEnum):
    """What outranked the deletion."""

    HOLD = "hold"
    DUTY = "duty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """Who approved the plan, when, and why."""

    name: str
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreResult:
    """What was removed from one place: a live store, the snapshots, a key store.

    `records`, `objects`, `versions` (of objects) and `key_pages` are counts. `epoch`: key generation, for snapshots.
    `unreadable_since`: when the last key that opens it was deleted. `final_on`: from when not even the key store's
    old versions bring it back. `pending`: what could not be reached, in words; empty when nothing.
    """

    store: str
    method: str
    records: int
    objects: int = 0
    versions: int = 0
    key_pages: int = 0
    epoch: int | None = None
    unreadable_since: datetime | None = None
    final_on: date | None = None
    pending: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """Records that were kept: by which hold or duty, on what ground, until when (None: no date yet)."""

    what: str
    records: int
    by: DeferredBy
    reason: str
    until: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Residue:
    """A copy Tenure does not reach or that ends by itself (write-ahead log, replica, vendor), and until when."""

    what: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescan:
    """The search after the deletion. `searched`: places. `found`: records found again, 0 when all is gone."""

    at: datetime
    searched: tuple[str, ...]
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What was deleted and how that is known.

    `subjects`: keyed hashes in hex, of the person or of the set's data sets. `rule_set` and `plan`: hashes in hex.
    `ledger_number`, `ledger_hash`: the repository's entry that says it is done. `one_person_mode`: one person asked
    and approved. `weak_forgetting`: keys are local files, so copies of the key files bring forgotten data back.
    """

    id: str
    kind: CertificateKind
    issued_at: datetime
    installation: str
    set_in_words: str
    subjects: tuple[str, ...]
    rule_set: str
    approvers: tuple[Approver, ...]
    plan: str
    stores: tuple[StoreResult, ...]
    ledger_number: int
    ledger_hash: str
    rescan: Rescan
    request: str = ""
    received: date | None = None
    deferred: tuple[Deferred, ...] = ()
    residue: tuple[Residue, ...] = ()
    recipients_to_notify: tuple[str, ...] = ()  # GDPR Art. 19
    one_person_mode: bool = False
    weak_forgetting: bool = False

    @property
    def last_copy_gone_on(self) -> date | None:
        """The latest date on which a copy in these stores becomes final; None while one is pending or undated."""
        dates = [s.final_on for s in self.stores]
        if not dates or None in dates or any(s.pending for s in self.stores):
            return None
        return max(d for d in dates if d is not None)

    @property
    def records(self) -> int:
        """Records removed, counted once: the most that any one store held."""
        return max((s.records for s in self.stores), default=0)


def completed(certificates: Iterable[Certificate]) -> list[Certificate]:
    """Return certificates in their order, but those that have a supplement: it stands for them, and counts once."""
    every = list(certificates)
    ids = {c.id for c in every}
    return [c for c in every if c.id + SUPPLEMENT not in ids]


def sign_certificate(certificate: Certificate, signing_key: SigningKey) -> SignedDocument:
    """Sign a certificate."""
    return sign_document(FORMAT, certificate, signing_key)


def verify_certificate(document: SignedDocument, key: VerifyKey) -> Certificate:
    """Prove a signed certificate and return it.

    Raises:
        TamperedError: Edited, forged, signed by another key, or holding fields that a certificate has not.
        UnsupportedFormatError: No certificate, or of another version.
    """
    document.verify(key)
    certificate = typed(document, FORMAT, Certificate)
    # A dataclass drops what it does not know; a page would then show less than was signed.
    if canonical(certificate) != canonical(document.content):
        raise TamperedError(f"certificate {certificate.id} holds other fields than a certificate does")
    return certificate
