"""Rows in quarantine: what waits in them for an answer, what is due to be cut, and the answers themselves.

What is due is told by what the repository still holds, never by what was done before: a run that died is simply done
again. Everything here needs the reading key; answers need the purge key, too, for they order something to be cut.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tenure.cards.findings import DETECTOR_VERSION, Finding, Kind
from tenure.cards.quarantine import finding_id
from tenure.cards.rows import likely_in
from tenure.domain.errors import ConfigError
from tenure.operations.answers import KEEP, LAPSE, REDACT, first_seen, is_due
from tenure.operations.installation import Installation
from tenure.operations.pagewalk import Pages, walk
from tenure.repository import layouts
from tenure.repository.entries import Answer
from tenure.repository.model import QUARANTINE_PREFIX, ChunkKind
from tenure.repository.repository import Repository
from tenure.repository.state import FindingState
from tenure.sources.base import RowBatch, RowLayout

AROUND = 24
"""Characters shown on each side of likely card data: enough to tell an order number from a card."""

_DIGIT = re.compile(r"\d")
_BLANK = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Likely card data in one row of a quarantine cohort.

    `linked`: the column is another data set's; `key`: of the record; `context`: masked.
    """

    source: str
    data_set: str
    column: str
    name: bytes
    linked: bool
    kind: Kind
    state: FindingState
    key: bytes = field(repr=False)
    context: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Due:
    """What of one data set is to be cut. `columns`: of its own; `keys`: of records, with the findings in each."""

    source: str
    data_set: str
    columns: set[str] = field(default_factory=set)
    keys: dict[bytes, set[bytes]] = field(default_factory=dict, repr=False)

    def of(self, keys: Collection[bytes]) -> "Due":
        """Return the same for some of the records."""
        return replace(self, keys={key: self.keys[key] for key in keys if key in self.keys})

    @property
    def findings(self) -> frozenset[bytes]:
        """Return what is to be cut, by name."""
        return frozenset(name for names in self.keys.values() for name in names)


@dataclass(slots=True, kw_only=True)
class Question:
    """Likely card data that is in quarantine, to show. `answer`: "" for none; `records`: rows, versions included."""

    name: str
    source: str
    data_set: str
    column: str
    kind: Kind
    context: str = field(repr=False)
    first: datetime
    answer: str
    is_due: bool
    records: int = 1

    @property
    def due(self) -> datetime:
        """Return when it is cut if nobody answers."""
        return self.first + LAPSE


def held(repository: Repository, source: str) -> Iterator[Held]:
    """Yield what waits in the quarantine cohorts of a source, in whatever snapshot it lies.

    Raises:
        IntegrityError: A page or chunk cannot be read.
    """
    if not any(f.source == source for f in repository.state.findings.values()):
        return
    for pages in walk(repository, source, None):
        if not pages.cohort.is_quarantine:
            continue
        for place in pages.of_kinds((ChunkKind.ROWS,)):
            about = pages.companion(place)
            expressions = layouts.decode(about.expressions) if about is not None else None
            batch = pages.rows(place, expressions) if expressions is not None else None
            if batch is not None and expressions is not None:
                known = about is not None and about.detector == DETECTOR_VERSION
                found = _in_batch(repository, source, pages, batch, expressions.layout)
                yield from (one for one in found if one.name.hex() in repository.state.findings or not known)


def _in_batch(
    repository: Repository, source: str, pages: Pages, batch: RowBatch, layout: RowLayout
) -> Iterator[Held]:
    columns, data_set = (*layout.columns, *layout.linked), pages.cohort.data_set
    cells = range(layout.key_cells, len(columns))
    for line in bytes(batch.text).split(b"\n")[:-1]:
        key = b"\t".join(line.split(b"\t")[: layout.key_cells])
        for at, text, finding in likely_in(line, cells):
            name = finding_id(pages.keys.finding, data_set, columns[at], text, finding)
            yield Held(
                source=source,
                data_set=data_set,
                column=columns[at],
                name=name,
                linked=at >= len(layout.columns),
                kind=finding.kind,
                state=repository.state.findings.get(name.hex()) or _by_span(source, pages),
                key=key,
                context=masked(text, finding),
            )


