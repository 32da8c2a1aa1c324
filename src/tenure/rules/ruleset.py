"""A rule set: rules together with the catalogue definitions they use, hashed, compared and written as bytes.

The set *in force* is one that was approved: what decides is its hash, over the rules, over what their words mean
in the catalogue, and over the version of the code that decides.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from tenure.domain.catalogue import Catalogue, DataSet
from tenure.domain.errors import RuleError
from tenure.rules.model import CardRule, Rule

DECISION_VERSION = 1
"""Goes up whenever the same rules and facts are decided differently than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What the words of a rule set mean for one data set: only those that are used."""

    data_set: DataSet
    time_zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """Rules by name, sorted, and the definitions they use."""

    rules: tuple[Rule, ...] = ()
    card_rules: tuple[CardRule, ...] = ()
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    decision_version: int = DECISION_VERSION

    def rules_of(self, data_set: str) -> tuple[tuple[int, Rule], ...]:
        """Return the rules that name a data set, each with its index in `rules`."""
        return tuple((i, rule) for i, rule in enumerate(self.rules) if data_set in rule.data)

    def time_zone_of(self, data_set: str) -> str:
        """Return the time zone periods of this data set are counted in; UTC where no rule names it."""
        definition = self.definitions.get(data_set)
        return definition.time_zone if definition else "UTC"

    def to_bytes(self) -> bytes:
        """Return the set as canonical JSON: equal sets give equal bytes."""
        return msgspec.json.encode(self, order="deterministic")

    def hash(self) -> str:
        """Return the SHA-256 of `to_bytes`, in hex: what an approval names."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def rule_set_from_bytes(written: bytes) -> RuleSet:
    """Return the set that `to_bytes` wrote.

    Raises:
        RuleError: These bytes are no rule set of a version this code reads.
    """
    try:
        return msgspec.json.decode(written, type=RuleSet)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RuleError("the stored rule set cannot be read", hint="approve the rules again") from error


def rule_set_of(rules: Iterable[Rule], card_rules: Iterable[CardRule], catalogue: Catalogue) -> RuleSet:
    """Return a set of these rules with the definitions they use, independent of their order."""
    timed = tuple(sorted(rules, key=lambda rule: rule.name))
    cards = tuple(sorted(card_rules, key=lambda rule: rule.name))
    named = {d for rule in timed for d in rule.data} | {d for c in cards for d in (*c.data, *c.expected_in)}
    definitions = {
        name: Definition(data_set=_used(data_set, timed), time_zone=source.time_zone)
        for source in catalogue.sources.values()
        for name, data_set in source.data_sets.items()
        if name in named
    }
    return RuleSet(rules=timed, card_rules=cards, definitions=dict(sorted(definitions.items())))


def _used(data_set: DataSet, rules: tuple[Rule, ...]) -> DataSet:
    """Return a data set with the starting points, attributes and columns that rules use, and nothing more."""
    own = [rule for rule in rules if data_set.name in rule.data]
    starts = {name for rule in own if rule.starting_from for name in rule.starting_from.names}
    asked = {
        part.attribute
        for rule in own
        for condition in (rule.only_if, *(branch.only_if for branch in rule.unless))
        for part in condition.asked
    }
    columns = {c for rule in own for c in (*rule.then.columns, *(m.column for m in rule.then.masks))}
    return replace(
        data_set,
        subjects=dict(sorted(data_set.subjects.items())),
        starting_points=_only(data_set.starting_points, starts),
        attributes=_only(data_set.attributes, asked),
        columns={name: data_set.columns[name] for name in sorted(columns & set(data_set.columns))},
    )


def _only(words: Mapping[str, str], used: set[str]) -> dict[str, str]:
    return {word: words[word] for word in sorted(used & set(words))}
