"""Decides over everything: live records by their facts, and records that only snapshots hold by the newest of theirs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from tenure.domain.catalogue import Orphan
from tenure.operations.editing import blanked, keep_changes, old_detector
from tenure.operations.past import PastRecords, take
from tenure.operations.quarantine import Due, due
from tenure.operations.tally import Falling, Tally
from tenure.operations.world import World, children_first, key_column
from tenure.repository import rows
from tenure.repository.rows import Bytes
from tenure.rules.decide import decide
from tenure.rules.facts import Facts
from tenure.rules.holds import Holds
from tenure.rules.outcomes import Outcome
from tenure.rules.periods import zone
from tenure.rules.ruleset import RuleSet
from tenure.sources.base import LiveStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: these rules and holds at this moment; `before`: the rules in force until now, where others."""

    rules: RuleSet
    holds: Holds
    at: datetime
    before: RuleSet | None = None


@dataclass(slots=True)
class Choice:
    """What falls. `linked`: children that fall with a parent; `refusals`: why nothing may be executed.

    `quarantine`: likely card data that is cut, in data sets that the catalogue does not name, too. `abroad`: (child,
    parent) of links from other sources to records that fall; they are not followed.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    linked: dict[str, Falling] = field(default_factory=dict)
    snapshots: dict[str, set[int]] = field(default_factory=dict)
    old_detector: set[str] = field(default_factory=set)
    quarantine: list[Due] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    abroad: set[tuple[str, str]] = field(default_factory=set)

    def keys(self, data_set: str) -> list[bytes]:
        """Return the keys of every record of a data set that goes or changes."""
        tally = self.tallies.get(data_set)
        cards = [k for some in (tally.cards.values() if tally else ()) for k in some.keys]
        cards += [k for some in self.quarantine if some.data_set == data_set for k in some.keys]
        return list(dict.fromkeys((*self.to_forget(data_set), *cards)))

    def to_forget(self, data_set: str) -> list[bytes]:
        """Return the keys of records whose copies in snapshots go too.

        Where only card data is cut they stay: it was cut in flight before it was stored, unless by another detector.
        """
        tally = self.tallies.get(data_set)
        found = [*self.linked.get(data_set, Falling()).keys]
        if tally is not None:
            found += tally.delete.keys
            edits = tally.edits() if data_set in self.old_detector else tally.edit
            for edited in edits.values():
                found += edited.keys
        return list(dict.fromkeys(found))

    def data_sets(self) -> list[str]:
        """Return the data sets that lose or change records."""
        named = {*self.tallies, *self.linked, *(some.data_set for some in self.quarantine)}
        return sorted(d for d in named if self.keys(d))


def choose(world: World, question: Question, sources: Iterable[str]) -> Choice:
    """Decide over all records of these sources.

    Raises:
        SourceUnavailableError: A live store is not there.
        IntegrityError: A snapshot cannot be read.
    """
    choice = Choice()
    wanted = set(sources)
    for name in children_first(world.installation.catalogue):
        if world.source_of(name).name in wanted and _named(question.rules, name):
            choice.tallies[name] = _judge_data_set(world, question, name, choice)
    keep_changes(world, choice.tallies)
    choice.old_detector = {n for n, t in choice.tallies.items() if t.cards and old_detector(world, n)}
    close_over_links(world, question, choice)
    for name in children_first(world.installation.catalogue):
        if name in choice.tallies and choice.tallies[name].delete.keys:
            _keep_stubs(world, name, choice)
    choice.quarantine = [some for source in sorted(wanted) for some in due(world.repository, source)]
    return choice


def _keep_stubs(world: World, name: str, choice: Choice) -> None:
    """Leave parents out that are due and are stubs already, for the records that keep them so still stay."""
    tally, store = choice.tallies[name], world.store_of(name)
    if not hasattr(store, "stub") or not orphans_of(world, name):
        return
    gone = {child: set(choice.keys(child)) for child in orphans_of(world, name)}
    parents = with_staying_children(store, name, tally.delete.keys, gone)
    if parents:
        tally.keep_stubs(blanked(world, name, parents))


def with_staying_children(
    store: LiveStore, name: str, keys: list[bytes], gone: Mapping[str, set[bytes]]
) -> list[bytes]:
    """Return the records that others in the same store refer to which are not among `gone`; found by halving."""
    children = getattr(store, "children", None)
    if children is None or not keys:
        return []
    found = children(name, keys)
    if all(set(some) <= gone.get(child, set()) for child, some in found.items()):
        return []
    if len(keys) == 1:
        return keys
    half = len(keys) // 2
    left = with_staying_children(store, name, keys[:half], gone)
    return left + with_staying_children(store, name, keys[half:], gone)


def _named(rules: RuleSet, data_set: str) -> bool:
    return bool(rules.rules_of(data_set)) or any(data_set in card.data for card in rules.card_rules)


def close_over_links(world: World, question: Question, choice: Choice) -> None:
    """Take in what falls with a parent, parents first, as the catalogue's links say."""
    for name in reversed(children_first(world.installation.catalogue)):
        if name in choice.tallies or name in choice.linked:
            _close_over_links(world, question, name, choice)


