"""Writes the certificate of a purge or erasure from what the ledger says and what the run saw. No personal data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from tenure.crypto.hashing import derive, keyed_hash
from tenure.evidence.certificate import (
    Certificate,
    CertificateKind,
    Deferred,
    DeferredBy,
    Rescan,
    Residue,
    StoreResult,
    verify_certificate,
)
from tenure.operations.approving import approvers
from tenure.operations.livedeletion import LiveResult
from tenure.operations.planbody import PlanBody
from tenure.operations.planning import PURGE
from tenure.operations.world import World
from tenure.repository.carrying import Went
from tenure.repository.scopes import Scope
from tenure.repository.state import ForgetState

_WORDS = {"hold": DeferredBy.HOLD, "duty": DeferredBy.DUTY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a certificate tells. `found`: records the re-scan found again; `residue`: what a live store leaves over."""

    forget: ForgetState
    body: PlanBody | None
    scopes: Mapping[str, Scope]
    live: LiveResult
    went: Went
    found: int
    residue: Sequence[str] = ()


def certificate_id(forget: ForgetState) -> str:
    """Return the id, the same in every run of one forgetting."""
    return f"{forget.intent.kind}-{forget.number}-{forget.intent.forget.hex()[:12]}"


def existing(world: World, name: str) -> Certificate | None:
    """Return a certificate that a run before wrote."""
    key = world.installation.evidence_key.public()
    for path, document in world.installation.evidence.certificates():
        if path.stem == name:
            return verify_certificate(document, key)
    return None


def certify(world: World, findings: Findings) -> tuple[Certificate, Path]:
    """Write the certificate; one that a run before wrote is written into the log again and stays as it is.

    Raises:
        TamperedError: The evidence was changed.
    """
    installation, at = world.installation, world.installation.clock.now()
    found = existing(world, certificate_id(findings.forget)) or _certificate(world, findings)
    path = installation.evidence.issue_certificate(
        found, installation.issuer, who=installation.officer, at=at
    )
    return found, path


def certify_nothing(world: World, plan: str, body: PlanBody, approval: str) -> str:
    """Write the certificate of an erasure that found nothing that may go; return its id."""
    installation, at = world.installation, world.installation.clock.now()
    who, one_person = approvers((approval,))
    sources = tuple(sorted(installation.catalogue.sources))
    searched = (*(f"live store of {s}" for s in sources), *(f"every key page of {s}" for s in sources))
    certificate = Certificate(
        id=f"erase-nothing-{plan[:12]}",
        kind=CertificateKind.ERASURE,
        issued_at=at,
        installation=installation.name,
        set_in_words=f"Every record about one {body.subject_kind}: nothing was found that may be erased",
        subjects=(body.subject_print.hex(),),
        rule_set=body.rule_set,
        approvers=who,
        plan=plan,
        stores=(),
        ledger_number=world.repository.state.number,
        ledger_hash=world.repository.state.hash.hex(),
        rescan=Rescan(at=at, searched=searched, found=0),
        request=body.request,
        received=body.received,
        deferred=_deferred(body),
        one_person_mode=one_person,
        weak_forgetting=_weak(world),
    )
    found = existing(world, certificate.id) or certificate
    installation.evidence.issue_certificate(found, installation.issuer, who=installation.officer, at=at)
    return found.id


def _certificate(world: World, findings: Findings) -> Certificate:
    state, intent, body = world.repository.state, findings.forget.intent, findings.body
    at = world.installation.clock.now()
    who, one_person = approvers(intent.approvals)
    searched = [f"live store of {s}" for s in sorted(findings.scopes)]
    searched += [f"every key page of {s}" for s in sorted(findings.scopes)]
    return Certificate(
        id=certificate_id(findings.forget),
        kind=CertificateKind.PURGE if intent.kind == PURGE else CertificateKind.ERASURE,
        issued_at=at,
        installation=world.installation.name,
        set_in_words=_set_in_words(findings),
        subjects=_subjects(world, findings),
        rule_set=intent.rules.hex(),
        approvers=who,
        plan=intent.plan.hex(),
        stores=tuple(_stores(world, findings)),
        ledger_number=state.number,
        ledger_hash=state.hash.hex(),
        rescan=Rescan(at=at, searched=tuple(searched), found=findings.found),
        request=body.request if body else "",
        received=body.received if body else None,
        deferred=_deferred(body),
        residue=_residue(world, findings),
        recipients_to_notify=_recipients(world, findings) if intent.kind != PURGE else (),
        one_person_mode=one_person,
        weak_forgetting=_weak(world),
    )


