"""The installation on one page: what is held, what was removed and why, drills, card data, storage, evidence."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import tenure
from tenure.control.runs import Runs
from tenure.evidence.certificate import Certificate, CertificateKind, completed, verify_certificate
from tenure.evidence.files import replace_durably
from tenure.evidence.pages import installation_page
from tenure.evidence.views import (
    CardFigures,
    CohortCell,
    EvidenceState,
    HoldLine,
    InstallationView,
    Removal,
    RuleLine,
    SnapshotPoint,
    StorageFigures,
)
from tenure.operations.answers import waiting
from tenure.operations.holding import covers
from tenure.operations.inforce import open_scope, rules_in_force
from tenure.operations.installation import Installation
from tenure.operations.rebuilding import drill_records, placed_holds
from tenure.operations.status import status
from tenure.operations.tallycohorts import Held, cohort_counts
from tenure.repository import names
from tenure.repository.manifest import CutLine, Manifest, cut_in
from tenure.repository.repository import Repository
from tenure.rules.holds import HoldScope
from tenure.rules.model import CardRule, Rule
from tenure.rules.sentence import sentence_of

MOST_RUNS = 10_000
"""Runs looked through for what each snapshot added."""


def report(installation: Installation, target: Path) -> Path:
    """Write the page to `target`, replacing an older one, and return its path.

    Raises:
        IntegrityError: Evidence or repository are not what was written.
        KeyMismatchError: This process was given no reading key.
    """
    repository = installation.open_reading()
    view = view_of(installation, repository, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_durably(target, installation_page(view).encode())
    return target


def view_of(installation: Installation, repository: Repository, target: Path) -> InstallationView:
    """Return what the page shows; links are relative to `target`."""
    removals, one_person, weak = _removals(installation, repository, target)
    held = cohort_counts(installation, repository)
    scopes = _scopes(repository)
    points = tuple(_snapshots(installation, repository))
    return InstallationView(
        name=installation.name,
        made_at=installation.clock.now(),
        version=tenure.__version__,
        snapshots=points,
        cohorts=tuple(_cells(held, scopes)),
        rules=_rules(repository),
        removals=removals,
        holds=tuple(_holds(installation, repository, held)),
        drills=tuple(drill_records(installation)),
        storage=_storage(repository),
        evidence=_evidence(installation),
        cards=_cards(installation, repository),
        next_steps=status(installation).next_steps,
        one_person_mode=one_person or installation.one_person,
        weak_forgetting=weak,
    )


def _snapshots(installation: Installation, repository: Repository) -> Iterator[SnapshotPoint]:
    stored = {
        run.counts["snapshot"]: run.counts.get("stored", 0)
        for run in Runs(installation.control).recent(MOST_RUNS)
        if run.kind == "snapshot" and "snapshot" in run.counts
    }
    for snapshot in repository.state.snapshots_of(None):
        entry = snapshot.entry
        yield SnapshotPoint(
            number=snapshot.number,
            source=entry.source,
            at=datetime.fromtimestamp(entry.taken_at, UTC),
            records=entry.rows,
            plain=entry.plain,
            stored=stored.get(snapshot.number, 0),
            redacted=_cut(repository.manifest(snapshot)).total,
        )


def _scopes(repository: Repository) -> list[HoldScope]:
    key = repository.secrets.fingerprint
    return [open_scope(h.scope, key) for h in repository.state.holds.values() if not h.released]


def _cells(held: dict[tuple[str, str], Held], scopes: list[HoldScope]) -> Iterator[CohortCell]:
    """Yield cells; holds on persons or single records are not counted here, for that every record would be read."""
    for (data_set, month), found in sorted(held.items()):
        whole = any(s.everything or data_set in s.data_sets for s in scopes)
        yield CohortCell(
            data_set=data_set,
            month=month,
            held=found.held,
            removed=found.removed,
            on_hold=found.held if whole else 0,
        )


def _rules(repository: Repository) -> tuple[RuleLine, ...]:
    rules, _ = rules_in_force(repository)
    every: list[Rule | CardRule] = [*rules.rules, *rules.card_rules]
    return tuple(
        RuleLine(name=r.name, sentence=sentence_of(r), data_sets=tuple(r.data), law=r.why.law) for r in every
    )


def _removals(
    installation: Installation, repository: Repository, target: Path
) -> tuple[tuple[Removal, ...], bool, bool]:
    """Return removals oldest first, and whether any was approved by one person, or under local keys."""
    key = installation.evidence_key.public()
    pages = {
        path.stem: path.with_suffix(".html").absolute() for path, _ in installation.evidence.certificates()
    }
    every = (verify_certificate(document, key) for _, document in installation.evidence.certificates())
    found: list[Removal] = []
    one_person = weak = False
    for certificate in completed(every):
        one_person |= certificate.one_person_mode
        weak |= certificate.weak_forgetting
        link = Path(os.path.relpath(pages[certificate.id], target.absolute().parent)).as_posix()
        found.append(_removal(certificate, repository, link))
    return tuple(sorted(found, key=lambda r: r.at)), one_person, weak


def _removal(certificate: Certificate, repository: Repository, link: str) -> Removal:
    before = sum(n < certificate.ledger_number for n in repository.state.snapshots)
    request = f"request {certificate.request}" if certificate.request else "a request"
    purge = certificate.kind is CertificateKind.PURGE
    return Removal(
        at=certificate.issued_at,
        kind=certificate.kind,
        what=certificate.set_in_words,
        records=certificate.records,
        snapshots=before,
        why=f"rule set {certificate.rule_set[:12]}" if purge else request,
        certificate=link,
        final_on=certificate.last_copy_gone_on,
    )


def _holds(
    installation: Installation, repository: Repository, held: dict[tuple[str, str], Held]
) -> Iterator[HoldLine]:
    key = repository.secrets.fingerprint
    for number, hold, placed_at in placed_holds(installation, repository):
        scope = open_scope(hold.scope, key)
        records = sum(
            found.held
            for (data_set, _), found in held.items()
            if scope.everything or data_set in scope.data_sets
        )
        yield HoldLine(
            number=number,
            matter=hold.matter,
            scope=covers(scope),
            placed_at=placed_at.date(),
            review_by=date.fromisoformat(hold.review_by),
            records=records,
        )


def _storage(repository: Repository) -> StorageFigures:
    state, stores = repository.state, repository.place.key_stores
    packs = [info.size for info in repository.place.objects.list(names.PACKS)]
    headers = [stores.get(p.ref).header for p in state.pages.values()]
    return StorageFigures(
        plain=sum(s.entry.plain for s in state.snapshots.values()),
        stored=sum(packs),
        snapshots=len(state.snapshots),
        chunks=sum(h.entries for h in headers),
        packs=len(packs),
        key_pages=len(state.pages),
        forgotten_chunks=sum(f.chunks for f in state.forgets.values()),
    )


def _evidence(installation: Installation) -> EvidenceState:
    check = installation.evidence.check()
    errors = [f"{f.where}: {f.what}" for f in check.findings]
    words = "; ".join(errors) or f"every entry and {check.documents} documents are as they were signed"
    return EvidenceState(
        is_sound=check.is_sound, entries=check.log.entries, head=check.log.head.hash.hex(), words=words
    )


def _cut(manifest: Manifest) -> CutLine:
    lines = [cut_in(manifest, name) for name in manifest.redacted]
    return CutLine(
        numbers=sum(line.numbers for line in lines),
        codes=sum(line.codes for line in lines),
        tracks=sum(line.tracks for line in lines),
    )


def _cards(installation: Installation, repository: Repository) -> CardFigures:
    """Return what was cut, by the newest snapshot of each source; the last scan says what is exposed live."""
    newest = {s.entry.source: s for s in repository.state.snapshots_of(None)}
    cut = [_cut(repository.manifest(s)) for s in newest.values()]
    exposed = 0
    for entry in installation.evidence.log.entries(kind="card-scan"):
        exposed = int(entry.details.get("exposed", 0))
    return CardFigures(
        numbers=sum(c.numbers + c.tracks for c in cut),
        security_codes=sum(c.codes for c in cut),
        waiting=waiting(repository.state, repository.place.objects.now()),
        exposed=exposed,
    )
