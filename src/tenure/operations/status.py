"""How an installation stands: what is late, what is open, what to do next."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from tenure.control.drills import Drills
from tenure.control.plans import Plans, PlanState
from tenure.domain.errors import ObjectStoreError
from tenure.evidence.drill_record import DrillOutcome
from tenure.evidence.views import NextStep, StepWeight
from tenure.operations import answers
from tenure.operations.installation import Installation, Objectives
from tenure.repository import names
from tenure.repository.keystores import NamedStore
from tenure.repository.state import State

MOST_PLANS = 1_000
"""Plans that are looked through for those that await an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """A source. `age`: of its newest snapshot, None for none; `late`: older than its objective.

    `drill_outcome`: of its newest drill, None for none.
    """

    name: str
    snapshots: int
    newest: int
    taken_at: datetime | None
    age: timedelta | None
    objectives: Objectives
    late: bool
    drilled_at: datetime | None
    drill_outcome: DrillOutcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldStatus:
    """A hold in force; `overdue`: its review is."""

    hold: str
    matter: str
    review_by: date
    overdue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStoreStatus:
    """A key store. `lacks`: live key pages it does not list; `problem`: why it could not be asked, or ""."""

    name: str
    pages: int
    lacks: int
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """An installation now.

    `epochs`: number and state; `cards_waiting`: likely card data to answer for; `refused`: ledger entries that count
    for nothing, and why.
    """

    name: str
    at: datetime
    sources: tuple[SourceStatus, ...]
    holds: tuple[HoldStatus, ...]
    open_forgettings: int
    epochs: tuple[tuple[int, str], ...]
    rules: str
    plans_waiting: int
    cards_waiting: int
    refused: tuple[tuple[int, str], ...]
    key_stores: tuple[KeyStoreStatus, ...]
    next_steps: tuple[NextStep, ...]

    @property
    def is_well(self) -> bool:
        """Whether nothing has to be done now."""
        return not any(s.weight is StepWeight.NOW for s in self.next_steps)


def status(installation: Installation) -> Status:
    """Look at an installation; nothing is changed and no data is read.

    Raises:
        IntegrityError: The ledger cannot be believed.
        ObjectStoreError: The object store cannot be reached.
    """
    repository = installation.open_writing()
    state, now = repository.state, installation.clock.now()
    sources = tuple(
        _source(installation, state, name, now) for name in sorted(installation.catalogue.sources)
    )
    found = Status(
        name=installation.name,
        at=now,
        sources=sources,
        holds=tuple(_holds(state, now.date())),
        open_forgettings=len(state.open_forgets()),
        epochs=tuple((n, e.state) for n, e in sorted(state.epochs.items())),
        rules=state.rules.hash.hex() if state.rules else "",
        plans_waiting=_waiting(installation, now),
        cards_waiting=answers.waiting(state, repository.place.objects.now()),
        refused=tuple(sorted(state.refused.items())),
        key_stores=tuple(_key_store(named, state) for named in repository.place.key_stores.stores),
        next_steps=(),
    )
    return _with_steps(found, tuple(_steps(installation, found)))


def _with_steps(found: Status, steps: tuple[NextStep, ...]) -> Status:
    order = (StepWeight.NOW, StepWeight.SOON, StepWeight.CURIOUS)
    fields = {name: getattr(found, name) for name in Status.__dataclass_fields__ if name != "next_steps"}
    return Status(**fields, next_steps=tuple(sorted(steps, key=lambda s: order.index(s.weight))))


def _source(installation: Installation, state: State, name: str, now: datetime) -> SourceStatus:
    snapshots = state.snapshots_of(name)
    taken = datetime.fromtimestamp(snapshots[-1].entry.taken_at, UTC) if snapshots else None
    age = now - taken if taken else None
    objectives = installation.objectives.get(name, Objectives())
    drill = Drills(installation.control).latest(name)
    return SourceStatus(
        name=name,
        snapshots=len(snapshots),
        newest=snapshots[-1].number if snapshots else 0,
        taken_at=taken,
        age=age,
        objectives=objectives,
        late=objectives.age is not None and (age is None or age > objectives.age),
        drilled_at=drill.started if drill else None,
        drill_outcome=drill.outcome if drill else None,
    )


