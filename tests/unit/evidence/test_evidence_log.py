"""The audit log: durable, shared, and honest about every change made to it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tenure.crypto.signing import SigningKey
from tenure.domain.errors import IntegrityError, TamperedError, TruncatedError
from tenure.evidence.entries import MAX_LINE_BYTES, START, Entry
from tenure.evidence.log import REPAIRED, AuditLog
from tenure.evidence.verification import verify_log

NOW = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
KEY = SigningKey.from_raw(bytes(range(32)))
SOURCES = str(Path(__file__).parents[3] / "src")

WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from tenure.crypto.signing import SigningKey
from tenure.evidence.log import AuditLog

log = AuditLog(Path(sys.argv[1]), SigningKey.from_raw(bytes(range(32))))
for n in range(int(sys.argv[2])):
    entry = log.append("restore", who=sys.argv[3], at=datetime(2026, 3, 9, tzinfo=UTC),
                       subject_of_entry="snapshot 1", outcome="done", details={"n": n})
    print(entry.number, flush=True)
"""


def add(log: AuditLog, count: int = 1, at: datetime = NOW) -> list[Entry]:
    return [
        log.append(
            "restore", who="dpo", at=at, subject_of_entry=f"snapshot {n}", outcome="done", details={"rows": n}
        )
        for n in range(count)
    ]


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "log", KEY)


def month(log: AuditLog) -> Path:
    return log.directory / "2026-03.jsonl"


def lines(log: AuditLog) -> list[bytes]:
    return month(log).read_bytes().splitlines(keepends=True)


def test_entries_come_back_as_they_were_written(log: AuditLog) -> None:
    written = add(log, 3)
    assert list(log.entries()) == written
    assert [e.number for e in written] == [1, 2, 3]
    assert [e.previous for e in written] == [START.hash, written[0].hash, written[1].hash]
    check = log.verify()
    assert (check.is_sound, check.entries, check.head.hash) == (True, 3, written[-1].hash)


def test_an_empty_log_is_sound(log: AuditLog) -> None:
    assert log.verify().is_sound
    assert log.head() == START


def test_entries_are_found_by_time_kind_and_object(log: AuditLog) -> None:
    add(log, 2)
    log.append(
        "erase", who="dpo", at=NOW + timedelta(days=1), subject_of_entry="plan", outcome="done", details={}
    )
    assert [e.number for e in log.entries(kind="erase")] == [3]
    assert [e.number for e in log.entries(until=NOW + timedelta(days=1))] == [1, 2]
    assert [e.number for e in log.entries(since=NOW + timedelta(days=1))] == [3]
    assert [e.number for e in log.entries(subject_of_entry="snapshot 1")] == [2]


def test_each_month_has_its_file_and_the_chain_runs_through(log: AuditLog) -> None:
    for days in (0, 30, 60):
        add(log, 2, NOW + timedelta(days=days))
    assert sorted(p.name for p in log.directory.glob("*.jsonl")) == [
        "2026-03.jsonl",
        "2026-04.jsonl",
        "2026-05.jsonl",
    ]
    assert log.verify().entries == 6


def test_a_clock_set_back_does_not_break_the_order(log: AuditLog) -> None:
    add(log, 1, NOW + timedelta(days=60))
    add(log, 1, NOW)
    assert [e.number for e in log.entries()] == [1, 2]
    assert log.verify().is_sound


@pytest.mark.parametrize(
    "details", [{"bad key!": 1}, {"x": {"nested": 1}}, {"x": b"bytes"}, {"x": "a" * MAX_LINE_BYTES}]
)
def test_what_a_line_cannot_hold_is_refused_and_leaves_nothing(
    log: AuditLog, details: dict[str, object]
) -> None:
    with pytest.raises(ValueError):
        log.append("x", who="w", at=NOW, subject_of_entry="o", outcome="done", details=details)  # type: ignore[arg-type]
    assert log.verify().entries == 0


def test_an_instant_without_a_zone_is_refused(log: AuditLog) -> None:
    with pytest.raises(ValueError, match="time zone"):
        add(log, 1, datetime(2026, 3, 9))  # noqa: DTZ001


def test_another_signing_key_may_go_on_where_the_old_one_is_trusted(tmp_path: Path) -> None:
    add(AuditLog(tmp_path, KEY), 2)
    new = SigningKey.generate()
    later = AuditLog(tmp_path, new, also_trusted=[KEY.public()])
    add(later, 1)
    assert later.verify().is_sound
    assert not verify_log(tmp_path, [new.public()]).is_sound


