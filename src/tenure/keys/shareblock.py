"""The key block: a recovery key sealed under the secret that was shared out, printed on every sheet.

The words of SLIP-39 hold 32 bytes; the recovery key has 96, and needs the purge key's public half beside it. So a
secret is drawn, shared out as words, and seals the rest. The block is the same on all sheets of a set; without enough
words it opens nothing::

    version(1) set id(2)  repository(16)  | AES-256-GCM: created(8, microseconds) length(2) name private(96) purge public(32)

What stands before the bar is bound to the seal. Numbers are little-endian, `created` signed. On paper it is lines of
base32 in Crockford's alphabet (no I, L, O, U), each with 20 bits of check that cover its number, and whether it is the
last.
"""

import base64
import binascii
import re
import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from tenure.crypto import aead
from tenure.crypto.hashing import content_hash
from tenure.crypto.hpke import PRIVATE_BYTES
from tenure.domain.errors import IntegrityError, KeyMismatchError
from tenure.keys.local import KeyFile, KeyKind

_VERSION = 1
_CLEAR = struct.Struct("<BH16s")
_HEAD = struct.Struct("<qH")
_BOUND = b"tenure recovery shares 1\0"

_LINE_BYTES = 20  # 32 characters in eight groups of four
_RFC = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TO_PAPER = str.maketrans(_RFC, _CROCKFORD)
_FROM_PAPER = str.maketrans(_CROCKFORD, _RFC)
_MISREAD = str.maketrans("OIL", "011")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

LINE = re.compile(r"\s*(\d{1,3})[.:)]?\s+([0-9A-Za-z][0-9A-Za-z -]*?)\s*=\s*([0-9A-Za-z]{4})\s*")
"""A line of a block on paper: number, groups, check."""


def seal_block(key: KeyFile, *, set_id: int, secret: bytes) -> bytes:
    """Return the key block of a set of shares.

    Args:
        key: A recovery key.
        set_id: The number that its sheets' words carry.
        secret: 32 bytes, drawn for this block alone: it seals no other message.

    Raises:
        ValueError: Another kind of key, or a repository id that is not 16 bytes.
    """
    repository = bytes.fromhex(key.repository)
    if key.kind is not KeyKind.RECOVERY or len(repository) != 16:
        raise ValueError("only a recovery key is shared out")
    clear, name = _CLEAR.pack(_VERSION, set_id, repository), key.name.encode()
    plain = _HEAD.pack((key.created - _EPOCH) // _MICROSECOND, len(name)) + name
    plain += key.fields["private"] + key.fields["purge_public"]
    return clear + aead.seal(secret, plain, aad=_BOUND + clear)


def repository_of(block: bytes) -> str:
    """Return which repository a block is of, hex."""
    return bytes(_cleared(block)[1]).hex()


def set_of(block: bytes) -> int:
    """Return which set of sheets a block is of."""
    return int(_cleared(block)[0])


def open_block(block: bytes, *, secret: bytes) -> KeyFile:
    """Return the recovery key in a block.

    Raises:
        KeyMismatchError: The secret is another block's, or the block was changed.
    """
    _cleared(block)
    clear = block[: _CLEAR.size]
    try:
        plain = aead.open_sealed(secret, block[_CLEAR.size :], aad=_BOUND + clear)
        created, length = _HEAD.unpack_from(plain)
        name, rest = plain[_HEAD.size : _HEAD.size + length], plain[_HEAD.size + length :]
        return KeyFile(
            kind=KeyKind.RECOVERY,
            repository=repository_of(block),
            name=name.decode(),
            created=_EPOCH + created * _MICROSECOND,
            fields={"private": rest[:PRIVATE_BYTES], "purge_public": rest[PRIVATE_BYTES:]},
        )
    except (IntegrityError, ValueError, OverflowError, struct.error) as e:
        raise KeyMismatchError(
            "the words do not open the key block: they are of another set, or the block was changed",
            hint="take words and key block from sheets that were made together",
        ) from e


def lines_of(block: bytes) -> list[str]:
    """Return a block as numbered lines for paper."""
    parts = [block[i : i + _LINE_BYTES] for i in range(0, len(block), _LINE_BYTES)]
    return [
        f"{number:2}  {_groups(part)}  ={_check(number, part, last=number == len(parts))}"
        for number, part in enumerate(parts, 1)
    ]


def block_of(lines: Iterable[str], *, where: str) -> bytes:
    """Return the block that lines from paper are; spaces and the case of letters mean nothing.

    Raises:
        KeyMismatchError: A line is missing or was copied wrongly; the message says which.
    """
    block, expected, whole = b"", 1, False
    for number, text, check in _parsed(lines, where):
        if number != expected:
            raise KeyMismatchError(f"line {expected} of the key block of {where} is missing")
        part, whole = checked_line(number, text, check, where=where)
        block, expected = block + part, expected + 1
    if not whole:
        raise KeyMismatchError(
            f"the key block of {where} ends after line {expected - 1}; more lines belong to it"
        )
    _cleared(block, where)
    return block


def checked_line(number: int, text: str, check: str, *, where: str) -> tuple[bytes, bool]:
    """Return the bytes of a line, and whether it is the last one.

    Raises:
        KeyMismatchError: It was copied wrongly.
    """
    part, wanted = _bytes_of(text), check.upper().translate(_MISREAD)
    if part is not None:
        for last in (False, True):
            if _check(number, part, last=last) == wanted:
                return part, last
    raise KeyMismatchError(
        f"line {number} of the key block of {where} was copied wrongly: it does not match its check",
        hint="compare the line with the sheet; any sheet of the set has the same lines",
    )


def _parsed(lines: Iterable[str], where: str) -> Iterator[tuple[int, str, str]]:
    for line in lines:
        match = LINE.fullmatch(line)
        if match is None:
            raise KeyMismatchError(
                f"{where} has a line in its key block that is none of it",
                hint="a line is its number, eight groups of four characters, and = with its check",
            )
        yield int(match[1]), match[2], match[3]


def _groups(part: bytes) -> str:
    text = base64.b32encode(part).decode().rstrip("=").translate(_TO_PAPER)
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def _bytes_of(text: str) -> bytes | None:
    plain = text.upper().replace(" ", "").replace("-", "").translate(_MISREAD)
    if set(plain) - set(_CROCKFORD):
        return None
    try:
        return base64.b32decode(plain.translate(_FROM_PAPER) + "=" * (-len(plain) % 8))
    except binascii.Error:
        return None


def _check(number: int, part: bytes, *, last: bool) -> str:
    digest = content_hash(b"tenure share line\0", struct.pack("<HB", number, last), part)
    return base64.b32encode(digest[:5]).decode()[:4].translate(_TO_PAPER)


def _cleared(block: bytes, where: str = "this sheet") -> tuple[int, bytes]:
    if len(block) < _CLEAR.size:
        raise KeyMismatchError(f"the key block of {where} is cut short")
    version, set_id, repository = _CLEAR.unpack_from(block)
    if version != _VERSION:
        raise KeyMismatchError(
            f"{where} was made in a format this version does not know",
            hint="install the Tenure version that made it, or a newer one",
        )
    return set_id, repository
