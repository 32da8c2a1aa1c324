"""Find card numbers, security codes and track data in one text.

Digits in groups joined by one separator each are candidates; every group may be the first. The longest brand,
exact length and Luhn check win; findings that overlap are one. Nothing is found across letters or inside a longer
run of digits or hexadecimal.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tenure.cards import brands, words
from tenure.cards.findings import Confidence, Finding, Kind
from tenure.cards.masks import masked
from tenure.cards.plain import Plain, plain

NEAR = 50  # characters within which a word about cards makes a number sure
LONGEST_GAP = 16  # bytes between two groups, so that the prefilter knows when to stop
_DIGITS = re.compile(rb"[0-9]+").finditer
_MANY_DIGITS = re.compile(rb"[0-9](?:[^0-9A-Za-z]{0,16}[0-9]){11}").search
_GAP = re.compile(rb"[ \-./_]| [ \-] ?| ?(?:\r\n|\n|\r) ?").fullmatch
_HEX_BEFORE = re.compile(rb"(?i)(?:^|[^0-9a-z])(?=[0-9a-f]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{4,}[-_:]$").search
_HEX_AFTER = re.compile(rb"(?i)[-_:](?=[0-9a-f]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{4,}(?![0-9a-z])").match
_LETTERS_AFTER = re.compile(rb"(?i)(?:exp|cvv|cvc|valid|card)").match
_MASK_BEFORE = re.compile(rb"[0-9]\*{1,}$|\*{4,}$").search  # what a redaction left, unlike bold text


@dataclass(frozen=True, slots=True)
class _Group:
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Number:
    start: int
    end: int
    digits: str
    groups: tuple[int, ...]  # digits in each group


def find(text: bytes | str) -> tuple[Finding, ...]:
    """Return what is found in `text`, in order, without overlaps; offsets are those of its UTF-8 bytes."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    made = plain(raw)
    found = [*_tracks(made.text)]
    codes = []
    for number in _numbers(made, raw):
        finding = _judge(number, made.text)
        if finding is None:
            continue
        found.append(finding)
        expiry = words.expiry_after(made.text, number.end)
        if expiry and expiry.group(1):
            codes.append(_code(*expiry.span(1), finding.confidence))
    merged = _merge(found)
    for code in (*codes, *_named_codes(made.text, merged)):
        if not any(code.start < other.end and other.start < code.end for other in merged):
            merged = _merge([*merged, code])
    return tuple(replace(f, start=made.origin(f.start), end=made.origin(f.end)) for f in merged)


def _numbers(made: Plain, raw: bytes) -> Iterator[_Number]:
    # Every stretch of whole groups that is a brand's number by prefix, length and check digit.
    if not _MANY_DIGITS(made.text):
        return
    for chain in _chains(made, len(raw)):
        for first in range(len(chain)):
            if _may_begin(made.text, chain, first):
                yield from _from_group(made.text, chain, first)


def _chains(made: Plain, length: int) -> Iterator[list[_Group]]:
    text = made.text
    away = sorted(masked(text))
    chain: list[_Group] = []
    for match in _DIGITS(text):
        group = _Group(*match.span())
        at = bisect_right(away, (group.start, length + 1)) - 1
        if any(start < group.end and group.start < end for start, end in away[max(0, at - 1) : at + 2]):
            yield chain
            chain = []
            continue
        if chain and not _joined(made, chain[-1].end, group.start):
            yield chain
            chain = []
        chain.append(group)
    yield chain


def _joined(made: Plain, end: int, start: int) -> bool:
    return bool(_GAP(made.text, end, start)) and made.origin(start) - made.origin(end) <= LONGEST_GAP


def _may_begin(text: bytes, chain: list[_Group], first: int) -> bool:
    at = chain[first].start
    before = text[max(0, at - 40) : at]
    if first and text[at - 1 : at] == b"." and chain[first - 1].end == at - 1:
        # The digits behind the point of a decimal fraction: at most three before it, a single group after it.
        head = chain[first - 1]
        alone = first == 1 and (len(chain) == 2 or text[chain[1].end : chain[1].end + 1] != b".")
        return not (alone and head.end - head.start <= 3 and chain[1].end - at >= brands.SHORTEST)
    if _MASK_BEFORE(before) or _HEX_BEFORE(before):
        return False
    return not before[-1:].isalpha() or _letters_allowed(before)


def _letters_allowed(before: bytes) -> bool:
    # "x4111...": a mark that stands for the digits left out, or for a number; "0x" is hexadecimal.
    if before[-1:] in b"xX":
        return not before.rstrip(b"xX")[-1:].isalnum()
    return bool(words.joined(before))


def _may_end(text: bytes, end: int) -> bool:
    after = text[end : end + 40]
    if _HEX_AFTER(after):
        return False
    return not after[:1].isalpha() or bool(_LETTERS_AFTER(after))


