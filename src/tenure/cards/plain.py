"""Make digits and separators plain ASCII, remembering where each byte came from.

Full-width, Arabic-Indic and all other decimal digits of Unicode become 0-9; no-break and other spaces, dashes,
their HTML entities and JSON escapes become a space, a hyphen or a line feed; invisible characters go.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass

_ZEROS = (
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0,
    0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50,
    0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x11066, 0x110F0,
    0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50,
    0x11D50, 0x11DA0, 0x16A60, 0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140,
    0x1E2F0, 0x1E950, 0x1FBF0,
)  # fmt: skip
"""The zeros outside ASCII in Unicode 14 (category Nd); one to nine follow each. Looking them up took every start 50 ms."""
_DIGITS = {chr(zero + value).encode(): b"%d" % value for zero in _ZEROS for value in range(10)}
_SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_INVISIBLE = (
    "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)
_PLAIN = (
    _DIGITS
    | {char.encode(): b" " for char in _SPACES}
    | {char.encode(): b"-" for char in _DASHES}
    | {"\uff0e".encode(): b".", "\uff0f".encode(): b"/", "\uff3f".encode(): b"_", "\u2028".encode(): b"\n"}
)
_ESCAPES = {b"\\n": b"\n", b"\\r": b"\r", b"\\u00a0": b" ", b"\\u2013": b"-"}
_ENTITIES = {b"&nbsp;": b" ", b"&#160;": b" ", b"&#xa0;": b" ", b"&ndash;": b"-", b"&#8211;": b"-"}


def _hexed(raw: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in raw)


def _by_lead(chars: dict[bytes, bytes]) -> bytes:
    # One alternative for each run of leading bytes, so that the expression stays small.
    groups: dict[bytes, set[int]] = {}
    for char in chars:
        groups.setdefault(char[:-1], set()).add(char[-1])
    return b"|".join(
        _hexed(lead) + b"[" + _hexed(bytes(sorted(last))) + b"]" for lead, last in sorted(groups.items())
    )


DIGIT = b"(?:" + _by_lead(_DIGITS) + b")"
"""Pattern of one decimal digit outside ASCII, as UTF-8; understood by `re` and by hyperscan."""
FIRST_BYTES = b"[" + _hexed(bytes(sorted({char[0] for char in _DIGITS}))) + b"]"
"""Pattern of the first byte of such a digit."""
ENTITY = b"(?:&(?:nbsp|#160|#xa0|ndash|#8211);|\\\\{1,2}u(?:00a0|2013))"
"""Pattern of a separator spelt in ASCII, in a cell or in row text (which doubles backslashes)."""

_HIDDEN = b"(?:" + _by_lead({char.encode(): b"" for char in _INVISIBLE}) + b")"
# Invisible characters go only beside digits, so that words read the same in the plain and in the stored text.
_SPECIAL = re.compile(
    b"(?i:\\\\(?:[nr]|u00a0|u2013)|&(?:nbsp|#160|#xa0|ndash|#8211);)"
    b"|(" + DIGIT + b")" + _HIDDEN + b"*|(?:" + _by_lead(_PLAIN) + b")"
    b"|(?<=[0-9])(" + _HIDDEN + b"+)|(" + _HIDDEN + b"+)(?=[0-9]|" + DIGIT + b")"
)
DIGIT_OR_ENTITY = re.compile(b"(?i:" + ENTITY + b")|" + DIGIT + b"|[0-9]")
_ALL = _PLAIN | _ESCAPES | _ENTITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A text made plain. `text` is the plain form; the private columns map its offsets back."""

    text: bytes
    _at: tuple[int, ...] = (0,)  # plain offsets from which on a shift holds
    _shift: tuple[int, ...] = (0,)

    def origin(self, offset: int) -> int:
        """Return where the plain byte at `offset` begins in the original text, or the one before it ended."""
        return offset + self._shift[bisect_right(self._at, offset) - 1]


def plain(text: bytes) -> Plain:
    """Return `text` made plain; bytes that are no valid UTF-8 stay as they are."""
    if text.isascii() and b"\\" not in text and b"&" not in text:
        return Plain(text=text)
    return _translate(text)


def _translate(text: bytes) -> Plain:
    pieces: list[bytes] = []
    at, shift = [0], [0]
    done = length = 0
    for match in _SPECIAL.finditer(text):
        new = _replacement(match)
        pieces += (text[done : match.start()], new)
        length += match.start() - done + len(new)
        done = match.end()
        _note(at, shift, length, done)
    pieces.append(text[done:])
    return Plain(text=b"".join(pieces), _at=tuple(at), _shift=tuple(shift))


def _replacement(match: re.Match[bytes]) -> bytes:
    if match.group(2) or match.group(3):
        return b""
    found = match.group(1) or match.group()
    new = _ALL.get(found)
    return _ALL[found.lower()] if new is None else new


def _note(at: list[int], shift: list[int], length: int, done: int) -> None:
    if at[-1] == length:
        shift[-1] = done - length
    else:
        at.append(length)
        shift.append(done - length)
