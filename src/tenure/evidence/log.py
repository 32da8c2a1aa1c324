"""The audit log: append-only, hash-chained, signed; one JSON line an entry, one file a month.

It records access as well as deletion, with who, what, when, on which object, outcome (PCI DSS 10.2.2), and can be
checked by anyone who has the public key. An entry is on the disk before `append` returns. Writers in several
processes and threads take turns by a file lock. After a crash in the middle of a write the fragment, which was
never acknowledged, is overwritten by an entry that tells how long it was; anything else that is wrong at the end
of the log stops further writing, since entries after it would hide it.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.evidence.entries import (
    MAX_LINE_BYTES,
    START,
    Detail,
    Entry,
    Position,
    by_key_id,
    check_line,
    line_of,
    read_line,
)
from tenure.evidence.files import sync_directory, write_all
from tenure.evidence.head import check_head, read_head, write_head
from tenure.evidence.verification import Verification, log_files, verify_log

REPAIRED = "evidence-repaired"
"""Kind of the entry that takes the place of a fragment left by a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """Where the next line goes: after `last`, at `offset` of `path`; `torn` bytes of a fragment stand there."""

    last: Position
    path: Path | None
    offset: int = 0
    torn: int = 0


class AuditLog:
    """The log in one directory."""

    def __init__(
        self, directory: Path, signing_key: SigningKey, *, also_trusted: Sequence[VerifyKey] = ()
    ) -> None:
        """Open or create the log.

        Args:
            directory: Holds the monthly files, `head.json` and `lock`; created where missing.
            signing_key: Signs new entries.
            also_trusted: Keys that signed older entries.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._directory = directory
        self._signing_key = signing_key
        self._keys = (signing_key.public(), *also_trusted)

    @property
    def directory(self) -> Path:
        """Where the log lives."""
        return self._directory

    def append(
        self,
        kind: str,
        *,
        who: str,
        at: datetime,
        subject_of_entry: str,
        outcome: str,
        details: Mapping[str, Detail],
    ) -> Entry:
        """Add an entry; when this returns, it survives a power cut.

        Args:
            kind: What was done: restore, purge, erase, login, denial, ...
            who: Who or what did it.
            at: When, with a time zone.
            subject_of_entry: What it was done to: a snapshot, a plan; a person as their keyed hash only.
            outcome: How it ended: done, refused, failed, begun.
            details: Scalars and lists of texts; no personal data.

        Raises:
            IntegrityError: The last entry was changed (Tampered), or acknowledged ones are gone (Truncated).
            ValueError: `details` or `at` cannot be written.
        """
        with self._turn():
            end = self._end()
            if end.torn:
                end = self._repair(end, at)
            line = line_of(
                end.last,
                self._signing_key,
                at=at,
                kind=kind,
                who=who,
                subject_of_entry=subject_of_entry,
                outcome=outcome,
                details=details,
            )
            self._put(end, line, at)
            return read_line(line)

    def entries(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        kind: str | None = None,
        subject_of_entry: str | None = None,
    ) -> Iterator[Entry]:
        """Read entries in order, `since` included, `until` not; unjudged (`verify` judges).

        Raises:
            TamperedError: A line that cannot be read.
        """
        for path in log_files(self._directory):
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    entry = read_line(line)
                    if (
                        (since is None or entry.at >= since)
                        and (until is None or entry.at < until)
                        and kind in (None, entry.kind)
                        and subject_of_entry in (None, entry.object)
                    ):
                        yield entry

    def head(self) -> Position:
        """Return how far the log has come; keep it elsewhere, and `verify` finds a cut tail even without `head.json`.

        Raises:
            TamperedError: The last entry is not what this log wrote.
            TruncatedError: Entries that were acknowledged are gone.
        """
        with self._turn():
            return self._end().last

    def verify(self, *, known: Position | None = None) -> Verification:
        """Check every entry: chain, signatures, numbers, and that nothing is missing at the end.

        Args:
            known: How far the log had come when last seen, from a place out of reach of who could edit it.
        """
        with self._turn():
            return verify_log(self._directory, self._keys, known=known)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the log alone, among processes and threads (each turn opens the lock anew)."""
        fd = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _end(self) -> _End:
        """Find the end and prove it sound.

        Raises:
            TamperedError: The last entry or the head was changed.
            TruncatedError: The head knows of entries that are not there.
        """
        head = read_head(self._directory, self._keys)
        end = _End(last=START, path=None)
        for path in reversed(log_files(self._directory)):
            found = self._end_of(path)
            torn = found.torn or end.torn
            if found.last.number:
                end = (
                    found
                    if end.path is None or found.torn
                    else _End(last=found.last, path=end.path, torn=torn)
                )
                break
            end = _End(last=START, path=path, torn=torn) if end.path is None else end
        check_head(head, end.last)
        return end

    def _end_of(self, path: Path) -> _End:
        """Read the last whole line of one file; a fragment after it counts as torn."""
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 2 * MAX_LINE_BYTES))
            tail = file.read()
        whole = tail.rfind(b"\n") + 1
        # Pages that a power cut kept from the disk read as zeros, which no line holds.
        if whole and b"\0" in tail[tail.rfind(b"\n", 0, whole - 1) + 1 :]:
            whole = tail.rfind(b"\n", 0, whole - 1) + 1
        torn = len(tail) - whole
        if not whole:
            return _End(last=START, path=path, offset=size - len(tail), torn=torn)
        line = tail[tail.rfind(b"\n", 0, whole - 1) + 1 : whole]
        entry = check_line(line, by_key_id(self._keys))
        last = Position(number=entry.number, hash=entry.hash)
        return _End(last=last, path=path, offset=size - torn, torn=torn)

    def _repair(self, end: _End, at: datetime) -> _End:
        """Put an entry in the place of a fragment, telling that a crash left it."""
        line = line_of(
            end.last,
            self._signing_key,
            at=at,
            kind=REPAIRED,
            who="tenure",
            subject_of_entry="evidence log",
            outcome="done",
            details={"torn_bytes": end.torn},
        )
        return self._put(end, line, at)

    def _put(self, end: _End, line: bytes, at: datetime) -> _End:
        """Write one line, then the head. A fragment is overwritten in place first and cut off after.

        In this order a crash leaves a fragment again, so that it happened is always told by a later entry.
        """
        month = f"{at.astimezone(UTC):%Y-%m}.jsonl"
        name = month if end.path is None or end.torn else max(month, end.path.name)
        # A clock set back must not open an earlier file: files are read in the order of their names.
        path = (
            end.path
            if end.path is not None and (end.torn or end.path.name == name)
            else self._directory / name
        )
        offset = end.offset if path == end.path else 0
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            write_all(fd, line, offset)
            os.ftruncate(fd, offset + len(line))
            os.fsync(fd)
        finally:
            os.close(fd)
        if path != end.path:
            sync_directory(self._directory)
        entry = read_line(line)
        last = Position(number=entry.number, hash=entry.hash)
        write_head(self._directory, self._signing_key, last)
        return _End(last=last, path=path, offset=offset + len(line))
