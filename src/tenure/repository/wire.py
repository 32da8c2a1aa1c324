"""One way to turn values into bytes: MessagePack with declared types, nothing unknown accepted."""

from typing import Any, TypeVar

import msgspec

from tenure.domain.errors import UnsupportedFormatError

T = TypeVar("T")

_LATEST = 253_402_300_800.0  # the year 10000; no calendar of the standard library goes as far


class Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=False):
    """Base of everything that is stored: immutable, named fields, unknown ones refused."""


def encode(value: Any) -> bytes:
    """Return `value` as MessagePack; equal values give equal bytes (fields in declared order, dicts in given order)."""
    return msgspec.msgpack.encode(value)


def is_time(seconds: float) -> bool:
    """Whether a number can be an instant in seconds since the epoch: finite, not before 1970, before the year 10000."""
    return 0 <= seconds < _LATEST  # false for NaN, too


def decode(raw: bytes, kind: type[T], *, what: str) -> T:
    """Return the `kind` in `raw`. `what` names the object in an error.

    Raises:
        UnsupportedFormatError: It has fields or values this version does not know. Callers decode only bytes
            that were authenticated before, so this is a matter of versions and not of damage.
    """
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as e:
        raise UnsupportedFormatError(f"{what} is not of a form this version knows: {e}") from e
