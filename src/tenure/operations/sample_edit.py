"""A week in the sample contact centre: what agents and customers change between two snapshots."""

import sqlite3
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from tenure.domain.progress import SilentProgress
from tenure.operations.sample import SampleCentre
from tenure.operations.sample_crm import AGENTS, DAY, Call, Planted, person, recording_path, stamp
from tenure.operations.sample_numbers import as_written, card_number
from tenure.operations.sample_recordings import write_recordings
from tenure.operations.sample_text import CHANNELS, LOCALE_SHARES, LOCALES, QUEUES, TOPICS

# What happens on a day, near to the yearly volumes of the sample.
CUSTOMERS_A_DAY, CASES_A_DAY, CALLS_A_DAY, NOTES_A_DAY = 3, 5, 12, 8
CLOSED_CASES_A_DAY, CLOSED_ACCOUNTS_A_WEEK, MOVES_A_DAY = 4, 4, 3
DELETED_NOTES_A_WEEK, DELETED_CALLS_A_WEEK, RECORDINGS_A_WEEK = 2, 1, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What a call of `edit` did, in rows and recordings."""

    customers_added: int
    cases_added: int
    interactions_added: int
    notes_added: int
    recordings_added: int
    cases_closed: int
    accounts_closed: int
    customers_changed: int
    rows_deleted: int
    planted: tuple[Planted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Week:
    """The days that are edited: database, randomness, first second and number of days."""

    database: sqlite3.Connection
    rng: np.random.Generator
    start: int  # seconds since the epoch
    days: int

    def moments(self, count: int) -> list[int]:
        """Return `count` moments between 8 and 18 o'clock, in order."""
        day = self.rng.integers(0, self.days, count) * DAY
        moments: list[int] = np.sort(
            self.start + day + self.rng.integers(8 * 3_600, 18 * 3_600, count)
        ).tolist()
        return moments

    def some(self, query: str, count: int) -> list[int]:
        """Return up to `count` of the ids that `query` yields, in random order."""
        ids = [row[0] for row in self.database.execute(query)]
        chosen: list[int] = self.rng.choice(ids, min(count, len(ids)), replace=False).tolist() if ids else []
        return chosen

    def change(self, statement: str, rows: list[tuple[object, ...]]) -> int:
        """Run a statement once for each row; return how many rows of the table it touched."""
        cursor = self.database.executemany(statement, rows)
        return max(cursor.rowcount, 0)


def edit(centre: SampleCentre, *, day: date, seed: int, days: int = 7) -> Edits:
    """Change the sample as the `days` days that end with `day` would: calls, notes, closings, moves, deletions.

    The same centre, day and seed give the same edits. Editing a day twice adds its records twice.
    """
    first = day - timedelta(days=days - 1)
    database = sqlite3.connect(centre.crm)
    try:
        database.execute("PRAGMA foreign_keys = ON")
        rng = np.random.default_rng([seed, first.toordinal(), days])
        start = int(np.datetime64(first, "s").astype(np.int64))
        with database:
            edits = _edit(centre, _Week(database=database, rng=rng, start=start, days=days))
    finally:
        database.close()
    return edits


def _edit(centre: SampleCentre, week: _Week) -> Edits:
    customers = _new_customers(week)
    cases = _new_cases(week)
    calls, interactions = _new_interactions(week)
    notes, planted = _new_notes(week)
    typed = write_recordings(
        centre.recordings, calls, rng=week.rng, task=SilentProgress().begin("", total=None, unit="recordings")
    )
    return Edits(
        customers_added=customers,
        cases_added=cases,
        interactions_added=interactions,
        notes_added=notes,
        recordings_added=len(calls),
        cases_closed=_close_cases(week),
        accounts_closed=_close_accounts(week),
        customers_changed=_move(week),
        rows_deleted=_delete(week),
        planted=(*planted, *typed),
    )