# --- tampering: each finds its place ------------------------------------------------------------------------


def edit(log: AuditLog) -> None:
    month(log).write_bytes(month(log).read_bytes().replace(b'"rows":2', b'"rows":9'))


def edit_and_rehash(log: AuditLog) -> None:
    from tenure.evidence.entries import Position, line_of, read_line

    before = read_line(lines(log)[1])
    forged = line_of(
        Position(number=2, hash=before.hash),
        SigningKey.generate(),
        at=NOW,
        kind="restore",
        who="nobody",
        subject_of_entry="snapshot 2",
        outcome="done",
        details={},
    )
    swap(log, 2, forged)


def forge_signature(log: AuditLog) -> None:
    raw = json.loads(lines(log)[2])
    raw["signature"] = "00" * 64
    swap(log, 2, json.dumps(raw, sort_keys=True, separators=(",", ":")).encode() + b"\n")


def respell(log: AuditLog) -> None:
    swap(log, 2, lines(log)[2].replace(b'"kind":', b'"kind": '))


def garbage(log: AuditLog) -> None:
    swap(log, 2, b"not an entry\n")


def swap(log: AuditLog, index: int, line: bytes) -> None:
    found = lines(log)
    found[index] = line
    month(log).write_bytes(b"".join(found))


def delete(log: AuditLog) -> None:
    found = lines(log)
    month(log).write_bytes(b"".join(found[:2] + found[3:]))


def reorder(log: AuditLog) -> None:
    found = lines(log)
    month(log).write_bytes(b"".join([*found[:2], found[3], found[2], *found[4:]]))


def repeat(log: AuditLog) -> None:
    found = lines(log)
    month(log).write_bytes(b"".join([*found[:2], found[1], *found[2:]]))


@pytest.mark.parametrize(
    ("tamper", "word"),
    [
        (edit, "edited"),
        (edit_and_rehash, "not trusted"),
        (forge_signature, "forged"),
        (respell, "not written as"),
        (garbage, "cannot be read"),
        (delete, "missing"),
        (reorder, "missing"),
        (repeat, "reordered or repeated"),
    ],
)
def test_tampering_is_found_where_it_is(log: AuditLog, tamper: Callable[[AuditLog], None], word: str) -> None:
    add(log, 5)
    tamper(log)
    check = log.verify()
    assert not check.is_sound
    assert (check.bad_entry, check.place, check.entries) == (3, "2026-03.jsonl line 3", 2)
    assert word in check.problem


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_a_cut_tail_is_found_and_nothing_is_written_over_it(log: AuditLog, kept: int) -> None:
    add(log, 5)
    month(log).write_bytes(b"".join(lines(log)[:kept]))
    check = log.verify()
    assert (check.is_sound, check.bad_entry) == (False, kept + 1)
    with pytest.raises(TruncatedError):
        add(log)


def test_a_tail_cut_within_an_acknowledged_entry_is_no_crash(log: AuditLog) -> None:
    add(log, 3)
    month(log).write_bytes(month(log).read_bytes()[:-10])
    assert not log.verify().is_sound
    with pytest.raises(TruncatedError):
        add(log)


def test_a_whole_month_that_is_gone_is_found(log: AuditLog) -> None:
    for days in (0, 30, 60):
        add(log, 2, NOW + timedelta(days=days))
    (log.directory / "2026-04.jsonl").unlink()
    assert "entries 3 to 4 are missing" in log.verify().problem


def test_a_log_and_head_put_back_together_are_found_by_what_was_known(log: AuditLog) -> None:
    add(log, 3)
    old = {p: p.read_bytes() for p in log.directory.iterdir()}
    add(log, 2)
    known = log.head()
    for path, content in old.items():
        path.write_bytes(content)
    assert log.verify().is_sound  # the files alone cannot tell
    check = log.verify(known=known)
    assert (check.is_sound, check.problem) == (False, "entries 4 to 5 are missing")


def test_a_log_written_anew_with_the_stolen_key_is_found_by_what_was_known(
    log: AuditLog, tmp_path: Path
) -> None:
    add(log, 3)
    other = AuditLog(tmp_path / "other", KEY)
    add(other, 5, NOW + timedelta(seconds=1))
    assert "written anew" in other.verify(known=log.head()).problem


