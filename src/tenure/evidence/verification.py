"""Checking an audit log from its files and public keys alone; nothing here can write."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenure.crypto.signing import VerifyKey
from tenure.domain.errors import IntegrityError, TamperedError, TruncatedError
from tenure.evidence.entries import START, Position, by_key_id, check_line, read_line
from tenure.evidence.head import NAME, check_head, read_head

_MONTH_FILE = re.compile(r"\d{4}-\d{2}\.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What checking a log found.

    `entries`: how many are sound, counted from the first. `head`: the last sound one. `bad_entry`: number that the
    first bad entry has or should have. `torn_bytes`: a fragment at the end that a crash left; no entry was lost by it.
    """

    entries: int
    head: Position
    bad_entry: int | None = None
    place: str = ""
    problem: str = ""
    torn_bytes: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether every entry ever acknowledged is there, unchanged and in order."""
        return not self.problem


def log_files(directory: Path) -> list[Path]:
    """Return the monthly files, oldest first."""
    return sorted(p for p in directory.glob("*.jsonl") if _MONTH_FILE.fullmatch(p.name))


def verify_log(directory: Path, keys: Sequence[VerifyKey], *, known: Position | None = None) -> Verification:
    """Check every entry in `directory`; tells the first that is bad and what is wrong with it.

    Args:
        directory: Holds the monthly files and `head.json`.
        keys: Public keys whose entries are trusted.
        known: How far the log had come when last seen, from a place out of reach of who could edit it.
    """
    trusted = by_key_id(keys)
    marks = {known.number: known.hash} if known is not None and known.number else {}
    last, torn = START, 0
    for place, line in _lines(directory):
        if torn:
            problem = "something follows a line that was never finished"
        elif not line.endswith(b"\n") or b"\0" in line:
            torn = len(line)
            continue
        else:
            problem = _problem(last, line, trusted, marks)
        if problem:
            return _bad(last, place, problem)
        entry = read_line(line)
        last = Position(number=entry.number, hash=entry.hash)
    return _judge_end(directory, keys, last, known, torn)


def _lines(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every line with its place, in the order written."""
    for path in log_files(directory):
        with path.open("rb") as file:
            for row, line in enumerate(file, start=1):
                yield f"{path.name} line {row}", line


def _problem(
    last: Position, line: bytes, trusted: Mapping[bytes, VerifyKey], marks: Mapping[int, bytes]
) -> str:
    """Return what is wrong with the line that should follow `last`, or an empty text."""
    try:
        entry = check_line(line, trusted)
    except TamperedError as e:
        return str(e)
    if entry.number > last.number + 1:
        return f"entries {last.number + 1} to {entry.number - 1} are missing"
    if entry.number <= last.number:
        return f"entry {entry.number} stands after entry {last.number}: reordered or repeated"
    if entry.previous != last.hash:
        return f"entry {entry.number} does not follow the entry before it: the chain is broken"
    if marks.get(entry.number, entry.hash) != entry.hash:
        return f"entry {entry.number} is not the one that was seen before: the log was written anew"
    return ""


def _judge_end(
    directory: Path, keys: Sequence[VerifyKey], last: Position, known: Position | None, torn: int
) -> Verification:
    """Compare the end with the head file and with what was known."""
    if known is not None and known.number > last.number:
        return _bad(last, "end of the log", f"entries {last.number + 1} to {known.number} are missing")
    try:
        check_head(read_head(directory, keys), last)
    except IntegrityError as e:
        return _bad(last, "end of the log" if isinstance(e, TruncatedError) else NAME, str(e))
    return Verification(entries=last.number, head=last, torn_bytes=torn)


def _bad(last: Position, place: str, problem: str) -> Verification:
    return Verification(
        entries=last.number, head=last, bad_entry=last.number + 1, place=place, problem=problem
    )
