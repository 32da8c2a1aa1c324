"""A small contact centre on disk, with an installation around it: a SQLite CRM, a folder of recordings, rules."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from support.clock import FixedClock
from tenure.bootstrap.init import init
from tenure.bootstrap.wiring import Machine, build
from tenure.domain.progress import SilentProgress
from tenure.operations import snapshot
from tenure.operations.approving import approve
from tenure.operations.installation import Installation
from tenure.operations.planning import PurgePlan, plan
from tenure.operations.restore import restore

CANARY = "Canary Birdwood"
"""The name of customer 1: nowhere to be found once she is erased."""

SOURCES = """
  crm:
    kind: sqlite
    path: crm.sqlite
    time_zone: Europe/Berlin
    also_held_in: [the warehouse of the marketing team]
    data_sets:
      customers:
        subjects: {customer: id}
        starting_points: {account closed: closed_at}
        columns: {name: [personal], email: [personal]}
      cases:
        subjects: {customer: customer_id}
        starting_points: {case closed: closed_at}
        attributes: {topic: topic}
        links: [{to: customers, by: [customer_id]}]
      notes:
        subjects: {customer: cases.customer_id}
        starting_points: {case closed: cases.closed_at}
        columns: {body: [free text, card]}
        links: [{to: cases, by: [case_id]}]
  calls:
    kind: folder
    path: recordings
    time_zone: Europe/Berlin
    data_sets:
      recordings:
        files: "**/*.wav"
        sidecar: "{stem}.json"
        subjects: {customer: sidecar.customer}
        starting_points: {call ended: sidecar.ended}
        attributes: {advice: sidecar.advice}
"""

WHY = 'why: {purpose: claims, law: "GDPR Art. 5(1)(e)", owner: dpo@example.com, review_by: 2027-01-31}'
CUSTOMERS = f"""language: 1
rule: customers
sentence: Delete customers 2 years after the account closed.
{WHY}
data: customers
delete after: 2 years
starting_from: account closed
examples:
  - {{account closed: 2020-02-10, as of: 2022-02-10, expect: keep}}
  - {{account closed: 2020-02-10, as of: 2022-02-11, expect: delete}}
"""
CASES = f"""language: 1
rule: cases
sentence: Delete cases 1 year after the case closed; keep those with topic fraud for 5 years.
{WHY}
data: cases
delete after: 1 year
starting_from: case closed
unless:
  - only_if: {{topic: fraud}}
    keep at least: 5 years
    law: "AMLD Art. 40"
examples:
  - {{case closed: 2020-02-10, as of: 2021-02-10, expect: keep}}
  - {{case closed: 2020-02-10, as of: 2021-02-11, expect: delete}}
  - {{case closed: 2020-02-10, topic: fraud, as of: 2025-02-10, expect: keep}}
  - {{case closed: 2020-02-10, topic: fraud, as of: 2025-02-11, expect: delete}}
"""
NOTES = f"""language: 1
rule: notes
sentence: Delete notes 1 year after the case closed.
{WHY}
data: notes
delete after: 1 year
starting_from: case closed
examples:
  - {{case closed: 2020-02-10, as of: 2021-02-10, expect: keep}}
  - {{case closed: 2020-02-10, as of: 2021-02-11, expect: delete}}
"""
BLANKED_NOTES = (
    NOTES.replace("Delete notes 1 year after", "Blank body of notes 1 year after")
    .replace("delete after: 1 year", "delete after: 1 year\nthen: {blank: [body]}")
    .replace("expect: delete", "expect: blank")
)
"""The same rule, but what is due is emptied and stays."""
RECORDINGS = f"""language: 1
rule: recordings
sentence: Delete recordings 1 year after the call ended.
{WHY}
data: recordings
delete after: 1 year
starting_from: call ended
examples:
  - {{call ended: 2020-02-10, as of: 2021-02-10, expect: keep}}
  - {{call ended: 2020-02-10, as of: 2021-02-11, expect: delete}}
"""
CARDS = """language: 1
rule: cards
sentence: Cut card numbers in notes to the last four digits, and remove security codes.
why: {purpose: must not be there, law: "PCI DSS 3.3.1", owner: pci@example.com, review_by: 2026-12-31}
find: card numbers
in: [notes]
expected_in: []
then: {card number: keep last 4, security code: remove}
when_likely: ask
examples:
  - {text: "card 4111 1111 1111 1111 cvv 123", expect: "card **** **** **** 1111 cvv ***"}
  - {text: "IMEI 356938035643809", expect: unchanged}
