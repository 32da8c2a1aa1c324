"""A rule as one English sentence, made from what the rule says and compared with what the officer wrote.

The two agree when they differ in nothing but case, spacing, the trailing full stop and articles.
"""

import re
from collections.abc import Iterable, Sequence

from tenure.rules.model import (
    Action,
    ActionKind,
    Asked,
    Branch,
    CardRule,
    Condition,
    Mask,
    MaskKind,
    Rule,
    Start,
    Truncation,
)

# Adjectives of ISO 3166-1 codes; a country that is not here is said as "in XX".
_COUNTRIES = {
    "AT": "Austrian", "AU": "Australian", "BE": "Belgian", "BG": "Bulgarian", "BR": "Brazilian", "CA": "Canadian",
    "CH": "Swiss", "CN": "Chinese", "CY": "Cypriot", "CZ": "Czech", "DE": "German", "DK": "Danish",
    "EE": "Estonian", "ES": "Spanish", "FI": "Finnish", "FR": "French", "GB": "British", "GR": "Greek",
    "HR": "Croatian", "HU": "Hungarian", "IE": "Irish", "IN": "Indian", "IS": "Icelandic", "IT": "Italian",
    "JP": "Japanese", "LT": "Lithuanian", "LU": "Luxembourgish", "LV": "Latvian", "MT": "Maltese",
    "MX": "Mexican", "NL": "Dutch", "NO": "Norwegian", "NZ": "New Zealand", "PL": "Polish", "PT": "Portuguese",
    "RO": "Romanian", "SE": "Swedish", "SG": "Singaporean", "SI": "Slovenian", "SK": "Slovak", "TR": "Turkish",
    "UA": "Ukrainian", "US": "American", "ZA": "South African",
}  # fmt: skip
_BEFORE_THE_NOUN = ("queue", "channel")  # "billing calls", "chat interactions"
_SHORT = {"chat_messages": "chats", "call_recordings": "recordings", "call_transcripts": "transcripts"}
_NUMBERS = {4: "four", 6: "six"}


def sentence_of(rule: Rule | CardRule) -> str:
    """Return the rule as one sentence."""
    text = _card_sentence(rule) if isinstance(rule, CardRule) else _timed_sentence(rule)
    return text[0].upper() + text[1:] + "."


def says_the_same(written: str, generated: str) -> bool:
    """Whether two sentences differ in nothing that matters."""
    return _normal(written) == _normal(generated)


def _normal(sentence: str) -> str:
    words = [w for w in sentence.casefold().split() if w not in {"a", "an", "the"}]
    return re.sub(r"\s*\.$", "", " ".join(words))


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def noun(data_set: str) -> str:
    """Return how a sentence calls a data set: ``case_notes`` is ``case notes``."""
    return _SHORT.get(data_set, data_set.replace("_", " "))


def start_words(start: Start) -> str:
    """Return ``the call ended``, or ``the latest of ...``."""
    if len(start.names) == 1:
        return f"the {start.names[0]}"
    return f"the latest of {listed(start.names)}"


def _timed_sentence(rule: Rule) -> str:
    what, kept = _subject(rule)
    after = f" after {start_words(rule.starting_from)}" if rule.starting_from else ""
    clauses: list[str] = []
    if rule.keep_without_limit:
        clauses.append(f"keep {what} without limit")
    elif rule.delete_after and rule.keep_at_least:
        duty = f"keep {what} for at least {rule.keep_at_least}"
        clauses.append(f"{duty} and {_acting(rule.then, 'them')} {rule.delete_after}{after}")
    elif rule.delete_after:
        clauses.append(f"{_acting(rule.then, what)} {rule.delete_after}{after}")
    else:
        clauses.append(f"keep {what} for at least {rule.keep_at_least}{after}")
    clauses += [_exception(branch, kept) for branch in rule.unless]
    if rule.also_in_backups:
        clauses.append(f"in backups at most {rule.also_in_backups} later")
    if rule.gives_way_to:
        clauses.append(
            f"{listed(rule.gives_way_to)} {'comes' if len(rule.gives_way_to) == 1 else 'come'} first"
        )
    return "; ".join(clauses)


def _subject(rule: Rule) -> tuple[str, str]:
    """Return the records a rule covers, and the noun an exception is said with."""
    names = listed([noun(d) for d in rule.data])
    before, behind = _condition(rule.only_if)
    if all(d.startswith("call_") for d in rule.data):
        subject = f"{names} of {before}calls{behind}" if rule.only_if.asked else names
        return subject, "calls"
    return f"{before}{names}{behind}", names