def _from_group(text: bytes, chain: list[_Group], first: int) -> Iterator[_Number]:
    digits = ""
    groups: list[int] = []
    start = chain[first].start
    for group in chain[first:]:
        digits += text[group.start : group.end].decode()
        groups.append(group.end - group.start)
        if len(digits) > brands.LONGEST:
            return
        if len(digits) < brands.SHORTEST or not brands.luhn(digits) or not _may_end(text, group.end):
            continue
        if text[start - 1 : start] == b"+" and len(digits) <= 15:
            continue  # a telephone number has at most 15 digits (ITU-T E.164)
        yield _Number(start=start, end=group.end, digits=digits, groups=tuple(groups))


def _judge(number: _Number, text: bytes) -> Finding | None:
    brand = brands.brand_of(number.digits)
    if brand is None:
        return None
    known = _spoken_of(text, number.start, number.end)
    if len(number.digits) not in brand.lengths:
        if not known:
            return None
        confidence = Confidence.ASK
    elif (
        (known or words.expiry_after(text, number.end))
        and _orderly(number)
        and not _named_otherwise(text, number)
    ):
        confidence = Confidence.SURE
    else:
        confidence = Confidence.LIKELY
    return Finding(
        start=number.start,
        end=number.end,
        kind=Kind.NUMBER,
        confidence=confidence,
        brand=brand.name,
        test_number=number.digits in brands.TEST_NUMBERS,
    )


def _orderly(number: _Number) -> bool:
    # Columns of small numbers pass for groups now and then; nobody writes a card in seven uneven groups.
    return len(number.groups) <= 6 or len(set(number.groups[:-1])) == 1


def _named_otherwise(text: bytes, number: _Number) -> bool:
    return bool(words.other_label(text[max(0, number.start - 40) : number.start]))


def _spoken_of(text: bytes, start: int, end: int) -> bool:
    first, last = _characters_before(text, start), _characters_after(text, end)
    before = text[first - 1 : start + 1] if first else b"\n" + text[: start + 1]
    after = text[end - 1 : last + 1] if last < len(text) else text[end - 1 :] + b"\n"
    return bool(words.context(before) or words.context(after))


def _characters_before(text: bytes, at: int) -> int:
    window = text[max(0, at - NEAR) : at]
    if window.isascii():
        return at - len(window)
    window = text[max(0, at - 4 * NEAR) : at]
    return at - len(window.decode("utf-8", "surrogateescape")[-NEAR:].encode("utf-8", "surrogateescape"))


def _characters_after(text: bytes, at: int) -> int:
    window = text[at : at + NEAR]
    if window.isascii():
        return at + len(window)
    window = text[at : at + 4 * NEAR]
    return at + len(window.decode("utf-8", "surrogateescape")[:NEAR].encode("utf-8", "surrogateescape"))


def _code(start: int, end: int, confidence: Confidence) -> Finding:
    return Finding(start=start, end=end, kind=Kind.CODE, confidence=confidence)


def _named_codes(text: bytes, numbers: list[Finding]) -> Iterator[Finding]:
    for match in words.code_after(text):
        start, end = match.span(2)
        near = any(n.end - NEAR <= start + NEAR and n.start - NEAR <= end + NEAR for n in numbers)
        if match.group(1) or near or _spoken_of(text, *match.span()):
            yield _code(start, end, Confidence.SURE)
        else:
            weak = match.group()[:3].lower() in {b"cid", b"csc", b"cvd"}
            yield _code(start, end, Confidence.ASK if weak else Confidence.LIKELY)


def _tracks(text: bytes) -> Iterator[Finding]:
    if b"%B" not in text and b";" not in text:
        return
    for match in words.track(text):
        second = match.group(1)
        digits = (second or match.group()[2:].split(b"^")[0].replace(b" ", b"")).decode()
        brand = brands.brand_of(digits)
        if second and not (brand and len(digits) in brand.lengths and brands.luhn(digits)):
            continue
        yield Finding(
            start=match.start(),
            end=match.end(),
            kind=Kind.TRACK,
            confidence=Confidence.SURE,
            brand=brand.name if brand else "",
            test_number=digits in brands.TEST_NUMBERS,
        )


_RANK = {Kind.TRACK: 2, Kind.NUMBER: 1, Kind.CODE: 0}


def _merge(findings: list[Finding]) -> list[Finding]:
    """Join what overlaps: the span covers all, kind and brand are those of the weightiest, longest one."""
    merged: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (f.start, -f.end)):
        if not merged or finding.start >= merged[-1].end:
            merged.append(finding)
            continue
        last = merged.pop()
        first = max(last, finding, key=lambda f: (_RANK[f.kind], f.confidence, f.end - f.start))
        merged.append(
            replace(
                first,
                start=last.start,
                end=max(last.end, finding.end),
                confidence=max(last.confidence, finding.confidence),
                test_number=last.test_number and finding.test_number,
            )
        )
    return merged
