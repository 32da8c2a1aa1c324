"""Reading one mapping of a rule file by its schema: each key once, each value typed by the key, nothing guessed.

A value that cannot be read is noted as a problem and comes back as None, so that one run finds all problems;
nothing read while there are problems is ever used.
"""

import re
from collections.abc import Iterable
from datetime import date, datetime

from tenure.rules.model import Period, Unit
from tenure.rules.nodes import Fields, Items, Node, Text
from tenure.rules.problems import Place, Problems, did_you_mean

_PERIOD = re.compile(r"([1-9][0-9]{0,6}) +(\S+)")
_WITHIN = re.compile(r"within +(.+)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?")
_UNITS = {u.value: u for u in Unit} | {u.value[:-1]: u for u in Unit}
_HOURS_A_UNIT = {Unit.HOURS: 1, Unit.DAYS: 24, Unit.WEEKS: 168, Unit.MONTHS: 730, Unit.YEARS: 8766}
MAX_YEARS = 200  # longer is a slip of the finger; `keep without limit` says for ever


class Form:
    """The fields of one mapping, read key by key."""

    def __init__(self, node: Node, problems: Problems, *, what: str, keys: Iterable[str]) -> None:
        """Note every key that is not in `keys`; `what` names the mapping in messages."""
        self.place = node.place
        self.problems = problems
        self.what = what
        self._fields: dict[str, tuple[Text, Node]] = {}
        known = tuple(keys)
        if not isinstance(node, Fields):
            problems.add(node.place, f"{what} must be written as `key: value`, one a line")
            return
        for key, value in node.fields:
            if key.value in known:
                self._fields[key.value] = (key, value)
            else:
                hint = did_you_mean(key.value, known)
                problems.add(key.place, f"{what} has no key `{key.value}`{hint}")

    def __contains__(self, key: str) -> bool:
        """Whether the key was written."""
        return key in self._fields

    def keys(self) -> tuple[str, ...]:
        """Return the known keys that were written, in their order."""
        return tuple(self._fields)

    def place_of(self, key: str) -> Place:
        """Return where the key stands; where the mapping begins if it does not."""
        return self._fields[key][0].place if key in self._fields else self.place

    def node(self, key: str) -> Node | None:
        """Return the value as it was written; None if it was not."""
        return self._fields[key][1] if key in self._fields else None

    def refuse(self, key: str, what: str) -> None:
        """Note a problem at the key."""
        self.problems.add(self.place_of(key), what)

    def need(self, *keys: str) -> None:
        """Note every key that is missing."""
        for key in keys:
            if key not in self._fields:
                self.problems.add(self.place, f"{self.what} does not say `{key}`")

    def text(self, key: str) -> str | None:
        """Return a single text."""
        node = self.node(key)
        if node is None:
            return None
        if not isinstance(node, Text) or not node.value.strip():
            self.refuse(key, f"`{key}` must be a single text")
            return None
        return node.value.strip()

    def texts(self, key: str, *, may_be_empty: str = "") -> tuple[Text, ...]:
        """Return one text or a list of them, each once; `may_be_empty` says what an empty list means."""
        node = self.node(key)
        if node is None:
            return ()
        found = texts_of(node, key, self.problems)
        if not found and not may_be_empty and isinstance(node, Items):
            self.refuse(key, f"`{key}` names nothing")
        return found

    def word(self, key: str, known: Iterable[str]) -> str | None:
        """Return a text that must be one of `known`."""
        text = self.text(key)
        words = tuple(known)
        if text is None or text in words:
            return text
        self.refuse(key, f"`{key}` cannot be `{text}`{did_you_mean(text, words)}")
        return None

    def period(self, key: str) -> Period | None:
        """Return a period such as ``90 days``."""
        text = self.text(key)
        return None if text is None else self._period(key, text)

    def within(self, key: str) -> Period | None:
        """Return the period of ``within 7 days``."""
        text = self.text(key)
        if text is None:
            return None
        match = _WITHIN.fullmatch(text)
        if match is None:
            self.refuse(key, f"`{key}` cannot be `{text}`; write it as `within 7 days`")
            return None
        return self._period(key, match[1])

    def _period(self, key: str, text: str) -> Period | None:
        match = _PERIOD.fullmatch(text)
        if match is None:
            self.refuse(
                key, f"`{text}` is no period; write a number and a unit, such as `90 days` or `6 years`"
            )
            return None
        unit = _UNITS.get(match[2])
        if unit is None:
            hint = did_you_mean(match[2], [u.value for u in Unit])
            self.refuse(key, f"`{match[2]}` in `{text}` is no unit of time{hint}")
            return None
        period = Period(count=int(match[1]), unit=unit)
        if period.count * _HOURS_A_UNIT[unit] > MAX_YEARS * 8766:
            self.refuse(
                key, f"`{text}` is more than {MAX_YEARS} years; for ever is `keep without limit: yes`"
            )
            return None
        return period

    def day(self, key: str) -> date | None:
        """Return a calendar day, ``2027-01-31``."""
        text = self.text(key)
        if text is None:
            return None
        try:
            if _DATE.fullmatch(text):
                return date.fromisoformat(text)
        except ValueError:
            pass
        self.refuse(key, f"`{key}` cannot be `{text}`; write a day that exists, such as `2027-01-31`")
        return None

    def moment(self, key: str) -> str | None:
        """Return a local day or time as ISO 8601; a day stays a day."""
        text = self.text(key)
        if text is None:
            return None
        try:
            if _MOMENT.fullmatch(text):
                return datetime.fromisoformat(text).isoformat() if len(text) > 10 else _day(text)
        except ValueError:
            pass
        self.refuse(key, f"`{key}` cannot be `{text}`; write `2026-01-31` or `2026-01-31 14:30`")
        return None


def _day(text: str) -> str:
    return date.fromisoformat(text).isoformat()


def texts_of(node: Node, what: str, problems: Problems) -> tuple[Text, ...]:
    """Return one text or a list of texts, each once."""
    nodes = node.items if isinstance(node, Items) else (node,)
    found: dict[str, Text] = {}
    for item in nodes:
        if not isinstance(item, Text) or not item.value.strip():
            problems.add(item.place, f"`{what}` must be a text or a list of texts")
        elif item.value.strip() in found:
            problems.add(item.place, f"`{what}` names `{item.value.strip()}` twice")
        else:
            found[item.value.strip()] = Text(place=item.place, value=item.value.strip())
    return tuple(found.values())
