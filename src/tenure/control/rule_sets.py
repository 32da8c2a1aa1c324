"""Rule sets: which one was in force when, and who approved it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, insert, select

from tenure.control.database import ControlDatabase
from tenure.control.schema import rule_sets, rules_in_force


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSetInForce:
    """A rule set from the moment it took force. `hash`: hex; `body`: as the rules room wrote it."""

    hash: str
    in_force_from: datetime
    approved_by: tuple[str, ...]
    body: bytes = field(repr=False)


class RuleSets:
    """Put rule sets in force and look them up."""

    def __init__(self, database: ControlDatabase) -> None:
        """Work in `database`."""
        self._database = database

    def put_in_force(
        self, rule_set: str, body: bytes, *, in_force_from: datetime, approved_by: Sequence[str]
    ) -> None:
        """Put a rule set in force; an earlier one can come back.

        Raises:
            ValueError: Nobody approved it, its hash is known with another body, or a later set is in force already.
        """
        if not approved_by:
            raise ValueError("a rule set in force has an approver")
        with self._database.writing() as connection:
            known = connection.execute(select(rule_sets.c.body).where(rule_sets.c.hash == rule_set)).scalar()
            if known is not None and known != body:
                raise ValueError(f"rule set {rule_set[:12]} is known with another content")
            if known is None:
                connection.execute(insert(rule_sets).values(hash=rule_set, body=body))
            newest = connection.execute(_history().limit(1)).first()
            if newest is not None and newest.since >= in_force_from:
                if newest.rule_set == rule_set:
                    return
                raise ValueError("a rule set cannot take force before the one that is in force")
            values = {"rule_set": rule_set, "since": in_force_from, "approved_by": list(approved_by)}
            connection.execute(insert(rules_in_force).values(values))

    def in_force(self, at: datetime) -> RuleSetInForce | None:
        """Return the set in force at a moment; None before the first."""
        with self._database.reading() as connection:
            row = connection.execute(_history().where(rules_in_force.c.since <= at).limit(1)).first()
        return _in_force(row) if row else None

    def history(self) -> tuple[RuleSetInForce, ...]:
        """Return every set that was in force, newest first."""
        with self._database.reading() as connection:
            return tuple(_in_force(r) for r in connection.execute(_history()).all())


def _history() -> Select[Any]:
    joined = rules_in_force.join(rule_sets, rule_sets.c.hash == rules_in_force.c.rule_set)
    query = select(rules_in_force, rule_sets.c.body).select_from(joined)
    return query.order_by(rules_in_force.c.since.desc(), rules_in_force.c.id.desc())


def _in_force(row: Row[Any]) -> RuleSetInForce:
    return RuleSetInForce(
        hash=row.rule_set, in_force_from=row.since, approved_by=tuple(row.approved_by), body=row.body
    )
