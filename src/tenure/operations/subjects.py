"""Everything that is held about one person: in live stores, and in every version that any snapshot stores."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tenure.domain.catalogue import Catalogue, DataSet
from tenure.domain.errors import ConfigError
from tenure.operations.inforce import InForce, in_force
from tenure.operations.installation import Installation
from tenure.operations.pagewalk import Pages, walk
from tenure.operations.past import facts_of_recordings, take
from tenure.operations.world import World, is_recordings, opened
from tenure.repository import layouts
from tenure.repository.mediacompanion import RecordingMeta
from tenure.repository.rows import Bits
from tenure.repository.suspects import of_subject
from tenure.rules.decide import decide
from tenure.rules.facts import Facts
from tenure.rules.outcomes import Outcome
from tenure.sources.folderfacts import RecordingFacts
from tenure.sources.rowtext import facts_from_rows

_SIDECAR = "sidecar."


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom it is about: the catalogue's name of a kind of subject, and an id of it."""

    kind: str
    value: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Held:
    """What of one data set is about a subject. `live`: facts; `past`: of each version that snapshots store.

    `underived`: chunks whose rows lack what tells the subject, so that nobody can say whether it is in them.
    """

    data_set: str
    live: list[Facts] = field(default_factory=list)
    past: list[Facts] = field(default_factory=list)
    underived: int = 0

    def live_keys(self) -> list[bytes]:
        """Return the keys of live records."""
        return [k for facts in self.live for k in facts.keys.to_pylist()]

    def past_keys(self) -> list[bytes]:
        """Return the keys of records that some snapshot stores, each once."""
        return list(dict.fromkeys(k for facts in self.past for k in facts.keys.to_pylist()))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLine:
    """A line to show a person: how many records, by which rule, until when."""

    data_set: str
    live: int
    snapshots: int
    rule: str
    until: date | None
    words: str


def check_kind(catalogue: Catalogue, subject: Subject) -> None:
    """Refuse a kind of subject that no data set has.

    Raises:
        ConfigError: None has.
    """
    known = sorted({kind for d in catalogue.data_sets().values() for kind in d.subjects})
    if subject.kind not in known:
        raise ConfigError(
            f"no data set has a subject of kind {subject.kind!r}",
            hint=f"the catalogue knows: {', '.join(known) or 'none'}",
        )


def find(world: World, subject: Subject) -> list[Held]:
    """Return what is held about a subject.

    Raises:
        IntegrityError: A page or chunk cannot be read; nothing may be called erased then.
        SourceUnavailableError: A live store is not there.
    """
    found = []
    for source in world.installation.catalogue.sources.values():
        mine = {
            d.name: Held(data_set=d.name) for d in source.data_sets.values() if subject.kind in d.subjects
        }
        for held in mine.values():
            held.live = list(_live(world, held.data_set, subject))
        for pages in walk(world.repository, source.name, mine):
            _past(world, pages, subject, mine[pages.cohort.data_set])
        found += [h for h in mine.values() if h.live or h.past or h.underived]
    return found


def _live(world: World, data_set: str, subject: Subject) -> Iterator[Facts]:
    store = world.store_of(data_set)
    look = getattr(store, "subject_keys", None)
    keys = look(data_set, subject.kind, subject.value) if look is not None else None
    for facts in store.facts(data_set, keys) if keys is None or keys else ():
        mine = _about(facts, subject)
        if mine.any():
            yield take(facts, mine)


def _about(facts: Facts, subject: Subject) -> Bits:
    column = facts.subjects.get(subject.kind)
    if column is None:
        return np.zeros(len(facts), np.bool_)
    return np.asarray(pc.fill_null(pc.equal(column, pa.scalar(subject.value, column.type)), False), np.bool_)  # noqa: FBT003 - the library's signature


