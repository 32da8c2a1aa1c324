"""What rules change in records that stay: blanked and masked columns, and card data cut in text."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tenure.cards.cardrule import redact_text
from tenure.cards.quarantine import TableAnswers
from tenure.cards.redact import Keep
from tenure.cards.rows import Cells, RowsPlan, settle
from tenure.domain.catalogue import ColumnClass, DataSet
from tenure.operations.world import is_recordings
from tenure.rules.model import ActionKind, CardRule, Mask, MaskKind, Rule
from tenure.rules.ruleset import RuleSet

Edits = Mapping[str, Callable[[Any], Any]]
"""Column -> new value from old; an edit that finds nothing to do returns the old value."""

QUARANTINE = "likely card data"
"""Stands in plans where the name of a rule stands: rows in quarantine are cut in data sets that no rule names, too."""

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


def edits_of_findings(waits: TableAnswers, keep: Keep) -> Edits:
    """Return what is changed in a data set's columns (`TableAnswers.columns`) where likely card data is to be cut."""
    found: dict[str, Callable[[Any], Any]] = {}
    for column in waits.columns:
        one = TableAnswers(answers=waits.answers, data_set=waits.data_set, columns=(column,))
        found[column] = partial(settled, RowsPlan(cells=(0,), written=Cells.CLASSED, number=keep, waits=one))
    return found


def settled(plan: RowsPlan, old: Any) -> Any:
    """Return a text, or a blob that is UTF-8, without what is to be cut in it; anything else as it is."""
    if isinstance(old, str):
        raw = settle(old.encode("utf-8", "surrogatepass"), plan)
        return raw.decode("utf-8", "surrogatepass")
    return old if _text_in(old) is None else settle(old, plan)


def _text_in(old: Any) -> str | None:
    """Return the text in a blob; None where it is none, or is no blob."""
    try:
        return old.decode() if isinstance(old, bytes) else None
    except UnicodeDecodeError:
        return None


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
    """Return a text, or a blob that is UTF-8, without card data that the detector is sure of; anything else as it is."""
    if isinstance(old, str):
        return redact_text(old, number=number, code="remove")
    text = _text_in(old)
    return old if text is None else redact_text(text, number=number, code="remove").encode()
