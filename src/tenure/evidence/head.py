"""The head of the audit log: the last number and hash, signed, in a file of its own; it betrays a cut tail.

Whoever can cut the log can also put an old head back; so callers keep the head elsewhere too (the control
database, a syslog) and hand it to `verify`.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import TamperedError, TruncatedError
from tenure.evidence.entries import START, Position, by_key_id
from tenure.evidence.files import replace_durably

LABEL = b"tenure audit head 1\0"
NAME = "head.json"
BROKEN_HINT = "run `tenure evidence verify`, leave the files as they are, and find out who changed them"


def write_head(directory: Path, signing_key: SigningKey, head: Position) -> None:
    """Put the head beside the log; written after the entry it names, so it may lag by one, never lead."""
    body = {"hash": head.hash.hex(), "number": head.number}
    signature = signing_key.sign(LABEL + msgspec.json.encode(body, order="sorted"))
    document = {**body, "key": signing_key.key_id.hex(), "signature": signature.hex()}
    replace_durably(directory / NAME, msgspec.json.encode(document, order="sorted") + b"\n")


def check_head(head: Position, last: Position) -> None:
    """Compare the head with the last entry found. The head may lag by the one entry that a crash came after.

    Raises:
        TruncatedError: The head knows of entries that are not there.
        TamperedError: The last entry was replaced, or the head is an old one or gone.
    """
    if head.number > last.number:
        raise TruncatedError(
            f"the evidence log ends at entry {last.number}, but entry {head.number} was written",
            hint=BROKEN_HINT,
        )
    if head.number == last.number and head.hash != last.hash:
        raise TamperedError(f"entry {head.number} of the evidence log was replaced", hint=BROKEN_HINT)
    if head.number < last.number - 1:
        raise TamperedError(
            f"the head of the evidence log names entry {head.number}, but the log ends at {last.number}: "
            "an old head was put back, or the head was removed",
            hint=BROKEN_HINT,
        )


def read_head(directory: Path, keys: Sequence[VerifyKey]) -> Position:
    """Read the head; `START` where there is none yet.

    Raises:
        TamperedError: Edited, forged, or signed by a key that is not trusted.
    """
    try:
        raw = msgspec.json.decode((directory / NAME).read_bytes())
        body = {"hash": raw["hash"], "number": raw["number"]}
        key = by_key_id(keys)[bytes.fromhex(raw["key"])]
        signature = bytes.fromhex(raw["signature"])
        key.verify(message=LABEL + msgspec.json.encode(body, order="sorted"), signature=signature)
        return Position(number=int(raw["number"]), hash=bytes.fromhex(raw["hash"]))
    except FileNotFoundError:
        return START
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, TamperedError) as e:
        raise TamperedError(
            "the head of the evidence log was changed or is signed by a strange key", hint=BROKEN_HINT
        ) from e