def _exception(branch: Branch, kept: str) -> str:
    before, behind = _condition(branch.only_if)
    who = f"{before}{kept}" if before or kept == "calls" else "those"
    return f"keep {who}{behind} for {branch.keep_at_least}"


def _condition(condition: Condition) -> tuple[str, str]:
    """Return what stands before the noun (with a space at its end) and behind it (with one at its head)."""
    before: list[str] = []
    behind: list[str] = []
    order = {"country": 0, "queue": 1, "channel": 2}
    for asked in sorted(condition.asked, key=lambda a: (order.get(a.attribute, 3), a.attribute)):
        adjective = _adjective(asked)
        if adjective:
            before.append(adjective)
        elif asked.attribute == "country":
            behind.append(f"in {listed(asked.values, 'or')}")
        elif asked.attribute == "advice":
            behind.append(f"flagged as {listed(asked.values, 'or')} advice")
        else:
            behind.append(f"with {asked.attribute} {listed(asked.values, 'or')}")
    return "".join(f"{w} " for w in before), f" {listed(behind)}" if behind else ""


def _adjective(asked: Asked) -> str:
    if asked.attribute == "country" and all(v in _COUNTRIES for v in asked.values):
        return listed([_COUNTRIES[v] for v in asked.values])
    return listed(asked.values) if asked.attribute in _BEFORE_THE_NOUN else ""


def _acting(action: Action, what: str) -> str:
    """Return ``delete customers``, ``blank email and phone of customers``."""
    if action.kind is ActionKind.DELETE:
        return f"delete {what}"
    if action.kind is ActionKind.BLANK:
        return f"blank {listed(action.columns)} of {what}"
    return f"{listed([_masking(mask) for mask in action.masks])} of {what}"


def _masking(mask: Mask) -> str:
    if mask.kind is MaskKind.MASK_FIRST:
        return f"mask the first {mask.first} characters of {mask.column}"
    if mask.kind is MaskKind.KEEP_LAST:
        return f"cut {mask.column} to the last {_number(mask.last)} characters"
    return f"cut {mask.column} to the first {_number(mask.first)} and last {_number(mask.last)} characters"


def _number(count: int) -> str:
    return _NUMBERS.get(count, str(count))


def _card_sentence(rule: CardRule) -> str:
    left = "last four digits"
    if rule.truncation is Truncation.KEEP_FIRST_6_LAST_4:
        left = "first six and last four digits"
    places = listed([noun(d) for d in rule.data])
    text = f"cut card numbers in {places} to the {left}, and remove security codes"
    if rule.expected_in:
        text += f"; they are expected in {listed([noun(d) for d in rule.expected_in])}"
    return text


def words(rule: Rule | CardRule) -> tuple[str, ...]:
    """Return the rule as lines to print: the sentence, then what stands around it."""
    lines = [f"{rule.name}: {sentence_of(rule)}"]
    lines.append(f"  why: {rule.why.purpose} ({rule.why.law})")
    lines.append(f"  owner: {rule.why.owner}, review by {rule.why.review_by.isoformat()}")
    lines += [f"  {line}" for line in _around(rule)]
    return tuple(lines)


def _around(rule: Rule | CardRule) -> Iterable[str]:
    if isinstance(rule, Rule):
        for branch in rule.unless:
            yield f"exception: {_exception(branch, _subject(rule)[1])} ({branch.law})"
        if rule.starting_from:
            yield "a record whose starting point is missing is kept and reported"
        if len(rule.starting_from.names if rule.starting_from else ()) > 1:
            yield "as long as one of these has not happened, the record is kept"
    else:
        yield "what is likely a card number but not sure is asked about, and redacted after 7 days"
    if rule.stop_if_more_than:
        yield f"stops before the first record above {brake_words(rule)}"
    yield f"approval: {rule.approval.value}"


def brake_words(rule: Rule | CardRule) -> str:
    """Return the limits of `stop_if_more_than`; empty if there are none."""
    brake = rule.stop_if_more_than
    if brake is None:
        return ""
    parts = [f"{brake.records:,} records"] if brake.records is not None else []
    parts += [f"{brake.percent:g} percent"] if brake.percent is not None else []
    return listed(parts, "or")
