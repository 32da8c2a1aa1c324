"""Which likely card data is settled: by an officer's answer, or because nobody gave one in time."""

from datetime import UTC, datetime, timedelta

from tenure.cards.quarantine import Answers
from tenure.repository.state import FindingState, State

LAPSE = timedelta(days=7)
"""How long likely card data may wait in quarantine, from the ledger entry that named it first, by the store's clock."""

KEEP, REDACT = "keep", "redact"
"""Answers, as the ledger has them (`voids.ANSWERS`)."""


def first_seen(found: FindingState) -> datetime:
    """Return when a finding was first seen."""
    return datetime.fromtimestamp(found.first, UTC)


def is_due(found: FindingState, at: datetime) -> bool:
    """Whether a finding is to be cut: an officer said so, or nobody answered for 7 days."""
    return found.answer == REDACT or (not found.answer and at >= first_seen(found) + LAPSE)


def waiting(state: State, at: datetime) -> int:
    """Return how many findings await an answer; those whose rows are in no snapshot any more included."""
    return sum(not f.answer and not is_due(f, at) for f in state.findings.values())


def answers_of(state: State, source: str, key: bytes, at: datetime) -> Answers:
    """Return what is known of a source's findings at a moment of the store's clock; `key`: `SourceKeys.finding`."""
    mine = {bytes.fromhex(name): f for name, f in state.findings.items() if f.source == source}
    return Answers(
        key=key,
        today=f"{at:%Y-%m-%d}",
        kept=frozenset(name for name, f in mine.items() if f.answer == KEEP),
        cut=frozenset(name for name, f in mine.items() if is_due(f, at)),
        since={
            name: f"{first_seen(f):%Y-%m-%d}"
            for name, f in mine.items()
            if not f.answer and not is_due(f, at)
        },
    )