def _set_in_words(findings: Findings) -> str:
    if findings.body is not None and findings.body.kind != PURGE:
        return f"Every record about one {findings.body.subject_kind}, in live stores and in snapshots"
    names = sorted(d for scope in findings.scopes.values() for d, ids in scope.records.items() if len(ids))
    words = f"Records that were due under the rules in force: {', '.join(names) or 'none'}"
    recut = sorted(d for scope in findings.scopes.values() for d in scope.recut)
    return f"{words}; likely card data that was cut in quarantine: {', '.join(recut)}" if recut else words


def _subjects(world: World, findings: Findings) -> tuple[str, ...]:
    body = findings.body
    if body is not None and body.subject_print:
        return (body.subject_print.hex(),)
    key = derive(world.repository.secrets.fingerprint, "tenure certificate set")
    frozen = body.frozen if body is not None else {}
    parts = {d: f.delete + f.linked + b"".join(f.edit.values()) for d, f in sorted(frozen.items())}
    return tuple(keyed_hash(key, d.encode(), joined).hex() for d, joined in parts.items())


def _stores(world: World, findings: Findings) -> list[StoreResult]:
    at = world.installation.clock.now()
    repository, live = world.repository, findings.live
    epoch = repository.epoch().opened.epoch
    lines = []
    for source, scope in sorted(findings.scopes.items()):
        names = set(scope.records)
        gone, edited, stubs = (
            sum(n for d, n in some.items() if d in names) for some in (live.gone, live.edited, live.stubs)
        )
        method = "deleted and found gone"
        if edited:
            method += f"; {edited} edited"
        if stubs:
            method += f"; {stubs} kept as keys only, for records that stay refer to them"
        lines.append(
            StoreResult(store=source, method=method, records=gone, unreadable_since=at, final_on=at.date())
        )
    went = findings.went
    method = f"keys destroyed: {went.cohorts} cohorts whole, the rest record by record"
    if recut := sum(s.count_recut() for s in findings.scopes.values()):
        method += f"; likely card data cut in {recut} records that stay"
    pending = f"not confirmed by {', '.join(went.pending_in_words())}" if went.pending else ""
    lines.append(
        StoreResult(
            store="snapshots",
            method=method,
            records=sum(s.count() for s in findings.scopes.values()),
            objects=went.chunks,
            key_pages=went.pages,
            epoch=epoch,
            unreadable_since=None if pending else at,
            final_on=None if pending else final_on(at, world.repository.place.shred),
            pending=pending,
        )
    )
    return lines


def final_on(at: datetime, shred: timedelta) -> date:
    """Return from when no key store has a version left: a bucket's lifecycle works once a day, after midnight UTC."""
    return (at + shred + timedelta(days=1)).date() if shred else at.date()


def _deferred(body: PlanBody | None) -> tuple[Deferred, ...]:
    kept = body.kept if body is not None else ()
    return tuple(
        Deferred(what=k.data_set, records=k.records, by=_WORDS[k.by], reason=k.why, until=k.until)
        for k in kept
        if k.by in _WORDS
    )


def _residue(world: World, findings: Findings) -> tuple[Residue, ...]:
    sources = world.installation.catalogue.sources
    held = [
        Residue(what=w, until="not reached by Tenure")
        for s in sorted(findings.scopes)
        for w in sources[s].also_held_in
    ]
    return (*held, *(Residue(what=what, until="the next checkpoint") for what in findings.residue))


def _recipients(world: World, findings: Findings) -> tuple[str, ...]:
    sources = world.installation.catalogue.sources
    return tuple(w for s in sorted(findings.scopes) for w in sources[s].also_held_in)


def _weak(world: World) -> bool:
    recipients = world.repository.epoch().opened.recipients
    return any(r.provider == "local" for r in recipients)
