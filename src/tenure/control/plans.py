"""Plans: proposed, approved or rejected, executed once."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from tenure.control.approvals import Approval, approval_of, standing_approval
from tenure.control.database import ControlDatabase
from tenure.control.schema import plans
from tenure.domain.errors import NotApprovedError, StalePlanError


class PlanState(StrEnum):
    """Where a plan stands."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXECUTED = "executed"  # taken for execution; it cannot be taken again


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A frozen plan. `hash`, `rule_set`: hex; `authors`: who changed the rules since the set in force; `body`: as made."""

    hash: str
    kind: str
    made_at: datetime
    made_by: str
    rule_set: str
    judged_at: datetime
    expires: datetime
    body: bytes = field(repr=False)
    authors: tuple[str, ...] = ()
    state: PlanState = PlanState.PROPOSED


class Plans:
    """Propose plans and take them for execution."""

    def __init__(self, database: ControlDatabase) -> None:
        """Work in `database`."""
        self._database = database

    def propose(self, plan: Plan) -> None:
        """Store a new plan; the same one again changes nothing."""
        values = {
            "hash": plan.hash,
            "kind": plan.kind,
            "made_at": plan.made_at,
            "made_by": plan.made_by,
            "authors": list(plan.authors),
            "rule_set": plan.rule_set,
            "judged_at": plan.judged_at,
            "expires": plan.expires,
            "state": PlanState.PROPOSED,
            "state_at": plan.made_at,
            "body": plan.body,
        }
        with self._database.writing() as connection:
            if _find(connection, plan.hash) is None:
                connection.execute(insert(plans).values(values))

    def get(self, plan: str) -> Plan:
        """Return the plan with this hash.

        Raises:
            StalePlanError: There is none.
        """
        with self._database.reading() as connection:
            return _required(connection, plan)

    def recent(self, limit: int, *, state: PlanState | None = None) -> tuple[Plan, ...]:
        """Return the newest plans, newest first."""
        query = select(plans).order_by(plans.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(plans.c.state == state)
        with self._database.reading() as connection:
            return tuple(_plan(r) for r in connection.execute(query).all())

    def take(self, plan: str, *, at: datetime) -> tuple[Plan, Approval]:
        """Take a plan for execution under its own approval; of all who try, one succeeds.

        Raises:
            StalePlanError: Taken before, expired, or unknown.
            NotApprovedError: Not approved, rejected, or the approval has lapsed.
        """
        with self._database.writing() as connection:
            found = _takeable(connection, plan, at)
            approval = approval_of(connection, plan)
            if approval is None or found.state is not PlanState.APPROVED:
                raise NotApprovedError(f"plan {plan[:12]} is {found.state}, not approved")
            if at >= approval.lapses:
                raise NotApprovedError(
                    f"the approval of plan {plan[:12]} lapsed on {approval.lapses:%Y-%m-%d}"
                )
            return _taken(connection, found, at), approval

    def take_standing(self, plan: str, *, at: datetime) -> tuple[Plan, Approval]:
        """Take a plan under the standing approval of its rule set.

        The caller has compared the plan with the approved forecast: a first run, a backlog or a result outside the
        forecast needs an approval of its own. An erasure always does, and is refused here.

        Raises:
            StalePlanError: Taken before, expired, or unknown.
            NotApprovedError: An erasure, a rejected plan, or no standing approval of this rule set.
        """
        with self._database.writing() as connection:
            found = _takeable(connection, plan, at)
            if found.kind == "erasure" or found.state is PlanState.REJECTED:
                raise NotApprovedError(f"plan {plan[:12]} needs an approval of its own")
            approval = standing_approval(connection, found.rule_set, found.kind)
            if approval is None:
                raise NotApprovedError(f"no standing approval covers the rule set of plan {plan[:12]}")
            return _taken(connection, found, at), approval


def _takeable(connection: Connection, plan: str, at: datetime) -> Plan:
    found = _required(connection, plan)
    if found.state is PlanState.EXECUTED:
        raise StalePlanError(f"plan {plan[:12]} is {found.state} and cannot be executed again")
    if at >= found.expires:
        raise StalePlanError(f"plan {plan[:12]} expired on {found.expires:%Y-%m-%d}")
    return found


def _taken(connection: Connection, plan: Plan, at: datetime) -> Plan:
    """Compare and set: the state read must still be there, on any database and isolation level."""
    unchanged = (plans.c.hash == plan.hash) & (plans.c.state == plan.state)
    values = {"state": PlanState.EXECUTED, "state_at": at}
    if connection.execute(update(plans).where(unchanged).values(values)).rowcount != 1:
        raise StalePlanError(f"plan {plan.hash[:12]} was taken by another run")
    return _required(connection, plan.hash)


def _find(connection: Connection, plan: str) -> Plan | None:
    row = connection.execute(select(plans).where(plans.c.hash == plan)).first()
    return _plan(row) if row else None


def _required(connection: Connection, plan: str) -> Plan:
    found = _find(connection, plan)
    if found is None:
        raise StalePlanError(f"there is no plan {plan[:12]}")
    return found


def _plan(row: Row[Any]) -> Plan:
    return Plan(
        hash=row.hash,
        kind=row.kind,
        made_at=row.made_at,
        made_by=row.made_by,
        authors=tuple(row.authors),
        rule_set=row.rule_set,
        judged_at=row.judged_at,
        expires=row.expires,
        state=PlanState(row.state),
        body=row.body,
    )
