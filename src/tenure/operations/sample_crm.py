"""The CRM database of the sample contact centre: customers, agents, cases, interactions, notes over six years."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tenure.domain.progress import ProgressTask
from tenure.operations.sample_numbers import LOOK_ALIKES, TEST_NUMBERS, as_written, card_number, digits
from tenure.operations.sample_text import CHANNELS, LOCALE_SHARES, LOCALES, QUEUES, TOPICS, Locale

CUSTOMERS, AGENTS, CASES, INTERACTIONS, NOTES = 6_000, 60, 10_000, 26_000, 16_000
ROWS = CUSTOMERS + AGENTS + CASES + INTERACTIONS + NOTES
YEARS = 6
DAY = 86_400  # seconds
RECORDINGS_A_MONTH = 3
EXTRA_RECORDINGS = 24  # among the newest calls
PLANTED_CARDS, PLANTED_CODES, PLANTED_TESTS, PLANTED_LOOK_ALIKES = 60, 25, 10, 40

SCHEMA = """
CREATE TABLE customers (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, phone TEXT, birth_date TEXT,
  street TEXT, city TEXT, country TEXT NOT NULL, status TEXT NOT NULL, opened_at TEXT NOT NULL, closed_at TEXT);
CREATE TABLE agents (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, team TEXT NOT NULL);
CREATE TABLE cases (
  id INTEGER PRIMARY KEY AUTOINCREMENT, customer_id INTEGER NOT NULL REFERENCES customers (id),
  topic TEXT NOT NULL, status TEXT NOT NULL, opened_at TEXT NOT NULL, closed_at TEXT);
CREATE TABLE interactions (
  id INTEGER PRIMARY KEY AUTOINCREMENT, customer_id INTEGER NOT NULL REFERENCES customers (id),
  case_id INTEGER REFERENCES cases (id), agent_id INTEGER NOT NULL REFERENCES agents (id),
  channel TEXT NOT NULL, queue TEXT NOT NULL, country TEXT NOT NULL, started_at TEXT NOT NULL,
  ended_at TEXT NOT NULL, duration_s INTEGER NOT NULL, recording TEXT UNIQUE);
CREATE TABLE case_notes (
  id INTEGER PRIMARY KEY AUTOINCREMENT, case_id INTEGER NOT NULL REFERENCES cases (id),
  agent_id INTEGER NOT NULL REFERENCES agents (id), created_at TEXT NOT NULL, body TEXT NOT NULL);
"""
# Made after the rows: quicker, and the trigger must not fire on notes that were there from the start.
AFTER_ROWS = """
CREATE INDEX cases_by_customer ON cases (customer_id);
CREATE INDEX interactions_by_customer ON interactions (customer_id, started_at);
CREATE INDEX interactions_by_case ON interactions (case_id);
CREATE INDEX notes_by_case ON case_notes (case_id);
CREATE INDEX customers_by_email ON customers (email);
CREATE VIEW open_cases AS
  SELECT cases.id, cases.topic, cases.opened_at, customers.country, count(case_notes.id) AS notes
  FROM cases JOIN customers ON customers.id = cases.customer_id LEFT JOIN case_notes ON case_notes.case_id = cases.id
  WHERE cases.status = 'open' GROUP BY cases.id;
CREATE TRIGGER note_reopens_case AFTER INSERT ON case_notes
  WHEN (SELECT status FROM cases WHERE id = NEW.case_id) = 'closed'
  BEGIN UPDATE cases SET status = 'open', closed_at = NULL WHERE id = NEW.case_id; END;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Something hidden on purpose: what kind of number, in which record, as written there."""

    kind: str  # "card number", "security code", "test number", "keypad card number" or a look-alike's kind
    data_set: str
    record: str  # the row's id, or the recording's path
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A recorded call: what its recording and sidecar are made from."""

    interaction: int
    customer: int
    agent: int
    queue: str
    country: str
    started: int  # seconds since the epoch, the contact centre's own clock
    seconds: int
    path: str
    phone: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrmResult:
    """What was written: the calls that have recordings, and what was hidden in the notes."""

    calls: tuple[Call, ...]
    planted: tuple[Planted, ...]


