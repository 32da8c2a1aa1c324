"""Erase one person on request: from live stores and from every version in every snapshot, with a certificate.

Holds and duties that still run come first (GDPR Art. 17(3)): what they keep stays, and the certificate says which
and until when. The request is recorded with its due date before anything is looked for.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from tenure.control.approvals import Approval, ApprovalKind
from tenure.control.plans import Plan, Plans, PlanState
from tenure.control.requests import Request, Requests, RequestState
from tenure.crypto.hashing import random_bytes
from tenure.domain.errors import ConfigError, NotApprovedError, RetentionError, StalePlanError
from tenure.operations import planbody
from tenure.operations.approving import approve, as_recorded
from tenure.operations.certifying import certify_nothing
from tenure.operations.choosing import Choice, Question, close_over_links
from tenure.operations.forgetrun import Forgotten, answer
from tenure.operations.inforce import InForce, in_force
from tenure.operations.installation import Installation
from tenure.operations.judging import deferral, subject_print
from tenure.operations.planbody import KeptCount, PlanBody, RuleCount
from tenure.operations.planning import PurgePlan, cohorts_of_choice, frozen_of, holds_now, keep
from tenure.operations.purging import carry, finish_open, recorded, still_planned, take_plan
from tenure.operations.subjects import Held, Subject, check_kind, find
from tenure.operations.tally import Tally
from tenure.operations.world import World, key_column, opened
from tenure.rules.facts import Facts
from tenure.rules.judge import Judgement
from tenure.rules.model import Period, Unit
from tenure.rules.outcomes import Outcome
from tenure.rules.periods import due_day, zone

ERASURE = "erasure"
MONTH = Period(count=1, unit=Unit.MONTHS)
"""GDPR Art. 12(3): without undue delay, and within one month of receipt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: whom it is about, its reference, and the day it came in."""

    subject: Subject
    request: str
    received: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure came to. `done` None: nothing was held that may go; `certificate`: its id."""

    plan: PurgePlan
    request: Request
    done: Forgotten | None
    certificate: str
    finished: tuple[Forgotten, ...] = ()


def due_on(received: date) -> date:
    """Return the last day for an answer, counted as in Regulation (EEC, Euratom) 1182/71."""
    return due_day(received, MONTH) - timedelta(days=1)


def erase_plan(
    installation: Installation, *, subject: tuple[str, str], request: str, received: date
) -> PurgePlan:
    """Record the request, and freeze what would be erased; nothing is touched. `subject`: (kind, id).

    Raises:
        ConfigError: No data set has such a kind of subject, or the reference is another person's.
        IntegrityError: A snapshot cannot be searched.
    """
    asked = _asked(installation, subject, request, received)
    with opened(installation) as world:
        _open_request(world, asked)
        return keep(installation, _plan(world, asked).body)


def erase(
    installation: Installation,
    *,
    subject: tuple[str, str],
    request: str,
    received: date,
    plan: PurgePlan | None = None,
) -> Erased:
    """Erase a person, `subject`: (kind, id).

    In one-person mode asking is approving; else the plan waits for a second person.

    Args:
        installation: Where.
        subject: The kind of subject and its id.
        request: The request's reference; its answer is recorded with it.
        received: When the request came in.
        plan: The one that was shown; None: an approved one of this request, else a new one.

    Raises:
        NotApprovedError: It waits for a second person.
        ConfigError: As for `erase_plan`, or the request was answered before.
        LeasedError: Another purge or erasure is at work.
    """
    asked = _asked(installation, subject, request, received)
    with installation.alone("forgetting"), opened(installation) as world:
        finished = finish_open(world)
        known = _open_request(world, asked)
        mine = [f for f in finished if f.request == asked.request]
        if mine:
            body = planbody.decode(Plans(installation.control).get(mine[0].plan).body)
            return Erased(
                plan=PurgePlan(hash=mine[0].plan, body=body),
                request=known,
                done=mine[0],
                certificate=mine[0].certificate,
                finished=tuple(finished),
            )
        if known.state in {RequestState.DONE, RequestState.REFUSED}:
            raise ConfigError(
                f"request {request} was answered before (certificate {known.certificate})",
                hint="give a new request a reference of its own",
            )
        return _carry_out(world, asked, plan, known, tuple(finished))


