"""Execute an approved plan: what is in the plan *and* due now, from live stores and from every snapshot.

A plan is taken once. What an earlier run left unfinished is finished first. The brake stops before the first row.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TypeVar

from tenure.control.approvals import Approval, Approvals
from tenure.control.plans import Plan, Plans, PlanState
from tenure.control.processes import this_process
from tenure.control.runs import RunOutcome, Runs
from tenure.domain.errors import (
    BrakePulledError,
    NotApprovedError,
    RetentionError,
    StalePlanError,
    TenureError,
)
from tenure.operations import planbody
from tenure.operations.approving import as_recorded, find
from tenure.operations.choosing import Choice, Question, choose
from tenure.operations.edits import QUARANTINE, edits_of
from tenure.operations.forgetrun import ForgetRun, Forgotten
from tenure.operations.inforce import in_force
from tenure.operations.installation import Installation
from tenure.operations.judging import Judging
from tenure.operations.lapsing import cut_live, planned, with_recut
from tenure.operations.planbody import Frozen, PlanBody
from tenure.operations.planning import PURGE, freeze_plan
from tenure.operations.proving import scopes_of
from tenure.operations.quarantine import Due
from tenure.operations.world import World, key_column, opened, within
from tenure.repository.forgetting import Forgetting, Order
from tenure.rules.model import Brake, CardRule, Rule

BRAKE_FACTOR = 1.5
BRAKE_FLOOR = 25
"""A run under a standing approval stops above 1.5 times what was forecast, and this many records more."""

R = TypeVar("R")


@dataclass(slots=True, kw_only=True)
class Purged:
    """What a purge did. `finished`: forgettings that earlier runs had left open; `done`: this plan's; None: nothing fell."""

    plan: str = ""
    done: Forgotten | None = None
    finished: list[Forgotten] = field(default_factory=list)
    cut: dict[str, int] = field(default_factory=dict)  # records in which card data was cut live
    skipped: int = 0  # in the plan, and not due any more


def purge(installation: Installation, plan: str = "") -> Purged:
    """Execute a plan; an empty name: the newest approved one, else the rules in force under a standing approval.

    Raises:
        NotApprovedError: Nobody approved it.
        StalePlanError: It was executed before, is too old, or other rules are in force.
        BrakePulledError: More would go than was approved; nothing was touched.
        LeasedError: Another purge or erasure is at work.
    """
    with installation.alone("forgetting"), opened(installation) as world:
        result = Purged(finished=finish_open(world))
        chosen = _chosen(world, plan)
        if chosen is None:
            if plan or not result.finished:
                raise NotApprovedError(
                    "there is no approved plan, and no standing approval of the rules in force"
                )
            return result
        taken, approval = chosen
        result.plan = taken.hash
        body = planbody.decode(taken.body)
        result.done = recorded(
            installation, PURGE, lambda: _execute(world, taken.hash, body, approval, result)
        )
        return result


def finish_open(world: World) -> list[Forgotten]:
    """Finish the forgettings that earlier runs left open, oldest first."""
    found = sorted(world.repository.refresh().open_forgets(), key=lambda f: f.number)
    return [
        recorded(world.installation, f.intent.kind, lambda f=f: ForgetRun(world, f).run(resumed=True))  # type: ignore[misc]
        for f in found
    ]


def recorded(installation: Installation, kind: str, work: Callable[[], R]) -> R:
    """Do work as a recorded run, and say in the audit log that it began and how it ended."""
    runs, clock, log = Runs(installation.control), installation.clock, installation.evidence.log
    run = runs.begin(kind, source="", at=clock.now(), process=this_process())

    def tell(outcome: str, **details: str | int) -> None:
        log.append(
            kind,
            who=installation.officer,
            at=clock.now(),
            subject_of_entry="records",
            outcome=outcome,
            details=details,
        )

    tell("begun", run=run)
    try:
        found = work()
    except BaseException as e:
        code = e.exit_code if isinstance(e, TenureError) else 130 if isinstance(e, KeyboardInterrupt) else 1
        message = str(e) if isinstance(e, TenureError) else type(e).__name__
        runs.end(run, outcome=RunOutcome.FAILED, at=clock.now(), exit_code=code, error=message)
        tell("failed", run=run, reason=type(e).__name__)
        raise
    certificate = found.certificate if isinstance(found, Forgotten) else ""
    tell("done", run=run, certificate=certificate)
    counts = {"records": found.records} if isinstance(found, Forgotten) else {}
    runs.end(run, outcome=RunOutcome.DONE, at=clock.now(), exit_code=0, counts=counts)
    return found


