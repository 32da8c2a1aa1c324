"""Says of live records, inside the deleting transaction, whether they still fall: in the plan, and due now, and not held.

Rules and holds are read anew from the ledger for every batch, so a hold placed a moment ago keeps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from tenure.crypto.hashing import derive, keyed_hash
from tenure.operations.edits import QUARANTINE
from tenure.operations.inforce import InForce, in_force
from tenure.operations.planbody import Frozen, PlanBody
from tenure.operations.planning import PURGE
from tenure.operations.world import World, within
from tenure.repository.rows import Bits
from tenure.rules.decide import decide
from tenure.rules.facts import Facts
from tenure.rules.judge import Judgement, judge, record_at
from tenure.rules.outcomes import Outcome, Reason


def subject_print(fingerprint_key: bytes, kind: str, value: str) -> bytes:
    """Return the 16 bytes that stand for a subject in plans, requests and certificates."""
    return keyed_hash(derive(fingerprint_key, "tenure subject"), kind.encode(), value.encode(), length=16)


@dataclass(frozen=True, slots=True)
class Judging:
    """Judges records of one plan; `body` None: the plan is lost, and nothing live falls."""

    world: World
    body: PlanBody | None

    def now(self) -> InForce:
        """Return rules and holds as the ledger has them at this moment."""
        self.world.repository.refresh()
        return in_force(self.world.repository)

    def falls(self, facts: Facts) -> Bits:
        """Say of each record whether it is to be deleted."""
        frozen = self._frozen(facts.data_set)
        prints = self.world.prints(facts.data_set, self.world.identities(facts.keys))
        own, linked = within(frozen.delete, prints), within(frozen.linked, prints)
        if not own.any() and not linked.any():
            return np.zeros(len(facts), np.bool_)
        known = self.now()
        if self.body is not None and self.body.kind != PURGE:
            free: Bits = (own & self._about(facts) | linked) & self._free(facts, known)
            return free
        outcome = self._outcome(facts, known)
        kept = (outcome == Outcome.HELD) | (outcome == Outcome.KEPT_BY_DUTY)
        falls: Bits = (own & (outcome == Outcome.DELETE)) | (linked & ~kept)
        return falls

    def changes(self, rule: str) -> Callable[[Facts], Bits]:
        """Return a judge of records that a rule edits; a card rule edits whatever no hold covers."""

        def judged(facts: Facts) -> Bits:
            frozen = self._frozen(facts.data_set).edit.get(rule, b"")
            mine = within(frozen, self.world.prints(facts.data_set, self.world.identities(facts.keys)))
            known = self.now()
            if rule == QUARANTINE or any(card.name == rule for card in known.rules.card_rules):
                return mine
            found = decide(facts, known.rules, known.holds, self._at(), self._zone(facts.data_set))
            numbers = [i for i, r in enumerate(known.rules.rules) if r.name == rule]
            due: Bits = mine & (found.outcome == Outcome.EDIT) & np.isin(found.rule, numbers)
            return due

        return judged

    def means(self, facts: Facts) -> Bits:
        """Say of each record whether the plan can mean it: of an erasure, whether it is the person's, or falls with it."""
        if self.body is None or self.body.kind == PURGE:
            return np.ones(len(facts), np.bool_)
        prints = self.world.prints(facts.data_set, self.world.identities(facts.keys))
        meant: Bits = self._about(facts) | within(self._frozen(facts.data_set).linked, prints)
        return meant

    def held(self, facts: Facts) -> Bits:
        """Say of each record whether a hold covers it now."""
        covered: Bits = self.now().holds.covering(facts) >= 0
        return covered

    def _frozen(self, data_set: str) -> Frozen:
        return Frozen() if self.body is None else self.body.frozen.get(data_set, Frozen())

    def _outcome(self, facts: Facts, known: InForce) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        return decide(facts, known.rules, known.holds, self._at(), self._zone(facts.data_set)).outcome

    def _about(self, facts: Facts) -> Bits:
        """Say of each record whether it is about the plan's subject."""
        if self.body is None or self.body.subject_kind not in facts.subjects:
            return np.zeros(len(facts), np.bool_)
        key, kind = self.world.repository.secrets.fingerprint, self.body.subject_kind
        values = facts.subjects[kind].to_pylist()
        same = [v is not None and subject_print(key, kind, v) == self.body.subject_print for v in values]
        return np.array(same, np.bool_)

    def _free(self, facts: Facts, known: InForce) -> Bits:
        return np.array([deferral(self.world, facts, i, known) is None for i in range(len(facts))], np.bool_)

    def _at(self) -> datetime:
        return self.world.installation.clock.now()

    def _zone(self, data_set: str) -> str:
        return self.world.source_of(data_set).time_zone


def deferral(world: World, facts: Facts, index: int, known: InForce) -> Judgement | None:
    """Return why one record may not be erased on request: a hold, or a duty that still runs; None: it may.

    A duty counts though a limit has not come yet: what must be kept by law is kept (GDPR Art. 17(3)(b)).
    """
    zone_name = world.source_of(facts.data_set).time_zone
    at = world.installation.clock.now()
    found = judge(record_at(facts, index), known.rules, known.holds, at, zone_name)
    duty = any(day.timed in found.case.duties and not day.passed for day in found.days)
    if found.outcome is Outcome.HELD or duty or found.reason is Reason.WITHOUT_LIMIT:
        return found
    return None
