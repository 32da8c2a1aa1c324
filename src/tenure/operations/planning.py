"""Plan a purge: what would go if the proposed rules were in force now, frozen, and nothing touched.

Proposed are the files of the rules folder. A changed, missing or removed file is a change to approve, never "no
rule": until somebody approves, the set in force decides.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tenure.control.plans import Plan, Plans
from tenure.crypto.hashing import random_bytes
from tenure.domain.errors import ConfigError
from tenure.operations import planbody
from tenure.operations.choosing import Choice, Question, choose
from tenure.operations.inforce import InForce, in_force
from tenure.operations.installation import Installation
from tenure.operations.lapsing import count_of, frozen_with
from tenure.operations.planbody import CohortLine, Frozen, PlanBody, Week
from tenure.operations.proving import prove, scopes_of
from tenure.operations.quarantine import due
from tenure.operations.tally import Falling
from tenure.operations.world import World, freeze, opened
from tenure.rules.differences import differences
from tenure.rules.load import load_folder, rule_files
from tenure.rules.ruleset import RuleSet

LIFETIME = timedelta(days=7)
"""How long a plan may wait for its execution."""

PURGE = "purge"
NO_FILE = "there is no rule file: the rules in force decided, and likely card data that is due is cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePlan:
    """A frozen plan and its id."""

    hash: str
    body: PlanBody


def plan(installation: Installation, *, sources: Sequence[str] = ()) -> PurgePlan:
    """Freeze what the proposed rules would delete and edit now, in these sources or all; nothing is touched.

    Without any rule file the set in force decides, and only where likely card data is due to be cut: that needs no
    rule, and must not wait for one.

    Raises:
        RuleError: The rule files cannot be used, or there is none and no card data is due.
        ConfigError: A source of an unknown name.
        SourceUnavailableError: A live store is not there.
    """
    names = _names(installation, sources)
    with opened(installation) as world:
        known = in_force(world.repository)
        folder = installation.place.rules
        if not rule_files(folder) and any(due(world.repository, name) for name in names):
            return freeze_plan(world, known, known.rules, names, notes=(NO_FILE,))
        return freeze_plan(world, known, load_folder(folder, installation.catalogue).rules, names)


def freeze_plan(
    world: World, known: InForce, proposed: RuleSet, names: Sequence[str], *, notes: Sequence[str] = ()
) -> PurgePlan:
    """Decide by `proposed` and freeze the result, with `notes` for who approves it; see `plan`."""
    at = world.installation.clock.now()
    changed = differences(known.rules, proposed) if known.hash != proposed.hash() else ()
    question = Question(
        rules=proposed, holds=known.holds, at=at, before=known.rules if changed and known.hash else None
    )
    choice = choose(world, question, names)
    cohorts, chunks = cohorts_of_choice(world, choice, question)
    tallies = [choice.tallies[d] for d in sorted(choice.tallies)]
    matters = tuple(h.matter for h in known.holds.holds)
    body = PlanBody(
        kind=PURGE,
        moment=at,
        made_by=world.installation.officer,
        rule_set=proposed.hash(),
        rules=proposed.to_bytes(),
        in_force=known.hash,
        sources=tuple(sorted(names)),
        changes=changed,
        frozen=frozen_of(world, choice),
        counts=(
            *(line for t in tallies for line in t.counts()),
            *(count_of(world, some) for some in choice.quarantine),
        ),
        kept=tuple(line for t in tallies for line in t.kept(matters)),
        samples=tuple(line for t in tallies for line in t.samples()),
        forecast=_weeks(week for t in tallies for week in t.forecast()),
        cohorts=cohorts,
        holds=holds_now(world),
        snapshots=_snapshots(world, choice),
        chunks=chunks,
        total={t.data_set: t.total for t in tallies},
        notes=(*notes, *_notes(choice)),
        refusals=tuple(choice.refusals),
        salt=random_bytes(8),
    )
    return keep(world.installation, body)


def keep(installation: Installation, body: PlanBody) -> PurgePlan:
    """Store a plan under its hash, to be approved."""
    raw = planbody.encode(body)
    found = PurgePlan(hash=planbody.hash_of(raw), body=body)
    Plans(installation.control).propose(
        Plan(
            hash=found.hash,
            kind=body.kind,
            made_at=body.moment,
            made_by=body.made_by,
            rule_set=body.rule_set,
            judged_at=body.moment,
            expires=body.moment + LIFETIME,
            body=raw,
        )
    )
    return found


def holds_now(world: World) -> tuple[str, ...]:
    """Return the ids of the holds in force."""
    return tuple(sorted(i for i, h in world.repository.state.holds.items() if not h.released))


def frozen_of(world: World, choice: Choice) -> dict[str, Frozen]:
    """Return every record that falls or changes by fingerprint."""
    found: dict[str, Frozen] = {}
    for name in choice.data_sets():
        tally = choice.tallies.get(name)
        linked = choice.linked.get(name, Falling())
        found[name] = Frozen(
            delete=freeze(world.prints(name, tally.delete.all_ids())) if tally else b"",
            linked=freeze(world.prints(name, linked.all_ids())),
            edit={
                rule: freeze(world.prints(name, some.all_ids()))
                for rule, some in (tally.edits() if tally else {}).items()
            },
        )
    for some in choice.quarantine:
        found[some.data_set] = frozen_with(world, some, found[some.data_set])
    return found


def cohorts_of_choice(world: World, choice: Choice, question: Question) -> tuple[tuple[CohortLine, ...], int]:
    """Return the cohorts touched in snapshots, and how many chunks that is."""
    lines: list[CohortLine] = []
    chunks = 0
    keys = {name: some for name in choice.data_sets() if (some := choice.to_forget(name))}
    for source, scope in sorted(scopes_of(world, keys).items()):
        for proof in prove(world, source, scope, question.at):
            chunks += proof.chunks
            lines.append(
                CohortLine(
                    source=source,
                    data_set=proof.cohort.data_set,
                    span=proof.cohort.span,
                    records=len(proof.records),
                    whole=proof.whole,
                )
            )
    return tuple(sorted(lines, key=lambda c: (c.data_set, c.span))), chunks


def _snapshots(world: World, choice: Choice) -> int:
    """Return how many snapshots may lose records: all of the sources that lose any."""
    touched = {world.source_of(d).name for d in choice.data_sets() if choice.to_forget(d)}
    touched |= {some.source for some in choice.quarantine}
    return sum(len(world.repository.state.snapshots_of(s)) for s in touched)


def _weeks(weeks: Iterable[Week]) -> tuple[Week, ...]:
    total: Counter[object] = Counter()
    for week in weeks:
        total[week.start] += week.records
    return tuple(Week(start=start, records=n) for start, n in sorted(total.items()))  # type: ignore[arg-type]


def _notes(choice: Choice) -> tuple[str, ...]:
    notes = [
        f"snapshots of {name} were looked through by another detector; the records cut now are taken out of them"
        for name in sorted(choice.old_detector)
    ]
    if any(t.edit for t in choice.tallies.values()):
        notes.append(
            "records that are edited are taken out of older snapshots whole; the next snapshot holds them as edited"
        )
    notes += [
        f"{child} refers to {parent} from another source: records of it that refer to what falls were not looked for; "
        f"give {child} a rule of its own"
        for child, parent in sorted(choice.abroad)
    ]
    return tuple(notes)


def _names(installation: Installation, sources: Sequence[str]) -> Sequence[str]:
    known = installation.catalogue.sources
    for name in sources:
        if name not in known:
            raise ConfigError(
                f"there is no source {name!r}", hint=f"configured are: {', '.join(sorted(known))}"
            )
    return list(sources) or list(known)
