"""What can be decided of a record, and why."""

from enum import IntEnum


class Outcome(IntEnum):
    """What is decided of a record; only `DELETE` and `EDIT` change anything."""

    KEEP = 0
    DELETE = 1
    EDIT = 2
    HELD = 3
    NO_RULE = 4
    MISSING_STARTING_POINT = 5
    KEPT_BY_DUTY = 6
    NULL_IN_CONDITION = 7


class Reason(IntEnum):
    """Why; for a held record, why it would be kept or would go if there were no hold."""

    NOT_YET_DUE = 0
    DUE = 1
    NO_RULE_MATCHES = 2
    DUTY_ENDED = 3  # a duty once kept it, and no rule says when it goes
    STARTING_POINT_MISSING = 4
    DUTY_RUNS = 5
    VALUE_UNKNOWN = 6
    WITHOUT_LIMIT = 7
