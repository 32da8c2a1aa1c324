"""What the detector says: where card data stands, of which kind, and how certain it is. Never the digits."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

DETECTOR_VERSION = "text-1"
"""Changes whenever a text could get other findings than before, so that old scans are known to be old."""


class Kind(StrEnum):
    """What was found."""

    NUMBER = "card number"
    CODE = "security code"
    TRACK = "track data"


class Confidence(IntEnum):
    """How certain it is. Sure is acted on, likely waits in quarantine, ask is only shown."""

    ASK = 1
    LIKELY = 2
    SURE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Card data in a text.

    `start`, `end`: byte offsets in the text as UTF-8; `brand`: of the longest number in it, empty for security
    codes; `test_number`: published by a payment processor for testing.
    """

    start: int
    end: int
    kind: Kind
    confidence: Confidence
    brand: str = ""
    test_number: bool = False
