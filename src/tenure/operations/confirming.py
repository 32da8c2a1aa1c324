"""Finishes forgettings that a key store had not confirmed, and certifies that: a certificate once issued stays as it is.

A key store that was down, or whose lock had not ended, still had keys of what was forgotten. Once every store has
deleted them, a supplement says from when on nothing opens it any more.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial

from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.evidence.certificate import SUPPLEMENT, Certificate, verify_certificate
from tenure.operations.certifying import certificate_id, final_on
from tenure.operations.installation import Installation
from tenure.repository.leftovers import delete_unnamed, kept_from_forgetting, void_lapsed
from tenure.repository.repository import Repository
from tenure.repository.state import ForgetState


def confirm(installation: Installation, repository: Repository) -> tuple[str, ...]:
    """Delete what is left in key stores of forgettings that are pending there; return the supplements issued.

    None is issued while a store does not confirm: a later run asks again.

    Raises:
        TamperedError: The evidence log was changed.
    """
    issued = []
    for old, forget in _pending(installation, repository):
        void_lapsed(repository)
        if delete_unnamed(repository, partial(kept_from_forgetting, forget)).failed:
            continue
        at = installation.clock.now()
        new = _supplement(old, repository, at)
        installation.evidence.issue_certificate(new, installation.issuer, who=installation.officer, at=at)
        issued.append(new.id)
    return tuple(issued)


def _pending(installation: Installation, repository: Repository) -> Iterator[tuple[Certificate, ForgetState]]:
    """Yield certificates that wait for a store, and have no supplement yet."""
    key = installation.evidence_key.public()
    found: dict[str, Certificate] = {}
    for path, document in installation.evidence.certificates():
        try:
            found[path.stem] = verify_certificate(document, key)
        except (TamperedError, UnsupportedFormatError):
            continue  # `tenure evidence verify` tells; nothing is built on it
    forgets = {certificate_id(f): f for f in repository.refresh().forgets.values() if f.done}
    for name, old in sorted(found.items()):
        if any(s.pending for s in old.stores) and name + SUPPLEMENT not in found and name in forgets:
            yield old, forgets[name]


def _supplement(old: Certificate, repository: Repository, at: datetime) -> Certificate:
    last = final_on(at, repository.place.shred)
    stores = [
        replace(s, pending="", unreadable_since=at, final_on=last) if s.pending else s for s in old.stores
    ]
    return replace(
        old,
        id=old.id + SUPPLEMENT,
        issued_at=at,
        set_in_words=f"Supplement to {old.id}, now that every key store has confirmed. {old.set_in_words}",
        stores=tuple(stores),
        ledger_number=repository.state.number,
        ledger_hash=repository.state.hash.hex(),
    )