"""
RULES = {"customers": CUSTOMERS, "cases": CASES, "notes": NOTES, "recordings": RECORDINGS}

SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, closed_at TEXT);
CREATE TABLE cases (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), topic TEXT,
  closed_at TEXT);
CREATE TABLE notes (id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases (id), body TEXT);
"""
# 1, 2: closed long ago; 3: closed lately; 4: open.
PEOPLE = [
    (1, CANARY, "canary@example.com", "2023-01-10"),
    (2, "Old Two", "two@example.com", "2022-05-01"),
    (3, "New Three", "three@example.com", "2025-12-01"),
    (4, "Open Four", "four@example.com", None),
]
# 10 and 20 are due; 30 not yet; 40 is open; 41 is due, its customer is not; 21 must be kept for five years.
CASES_ROWS = [
    (10, 1, "billing", "2023-01-05"),
    (20, 2, "billing", "2022-04-01"),
    (21, 2, "fraud", "2022-04-02"),
    (30, 3, "billing", "2025-11-20"),
    (40, 4, "billing", None),
    (41, 4, "service", "2024-03-03"),
]
NOTES_ROWS = [
    (100 + i, case, f"note {i} about {case}") for i, case in enumerate((10, 10, 20, 21, 30, 40, 41))
]
CALLS = {  # path -> (customer, ended)
    "2023/01/a-first.wav": ("1", "2023-01-04T10:00:00"),
    "2024/02/b-second.wav": ("2", "2024-02-04T10:00:00"),
    "2025/12/c-recent-one.wav": ("1", "2025-12-04T10:00:00"),
    "2025/12/d-no-sidecar.wav": ("", ""),
}
DUE = {
    "customers": {1, 2},
    "cases": {10, 20, 41},
    "notes": {100, 101, 102, 103, 106},
    "recordings": set(list(CALLS)[:2]),
}
"""What falls by the rules. Note 103 goes though its fraud case stays; customer 2 stays as a key for that case."""


@dataclass
class Centre:
    """A folder with everything of an installation in it; `open` anew whenever a process would begin."""

    folder: Path
    clock: FixedClock = field(default_factory=lambda: FixedClock(datetime(2026, 3, 1, 12, 0, tzinfo=UTC)))

    @contextmanager
    def open(self) -> Iterator[Installation]:
        machine = Machine(clock=self.clock, progress=SilentProgress(), cpus=1)
        installation = build(self.folder / "tenure.yaml", machine)
        try:
            yield installation
        finally:
            installation.close()

    def rows(self, table: str, folder: Path | None = None) -> dict[int, tuple[object, ...]]:
        with closing(sqlite3.connect((folder or self.folder) / "crm.sqlite")) as live:
            return {row[0]: row for row in live.execute(f"SELECT * FROM {table}")}

    def ids(self, folder: Path | None = None) -> dict[str, set[object]]:
        """Return what a live place or a restored one holds, by data set."""
        found: dict[str, set[object]] = {
            t: set(self.rows(t, folder)) for t in ("customers", "cases", "notes")
        }
        calls = (folder or self.folder) / "recordings"
        found["recordings"] = {str(p.relative_to(calls)) for p in calls.rglob("*.wav")}
        return found

    def sql(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.folder / "crm.sqlite")) as live:
            for statement in statements:
                live.execute(statement)
            live.commit()

    def write_rules(self, rules: dict[str, str]) -> None:
        folder = self.folder / "retention_rules"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, text in rules.items():
            (folder / f"{name}.yaml").write_text(text, "utf-8")

    def snapshot(self) -> dict[str, int]:
        with self.open() as installation:
            return {t.source: t.number for t in snapshot.take(installation)}

    def planned(self) -> PurgePlan:
        with self.open() as installation:
            return plan(installation)

    def approved(self) -> PurgePlan:
        made = self.planned()
        with self.open() as installation:
            approve(installation, made.hash, reason="looked at it")
        return made

    def restored(self, numbers: dict[str, int], target: Path) -> dict[str, set[object]]:
        """Restore a pair of snapshots and return what is in them."""
        target.mkdir(parents=True)
        with self.open() as installation:
            restore(installation, numbers["crm"], target / "crm")
            restore(installation, numbers["calls"], target / "calls")
        both = target / "both"
        both.mkdir()
        database = target / "crm" / "crm.sqlite" if (target / "crm").is_dir() else target / "crm"
        shutil.copyfile(database, both / "crm.sqlite")
        shutil.copytree(target / "calls", both / "recordings")
        return self.ids(both)

    def copy(self, folder: Path) -> "Centre":
        shutil.copytree(self.folder, folder)
        return Centre(folder, FixedClock(self.clock.now()))


def found(folder: Path, *, rules: dict[str, str] | None = None, at: datetime | None = None) -> Centre:
    """Make the centre, not snapshotted yet."""
    centre = Centre(folder, FixedClock(at)) if at else Centre(folder)
    init(folder, clock=centre.clock, name="test", officer="olivia", sources=SOURCES)
    centre.write_rules(rules or RULES)
    with closing(sqlite3.connect(folder / "crm.sqlite")) as live:
        live.executescript(SCHEMA)
        live.executemany("INSERT INTO customers VALUES (?, ?, ?, ?)", PEOPLE)
        live.executemany("INSERT INTO cases VALUES (?, ?, ?, ?)", CASES_ROWS)
        live.executemany("INSERT INTO notes VALUES (?, ?, ?)", NOTES_ROWS)
        live.commit()
    for path, (customer, ended) in CALLS.items():
        file = folder / "recordings" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"RIFF {path} ".encode() * 50)
        if customer:
            file.with_suffix(".json").write_text(
                json.dumps({"customer": customer, "ended": ended, "who": "C. B."})
            )
    return centre