def _past(world: World, pages: Pages, subject: Subject, held: Held) -> None:
    declared, source = world.declared(held.data_set), world.source_of(held.data_set)
    if is_recordings(declared):
        metas = [m for m in pages.recordings() if _recording_about(m, declared, source.time_zone, subject)]
        if metas:
            held.past.append(facts_of_recordings(declared, metas))
        return
    reference = declared.subjects[subject.kind]
    question = of_subject(subject.kind, subject.value, reference, pages.keys.identity)
    for suspect in pages.look(question).suspects:
        expressions = layouts.decode(suspect.about.expressions)
        if reference not in (*expressions.layout.columns, *expressions.layout.linked):
            held.underived += 1
            continue
        batch = pages.rows(suspect.place, expressions)
        facts = facts_from_rows(expressions.layout, declared, batch, source.time_zone) if batch else None
        mine = _about(facts, subject) if facts is not None else np.zeros(0, np.bool_)
        if facts is not None and mine.any():
            held.past.append(take(facts, mine))


def _recording_about(meta: RecordingMeta, declared: DataSet, zone: str, subject: Subject) -> bool:
    """Whether a recording is about a subject: by what its companion says, else by its sidecar as it was."""
    known = meta.subjects.get(subject.kind)
    reference = declared.subjects[subject.kind]
    if known is None and reference.startswith(_SIDECAR):
        only = DataSet(
            name=declared.name,
            source=declared.source,
            kind=declared.kind,
            subjects={subject.kind: reference},
        )
        known = RecordingFacts(only, zone, {}).of([meta.recording]).subjects[subject.kind][0].as_py()
    return known == subject.value


def report(installation: Installation, subject: Subject) -> list[HeldLine]:
    """Return what is held about a subject, by data set and rule, and until when (GDPR Art. 15(1)(d)).

    Raises:
        ConfigError: No data set has such a kind of subject.
    """
    check_kind(installation.catalogue, subject)
    with opened(installation) as world:
        known = in_force(world.repository)
        lines = []
        for held in find(world, subject):
            in_snapshots = set(held.past_keys())
            lines += _lines(world, held, held.live, known, in_snapshots, live=True)
            gone = in_snapshots - set(held.live_keys())
            lines += _lines(world, held, _only(held.past, gone), known, gone, live=False)
        who = installation.officer
        installation.evidence.log.append(
            "subject",
            who=who,
            at=installation.clock.now(),
            subject_of_entry="one subject",
            outcome="shown",
            details={"kind": subject.kind, "data_sets": [h.data_set for h in lines]},
        )
        return lines


def _only(versions: list[Facts], keys: set[bytes]) -> list[Facts]:
    """Return facts of these keys, of each the first version."""
    left, found = set(keys), []
    for facts in versions:
        mine = np.zeros(len(facts), np.bool_)
        for i, key in enumerate(facts.keys.to_pylist()):
            mine[i] = key in left
            left.discard(key)
        if mine.any():
            found.append(take(facts, mine))
    return found


def _lines(
    world: World, held: Held, some: list[Facts], known: InForce, in_snapshots: set[bytes], *, live: bool
) -> list[HeldLine]:
    groups: dict[tuple[str, str], tuple[int, int, date | None]] = {}
    zone = world.source_of(held.data_set).time_zone
    for facts in some:
        d = decide(facts, known.rules, known.holds, world.installation.clock.now(), zone)
        for i, key in enumerate(facts.keys.to_pylist()):
            rule = d.rules.rules[int(d.rule[i])].name if d.rule[i] >= 0 else ""
            words = Outcome(int(d.outcome[i])).name.lower().replace("_", " ")
            due = None if np.isnat(d.due[i]) else d.due[i].astype(object)
            n, m, until = groups.get((rule, words), (0, 0, None))
            latest = max((x for x in (until, due) if x is not None), default=None)
            groups[rule, words] = (n + 1, m + (key in in_snapshots), latest)
    return [
        HeldLine(
            data_set=held.data_set,
            live=n if live else 0,
            snapshots=m,
            rule=rule,
            until=until,
            words=words,
        )
        for (rule, words), (n, m, until) in sorted(groups.items())
    ]
