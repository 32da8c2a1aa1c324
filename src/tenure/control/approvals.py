"""Approvals: who let a plan run, for how long, and whether anyone else had looked."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from tenure.control.database import ControlDatabase
from tenure.control.schema import approvals, plans
from tenure.control.settings import ONE_PERSON_MODE, setting
from tenure.domain.errors import NotApprovedError, StalePlanError

LIFETIME = timedelta(days=7)
"""How long an approval lets its plan be executed."""


class ApprovalKind(StrEnum):
    """How far an approval reaches."""

    ONCE = "once"  # standing: later plans of the same rule set and kind, within the approved forecast, too
    EACH_RUN = "each run"  # this plan only


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One approval. `lapses`: when its own plan can no longer be executed under it; `one_person`: nobody else looked."""

    plan: str
    by: str
    at: datetime
    reason: str
    kind: ApprovalKind
    lapses: datetime
    one_person: bool


class Approvals:
    """Approve and reject plans."""

    def __init__(self, database: ControlDatabase) -> None:
        """Work in `database`."""
        self._database = database

    def approve(self, plan: str, *, by: str, at: datetime, reason: str, kind: ApprovalKind) -> Approval:
        """Approve a proposed plan.

        Args:
            plan: Its hash.
            by: Who approves, as identified outside; never the one who asked nor an author of the change, unless
                one-person mode is on, and then the approval says so.
            at: When.
            reason: In words.
            kind: Standing or for this run only; an erasure is always for this run only.

        Raises:
            StalePlanError: No such plan, expired, executed or rejected.
            NotApprovedError: The approver asked for it or wrote the change.
        """
        with self._database.writing() as connection:
            row = _open_plan(connection, plan, at)
            involved = by in {row.made_by, *row.authors}
            if involved and not setting(connection, ONE_PERSON_MODE, default=False):
                raise NotApprovedError(
                    f"plan {plan[:12]} cannot be approved by the one who asked for it or wrote the rules",
                    hint="let a second person approve it, or turn on one-person mode, which every certificate tells",
                )
            approval = Approval(
                plan=plan,
                by=by,
                at=at,
                reason=reason,
                kind=ApprovalKind.EACH_RUN if row.kind == "erasure" else kind,
                lapses=at + LIFETIME,
                one_person=involved,
            )
            _set_state(connection, plan, "approved", at)
            connection.execute(insert(approvals).values(_values(approval)))
        return approval

    def reject(self, plan: str, *, by: str, at: datetime, reason: str) -> None:
        """Reject a proposed or approved plan; the rejection is kept with its reason.

        Raises:
            StalePlanError: No such plan, or it is executed or expired.
            ValueError: No reason.
        """
        if not reason.strip():
            raise ValueError("a rejection needs a reason")
        with self._database.writing() as connection:
            _open_plan(connection, plan, at)
            _set_state(connection, plan, "rejected", at)
            values = {"plan": plan, "by": by, "at": at, "reason": reason, "kind": "rejected", "lapses": at}
            connection.execute(insert(approvals).values({**values, "one_person": False}))

    def of(self, plan: str) -> Approval | None:
        """Return the newest approval of a plan; None when nobody approved it, or it was rejected since."""
        with self._database.reading() as connection:
            return approval_of(connection, plan)

    def standing(self, rule_set: str, *, kind: str) -> Approval | None:
        """Return the newest standing approval of plans of this kind under this rule set."""
        with self._database.reading() as connection:
            return standing_approval(connection, rule_set, kind)


def approval_of(connection: Connection, plan: str) -> Approval | None:
    """Return the newest approval of a plan; None when there is none, or a rejection is newer."""
    query = select(approvals).where(approvals.c.plan == plan).order_by(approvals.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return _approval(row) if row and row.kind != "rejected" else None


def standing_approval(connection: Connection, rule_set: str, kind: str) -> Approval | None:
    """Return the newest standing approval for a rule set and kind of plan.

    It is bound to the rule set, not to the clock: another rule set has another hash and no standing approval. One
    whose own plan was rejected later is no longer standing.
    """
    query = (
        select(approvals)
        .join(plans, plans.c.hash == approvals.c.plan)
        .where(plans.c.rule_set == rule_set, plans.c.kind == kind, plans.c.state != "rejected")
        .where(approvals.c.kind == ApprovalKind.ONCE)
        .order_by(approvals.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return _approval(row) if row else None


def _open_plan(connection: Connection, plan: str, at: datetime) -> Row[Any]:
    row = connection.execute(select(plans).where(plans.c.hash == plan)).first()
    if row is None:
        raise StalePlanError(f"there is no plan {plan[:12]}")
    if row.state not in ("proposed", "approved"):
        raise StalePlanError(f"plan {plan[:12]} is {row.state}; it can be neither approved nor rejected")
    if at >= row.expires:
        raise StalePlanError(f"plan {plan[:12]} expired on {row.expires:%Y-%m-%d}")
    return row


def _set_state(connection: Connection, plan: str, state: str, at: datetime) -> None:
    connection.execute(update(plans).where(plans.c.hash == plan).values(state=state, state_at=at))


def _values(approval: Approval) -> dict[str, Any]:
    names = ("plan", "by", "at", "reason", "kind", "lapses", "one_person")
    return {name: getattr(approval, name) for name in names}


def _approval(row: Row[Any]) -> Approval:
    return Approval(
        plan=row.plan,
        by=row.by,
        at=row.at,
        reason=row.reason,
        kind=ApprovalKind(row.kind),
        lapses=row.lapses,
        one_person=row.one_person,
    )