def _asked(installation: Installation, subject: tuple[str, str], request: str, received: date) -> Asked:
    asked = Asked(subject=Subject(kind=subject[0], value=subject[1]), request=request, received=received)
    check_kind(installation.catalogue, asked.subject)
    return asked


def _carry_out(
    world: World,
    asked: Asked,
    plan: PurgePlan | None,
    request: Request,
    finished: tuple[Forgotten, ...],
) -> Erased:
    stored, made = _stored(world, asked, plan)
    taken, approval = take_plan(world, stored)
    body = planbody.decode(taken.body)
    mine = subject_print(world.repository.secrets.fingerprint, asked.subject.kind, asked.subject.value)
    if (body.request, body.subject_print) != (asked.request, mine):
        raise StalePlanError("this plan is of another request")
    if body.refusals:
        raise RetentionError("this erasure cannot be executed: " + "; ".join(body.refusals))
    if made is not None and made.head == world.repository.refresh().number:
        # Made a moment ago: rules, holds and snapshots are the same, and live records are judged as they go.
        choice = made.choice
    else:
        choice, _ = _choice(world, in_force(world.repository), asked)
    keys = still_planned(world, choice, body)
    shown, done = PurgePlan(hash=taken.hash, body=body), None
    if any(keys.values()):
        done = recorded(world.installation, "erase", lambda: carry(world, taken.hash, body, keys, approval))
        certificate = done.certificate
    else:
        certificate = certify_nothing(world, taken.hash, body, as_recorded(approval))
        answer(world, body, certificate, refused=True)
    return Erased(plan=shown, request=request, done=done, certificate=certificate, finished=finished)


def _stored(world: World, asked: Asked, plan: PurgePlan | None) -> "tuple[Plan, _Made | None]":
    """Return the plan to take: the one shown, or an approved one of this request, or one that is made now."""
    installation = world.installation
    plans, made = Plans(installation.control), None
    if plan is None:
        mine = subject_print(world.repository.secrets.fingerprint, asked.subject.kind, asked.subject.value)
        for known in plans.recent(50):
            if known.kind == ERASURE and known.state in {PlanState.APPROVED, PlanState.EXECUTED}:
                body = planbody.decode(known.body)
                ordered = any(
                    f.intent.plan.hex() == known.hash for f in world.repository.state.forgets.values()
                )
                if body.request == asked.request and body.subject_print == mine and not ordered:
                    return known, None
        made = _plan(world, asked)
        plan = keep(installation, made.body)
    found = plans.get(plan.hash)
    if found.state is PlanState.PROPOSED:
        if not installation.one_person:
            raise NotApprovedError(
                f"erasure plan {plan.hash[:12]} waits for a second person",
                hint=f"let somebody else run `tenure rules approve {plan.hash[:12]}`, then run this again",
            )
        _approve(installation, plan.hash, asked)
    return plans.get(plan.hash), made


def _approve(installation: Installation, plan: str, asked: Asked) -> Approval:
    reason = f"request {asked.request}"
    return approve(installation, plan, reason=reason, kind=ApprovalKind.EACH_RUN).approval


def _open_request(world: World, asked: Asked) -> Request:
    printed = subject_print(world.repository.secrets.fingerprint, asked.subject.kind, asked.subject.value)
    try:
        return Requests(world.installation.control).open(
            asked.request,
            subject=printed.hex(),
            received=asked.received,
            due=due_on(asked.received),
            at=world.installation.clock.now(),
        )
    except ValueError as e:
        raise ConfigError(str(e), hint="give every request its own reference") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A plan with what was looked at for it. `head`: the ledger's number then."""

    body: PlanBody
    choice: Choice
    head: int


def _plan(world: World, asked: Asked) -> _Made:
    head, known = world.repository.refresh().number, in_force(world.repository)
    choice, kept = _choice(world, known, asked)
    return _Made(body=_body(world, asked, known, choice, kept), choice=choice, head=head)


