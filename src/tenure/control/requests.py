"""Requests of persons: received, due within a month (GDPR Art. 12(3)), answered."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, insert, select, update

from tenure.control.database import ControlDatabase
from tenure.control.schema import requests


class RequestState(StrEnum):
    """Where a request stands."""

    OPEN = "open"
    EXTENDED = "extended"
    DONE = "done"
    REFUSED = "refused"


_WAITING = (RequestState.OPEN, RequestState.EXTENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. `subject`: keyed hash in hex; `note`: ground of an extension or refusal; `certificate`: its id."""

    reference: str
    subject: str
    received: date
    due: date
    state: RequestState
    state_at: datetime
    note: str = ""
    certificate: str = ""


class Requests:
    """Open, extend and close requests."""

    def __init__(self, database: ControlDatabase) -> None:
        """Work in `database`."""
        self._database = database

    def open(self, reference: str, *, subject: str, received: date, due: date, at: datetime) -> Request:
        """Record a request; the same one again returns what is known.

        Raises:
            ValueError: The reference belongs to another subject, or is due before it was received.
        """
        if due < received:
            raise ValueError(f"request {reference} would be due before it was received")
        with self._database.writing() as connection:
            row = connection.execute(select(requests).where(requests.c.reference == reference)).first()
            if row is not None and row.subject != subject:
                raise ValueError(f"request {reference} is about another subject")
            if row is not None:
                return _request(row)
            request = Request(
                reference=reference,
                subject=subject,
                received=received,
                due=due,
                state=RequestState.OPEN,
                state_at=at,
            )
            connection.execute(insert(requests).values(_values(request)))
        return request

    def extend(self, reference: str, *, due: date, reason: str, at: datetime) -> None:
        """Move the due date, with the reason the person is told (GDPR Art. 12(3): by two months at most).

        Raises:
            ValueError: No such open request, no reason, or no later date.
        """
        if not reason.strip():
            raise ValueError("an extension needs a reason")
        values = {"state": RequestState.EXTENDED, "due": due, "note": reason, "state_at": at}
        self._change(reference, values, requests.c.due < due)

    def close(
        self, reference: str, *, state: RequestState, at: datetime, note: str = "", certificate: str = ""
    ) -> None:
        """Record the answer: done or refused.

        Raises:
            ValueError: No such open request, no answer, or a refusal without its ground.
        """
        if state in _WAITING or (state is RequestState.REFUSED and not note.strip()):
            raise ValueError("a request ends as done, or as refused with its ground")
        self._change(reference, {"state": state, "note": note, "certificate": certificate, "state_at": at})

    def waiting(self) -> tuple[Request, ...]:
        """Return the unanswered ones, most urgent first."""
        query = (
            select(requests)
            .where(requests.c.state.in_(_WAITING))
            .order_by(requests.c.due, requests.c.reference)
        )
        with self._database.reading() as connection:
            return tuple(_request(r) for r in connection.execute(query).all())

    def overdue(self, on: date) -> tuple[Request, ...]:
        """Return the unanswered ones whose due date has passed on this day."""
        return tuple(r for r in self.waiting() if r.due < on)

    def _change(self, reference: str, values: dict[str, Any], *conditions: Any) -> None:
        found = update(requests).where(
            requests.c.reference == reference, requests.c.state.in_(_WAITING), *conditions
        )
        with self._database.writing() as connection:
            if connection.execute(found.values(values)).rowcount != 1:
                raise ValueError(f"request {reference} is not open, or this changes nothing")


def _values(request: Request) -> dict[str, Any]:
    names = ("reference", "subject", "received", "due", "state", "state_at", "note", "certificate")
    return {name: getattr(request, name) for name in names}


def _request(row: Row[Any]) -> Request:
    return Request(**{**row._asdict(), "state": RequestState(row.state)})