def _by_span(source: str, pages: Pages) -> FindingState:
    """Return the state of a finding that no entry names, for another detector saw it otherwise: its cohort's day."""
    day = pages.cohort.span.removeprefix(QUARANTINE_PREFIX)
    return FindingState(source=source, first=datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


def masked(text: bytes, finding: Finding) -> str:
    """Return what stands around a finding, every digit hidden but the last four of a number."""
    before = text[: finding.start].decode("utf-8", "replace")[-AROUND:]
    after = text[finding.end :].decode("utf-8", "replace")[:AROUND]
    found = text[finding.start : finding.end].decode("utf-8", "replace")
    shown = 4 if finding.kind is Kind.NUMBER else 0
    hidden = len(_DIGIT.findall(found)) - shown
    found = _DIGIT.sub("*", found, count=max(hidden, 0)) if hidden > 0 else _DIGIT.sub("*", found)
    around = [_DIGIT.sub("*", part) for part in (before, after)]
    return _BLANK.sub(" ", f"{around[0]}{found}{around[1]}").strip()


def due(repository: Repository, source: str) -> list[Due]:
    """Return what of a source is to be cut now, by the store's clock, a line a data set.

    Raises:
        IntegrityError: A page or chunk cannot be read.
    """
    at, found = repository.place.objects.now(), dict[str, Due]()
    for one in held(repository, source):
        if not is_due(one.state, at):
            continue
        line = found.setdefault(one.data_set, Due(source=source, data_set=one.data_set))
        if not one.linked:
            line.columns.add(one.column)
        line.keys.setdefault(one.key, set()).add(one.name)
    return [found[name] for name in sorted(found)]


def listed(installation: Installation) -> list[Question]:
    """Return what is in quarantine and not answered with keep, the longest waiting first; who looked is in evidence.

    Raises:
        KeyMismatchError: This process was given no reading key.
        IntegrityError: A page or chunk cannot be read.
    """
    repository = installation.open_reading()
    _log(installation, "card-quarantine", "listed", {})
    at, found = repository.place.objects.now(), dict[bytes, Question]()
    for source in sorted({f.source for f in repository.state.findings.values()}):
        for one in held(repository, source):
            if one.state.answer == KEEP:
                continue
            if one.name in found:
                found[one.name].records += 1
            else:
                found[one.name] = _question(one, at)
    return sorted(found.values(), key=lambda q: (q.first, q.data_set, q.column, q.name))


def _question(one: Held, at: datetime) -> Question:
    return Question(
        name=one.name.hex(),
        source=one.source,
        data_set=one.data_set,
        column=one.column,
        kind=one.kind,
        context=one.context,
        first=first_seen(one.state),
        answer=one.state.answer,
        is_due=is_due(one.state, at),
    )


def redact(installation: Installation, word: str = "") -> int:
    """Say of a finding that begins with `word`, or of all that wait, that it is card data; return how many.

    The next purge cuts it, in live stores and in snapshots; snapshots taken from now on do not store it.

    Raises:
        ConfigError: No finding, or more than one, has this name.
        KeyMismatchError: This process was not given the purge key.
    """
    repository = installation.open_reading()
    waiting = {n: f for n, f in repository.state.findings.items() if not f.answer}
    chosen = _chosen(repository.state.findings, word) if word else waiting
    return _answer(installation, repository, chosen, REDACT)


def keep(installation: Installation, word: str) -> int:
    """Say of the finding that begins with `word` that it is no card data, whenever it comes again; return 1.

    Raises:
        ConfigError: No finding, or more than one, has this name.
        KeyMismatchError: This process was not given the purge key.
    """
    repository = installation.open_reading()
    return _answer(installation, repository, _chosen(repository.state.findings, word), KEEP)


def _chosen(findings: Mapping[str, FindingState], word: str) -> Mapping[str, FindingState]:
    found = {name: f for name, f in findings.items() if name.startswith(word.lower())}
    if len(found) != 1:
        raise ConfigError(
            f"{len(found) or 'no'} findings in quarantine begin with {word!r}",
            hint="`tenure cards quarantine list` shows them",
        )
    return found


def _answer(
    installation: Installation, repository: Repository, chosen: Mapping[str, FindingState], answer: str
) -> int:
    for source in sorted({f.source for f in chosen.values()}):
        names = sorted(bytes.fromhex(n) for n, f in chosen.items() if f.source == source)
        entry = Answer(source=source, findings=tuple(names), answer=answer, by=installation.officer)
        repository.ledger.append(entry, repository.purge_key)
    _log(installation, "card-answer", answer, {"findings": len(chosen)})
    return len(chosen)


def _log(installation: Installation, kind: str, outcome: str, details: Mapping[str, str | int]) -> None:
    installation.evidence.log.append(
        kind,
        who=installation.officer,
        at=installation.clock.now(),
        subject_of_entry="likely card data",
        outcome=outcome,
        details=dict(details),
    )
