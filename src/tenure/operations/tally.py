"""Adds decisions up, batch by batch: what falls, what is edited, what stays and why, what comes due when."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

from tenure.operations.planbody import KeptCount, RuleCount, Sample, Week, masked
from tenure.operations.world import World, is_recordings
from tenure.repository.rows import Bits, Bytes
from tenure.rules.decide import Decisions
from tenure.rules.outcomes import Outcome
from tenure.rules.ruleset import RuleSet

WEEKS = 26
"""How far ahead a plan says what falls due."""

_WORDS = {
    Outcome.MISSING_STARTING_POINT: "starting point missing",
    Outcome.NO_RULE: "no rule covers it",
    Outcome.NULL_IN_CONDITION: "a value that a rule asks for is unknown",
}


@dataclass(slots=True)
class Falling:
    """Records of one data set that go or change: keys, identities of the world, and by which rule (-1: none)."""

    keys: list[bytes] = field(default_factory=list)
    ids: list[Bytes] = field(default_factory=list)
    rules: list[int] = field(default_factory=list)

    def add(self, keys: Any, ids: Bytes, rules: list[int] | None = None) -> None:
        """Take in a batch; `keys`: pyarrow large_binary."""
        self.keys += keys.to_pylist()
        self.ids.append(ids)
        self.rules += rules if rules is not None else [-1] * len(ids)

    def all_ids(self) -> Bytes:
        """Return all identities (uint8, n x 16), in the order of the keys."""
        return np.concatenate(self.ids) if self.ids else np.empty((0, 16), np.uint8)

    def drop(self, keys: set[bytes]) -> Counter[int]:
        """Take some records out; return how many that were, by rule."""
        out = np.array([k in keys for k in self.keys], np.bool_)
        lost = Counter(r for r, o in zip(self.rules, out.tolist(), strict=True) if o)
        ids = self.all_ids()[~out]
        self.keys = [k for k in self.keys if k not in keys]
        self.rules = [r for r, o in zip(self.rules, out.tolist(), strict=True) if not o]
        self.ids = [ids]
        return lost


@dataclass(slots=True)
class Tally:
    """One data set's decisions, added up."""

    world: World
    data_set: str
    rules: RuleSet
    today: date
    delete: Falling = field(default_factory=Falling)
    edit: dict[int, Falling] = field(default_factory=dict)
    cards: dict[str, Falling] = field(default_factory=dict)
    total: int = 0
    stubs: int = 0
    _acts: Counter[tuple[int, bool]] = field(default_factory=Counter)
    _newly: Counter[int] = field(default_factory=Counter)
    _kept: Counter[tuple[int, int, int, int]] = field(default_factory=Counter)
    _until: dict[tuple[int, int, int, int], date] = field(default_factory=dict)
    _weeks: Counter[int] = field(default_factory=Counter)
    _samples: dict[str, tuple[date, bytes]] = field(default_factory=dict)

    def add(self, found: Decisions, before: Decisions | None, ids: Bytes, *, live: bool) -> None:
        """Take in the decisions on a batch; `before`: the same by the rules in force until now."""
        self.total += len(found)
        acting = (found.outcome == Outcome.DELETE) | (found.outcome == Outcome.EDIT)
        for rule in np.unique(found.rule[acting]).tolist():
            mine = acting & (found.rule == rule)
            self._acts[rule, live] += int(mine.sum())
            if before is not None:
                self._newly[rule] += int((mine & (before.outcome != found.outcome)).sum())
        self._take(self.delete, found, ids, found.outcome == Outcome.DELETE)
        for rule in np.unique(found.rule[found.outcome == Outcome.EDIT]).tolist():
            mine = (found.outcome == Outcome.EDIT) & (found.rule == rule)
            self._take(self.edit.setdefault(rule, Falling()), found, ids, mine)
        self._keep(found, ~acting)
        self._ahead(found)
        self._sample(found, acting)

    @staticmethod
    def _take(into: Falling, found: Decisions, ids: Bytes, which: Bits) -> None:
        if which.any():
            into.add(found.facts.keys.filter(which), ids[which], found.rule[which].tolist())

    def _keep(self, found: Decisions, stays: Bits) -> None:
        for outcome in np.unique(found.outcome[stays]).tolist():
            if outcome == Outcome.KEEP:
                continue
            mine = stays & (found.outcome == outcome)
            if outcome == Outcome.HELD:
                mine &= found.is_due()
            columns = zip(
                found.rule[mine].tolist(), found.branch[mine].tolist(), found.hold[mine].tolist(), strict=True
            )
            for (rule, branch, hold), count in Counter(columns).items():
                key = (outcome, rule, branch, hold)
                self._kept[key] += count
                if outcome == Outcome.KEPT_BY_DUTY:
                    same = mine & (found.rule == rule) & (found.branch == branch)
                    latest = found.due[same].max().astype(object)
                    self._until[key] = max(self._until.get(key, date.min), latest)

    def _ahead(self, found: Decisions) -> None:
        coming = (found.outcome == Outcome.KEEP) & ~np.isnat(found.due)
        weeks = (found.due[coming] - np.datetime64(self.today, "D")).astype(np.int64) // 7
        self._weeks.update(weeks[(weeks >= 0) & (weeks < WEEKS)].tolist())

    def _sample(self, found: Decisions, acting: Bits) -> None:
        known = ~np.isnat(found.due)
        self._note("oldest", found, acting & known, first=True)
        self._note("nearest deleted", found, acting & known, first=False)
        self._note("nearest kept", found, (found.outcome == Outcome.KEEP) & known, first=True)
        self._note("newest", found, (found.outcome == Outcome.KEEP) & known, first=False)

    def _note(self, which: str, found: Decisions, mine: Bits, *, first: bool) -> None:
        places = np.flatnonzero(mine)
        if not len(places):
            return
        due = found.due[places]
        at = int(places[due.argmin() if first else due.argmax()])
        day = found.due[at].astype(object)
        known = self._samples.get(which)
        if known is None or (day < known[0] if first else day > known[0]):
            self._samples[which] = (day, found.facts.keys[at].as_py())

    def replace_edits(self, edit: dict[int, Falling], cards: dict[str, Falling]) -> None:
        """Put what edits would really change in the place of what rules say is to be edited."""
        for rule in self.edit:
            lost = len(self.edit[rule].keys) - len(edit[rule].keys)
            self._acts[rule, True] -= lost  # only live records can be edited already
            self._newly[rule] = min(self._newly[rule], len(edit[rule].keys))
        self.edit = {rule: some for rule, some in edit.items() if some.keys}
        self.cards = {name: some for name, some in cards.items() if some.keys}

    def keep_stubs(self, keys: set[bytes]) -> None:
        """Note live records that are due and stay as keys, as they are already: records that stay refer to them."""
        for rule, count in self.delete.drop(keys).items():
            self._acts[rule, True] -= count
            self._newly[rule] = min(self._newly[rule], self._acts[rule, True])
        self.stubs += len(keys)

    def edits(self) -> dict[str, Falling]:
        """Return what each rule edits, by its name; card rules among them."""
        return {self.rules.rules[rule].name: some for rule, some in self.edit.items()} | self.cards

    def counts(self) -> list[RuleCount]:
        """Return what each rule does."""
        lines = []
        for rule in sorted({r for r, _ in self._acts}):
            if not self._acts[rule, True] + self._acts[rule, False]:
                continue
            said = self.rules.rules[rule]
            lines.append(
                RuleCount(
                    rule=said.name,
                    data_set=self.data_set,
                    action=said.then.kind.value,
                    live=self._acts[rule, True],
                    past=self._acts[rule, False],
                    newly=self._newly[rule],
                    law=said.why.law,
                )
            )
        laws = {card.name: card.why.law for card in self.rules.card_rules}
        for name, some in sorted(self.cards.items()):
            line = RuleCount(
                rule=name, data_set=self.data_set, action="cut cards", live=len(some.keys), law=laws[name]
            )
            lines.append(line)
        return lines

    def kept(self, matters: tuple[str, ...]) -> list[KeptCount]:
        """Return what stays and why; `matters`: of the holds in force, by number."""
        lines = []
        for key, count in sorted(self._kept.items()):
            outcome, rule, branch, hold = key
            by, why = "doubt", _WORDS.get(Outcome(outcome), "")
            if outcome == Outcome.HELD:
                by, why = "hold", f"held for `{matters[hold]}`"
            elif outcome == Outcome.KEPT_BY_DUTY:
                said = self.rules.rules[rule]
                law = said.unless[branch].law if branch >= 0 else said.why.law
                by, why = "duty", f"kept by `{said.name}` ({law})"
            line = KeptCount(
                data_set=self.data_set, records=count, why=why, by=by, until=self._until.get(key)
            )
            lines.append(line)
        if self.stubs:
            why = "stay as keys only: records that stay refer to them"
            lines.append(KeptCount(data_set=self.data_set, records=self.stubs, why=why, by="child"))
        return lines

    def samples(self) -> list[Sample]:
        """Return masked samples on each side of the line."""
        recording = is_recordings(self.world.declared(self.data_set))
        return [
            Sample(data_set=self.data_set, which=which, record=masked(key, recording=recording), due=day)
            for which, (day, key) in sorted(self._samples.items())
        ]

    def forecast(self) -> list[Week]:
        """Return what falls due in the weeks ahead."""
        return [
            Week(start=self.today + timedelta(weeks=week), records=count)
            for week, count in sorted(self._weeks.items())
        ]
