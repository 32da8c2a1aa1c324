"""The tables. The migrations make them; a test holds that both agree."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
)


class Instant(TypeDecorator[datetime]):
    """A moment in UTC; a value without a time zone is refused, since nobody could tell what it means."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ARG002 - the base's names
        """Turn into UTC on the way in.

        Raises:
            ValueError: No time zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant without a time zone is no instant")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """SQLite forgets the zone; put UTC back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("source", String, nullable=False),
    Column("started", Instant, nullable=False),
    Column("ended", Instant),
    Column("outcome", String, nullable=False, index=True),
    Column("exit_code", Integer),
    Column("error", String, nullable=False),
    Column("counts", JSON, nullable=False),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("boot_id", String, nullable=False),
    Column("process_start", String, nullable=False),
)

plans = Table(
    "plans",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("made_by", String, nullable=False),
    Column("authors", JSON, nullable=False),
    Column("rule_set", String, nullable=False, index=True),
    Column("judged_at", Instant, nullable=False),
    Column("expires", Instant, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("state_at", Instant, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("plan", String, ForeignKey("plans.hash"), nullable=False, index=True),
    Column("by", String, nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("lapses", Instant, nullable=False),
    Column("one_person", Boolean, nullable=False),
)

rule_sets = Table(
    "rule_sets",
    metadata,
    Column("hash", String, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

rules_in_force = Table(
    "rules_in_force",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("rule_set", String, ForeignKey("rule_sets.hash"), nullable=False),
    Column("since", Instant, nullable=False, index=True),
    Column("approved_by", JSON, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("reference", String, primary_key=True),
    Column("subject", String, nullable=False, index=True),
    Column("received", Date, nullable=False),
    Column("due", Date, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("state_at", Instant, nullable=False),
    Column("note", String, nullable=False),
    Column("certificate", String, nullable=False),
)

drills = Table(
    "drills",
    metadata,
    Column("id", String, primary_key=True),
    Column("source", String, nullable=False, index=True),
    Column("snapshot", Integer, nullable=False),
    Column("started", Instant, nullable=False),
    Column("outcome", String, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("rpo", Float, nullable=False),
    Column("rto", Float, nullable=False),
    Column("checks", JSON, nullable=False),
)

checks = Table(
    "checks",
    metadata,
    Column("tag", LargeBinary, primary_key=True),
    Column("proven", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("through", Integer, nullable=False),
    Column("after", LargeBinary, nullable=False),
    Column("sound", Boolean, nullable=False),
)

locks = Table(
    "locks",
    metadata,
    Column("name", String, primary_key=True),
    Column("until", Float, nullable=False),
)

page_packs = Table(
    "page_packs",
    metadata,
    Column("page", LargeBinary, primary_key=True),
    Column("data_set", String, nullable=False),
    Column("packs", LargeBinary, nullable=False),
)

legal_holds = Table(
    "legal_holds",
    metadata,
    Column("snapshot", Integer, primary_key=True),
    Column("reason", String, nullable=False),
    Column("at", Float, nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("matter", String, nullable=False),
    Column("review_by", Date, nullable=False),
    Column("released", Instant),
)

heads = Table(
    "heads",
    metadata,
    Column("name", String, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", JSON, nullable=False),
    Column("set_by", String, nullable=False),
    Column("set_at", Instant, nullable=False),
)