def _body(
    world: World, asked: Asked, known: InForce, choice: Choice, kept: tuple[KeptCount, ...]
) -> PlanBody:
    question = Question(rules=known.rules, holds=known.holds, at=world.installation.clock.now())
    cohorts, chunks = cohorts_of_choice(world, choice, question)
    touched = {world.source_of(d).name for d in choice.data_sets()}
    return PlanBody(
        kind=ERASURE,
        moment=question.at,
        made_by=world.installation.officer,
        rule_set=known.rules.hash(),
        rules=known.rules.to_bytes(),
        in_force=known.hash,
        sources=tuple(sorted(world.installation.catalogue.sources)),
        frozen=frozen_of(world, choice),
        counts=tuple(_count(choice, name) for name in choice.data_sets()),
        kept=kept,
        cohorts=cohorts,
        holds=holds_now(world),
        snapshots=sum(len(world.repository.state.snapshots_of(s)) for s in touched),
        chunks=chunks,
        total={name: t.total for name, t in choice.tallies.items()},
        refusals=tuple(choice.refusals),
        subject_kind=asked.subject.kind,
        subject_print=subject_print(
            world.repository.secrets.fingerprint, asked.subject.kind, asked.subject.value
        ),
        request=asked.request,
        received=asked.received,
        salt=random_bytes(8),
    )


def _count(choice: Choice, name: str) -> RuleCount:
    total = len(choice.keys(name))
    live = choice.tallies[name].total if name in choice.tallies else total
    return RuleCount(
        rule="on request", data_set=name, action="delete", live=min(live, total), past=max(total - live, 0)
    )


def _choice(world: World, known: InForce, asked: Asked) -> tuple[Choice, tuple[KeptCount, ...]]:
    """Return what of a person goes, and what stays and why."""
    choice = Choice()
    kept: list[KeptCount] = []
    for held in find(world, asked.subject):
        tally = _tally(world, known, held, kept)
        choice.tallies[held.data_set] = tally
    question = Question(rules=known.rules, holds=known.holds, at=world.installation.clock.now())
    close_over_links(world, question, choice)
    return choice, tuple(kept)


def _tally(world: World, known: InForce, held: Held, kept: list[KeptCount]) -> Tally:
    zone_name = world.source_of(held.data_set).time_zone
    today = world.installation.clock.now().astimezone(zone(zone_name)).date()
    tally = Tally(world, held.data_set, known.rules, today)
    stays: dict[bytes, tuple[str, str, date | None]] = {}
    live = set(held.live_keys())
    for facts in held.live:
        _defer(world, known, facts, stays, set())
    for facts in held.past:
        _defer(world, known, facts, stays, live)  # a live record is judged by its live facts
    every = dict.fromkeys((*held.live_keys(), *held.past_keys()))
    falls = [k for k in every if k not in stays]
    if falls:
        column = key_column(falls)
        tally.delete.add(column, world.identities(column))
    tally.total = len([k for k in falls if k in live])
    for (by, why, until), count in sorted(Counter(stays.values()).items(), key=str):
        kept.append(KeptCount(data_set=held.data_set, records=count, why=why, by=by, until=until))
    if held.underived:
        why = "chunks of older snapshots in which nothing tells whom their rows are about"
        kept.append(KeptCount(data_set=held.data_set, records=held.underived, why=why, by="doubt"))
    return tally


def _defer(
    world: World,
    known: InForce,
    facts: Facts,
    stays: dict[bytes, tuple[str, str, date | None]],
    passed_over: set[bytes],
) -> None:
    for i, key in enumerate(facts.keys.to_pylist()):
        found = None if key in passed_over else deferral(world, facts, i, known)
        if found is not None:
            stays[key] = _ground(found, known)


def _ground(found: Judgement, known: InForce) -> tuple[str, str, date | None]:
    """Return why a record stays, in words that can be sent to the person."""
    if found.outcome is Outcome.HELD:
        hold = known.holds.holds[found.hold]
        return "hold", f"a legal hold ({hold.matter}) forbids it (GDPR Art. 17(3)(e))", None
    running = [d for d in found.days if d.timed in found.case.duties and not d.passed]
    if not running:
        rule = known.rules.rules[found.rule]
        return "duty", f"must be kept without limit ({rule.why.law}; GDPR Art. 17(3)(b))", None
    day = max(running, key=lambda d: d.due)
    rule = known.rules.rules[day.timed.rule]
    law = rule.unless[day.timed.branch].law if day.timed.branch >= 0 else rule.why.law
    return "duty", f"must be kept by law ({law}; GDPR Art. 17(3)(b))", day.due


def words_of(kept: Sequence[KeptCount]) -> list[str]:
    """Return what stays, one sentence a line."""
    lines = []
    for k in kept:
        until = f", until {k.until - timedelta(days=1)}" if k.until else ""
        lines.append(f"{k.records:,} records of {k.data_set} stay: {k.why}{until}")
    return lines