def _holds(state: State, today: date) -> Iterator[HoldStatus]:
    for hold_id, hold in sorted(state.holds.items(), key=lambda pair: pair[1].review_by):
        if not hold.released:
            review = date.fromisoformat(hold.review_by)
            yield HoldStatus(hold=hold_id, matter=hold.matter, review_by=review, overdue=review < today)


def _waiting(installation: Installation, now: datetime) -> int:
    proposed = Plans(installation.control).recent(MOST_PLANS, state=PlanState.PROPOSED)
    return sum(p.expires > now for p in proposed)


def _key_store(named: NamedStore, state: State) -> KeyStoreStatus:
    try:
        there = {info.name for info in named.store.list(names.PAGES)}
    except ObjectStoreError as e:
        return KeyStoreStatus(name=named.name, pages=0, lacks=len(state.pages), problem=str(e))
    wanted = {names.page(p.ref.epoch, p.ref.tag, p.ref.page) for p in state.pages.values()}
    return KeyStoreStatus(name=named.name, pages=len(there), lacks=len(wanted - there))


def _steps(installation: Installation, found: Status) -> Iterator[NextStep]:
    if not found.sources:
        yield _now("edit tenure.yaml", "name a source; nothing is backed up yet")
    for source in found.sources:
        yield from _steps_of_source(source)
    yield from _steps_of_repository(found)
    for hold in found.holds:
        if hold.overdue:
            yield _soon("tenure hold list", f"the review of hold {hold.matter!r} is overdue")
    yield from _steps_of_keys(installation, found)
    if not found.rules:
        yield _soon("tenure rules plan", "shows what the rules would remove; none is in force yet")
    if found.plans_waiting:
        yield _soon("tenure rules approve", f"{found.plans_waiting} plans await an answer")
    if found.cards_waiting:
        words = (
            f"{found.cards_waiting} findings may be card data, and are cut 7 days after they were first seen"
        )
        yield _soon("tenure cards quarantine list", words)
    yield NextStep(command="tenure report --to report.html", words="the whole installation on one page")


def _now(command: str, words: str) -> NextStep:
    return NextStep(command=command, words=words, weight=StepWeight.NOW)


def _soon(command: str, words: str) -> NextStep:
    return NextStep(command=command, words=words, weight=StepWeight.SOON)


def _steps_of_source(s: SourceStatus) -> Iterator[NextStep]:
    if not s.snapshots:
        yield _now(f"tenure snapshot {s.name}", f"{s.name} has no snapshot")
    elif s.late:
        yield _now(f"tenure snapshot {s.name}", f"the newest snapshot of {s.name} is late")
    if s.drill_outcome in {DrillOutcome.FAILED, DrillOutcome.MISSED}:
        yield _now(f"tenure drill {s.name}", f"the last drill of {s.name}: {s.drill_outcome}")
    elif s.snapshots and s.drill_outcome is None:
        yield _soon(f"tenure drill {s.name}", f"{s.name} was never drilled")


def _steps_of_repository(found: Status) -> Iterator[NextStep]:
    if found.open_forgettings:
        yield _now("tenure purge", f"{found.open_forgettings} forgettings were begun and not finished")
    lacking = ", ".join(k.name for k in found.key_stores if k.problem or k.lacks)
    if lacking:
        yield _now("tenure prune", f"copies missing pages back to key store {lacking}")
    if found.refused:
        yield _now(
            "tenure ledger list", f"{len(found.refused)} ledger entries count for nothing: tell security"
        )


def _steps_of_keys(installation: Installation, found: Status) -> Iterator[NextStep]:
    if any(state == "closing" for _, state in found.epochs):
        yield _now("tenure keys rotate", "finishes a rotation that was cut short")
    for path in sorted(installation.place.keys.glob("recovery*.key")):
        yield _soon(f"move {path} elsewhere", "a recovery key lost with this machine recovers nothing")
