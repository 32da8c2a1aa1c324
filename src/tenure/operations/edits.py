"""What rules change in records that stay: blanked and masked columns, and card data cut in text."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tenure.cards.cardrule import redact_text
from tenure.domain.catalogue import ColumnClass, DataSet
from tenure.operations.world import is_recordings
from tenure.rules.model import ActionKind, CardRule, Mask, MaskKind, Rule
from tenure.rules.ruleset import RuleSet

Edits = Mapping[str, Callable[[Any], Any]]
"""Column -> new value from old; an edit that finds nothing to do returns the old value."""

_TEXT = frozenset({ColumnClass.FREE_TEXT, ColumnClass.CARD})


def edits_of(rules: RuleSet, data_set: DataSet, name: str) -> Edits:
    """Return what a rule changes in a data set; nothing where it is not one that edits."""
    for rule in rules.rules:
        if rule.name == name:
            return edits_of_rule(rule)
    for card in rules.card_rules:
        if card.name == name:
            return edits_of_card_rule(card, data_set)
    return {}


def edits_of_rule(rule: Rule) -> Edits:
    """Return what a rule about time changes."""
    if rule.then.kind is ActionKind.BLANK:
        return dict.fromkeys(rule.then.columns, blank)
    if rule.then.kind is ActionKind.MASK:
        return {m.column: partial(mask, m) for m in rule.then.masks}
    return {}


def edits_of_card_rule(rule: CardRule, data_set: DataSet) -> Edits:
    """Return what a card rule changes in a table's columns of text or card data; recordings are not text."""
    if is_recordings(data_set):
        return {}
    columns = [c for c, classes in data_set.columns.items() if classes & _TEXT]
    return dict.fromkeys(columns, partial(cut, rule.truncation.value))


def blank(old: Any) -> Any:
    """Return nothing; for text the empty text, which a column that must not be null takes too."""
    return "" if isinstance(old, str) else None


def mask(how: Mask, old: Any) -> Any:
    """Return a value with the characters hidden that a rule says; a short one is hidden whole."""
    if old is None:
        return None
    text = old if isinstance(old, str) else str(old)
    if how.kind is MaskKind.MASK_FIRST:
        return "*" * min(how.first, len(text)) + text[how.first :]
    shown = how.first + how.last
    if len(text) <= shown:
        return "*" * len(text)
    return text[: how.first] + "*" * (len(text) - shown) + (text[-how.last :] if how.last else "")


def cut(number: str, old: Any) -> Any:
    """Return a text without card data that the detector is sure of; anything else as it is."""
    return redact_text(old, number=number, code="remove") if isinstance(old, str) else old
