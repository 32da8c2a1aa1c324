"""Answers of officers' questions: which values records have, and which rule wins for one record."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from tenure.domain.errors import ConfigError
from tenure.operations.inforce import in_force, rules_in_force
from tenure.operations.installation import Installation
from tenure.operations.world import opened
from tenure.rules.decide import decide
from tenure.rules.explain import explain
from tenure.rules.load import load_folder
from tenure.rules.ruleset import RuleSet
from tenure.sources.rowtext import encode_cell

MOST_VALUES = 1_000
"""Values of an attribute that are counted; one with more of them is no attribute to write rules by."""


def observed(
    installation: Installation, rules: RuleSet | None = None
) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
    """Count the values of attributes in live records: data set -> attribute -> value -> records.

    With `rules`: only data sets that these rules name. Needs the reading key, as all that opens live stores for rules.
    """
    found: dict[str, dict[str, Counter[str]]] = {}
    with opened(installation) as world:
        for name, data_set in installation.catalogue.data_sets().items():
            if not data_set.attributes or (rules is not None and not rules.rules_of(name)):
                continue
            counts = found.setdefault(name, {a: Counter() for a in data_set.attributes})
            for facts in world.store_of(name).facts(name):
                for attribute, column in facts.attributes.items():
                    for pair in column.value_counts().to_pylist():
                        if pair["values"] is not None and len(counts[attribute]) < MOST_VALUES:
                            counts[attribute][pair["values"]] += pair["counts"]
    return found


def in_force_now(installation: Installation) -> tuple[RuleSet, str]:
    """Return the rules in force and their hash."""
    return rules_in_force(installation.open_reading())


def explain_record(installation: Installation, data_set: str, key: str, *, at: datetime | None = None) -> str:
    """Return which rule wins for a live record and why, by the proposed rules and the holds in force.

    `key`: as people write it: a number or text (cells of a longer key separated by commas), or a recording's path.

    Raises:
        ConfigError: There is no such data set or record.
    """
    if data_set not in installation.catalogue.data_sets():
        known = ", ".join(sorted(installation.catalogue.data_sets()))
        raise ConfigError(f"there is no data set {data_set!r}", hint=f"there are: {known}")
    rules = load_folder(installation.place.rules, installation.catalogue).rules
    with opened(installation) as world:
        holds = in_force(world.repository).holds
        zone = world.source_of(data_set).time_zone
        for facts in world.store_of(data_set).facts(
            data_set, keys_of(key, recording=not _is_table(installation, data_set))
        ):
            found = decide(facts, rules, holds, at or installation.clock.now(), zone)
            return explain(found, 0)
    raise ConfigError(
        f"data set {data_set!r} has no record with this key now",
        hint="name a key that is in the live store; `tenure subject` finds what only snapshots hold",
    )


def keys_of(word: str, *, recording: bool) -> list[bytes]:
    """Return the record keys that a written key may stand for: its number, and its text."""
    if recording:
        return [word.encode()]
    cells = [part.strip() for part in word.split(",")]
    as_text = b"\t".join(encode_cell(c) for c in cells)
    if not all(c.lstrip("-").isdigit() and c.lstrip("-").isascii() for c in cells):
        return [as_text]
    return [b"\t".join(encode_cell(int(c)) for c in cells), as_text]


def _is_table(installation: Installation, data_set: str) -> bool:
    return bool(installation.catalogue.data_sets()[data_set].table)