def take_plan(world: World, plan: Plan) -> tuple[Plan, Approval]:
    """Take a plan for execution, once; one that a run took and died before ordering anything may be taken again.

    The caller holds the lock of forgettings, so no other run is between taking and ordering.

    Raises:
        StalePlanError: It was executed.
        NotApprovedError: Nobody approved it, or the approval has lapsed.
    """
    at = world.installation.clock.now()
    plans, approvals = Plans(world.installation.control), Approvals(world.installation.control)
    ordered = any(f.intent.plan.hex() == plan.hash for f in world.repository.state.forgets.values())
    approval = approvals.of(plan.hash)
    if plan.state is PlanState.EXECUTED and not ordered and approval is not None:
        if at >= min(plan.expires, approval.lapses):
            raise StalePlanError(f"plan {plan.hash[:12]} is too old")
        return plan, approval
    return plans.take(plan.hash, at=at)


def _chosen(world: World, word: str) -> tuple[Plan, Approval] | None:
    installation = world.installation
    if word:
        plan = find(installation, word)
        if plan.kind != PURGE:
            raise StalePlanError(
                f"plan {plan.hash[:12]} is no purge", hint="`tenure erase` executes erasures"
            )
        _check_rules(world, plan.rule_set)
        return take_plan(world, plan)
    waiting = Plans(installation.control).recent(50, state=PlanState.APPROVED)
    rule_set = in_force(world.repository).hash
    mine = [p for p in waiting if p.kind == PURGE and p.rule_set == rule_set]
    if mine:
        return take_plan(world, mine[0])
    return _standing(world, rule_set)


def _check_rules(world: World, rule_set: str) -> None:
    if in_force(world.repository).hash != rule_set:
        raise StalePlanError("other rules are in force than this plan was made under")


def _standing(world: World, rule_set: str) -> tuple[Plan, Approval] | None:
    """Make a plan under the rules in force and take it under their standing approval, the brake permitting."""
    installation = world.installation
    plans = Plans(installation.control)
    approval = Approvals(installation.control).standing(rule_set, kind=PURGE)
    if approval is None:
        return None
    known = in_force(world.repository)
    made = freeze_plan(world, known, known.rules, list(installation.catalogue.sources))
    approved = planbody.decode(plans.get(approval.plan).body)
    expected = _expected(approved, _last_executed(installation, approved), made.body.moment)
    if made.body.records > BRAKE_FACTOR * expected + BRAKE_FLOOR:
        raise BrakePulledError(
            f"{made.body.records} records are due, and about {expected} were forecast when the rules were approved;"
            " nothing was touched",
            hint=f"look at it with `tenure rules plan`, and if it is right `tenure rules approve {made.hash[:12]}`",
        )
    taken, _ = plans.take_standing(made.hash, at=installation.clock.now())
    return taken, approval


def _last_executed(installation: Installation, approved: PlanBody) -> datetime:
    """Return when purges of this rule set last ran: what came due since is caught up now."""
    executed = Plans(installation.control).recent(50, state=PlanState.EXECUTED)
    mine = [p.judged_at for p in executed if p.kind == PURGE and p.rule_set == approved.rule_set]
    return max(mine, default=approved.moment)


def _expected(approved: PlanBody, since: datetime, until: datetime) -> int:
    """Return what the approved plan forecast to fall due in a stretch of time, week by week."""
    total = 0.0
    for week in approved.forecast:
        start = max(week.start, _day(since))
        end = min(week.start + timedelta(weeks=1), _day(until) + timedelta(days=1))
        total += week.records * max((end - start).days, 0) / 7
    return round(total)


def _day(moment: datetime) -> date:
    return moment.date()


def _execute(world: World, plan: str, body: PlanBody, approval: Approval, result: Purged) -> Forgotten | None:
    if body.refusals:
        raise RetentionError(
            "this plan cannot be executed: " + "; ".join(body.refusals),
            hint="correct the catalogue or the rules",
        )
    known = in_force(world.repository)
    choice = choose(
        world, Question(rules=known.rules, holds=known.holds, at=world.installation.clock.now()), body.sources
    )
    keys = still_planned(world, choice, body)
    result.skipped = body.records - sum(map(len, keys.values()))
    check_limits(body, keys, known.rules.rules, known.rules.card_rules)
    result.cut = _cut_cards(world, body, choice)
    likely, judge = planned(world, choice.quarantine, body), Judging(world, body).changes(QUARANTINE)
    for name, count in cut_live(world, judge, likely, known.rules).items():
        result.cut[name] = result.cut.get(name, 0) + count
    forget = {n: some for n, k in keys.items() if (some := _among(k, choice.to_forget(n)))}
    if not forget and not likely:
        return None
    return carry(world, plan, body, forget, approval, likely=likely)