def _weekly(week: _Week, count: int) -> int:
    return -(-count * week.days // 7)


def _new_customers(week: _Week) -> int:
    first = week.database.execute("SELECT max(id) + 1 FROM customers").fetchone()[0]
    moments = stamp(np.array(week.moments(CUSTOMERS_A_DAY * week.days)))
    places = week.rng.choice(len(LOCALES), len(moments), p=LOCALE_SHARES).tolist()
    return week.change(
        "INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'active', ?, NULL)",
        [
            (first + i, *person(week.rng, LOCALES[place], first + i), moment)
            for i, (place, moment) in enumerate(zip(places, moments, strict=True))
        ],
    )


def _new_cases(week: _Week) -> int:
    moments = stamp(np.array(week.moments(CASES_A_DAY * week.days)))
    owners = week.some("SELECT id FROM customers WHERE status = 'active'", len(moments))
    topics = week.rng.integers(0, len(TOPICS), len(owners)).tolist()
    return week.change(
        "INSERT INTO cases (customer_id, topic, status, opened_at) VALUES (?, ?, 'open', ?)",
        [(owner, TOPICS[t], moment) for owner, t, moment in zip(owners, topics, moments, strict=False)],
    )


def _new_interactions(week: _Week) -> tuple[list[Call], int]:
    moments = week.moments(CALLS_A_DAY * week.days)
    cases = week.some("SELECT id FROM cases WHERE status = 'open'", len(moments))
    recorded = set(
        week.rng.choice(len(cases), min(_weekly(week, RECORDINGS_A_WEEK), len(cases)), replace=False).tolist()
    )
    calls: list[Call] = []
    added = 0
    for position, (case, started) in enumerate(zip(cases, moments, strict=False)):
        customer, country, phone = week.database.execute(
            "SELECT c.id, c.country, c.phone FROM customers c JOIN cases ON cases.customer_id = c.id WHERE cases.id = ?",
            (case,),
        ).fetchone()
        channel = "phone" if position in recorded else CHANNELS[int(week.rng.integers(len(CHANNELS)))]
        seconds = int(week.rng.integers(5, 21) if position in recorded else week.rng.integers(30, 900))
        agent, queue = int(week.rng.integers(1, AGENTS + 1)), QUEUES[int(week.rng.integers(len(QUEUES)))]
        begun, ended = stamp(np.array([started, started + seconds]))
        row = week.database.execute(
            "INSERT INTO interactions (customer_id, case_id, agent_id, channel, queue, country, started_at, ended_at,"
            " duration_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (customer, case, agent, channel, queue, country, begun, ended, seconds),
        ).fetchone()[0]
        added += 1
        if position in recorded:
            path = recording_path(started, row)
            week.database.execute("UPDATE interactions SET recording = ? WHERE id = ?", (path, row))
            calls.append(
                Call(
                    interaction=row,
                    customer=customer,
                    agent=agent,
                    queue=queue,
                    country=country,
                    started=started,
                    seconds=seconds,
                    path=path,
                    phone=phone or "",
                )
            )
    return calls, added


def _new_notes(week: _Week) -> tuple[int, list[Planted]]:
    """Add notes, one a week with a card number; a note on a closed case opens it again (a trigger does)."""
    moments = stamp(np.array(week.moments(NOTES_A_DAY * week.days)))
    cases = week.some("SELECT id FROM cases ORDER BY id DESC LIMIT 2000", len(moments))
    planted: list[Planted] = []
    for position, (case, moment) in enumerate(zip(cases, moments, strict=False)):
        name, country = week.database.execute(
            "SELECT c.name, c.country FROM customers c JOIN cases ON cases.customer_id = c.id WHERE cases.id = ?",
            (case,),
        ).fetchone()
        locale = next(place for place in LOCALES if place.country == country)
        number = as_written(card_number(week.rng), week.rng) if position % (7 * NOTES_A_DAY) == 0 else ""
        wording = locale.card_notes if number else locale.notes
        body = wording[int(week.rng.integers(len(wording)))].format(name=name, text=number)
        row = week.database.execute(
            "INSERT INTO case_notes (case_id, agent_id, created_at, body) VALUES (?, ?, ?, ?) RETURNING id",
            (case, int(week.rng.integers(1, AGENTS + 1)), moment, body),
        ).fetchone()[0]
        if number:
            planted.append(Planted(kind="card number", data_set="case_notes", record=str(row), text=number))
    return min(len(cases), len(moments)), planted


def _close_cases(week: _Week) -> int:
    cases = week.some("SELECT id FROM cases WHERE status = 'open'", CLOSED_CASES_A_DAY * week.days)
    moments = stamp(np.array(week.moments(len(cases))))
    return week.change(
        "UPDATE cases SET status = 'closed', closed_at = max(?, opened_at) WHERE id = ?",
        list(zip(moments, cases, strict=True)),
    )


def _close_accounts(week: _Week) -> int:
    owners = week.some(
        "SELECT id FROM customers WHERE status = 'active' AND id NOT IN"
        " (SELECT customer_id FROM cases WHERE status = 'open')",
        _weekly(week, CLOSED_ACCOUNTS_A_WEEK),
    )
    moments = stamp(np.array(week.moments(len(owners))))
    return week.change(
        "UPDATE customers SET status = 'closed', closed_at = ? WHERE id = ?",
        list(zip(moments, owners, strict=True)),
    )


def _move(week: _Week) -> int:
    owners = week.some("SELECT id FROM customers WHERE status = 'active'", MOVES_A_DAY * week.days)
    rows: list[tuple[object, ...]] = []
    for owner in owners:
        locale = LOCALES[int(week.rng.integers(len(LOCALES)))]
        _, email, phone, _, street, city, _ = person(week.rng, locale, owner)
        rows.append((email, phone, street, city, owner))
    return week.change("UPDATE customers SET email = ?, phone = ?, street = ?, city = ? WHERE id = ?", rows)


def _delete(week: _Week) -> int:
    notes = week.some("SELECT id FROM case_notes", _weekly(week, DELETED_NOTES_A_WEEK))
    calls = week.some(
        "SELECT id FROM interactions WHERE recording IS NULL", _weekly(week, DELETED_CALLS_A_WEEK)
    )
    return week.change("DELETE FROM case_notes WHERE id = ?", [(note,) for note in notes]) + week.change(
        "DELETE FROM interactions WHERE id = ?", [(call,) for call in calls]
    )
