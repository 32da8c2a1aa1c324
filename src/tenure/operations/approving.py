"""Approve or reject a plan. Approving a plan puts its rule set in force: in the ledger, signed by the purge key."""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from tenure.control.approvals import Approval, ApprovalKind, Approvals
from tenure.control.plans import Plan, Plans, PlanState
from tenure.control.rule_sets import RuleSets
from tenure.control.settings import Settings
from tenure.domain.errors import ConfigError, StalePlanError
from tenure.evidence.certificate import Approver
from tenure.operations import planbody
from tenure.operations.installation import Installation
from tenure.operations.planning import PURGE
from tenure.repository.entries import Rules
from tenure.repository.repository import Repository
from tenure.rules.model import Approval as HowOften
from tenure.rules.model import CardRule, Rule
from tenure.rules.ruleset import rule_set_from_bytes

NEWEST = 200
"""How many plans are looked through for one that is named by the beginning of its hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """An approval; `in_force`: the rule set that took force by it, empty where it was in force already."""

    plan: Plan
    approval: Approval
    in_force: str


def find(installation: Installation, word: str, *, state: PlanState | None = None) -> Plan:
    """Return the plan whose hash begins so; an empty word: the newest in this state.

    Raises:
        StalePlanError: None, or more than one.
    """
    plans = Plans(installation.control)
    if len(word) == 64:
        return plans.get(word)
    found = [p for p in plans.recent(NEWEST, state=None if word else state) if p.hash.startswith(word)]
    if not found or (word and len(found) > 1):
        what = (
            f"{len(found) or 'no'} plans begin with {word!r}"
            if word
            else f"there is no {state or 'stored'} plan"
        )
        raise StalePlanError(what)
    return found[0]


def approve(
    installation: Installation, word: str = "", *, reason: str, kind: ApprovalKind | None = None
) -> Approved:
    """Approve a plan as the officer at the keyboard; run again it changes nothing more.

    `kind` None: standing where every rule says `approval: once`, else for this run only.

    Raises:
        StalePlanError: No such plan, or it is executed, rejected or expired.
        NotApprovedError: The officer asked for it, and one-person mode is off.
        KeyMismatchError: This process was not given the purge key.
    """
    plan = find(installation, word, state=PlanState.PROPOSED)
    body = planbody.decode(plan.body)
    at = installation.clock.now()
    _one_person(installation)
    # An erasure puts no rules in force.
    repository = installation.open_reading() if body.kind == PURGE else None
    approval = Approvals(installation.control).approve(
        plan.hash, by=installation.officer, at=at, reason=reason, kind=kind or _how_often(body.rules)
    )
    new = _put_in_force(installation, repository, approval, body) if repository is not None else ""
    installation.evidence.log.append(
        "approval",
        who=installation.officer,
        at=at,
        subject_of_entry=f"plan {plan.hash[:12]}",
        outcome="approved",
        details={"rule_set": body.rule_set, "records": body.records, "one_person": approval.one_person},
    )
    return Approved(plan=plan, approval=approval, in_force=new)


def reject(installation: Installation, word: str, *, reason: str) -> Plan:
    """Reject a plan, with the reason kept.

    Raises:
        StalePlanError: No such plan, or it is executed or expired.
        ConfigError: No reason.
    """
    if not reason.strip():
        raise ConfigError("a rejection needs a reason", hint="say it with --reason")
    plan = find(installation, word, state=PlanState.PROPOSED)
    at = installation.clock.now()
    Approvals(installation.control).reject(plan.hash, by=installation.officer, at=at, reason=reason)
    installation.evidence.log.append(
        "approval",
        who=installation.officer,
        at=at,
        subject_of_entry=f"plan {plan.hash[:12]}",
        outcome="rejected",
        details={"reason": reason},
    )
    return plan


def as_recorded(approval: Approval) -> str:
    """Return an approval as the ledger keeps it."""
    found = {
        "by": approval.by,
        "at": approval.at,
        "reason": approval.reason,
        "one_person": approval.one_person,
    }
    return msgspec.json.encode(found, order="sorted").decode()


def approvers(recorded: tuple[str, ...]) -> tuple[tuple[Approver, ...], bool]:
    """Return who approved, as certificates tell it, and whether one person both asked and approved."""
    loose = [msgspec.json.decode(text, type=_Recorded) for text in recorded]
    found = tuple(Approver(name=a.by, at=a.at, reason=a.reason) for a in loose)
    return found, any(a.one_person for a in loose)


class _Recorded(msgspec.Struct, frozen=True, kw_only=True):
    by: str
    at: datetime
    reason: str
    one_person: bool


def _put_in_force(
    installation: Installation, repository: Repository, approval: Approval, body: planbody.PlanBody
) -> str:
    entry = repository.refresh().rules
    recorded = as_recorded(approval)
    new = entry is None or entry.hash.hex() != body.rule_set
    if new:
        rules = Rules(hash=bytes.fromhex(body.rule_set), content=body.rules, approvals=(recorded,))
        repository.ledger.append(rules, repository.purge_key)
    sets = RuleSets(installation.control)
    known = sets.in_force(approval.at)
    if known is None or known.hash != body.rule_set:
        sets.put_in_force(body.rule_set, body.rules, in_force_from=approval.at, approved_by=[approval.by])
    return body.rule_set if new else ""


def _how_often(raw: bytes) -> ApprovalKind:
    rules = rule_set_from_bytes(raw)
    every: list[Rule | CardRule] = [*rules.rules, *rules.card_rules]
    each = not every or any(
        r.approval is HowOften.EACH_RUN for r in every
    )  # no rule asked for a standing one
    return ApprovalKind.EACH_RUN if each else ApprovalKind.ONCE


def _one_person(installation: Installation) -> None:
    """Let the control database know what the installation was founded as."""
    settings = Settings(installation.control)
    if installation.one_person and not settings.one_person_mode().is_on:
        settings.set_one_person_mode(is_on=True, by="installation", at=installation.clock.now())