def carry(
    world: World,
    plan: str,
    body: PlanBody,
    keys: dict[str, list[bytes]],
    approval: Approval,
    *,
    likely: Sequence[Due] = (),
) -> Forgotten:
    """Order the forgetting of these records, and of likely card data in quarantine, and carry it out."""
    installation, admitted = world.installation, False
    for name in keys:
        source = world.source_of(name).name
        if not world.repository.refresh().writers_of(source):
            # A source that never was snapshotted has no writer yet; with one, snapshots begun meanwhile are fenced.
            installation.admit(source)
            admitted = True
    # Who was admitted has keys that only a repository opened since knows.
    with opened(installation) if admitted else nullcontext(world) as fresh:
        order = Order(
            kind=PURGE if body.kind == PURGE else "erase",
            plan=bytes.fromhex(plan),
            rules=bytes.fromhex(body.rule_set),
            approvals=(as_recorded(approval),),
        )
        work = Forgetting(fresh.repository, installation.executor, installation.progress)
        rules = in_force(fresh.repository).rules
        forget = work.order(with_recut(scopes_of(fresh, keys), likely, rules), order)
        return ForgetRun(fresh, forget, keys).run(resumed=False)


def _among(keys: list[bytes], wanted: list[bytes]) -> list[bytes]:
    chosen = set(wanted)
    return [k for k in keys if k in chosen]


def _cut_cards(world: World, body: PlanBody, choice: Choice) -> dict[str, int]:
    """Cut card data in live texts. Nothing in the repository changes, so no order is needed; cutting again is harmless."""
    judging, done = Judging(world, body), dict[str, int]()
    rules = judging.now().rules
    for name, tally in choice.tallies.items():
        for rule, some in tally.cards.items():
            edits = edits_of(rules, world.declared(name), rule)
            removal = world.store_of(name).rewrite(name, some.keys, judging.changes(rule), edits)
            done[name] = done.get(name, 0) + len(removal.gone)
    return {name: count for name, count in done.items() if count}


def still_planned(world: World, choice: Choice, body: PlanBody) -> dict[str, list[bytes]]:
    """Return the keys of what falls now and is in the plan, by data set."""
    return {name: _still(world, name, choice, body) for name in choice.data_sets() if name in body.frozen}


def _still(world: World, name: str, choice: Choice, body: PlanBody) -> list[bytes]:
    """Return the keys of those records that fall now and are in the plan."""
    keys = choice.keys(name)
    prints = world.prints(name, world.identities(key_column(keys)))
    frozen = body.frozen.get(name, Frozen())
    every = b"".join(sorted_prints(frozen))
    return [k for k, m in zip(keys, within(every, prints).tolist(), strict=True) if m]


def sorted_prints(frozen: Frozen) -> list[bytes]:
    """Return every fingerprint of a data set's frozen records, in order, each once."""
    joined = frozen.delete + frozen.linked + b"".join(frozen.edit.values())
    return sorted({joined[i : i + 16] for i in range(0, len(joined), 16)})


def check_limits(
    body: PlanBody, keys: dict[str, list[bytes]], rules: tuple[Rule, ...], card_rules: tuple[CardRule, ...]
) -> None:
    """Stop before the first row where a rule's own limit is passed.

    Raises:
        BrakePulledError: It is.
    """
    every: list[Rule | CardRule] = [*rules, *card_rules]
    for rule in every:
        for name in rule.data:
            limit, count = rule.stop_if_more_than, len(keys.get(name, ()))
            if limit is not None and _passed(limit, count, body.total.get(name, 0)):
                raise BrakePulledError(
                    f"rule {rule.name!r} stops a run that takes more than it says: {count} records of {name!r} would"
                    " go; nothing was touched",
                    hint="look at the plan; if it is right, raise `stop_if_more_than` in the rule",
                )


def _passed(limit: Brake, count: int, total: int) -> bool:
    too_many = limit.records is not None and count > limit.records
    return too_many or (limit.percent is not None and count * 100 > limit.percent * total)