def _judge_data_set(world: World, question: Question, name: str, choice: Choice) -> Tally:
    time_zone = world.source_of(name).time_zone
    today = question.at.astimezone(zone(time_zone)).date()
    tally = Tally(world, name, question.rules, today)
    task = world.installation.progress.begin(f"Judging {name}", total=None, unit="records")
    live: list[Bytes] = []
    for facts in world.store_of(name).facts(name):
        ids = world.identities(facts.keys)
        live.append(ids)
        _judge(question, facts, ids, tally, time_zone, live=True)
        task.advance(len(facts))
    known = np.concatenate(live) if live else np.empty((0, rows.IDENTITY_BYTES), np.uint8)
    past = PastRecords(world, world.declared(name), question.rules, question.at)
    for facts in past.facts(known):
        clean = _without_reopened(question, past, facts, time_zone)
        _judge(question, clean, world.identities(clean.keys), tally, time_zone, live=False)
        task.advance(len(facts))
    choice.snapshots[name] = past.snapshots
    task.end()
    return tally


def _judge(question: Question, facts: Facts, ids: Bytes, tally: Tally, time_zone: str, *, live: bool) -> None:
    found = decide(facts, question.rules, question.holds, question.at, time_zone)
    before = None
    if question.before is not None:
        before = decide(facts, question.before, question.holds, question.at, time_zone)
    tally.add(found, before, ids, live=live)


def _without_reopened(question: Question, past: PastRecords, facts: Facts, time_zone: str) -> Facts:
    """Return the facts less those due ones of which an unread cohort, where nothing is due, holds a version too."""
    found = decide(facts, question.rules, question.holds, question.at, time_zone)
    due = np.flatnonzero((found.outcome == Outcome.DELETE) | (found.outcome == Outcome.EDIT))
    if not len(due):
        return facts
    elsewhere = past.elsewhere(facts.keys.take(due))
    keep = np.ones(len(facts), np.bool_)
    keep[due[elsewhere]] = False
    return take(facts, keep)


def _close_over_links(world: World, question: Question, parent: str, choice: Choice) -> None:
    """Let children fall with their parents where the catalogue says `cascade`; refuse where it says `refuse`."""
    tally = choice.tallies.get(parent)
    falling = [*(tally.delete.keys if tally else ()), *choice.linked.get(parent, Falling()).keys]
    policies = orphans_of(world, parent)
    store = world.store_of(parent)
    if falling:
        _look_abroad(world, parent, choice)
    if not falling or not {Orphan.CASCADE, Orphan.REFUSE} & set(policies.values()):
        return
    for child, keys in getattr(store, "children", lambda *_: {})(parent, falling).items():
        gone = set(choice.keys(child))
        stays = [k for k in keys if k not in gone]
        if stays and policies.get(child) is Orphan.REFUSE:
            choice.refusals.append(
                f"{len(stays)} records of `{child}` that stay refer to records of `{parent}` that fall; the catalogue"
                " says `refuse`"
            )
        elif stays and policies.get(child) is Orphan.CASCADE:
            _cascade(world, question, child, stays, choice)


def _look_abroad(world: World, parent: str, choice: Choice) -> None:
    """Say of links from other sources that nobody looks along them, and refuse where the catalogue wants that looked at."""
    for source in world.installation.catalogue.sources.values():
        for child in source.data_sets.values() if source.name != world.source_of(parent).name else ():
            policies = {link.orphan for link in child.links if link.to == parent}
            if policies:
                choice.abroad.add((child.name, parent))
            if Orphan.REFUSE in policies:
                choice.refusals.append(
                    f"records of `{parent}` fall, and `{child.name}`, which lies in another source, may refer to them:"
                    " that is not looked for, and the catalogue says `refuse`"
                )


def _cascade(world: World, question: Question, child: str, keys: list[bytes], choice: Choice) -> None:
    """Let children fall that no hold and no duty keeps."""
    into = choice.linked.setdefault(child, Falling())
    for facts in world.store_of(child).facts(child, keys):
        found = decide(facts, question.rules, question.holds, question.at, world.source_of(child).time_zone)
        free = (found.outcome != Outcome.HELD) & (found.outcome != Outcome.KEPT_BY_DUTY)
        taken = facts.keys.filter(free)
        if len(taken):
            into.add(taken, world.identities(taken))


def orphans_of(world: World, parent: str) -> Mapping[str, Orphan]:
    """Return what the catalogue says becomes of each child data set of the same source; of two links the stricter.

    Links from other sources are told in the plan, see `_look_abroad`.
    """
    order = (Orphan.REFUSE, Orphan.STUB, Orphan.DETACH, Orphan.CASCADE)
    found: dict[str, Orphan] = {}
    for child in world.source_of(parent).data_sets.values():
        for link in child.links:
            if link.to == parent:
                known = found.get(child.name, Orphan.CASCADE)
                found[child.name] = min(known, link.orphan, key=order.index)
    return found


def live_ids(world: World, keys: Iterable[bytes]) -> Bytes:
    """Return the world's identities of these keys."""
    return world.identities(key_column(list(keys)))
