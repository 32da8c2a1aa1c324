"""What a rule says, once it has been read and typed: values only, no places in files, no behaviour to speak of.

Everything here can be compared, hashed into a rule set and written as JSON. Attributes of a condition and names of
`latest of` are kept sorted; values and data sets stay in the order they were written, for sentences name them so.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Unit(StrEnum):
    """Units of a period."""

    HOURS = "hours"
    DAYS = "days"
    WEEKS = "weeks"
    MONTHS = "months"
    YEARS = "years"


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A length of time in words; `count` >= 1."""

    count: int
    unit: Unit

    def __str__(self) -> str:
        """Return it as an officer writes it: ``1 year``, ``90 days``."""
        return f"{self.count} {self.unit.value[:-1] if self.count == 1 else self.unit.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """From when a period counts: one starting point, or the latest of several (an open one keeps)."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One attribute and the values that satisfy the condition."""

    attribute: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`only_if`: every attribute must have one of its values. Empty: always."""

    asked: tuple[Asked, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One entry of `unless`: records that match are kept at least so long, from the rule's starting point."""

    only_if: Condition
    keep_at_least: Period
    law: str


class ActionKind(StrEnum):
    """What happens to a record that is due."""

    DELETE = "delete"
    BLANK = "blank"
    MASK = "mask"


class MaskKind(StrEnum):
    """How a value is masked. All of them erase: what is masked cannot be computed back."""

    MASK_FIRST = "mask first"
    KEEP_LAST = "keep last"
    KEEP_FIRST_AND_LAST = "keep first and last"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """Which characters of a column go. `first` and `last` in characters."""

    column: str
    kind: MaskKind
    first: int = 0
    last: int = 0

    def how(self) -> str:
        """Return it as an officer writes it: ``keep last 4``."""
        if self.kind is MaskKind.MASK_FIRST:
            return f"mask first {self.first}"
        if self.kind is MaskKind.KEEP_LAST:
            return f"keep last {self.last}"
        return f"keep first {self.first} and last {self.last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """`then`: delete the record, blank columns, or mask columns."""

    kind: ActionKind = ActionKind.DELETE
    columns: tuple[str, ...] = ()  # blank
    masks: tuple[Mask, ...] = ()  # mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Purpose and ground, as the published retention schedule prints them (GDPR 30(1)(f), PCI DSS 3.2.1)."""

    purpose: str
    law: str
    owner: str
    review_by: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """`stop_if_more_than`: a run stops before its first record above either limit."""

    records: int | None = None
    percent: float | None = None  # of the data set's records


class Approval(StrEnum):
    """How often somebody has to agree."""

    ONCE = "once"
    EACH_RUN = "each run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A record, a day, and what must be decided.

    An attribute that is not named has a value no rule asks for; a starting point that is not named is missing.
    """

    data: tuple[str, ...]  # data sets it speaks of
    attributes: tuple[tuple[str, str], ...]
    starting: tuple[tuple[str, str], ...]  # local time, ISO 8601
    as_of: str  # local time, ISO 8601
    expect: str  # keep, delete, blank, mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule about time: what is deleted or edited when, and what must be kept how long."""

    name: str
    sentence: str
    why: Why
    data: tuple[str, ...]
    only_if: Condition = Condition()
    delete_after: Period | None = None
    keep_at_least: Period | None = None
    keep_without_limit: bool = False
    starting_from: Start | None = None
    unless: tuple[Branch, ...] = ()
    then: Action = Action()
    also_in_backups: Period | None = None
    gives_way_to: tuple[str, ...] = ()
    stop_if_more_than: Brake | None = None
    approval: Approval = Approval.ONCE
    examples: tuple[Example, ...] = ()


class Truncation(StrEnum):
    """What may stay of a card number (PCI DSS 3.5.1, PCI SSC FAQ 1091)."""

    KEEP_LAST_4 = "keep last 4"
    KEEP_FIRST_6_LAST_4 = "keep first 6 and last 4"


class WhenLikely(StrEnum):
    """What becomes of a hit the detector is not sure of."""

    ASK = "ask"  # quarantined, redacted after 7 days without an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class TextExample:
    """A text and what must be left of it; `expect` ``unchanged``: all."""

    text: str
    expect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRule:
    """A rule that finds card numbers. Security codes are always removed (PCI DSS 3.3.1)."""

    name: str
    sentence: str
    why: Why
    data: tuple[str, ...]
    expected_in: tuple[str, ...] = ()
    truncation: Truncation = Truncation.KEEP_LAST_4
    when_likely: WhenLikely = WhenLikely.ASK
    stop_if_more_than: Brake | None = None
    approval: Approval = Approval.ONCE
    examples: tuple[TextExample, ...] = ()