Ints = NDArray[np.int64]


def stamp(seconds: int | Ints) -> list[str]:
    """Return times as the database writes them: `YYYY-MM-DD HH:MM:SS`."""
    moments = np.atleast_1d(np.asarray(seconds, dtype=np.int64)).astype("datetime64[s]")
    return [text.replace("T", " ") for text in np.datetime_as_string(moments).tolist()]


def person(rng: np.random.Generator, locale: Locale, number: int) -> tuple[str, str, str, str, str, str, str]:
    """Return name, e-mail, phone, birth date, street, city and country of customer `number`."""
    first = locale.first_names[int(rng.integers(len(locale.first_names)))]
    last = locale.last_names[int(rng.integers(len(locale.last_names)))]
    street = locale.streets[int(rng.integers(len(locale.streets)))]
    city = locale.cities[int(rng.integers(len(locale.cities)))]
    mailbox = "".join(c for c in f"{first}.{last}".lower() if (c.isalpha() and c.isascii()) or c == ".")
    birth = f"{rng.integers(1940, 2006)}-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}"
    return (
        f"{first} {last}",
        f"{mailbox}{number}@example.{('com', 'net', 'org')[number % 3]}",
        f"+{locale.dial} {locale.mobile} {digits(rng, 7)}",
        birth,
        f"{street} {rng.integers(1, 180)}",
        city,
        locale.country,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """Everything that is drawn as whole columns; times in seconds since the epoch, ids count from 0 here."""

    start: int
    end: int
    opened: Ints
    locale: Ints
    case_customer: Ints
    case_opened: Ints
    case_closed: Ints
    call_case: Ints  # -1: none
    call_customer: Ints
    call_started: Ints
    call_seconds: Ints
    channel: Ints
    note_case: Ints
    note_created: Ints


def _recent(rng: np.random.Generator, moments: Ints, opened: Ints, spread: int) -> Ints:
    """Return, for each moment, the index of something that was opened shortly before it."""
    newest = np.searchsorted(opened, moments, side="right") - 1
    return np.asarray(np.maximum(newest - rng.integers(0, spread, len(moments)), 0), dtype=np.int64)


def _draft(rng: np.random.Generator, until: date) -> _Draft:
    end = int(np.datetime64(until, "s").astype(np.int64)) + DAY
    start = int(
        np.datetime64(until.replace(year=until.year - YEARS, day=min(until.day, 28)), "s").astype(np.int64)
    )
    opened = np.sort(rng.integers(start, end - DAY, CUSTOMERS))
    opened[:100] = start
    case_opened = np.sort(rng.integers(start + DAY, end - 3_600, CASES))
    call_started = np.sort(rng.integers(start + DAY, end - 3_600, INTERACTIONS))
    note_created = np.sort(rng.integers(start + 2 * DAY, end - 60, NOTES))
    case_customer = (rng.random(CASES) * np.searchsorted(opened, case_opened, side="right")).astype(np.int64)
    call_case = _recent(rng, call_started, case_opened, 60)
    call_customer = case_customer[call_case].copy()
    loose = rng.random(INTERACTIONS) < 0.2
    anyone = (rng.random(INTERACTIONS) * np.searchsorted(opened, call_started, side="right")).astype(np.int64)
    call_customer[loose] = anyone[loose]
    channel = rng.choice(len(CHANNELS), INTERACTIONS, p=(0.6, 0.25, 0.15))
    return _Draft(
        start=start,
        end=end,
        opened=opened,
        locale=rng.choice(len(LOCALES), CUSTOMERS, p=LOCALE_SHARES),
        case_customer=case_customer,
        case_opened=case_opened,
        case_closed=case_opened + rng.exponential(12 * DAY, CASES).astype(np.int64) + 3_600,
        call_case=np.where(loose, -1, call_case),
        call_customer=call_customer,
        call_started=call_started,
        call_seconds=np.minimum(rng.integers(30, 900, INTERACTIONS), end - 1 - call_started),
        channel=channel,
        note_case=_recent(rng, note_created, case_opened, 60),
        note_created=note_created,
    )


def _customer_rows(rng: np.random.Generator, draft: _Draft) -> list[tuple[object, ...]]:
    """A fifth of the customers closed their account some time after they last called or wrote."""
    last = draft.opened.copy()
    np.maximum.at(last, draft.call_customer, draft.call_started)
    np.maximum.at(last, draft.case_customer, draft.case_opened)
    np.maximum.at(last, draft.case_customer[draft.note_case], draft.note_created)
    closed = last + rng.integers(DAY, 200 * DAY, CUSTOMERS)
    is_closed = (rng.random(CUSTOMERS) < 0.3) & (closed < draft.end)
    opened_text, closed_text = stamp(draft.opened), stamp(closed)
    return [
        (
            i + 1,
            *person(rng, LOCALES[place], i + 1),
            "closed" if is_closed[i] else "active",
            opened_text[i],
            closed_text[i] if is_closed[i] else None,
        )
        for i, place in enumerate(draft.locale.tolist())
    ]


def _agent_rows(rng: np.random.Generator) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for number in range(1, AGENTS + 1):
        name = person(rng, LOCALES[number % len(LOCALES)], number)[0]
        rows.append((number, name, f"agent{number:03d}@example.com", QUEUES[number % len(QUEUES)]))
    return rows


def _case_rows(rng: np.random.Generator, draft: _Draft) -> Iterable[tuple[object, ...]]:
    topics = rng.integers(0, len(TOPICS), CASES).tolist()
    opened, closed = stamp(draft.case_opened), stamp(draft.case_closed)
    done = (draft.case_closed < draft.end).tolist()
    customers = (draft.case_customer + 1).tolist()
    for i in range(CASES):
        status = "closed" if done[i] else "open"
        yield (i + 1, customers[i], TOPICS[topics[i]], status, opened[i], closed[i] if done[i] else None)


def recording_path(started: int, interaction: int) -> str:
    """Return the path of a recording below the folder of recordings."""
    day = stamp(started)[0]
    return f"{day[:4]}/{day[5:7]}/call-{interaction:06d}.wav"


def _recorded(rng: np.random.Generator, draft: _Draft) -> list[int]:
    """Return indices of the interactions that have recordings: some in every month, more among the newest."""
    calls = np.flatnonzero(draft.channel == 0)
    months = draft.call_started[calls].astype("datetime64[s]").astype("datetime64[M]")
    bounds = np.flatnonzero(np.diff(months.astype(np.int64), prepend=-1))
    groups = np.split(calls, bounds[1:])
    chosen = [rng.choice(group, min(RECORDINGS_A_MONTH, len(group)), replace=False) for group in groups]
    newest = calls[-10 * EXTRA_RECORDINGS :]
    chosen.append(rng.choice(newest, EXTRA_RECORDINGS, replace=False))
    picked: list[int] = np.unique(np.concatenate(chosen)).tolist()
    return picked


def _interaction_rows(
    rng: np.random.Generator, draft: _Draft, customers: Sequence[tuple[object, ...]]
) -> tuple[list[tuple[object, ...]], tuple[Call, ...]]:
    seconds = draft.call_seconds.copy()
    recorded = _recorded(rng, draft)
    seconds[recorded] = rng.integers(5, 21, len(recorded))
    agents, queues = (
        rng.integers(1, AGENTS + 1, INTERACTIONS).tolist(),
        rng.integers(0, len(QUEUES), INTERACTIONS).tolist(),
    )
    started, ended = stamp(draft.call_started), stamp(draft.call_started + seconds)
    customer_ids, cases = (draft.call_customer + 1).tolist(), (draft.call_case + 1).tolist()
    countries = [LOCALES[i].country for i in draft.locale[draft.call_customer].tolist()]
    calls = {
        i: Call(
            interaction=i + 1,
            customer=customer_ids[i],
            agent=agents[i],
            queue=QUEUES[queues[i]],
            country=countries[i],
            started=int(draft.call_started[i]),
            seconds=int(seconds[i]),
            path=recording_path(int(draft.call_started[i]), i + 1),
            phone=str(customers[customer_ids[i] - 1][3]),
        )
        for i in recorded
    }
    names = [CHANNELS[c] for c in draft.channel.tolist()]
    rows: list[tuple[object, ...]] = [
        (
            *(i + 1, customer_ids[i], cases[i] or None, agents[i], names[i], QUEUES[queues[i]], countries[i]),
            *(started[i], ended[i], int(seconds[i]), calls[i].path if i in calls else None),
        )
        for i in range(INTERACTIONS)
    ]
    return rows, tuple(calls.values())


def _plant(rng: np.random.Generator, bodies: list[str], locales: list[Locale]) -> tuple[Planted, ...]:
    """Hide numbers in notes of their own; no note gets two kinds, except a security code after a card number."""
    wanted = PLANTED_CARDS + PLANTED_TESTS + PLANTED_LOOK_ALIKES * len(LOOK_ALIKES)
    places = iter(rng.choice(len(bodies), wanted, replace=False).tolist())
    planted: list[Planted] = []

    def add(kind: str, place: int, text: str) -> None:
        planted.append(Planted(kind=kind, data_set="case_notes", record=str(place + 1), text=text))

    for count in range(PLANTED_CARDS + PLANTED_TESTS):
        place = next(places)
        is_test = count >= PLANTED_CARDS
        number = as_written(TEST_NUMBERS[count % len(TEST_NUMBERS)] if is_test else card_number(rng), rng)
        bodies[place] = locales[place].card_notes[count % 2].format(text=number)
        add("test number" if is_test else "card number", place, number)
        if count < PLANTED_CODES:
            code = digits(rng, 3)
            bodies[place] += locales[place].code_notes[count % 2].format(text=code)
            add("security code", place, code)
    for look_alike in LOOK_ALIKES:
        for _ in range(PLANTED_LOOK_ALIKES):
            place = next(places)
            number = look_alike.draw(rng)
            bodies[place] += look_alike.sentence.format(text=number)
            add(look_alike.kind, place, number)
    return tuple(planted)


def _note_rows(
    rng: np.random.Generator, draft: _Draft, customers: Sequence[tuple[object, ...]]
) -> tuple[list[tuple[object, ...]], tuple[Planted, ...]]:
    owners = draft.case_customer[draft.note_case]
    locales = [LOCALES[i] for i in draft.locale[owners].tolist()]
    wording = rng.integers(0, 8, NOTES).tolist()
    names = [str(customers[i][1]) for i in owners.tolist()]
    bodies = [
        locale.notes[w].format(name=name) for locale, w, name in zip(locales, wording, names, strict=True)
    ]
    planted = _plant(rng, bodies, locales)
    agents = rng.integers(1, AGENTS + 1, NOTES).tolist()
    cases, created = (draft.note_case + 1).tolist(), stamp(draft.note_created)
    return list(zip(range(1, NOTES + 1), cases, agents, created, bodies, strict=True)), planted


def write_crm(path: Path, *, rng: np.random.Generator, until: date, task: ProgressTask) -> CrmResult:
    """Write the database to `path`, which must not exist; `task` advances by rows, `ROWS` in all."""
    draft = _draft(rng, until)
    customers = _customer_rows(rng, draft)
    interactions, calls = _interaction_rows(rng, draft, customers)
    notes, planted = _note_rows(rng, draft, customers)
    tables: tuple[tuple[str, int, Iterable[tuple[object, ...]]], ...] = (
        ("customers", 11, customers),
        ("agents", 4, _agent_rows(rng)),
        ("cases", 6, _case_rows(rng, draft)),
        ("interactions", 11, interactions),
        ("case_notes", 5, notes),
    )
    database = sqlite3.connect(path)
    try:
        database.execute("PRAGMA foreign_keys = ON")
        database.executescript(SCHEMA)
        for table, width, rows in tables:
            marks = ", ".join("?" * width)
            cursor = database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - fixed names
            task.advance(cursor.rowcount)
        database.commit()
        database.executescript(AFTER_ROWS)
    finally:
        database.close()
    return CrmResult(calls=calls, planted=planted)
