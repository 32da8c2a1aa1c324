"""Cut card data out of one text, keeping its length in characters, its separators and its kind valid."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from tenure.cards.detect import find
from tenure.cards.findings import Confidence, Finding, Kind
from tenure.cards.plain import DIGIT_OR_ENTITY

Text = TypeVar("Text", bytes, str)

_STRING_OR_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)', re.DOTALL)
ROUNDS = 8  # what is left of two numbers can make a third; every round leaves fewer digits


class Keep(StrEnum):
    """What stays of a card number (PCI DSS 3.5.1: at most the first six and the last four digits)."""

    LAST_4 = "keep last 4"
    FIRST_6_LAST_4 = "keep first 6 and last 4"
    NONE = "remove"


_KEPT = {Keep.LAST_4: (0, 4), Keep.FIRST_6_LAST_4: (6, 4), Keep.NONE: (0, 0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A text after redaction, and the findings it was cut at (offsets of the round they were found in)."""

    text: bytes
    findings: tuple[Finding, ...]


def redact(text: Text, findings: Iterable[Finding], how: Keep = Keep.LAST_4) -> Text:
    """Return `text` with exactly these findings of it cut: digits become ``*``, separators stay.

    `how` is for numbers; security codes and track data go whole whatever it says (PCI DSS 3.3.1). In JSON a bare
    number becomes a string, so that the document stays valid; it grows by two quotation marks.
    """
    if isinstance(text, str):
        raw = text.encode("utf-8", "surrogatepass")
        return _redact(raw, findings, how).decode("utf-8", "surrogatepass")
    return _redact(bytes(text), findings, how)


def redact_found(text: bytes, *, at_least: Confidence = Confidence.SURE, how: Keep = Keep.LAST_4) -> Cut:
    """Find and cut until nothing of this confidence is left; doing it again changes nothing."""
    everything: list[Finding] = []
    for _ in range(ROUNDS):
        findings = tuple(f for f in find(text) if f.confidence >= at_least)
        if not findings:
            break
        everything += findings
        text = _redact(text, findings, how)
    return Cut(text=text, findings=tuple(everything))


def _redact(raw: bytes, findings: Iterable[Finding], how: Keep) -> bytes:
    edits = [(f.start, f.end, _cut(raw[f.start : f.end], f.kind, how)) for f in findings]
    if not edits:
        return raw
    for first, last in _bare_numbers(raw):
        if any(first <= start and end <= last for start, end, _ in edits):
            edits += [(first, first, b'"'), (last, last, b'"')]
    pieces: list[bytes] = []
    done = 0
    # An opening mark goes before what begins at the same place, a closing one after what ends there.
    for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
        pieces += (raw[done:start], new)
        done = max(done, end)
    return b"".join((*pieces, raw[done:]))


def _cut(found: bytes, kind: Kind, how: Keep) -> bytes:
    if kind is Kind.TRACK:
        return b"*" * len(found.decode("utf-8", "replace"))
    head, tail = _KEPT[how] if kind is Kind.NUMBER else (0, 0)
    total = sum(1 for match in DIGIT_OR_ENTITY.finditer(found) if match.group()[:1] not in b"&\\")
    seen = 0

    def star(match: re.Match[bytes]) -> bytes:
        nonlocal seen
        if match.group()[:1] in b"&\\":
            return match.group()
        seen += 1
        return match.group() if seen <= head or seen > total - tail else b"*"

    return DIGIT_OR_ENTITY.sub(star, found)


def _bare_numbers(raw: bytes) -> list[tuple[int, int]]:
    """Return the spans of the numbers of a JSON document, or of JSON lines; none where `raw` is neither."""
    if raw.lstrip()[:1] not in (b"{", b"["):
        return []
    spans = []
    start = 0
    for piece in (raw,) if _is_json(raw) else raw.splitlines(keepends=True):
        if _is_json(piece):
            numbers = (match.span(1) for match in _STRING_OR_NUMBER.finditer(piece) if match.group(1))
            spans += [(start + first, start + last) for first, last in numbers]
        start += len(piece)
    return spans


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True
