"""One entry of the audit log: how it is written as a line, hashed, signed, and read back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from tenure.crypto.hashing import content_hash
from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import TamperedError

LABEL = b"tenure audit entry 1\0"
"""Stands before everything hashed or signed here, so that no other signature of this key can pass for an entry."""

GENESIS = bytes(32)
"""What the first entry names as the hash before it."""

MAX_LINE_BYTES = 64 * 1024
"""Longest line, newline included; it bounds how much of a file's end has to be read to find the last entry."""

Detail = str | int | float | bool | None | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened.

    `number` counts from 1 without gaps. `at` is UTC. `who` is an officer, a service or a process; `object` is what
    it was done to. `previous` and `hash`: 32 bytes. `key`: 16-byte id of the signing key.
    """

    number: int
    at: datetime
    kind: str
    who: str
    object: str
    outcome: str
    details: Mapping[str, Any]
    previous: bytes
    hash: bytes
    key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a log had come: the number and the hash of its last entry; (0, GENESIS) for an empty one."""

    number: int
    hash: bytes


START = Position(number=0, hash=GENESIS)


def instant_text(at: datetime) -> str:
    """Return `at` in UTC as the log writes it, to the microsecond.

    Raises:
        ValueError: `at` names no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("an instant without a time zone is no instant")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def check_details(details: Mapping[str, Detail]) -> None:
    """Refuse what a line cannot hold unchanged.

    Raises:
        ValueError: A key that is no plain word, or a value that is neither a scalar nor a list of texts.
    """
    for key, value in details.items():
        if not key.replace("_", "").isalnum() or not key.isascii():
            raise ValueError(f"detail {key!r}: use plain words joined by underscores")
        if value is None or isinstance(value, (str, int, float)):
            continue
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
            raise ValueError(f"detail {key!r}: only texts, numbers, yes or no, and lists of texts")


def line_of(
    after: Position,
    signing_key: SigningKey,
    *,
    at: datetime,
    kind: str,
    who: str,
    subject_of_entry: str,
    outcome: str,
    details: Mapping[str, Detail],
) -> bytes:
    """Return the line (newline included) of the entry that follows `after`, hashed and signed.

    Raises:
        ValueError: A detail the log cannot hold, an instant without zone, or a line over `MAX_LINE_BYTES`.
    """
    check_details(details)
    body = {
        "at": instant_text(at),
        "details": details,
        "key": signing_key.key_id.hex(),
        "kind": kind,
        "number": after.number + 1,
        "object": subject_of_entry,
        "outcome": outcome,
        "previous": after.hash.hex(),
        "who": who,
    }
    digest = content_hash(LABEL, msgspec.json.encode(body, order="sorted"))
    sealed = {**body, "hash": digest.hex(), "signature": signing_key.sign(LABEL + digest).hex()}
    line = msgspec.json.encode(sealed, order="sorted") + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(
            f"an entry of {len(line)} bytes is too long; details belong into a document of their own"
        )
    return line


def read_line(line: bytes) -> Entry:
    """Read a line back, without judging its hash or signature.

    Raises:
        TamperedError: Not a line this module writes, byte for byte.
    """
    try:
        raw = msgspec.json.decode(line)
        # A line has exactly one spelling, so a changed space, order or extra field is a change too.
        if msgspec.json.encode(raw, order="sorted") + b"\n" != line:
            raise TamperedError("an entry of the evidence log is not written as the log writes it")
        return Entry(
            number=int(raw["number"]),
            at=datetime.fromisoformat(raw["at"]),
            kind=raw["kind"],
            who=raw["who"],
            object=raw["object"],
            outcome=raw["outcome"],
            details=raw["details"],
            previous=_unhex(raw["previous"]),
            hash=_unhex(raw["hash"]),
            key=_unhex(raw["key"]),
            signature=_unhex(raw["signature"]),
        )
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise TamperedError("an entry of the evidence log cannot be read") from e


def _unhex(text: str) -> bytes:
    """Read bytes in the one spelling that the log writes: `fromhex` takes capitals and spaces for the same."""
    found = bytes.fromhex(text)
    if found.hex() != text:
        raise TamperedError("an entry of the evidence log is not written as the log writes it")
    return found


def check_line(line: bytes, keys: Mapping[bytes, VerifyKey]) -> Entry:
    """Read a line and prove that its content, hash and signature belong together. `keys` by key id.

    Raises:
        TamperedError: It was edited, or signed by none of `keys`.
    """
    entry = read_line(line)
    body = msgspec.json.decode(line)
    del body["hash"], body["signature"]
    if content_hash(LABEL, msgspec.json.encode(body, order="sorted")) != entry.hash:
        raise TamperedError(f"entry {entry.number} of the evidence log was edited")
    if entry.key not in keys:
        raise TamperedError(
            f"entry {entry.number} of the evidence log is signed by a key that is not trusted"
        )
    try:
        keys[entry.key].verify(message=LABEL + entry.hash, signature=entry.signature)
    except TamperedError as e:
        raise TamperedError(f"entry {entry.number} of the evidence log has a forged signature") from e
    return entry


def by_key_id(keys: Sequence[VerifyKey]) -> Mapping[bytes, VerifyKey]:
    """Index keys by their id."""
    return {key.key_id: key for key in keys}
