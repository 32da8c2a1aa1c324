"""The rule set in force and the holds, read where they cannot be edited: in the repository's ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import msgspec

from tenure.crypto.aead import context, open_under, seal_under
from tenure.crypto.hashing import random_bytes
from tenure.repository.entries import Hold as HoldEntry
from tenure.repository.repository import Repository
from tenure.rules.holds import Hold, Holds, HoldScope
from tenure.rules.ruleset import RuleSet, rule_set_from_bytes

_SALT_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What decides: the approved rules and the holds. `hash`: of the rule set, hex; empty where none is in force."""

    rules: RuleSet
    holds: Holds
    hash: str


def rules_in_force(repository: Repository) -> tuple[RuleSet, str]:
    """Return the rule set that an officer put in force, and its hash; an empty one where none was."""
    entry = repository.state.rules
    if entry is None:
        return RuleSet(), ""
    return rule_set_from_bytes(entry.content), entry.hash.hex()


def in_force(repository: Repository) -> InForce:
    """Return rules and holds in force. Needs the reading key, for scopes of holds are for readers only.

    Raises:
        TamperedError: A hold's scope cannot be read; nothing may be deleted then.
    """
    rules, digest = rules_in_force(repository)
    holds = tuple(
        Hold(
            matter=h.matter,
            reason=h.reason,
            placed_by=h.placed_by,
            review_by=date.fromisoformat(h.review_by),
            scope=open_scope(h.scope, repository.secrets.fingerprint),
        )
        for h in sorted(repository.state.holds.values(), key=lambda h: h.hold)
        if not h.released
    )
    return InForce(rules=rules, holds=Holds(holds=holds), hash=digest)


def seal_scope(scope: HoldScope, key: bytes) -> bytes:
    """Return a hold's scope, sealed for readers and purgers. `key`: the fingerprint key."""
    salt = random_bytes(_SALT_BYTES)
    plain = msgspec.msgpack.encode(_plain(scope))
    return salt + seal_under(key, "tenure hold scope", salt, plain, aad=context("hold scope"))


def open_scope(raw: bytes, key: bytes) -> HoldScope:
    """Return what `seal_scope` sealed.

    Raises:
        TamperedError: Changed, or another repository's.
    """
    salt, sealed = raw[:_SALT_BYTES], raw[_SALT_BYTES:]
    plain = open_under(key, "tenure hold scope", salt, sealed, aad=context("hold scope"))
    return msgspec.msgpack.decode(plain, type=HoldScope)


def _plain(scope: HoldScope) -> Mapping[str, object]:
    return {
        "everything": scope.everything,
        "data_sets": scope.data_sets,
        "subjects": dict(scope.subjects),
        "keys": dict(scope.keys),
    }


def place_hold(repository: Repository, hold: Hold) -> str:
    """Put a hold into the ledger, where purge and prune read it; return its id. It is in force from this entry on."""
    hold_id = random_bytes(8).hex()
    entry = HoldEntry(
        hold=hold_id,
        matter=hold.matter,
        reason=hold.reason,
        placed_by=hold.placed_by,
        review_by=hold.review_by.isoformat(),
        scope=seal_scope(hold.scope, repository.secrets.fingerprint),
    )
    repository.ledger.append(entry, repository.purge_key)
    return hold_id


def release_hold(repository: Repository, hold_id: str, *, reason: str) -> None:
    """Release a hold; what it deferred is in the next plan.

    Raises:
        KeyError: There is none of this id in force.
    """
    held = repository.refresh().holds[hold_id]
    repository.ledger.append(msgspec.structs.replace(held, released=reason), repository.purge_key)
