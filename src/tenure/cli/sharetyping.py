"""Shares of the recovery key from sheets; what is missing is asked for where somebody is there to type it."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from tenure.cli.frame import Frame
from tenure.domain.errors import KeyMismatchError
from tenure.keys import sharewords
from tenure.keys.local import KeyFile
from tenure.keys.shareblock import LINE, block_of, checked_line
from tenure.keys.shares import check_together, joined, lacking
from tenure.keys.sharesheet import Found, read_sheet

T = TypeVar("T")


def key_of(frame: Frame, sheets: Sequence[Path]) -> KeyFile:
    """Return the recovery key of these sheets; it is in memory alone.

    Raises:
        KeyUnavailableError: There are too few, and nobody is here to type the others.
        KeyMismatchError: They do not belong together, or something on them was copied wrongly.
    """
    found = [read_sheet(path) for path in sheets]
    check_together(found)
    if sys.stdin.isatty():
        while lacking(found):
            found.append(_until_right(frame, lambda: _typed_share(frame, found)))
        if all(one.block is None for one in found):
            found[0] = Found(words=found[0].words, block=_typed_block(frame), where=found[0].where)
    return joined(found)


def _typed_share(frame: Frame, found: Sequence[Found]) -> Found:
    """Ask for the words of one share, as many to a line as somebody likes."""
    where = f"share {len(found) + 1} of those at hand"
    frame.err.print(f"The words of another sheet ({lacking(found)} needed), {sharewords.WORDS} of them:")
    words: list[str] = []
    while len(words) < sharewords.WORDS:
        typed = str(click.prompt(f"from word {len(words) + 1} on", err=True))
        words += re.findall(r"[A-Za-z]+", typed)
    one = Found(words=sharewords.read(words, where=where), block=None, where=where)
    check_together([*found, one])
    if one.words.number in {f.words.number for f in found}:
        raise KeyMismatchError(f"share {one.words.number} is at hand already")
    return one


def _typed_block(frame: Frame) -> bytes:
    frame.err.print("The key block, line by line, with numbers and checks; any sheet of the set has it:")
    lines: list[str] = []
    last = False
    while not last:
        line, last = _until_right(frame, lambda: _typed_line(len(lines) + 1))
        lines.append(line)
    return block_of(lines, where="what was typed")


def _typed_line(number: int) -> tuple[str, bool]:
    typed = str(click.prompt(f"line {number}", err=True))
    match = LINE.fullmatch(typed) or LINE.fullmatch(f"{number} {typed}")
    if match is None or int(match[1]) != number:
        raise KeyMismatchError(
            f"this is not line {number} of a key block", hint="its end is = and four characters"
        )
    _, last = checked_line(number, match[2], match[3], where="what was typed")
    return match[0], last


def _until_right(frame: Frame, ask: Callable[[], T]) -> T:
    while True:
        try:
            return ask()
        except KeyMismatchError as e:
            frame.err.print(f"[yellow]{str(e).replace('[', chr(92) + '[')}[/]; {e.hint}. Type it again.")