@pytest.mark.parametrize("change", ["remove", "old", "edit", "forge"])
def test_a_head_that_was_tampered_with_is_found_and_stops_writing(log: AuditLog, change: str) -> None:
    add(log, 2)
    head = log.directory / "head.json"
    old = head.read_bytes()
    add(log, 3)
    if change == "remove":
        head.unlink()
    elif change == "old":
        head.write_bytes(old)
    elif change == "edit":
        head.write_bytes(head.read_bytes().replace(b'"number":5', b'"number":4'))
    else:
        head.write_bytes(b'{"hash":"","number":0,"key":"","signature":""}')
    assert log.verify().place == "head.json"
    with pytest.raises(TamperedError):
        add(log)


def test_a_changed_last_entry_stops_writing(log: AuditLog) -> None:
    add(log, 3)
    edit(log)
    with pytest.raises(IntegrityError):
        add(log)


# --- crashes ------------------------------------------------------------------------------------------------


def crash_after(log: AuditLog, fragment: bytes, *, path: Path | None = None) -> None:
    with (path or month(log)).open("ab") as file:
        file.write(fragment)


def next_line(log: AuditLog, tmp_path: Path) -> bytes:
    """The very line that the next append writes."""
    twin = AuditLog(tmp_path / "twin", KEY)
    for path in log.directory.iterdir():
        (twin.directory / path.name).write_bytes(path.read_bytes())
    add(twin)
    return lines(twin)[-1]


def test_a_fragment_is_told_by_the_next_entry_wherever_the_crash_cut(log: AuditLog, tmp_path: Path) -> None:
    add(log, 2)
    line = next_line(log, tmp_path)
    sound = {p: p.read_bytes() for p in log.directory.iterdir()}
    for cut in (1, len(line) // 2, len(line) - 1):
        for path, content in sound.items():
            path.write_bytes(content)
        crash_after(log, line[:cut])
        check = log.verify()
        assert (check.is_sound, check.torn_bytes, check.entries) == (True, cut, 2)
        assert [e.number for e in log.entries()] == [1, 2]
        add(log)
        told = list(log.entries())[2]
        assert (told.kind, told.details, log.verify().is_sound) == (REPAIRED, {"torn_bytes": cut}, True)
        assert log.verify().torn_bytes == 0


def test_a_fragment_longer_than_its_repair_vanishes_whole(log: AuditLog) -> None:
    add(log, 2)
    crash_after(log, b'{"at":"' + b"x" * 9_000)
    add(log)
    assert (log.verify().is_sound, log.verify().entries) == (True, 4)


def test_pages_that_never_reached_the_disk_count_as_a_fragment(log: AuditLog) -> None:
    add(log, 2)
    crash_after(log, b"\0" * 300 + b'"}\n')
    assert log.verify().torn_bytes == 303
    add(log)
    assert log.verify().is_sound


def test_a_fragment_that_begins_a_month_is_told_there(log: AuditLog) -> None:
    add(log, 2)
    crash_after(log, b'{"at":', path=log.directory / "2026-04.jsonl")
    add(log, 1, NOW + timedelta(days=30))
    assert [(e.number, e.kind) for e in log.entries()][2:] == [(3, REPAIRED), (4, "restore")]
    assert log.verify().is_sound


def test_a_crash_between_entry_and_head_loses_nothing(log: AuditLog) -> None:
    add(log, 2)
    head = log.directory / "head.json"
    old = head.read_bytes()
    add(log, 1)
    head.write_bytes(old)
    assert log.verify().is_sound
    add(log, 1)
    assert (log.verify().is_sound, log.verify().entries) == (True, 4)


def start(directory: Path, count: int, who: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), str(count), who],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SOURCES},
    )


def test_two_processes_write_one_chain(tmp_path: Path) -> None:
    both = [start(tmp_path, 60, who) for who in ("one", "two")]
    numbers = [int(n) for p in both for n in p.communicate()[0].split()]
    assert sorted(numbers) == list(range(1, 121))
    check = verify_log(tmp_path, [KEY.public()])
    assert (check.is_sound, check.entries) == (True, 120)


@pytest.mark.parametrize("acknowledged", [1, 7, 23])
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    writer = start(tmp_path, 100_000, "one")
    assert writer.stdout is not None
    for _ in range(acknowledged):
        last = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    rest = writer.communicate()[0].split(b"\n")[:-1]
    last = int(rest[-1]) if rest else last
    log = AuditLog(tmp_path, KEY)
    check = log.verify()
    assert check.is_sound
    assert last <= check.entries <= last + 1
    add(log)
    assert log.verify().is_sound
