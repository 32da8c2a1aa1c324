"""Take a snapshot of sources: view, batches, redaction in flight, cohorts, chunks, commit.

Sources of one run form a group: databases first, recordings after them, so no row lacks its recording. A snapshot
that a forgetting overtook starts over; one whose counts do not add up is not committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

import tenure
from tenure.cards.findings import DETECTOR_VERSION
from tenure.control.processes import this_process
from tenure.control.runs import RunOutcome, Runs
from tenure.crypto.hashing import random_bytes
from tenure.domain.catalogue import DataSetKind, SourceKind
from tenure.domain.errors import (
    ConfigError,
    IncompleteSnapshotError,
    KeyUnavailableError,
    LeasedError,
    OvertakenError,
    TenureError,
)
from tenure.operations.cohorts import cohorts_of, in_quarantine
from tenure.operations.inforce import rules_in_force
from tenure.operations.installation import Installation, unknown_source
from tenure.operations.rowcaches import RowCaches
from tenure.repository import layouts
from tenure.repository.layering import Changes, TableSettings
from tenure.repository.layouts import Expressions
from tenure.repository.manifest import CutLine
from tenure.repository.openspans import fullest_open
from tenure.repository.repository import Repository
from tenure.repository.session import Outcome, Session
from tenure.repository.tablewriter import TableWriter
from tenure.sources.base import Finding, Lookups, RowLayout, View

if TYPE_CHECKING:
    from tenure.operations.redaction import Redactor, TableRedactor

_TOOL = f"tenure {tenure.__version__}"
TRIES = 3
"""How often a snapshot starts over before it gives up: forgettings are rare and short."""

DATABASES = frozenset({SourceKind.SQLITE})


@dataclass(slots=True, kw_only=True)
class Taken:
    """A committed snapshot. `plain`: bytes of the source; `stored`: bytes added to the repository.

    By data set: `cut`: card data, by column; `likely`: findings that were not sure and stay; `quarantined`: rows that wait for
    an answer about some, named by `waiting`; `unreadable`: binary cells that nothing was looked for in, by column.
    """

    source: str
    number: int
    taken_at: datetime
    records: int = 0
    plain: int = 0
    stored: int = 0
    chunks: int = 0
    cut: dict[str, dict[str, CutLine]] = field(default_factory=dict)
    likely: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, dict[str, int]] = field(default_factory=dict)
    waiting: set[bytes] = field(default_factory=set)
    changes: dict[str, Changes] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def redacted(self) -> dict[str, int]:
        """Return how much card data was cut, by data set."""
        return {name: sum(line.total for line in lines.values()) for name, lines in self.cut.items()}


def take(installation: Installation, sources: Sequence[str] = ()) -> list[Taken]:
    """Snapshot these sources, or all; return what was committed.

    Raises:
        ConfigError: No source, or one of an unknown name.
        TenureError: One failed; those before it are committed and stay.
    """
    names = _ordered(installation, sources)
    group = random_bytes(16)
    taken: list[Taken] = []
    views: dict[str, View] = {}
    try:
        for name in names:
            with installation.alone(f"snapshot-{name}"):
                taken.append(_recorded(installation, name, group, views))
    finally:
        for view in views.values():
            view.close()
    return taken


def _ordered(installation: Installation, sources: Sequence[str]) -> list[str]:
    known = installation.catalogue.sources
    if not known:
        raise ConfigError(
            "no source is configured", hint="name a database or a folder under `sources` in tenure.yaml"
        )
    for name in sources:
        if name not in known:
            raise unknown_source(name, known)
    chosen = list(sources) or list(known)
    return sorted(chosen, key=lambda n: (known[n].kind not in DATABASES, n))


def _recorded(installation: Installation, name: str, group: bytes, views: dict[str, View]) -> Taken:
    """Run one snapshot and record the run, whatever becomes of it."""
    runs = Runs(installation.control)
    run = runs.begin("snapshot", source=name, at=installation.clock.now(), process=this_process())
    try:
        taken = _with_retries(installation, name, group, views)
    except BaseException as e:
        code = e.exit_code if isinstance(e, TenureError) else 130 if isinstance(e, KeyboardInterrupt) else 1
        message = str(e) if isinstance(e, TenureError) else type(e).__name__
        runs.end(run, outcome=RunOutcome.FAILED, at=installation.clock.now(), exit_code=code, error=message)
        raise
    counts = {
        "snapshot": taken.number,
        "records": taken.records,
        "plain": taken.plain,
        "stored": taken.stored,
    }
    outcome = RunOutcome.INCOMPLETE if taken.findings else RunOutcome.DONE
    runs.end(
        run, outcome=outcome, at=installation.clock.now(), exit_code=3 if taken.findings else 0, counts=counts
    )
    return taken


def _with_retries(installation: Installation, name: str, group: bytes, views: dict[str, View]) -> Taken:
    for attempt in range(TRIES):
        try:
            return _Run(installation, name, group, views).take()
        except OvertakenError:
            if attempt == TRIES - 1:
                raise
    raise LeasedError(f"source {name!r} was overtaken by purges {TRIES} times")


class _Run:
    """One try at one source."""

    def __init__(self, installation: Installation, name: str, group: bytes, views: dict[str, View]) -> None:
        self._in = installation
        self._name = name
        self._group = group
        self._views = views
        self._source = installation.catalogue.sources[name]
        self._repository: Repository = installation.open_writing()
        self._rules, self._rules_hash = rules_in_force(self._repository)
        self._declared = msgspec.json.encode(self._source)

    def take(self) -> Taken:
        """Begin, read, write, commit."""
        if self._name not in self._repository.rights.writers:
            # One without snapshots was admitted by a run that was killed before it wrote the key file: a new one will do.
            mine = {
                w
                for w, s in self._repository.state.writers.items()
                if s.source == self._name and not s.removed
            }
            if any(s.entry.writer.hex() in mine for s in self._repository.state.snapshots.values()):
                raise KeyUnavailableError(
                    f"source {self._name!r} has a writer, whose key file writer-{self._name}.key is missing",
                    hint=f"put the file back into {self._in.place.keys}, then run the command again",
                )
            self._in.admit(self._name)
            self._repository = self._in.open_writing()
        seconds = int(self._in.session.total_seconds())
        session = self._repository.begin(self._name, self._in.executor, expires=seconds, alone=True)
        caches = RowCaches(self._in, self._repository, session)
        try:
            return self._take(session, caches)
        except BaseException as e:
            session.abandon(type(e).__name__)
            raise
        finally:
            caches.close()

    def _take(self, session: Session, caches: RowCaches) -> Taken:
        # The view is taken after the session began: whatever was deleted before `begin` is not in it.
        old = self._views.pop(self._name, None)
        if old is not None:
            old.close()
        view = self._views[self._name] = self._in.sources[self._name].begin(self._lookups())
        taken = Taken(source=self._name, number=0, taken_at=view.taken_at)
        for data_set in view.data_sets():
            self._data_set(session, view, data_set, caches, taken)
        taken.findings += view.findings
        structure = view.structure()
        outcome = Outcome(
            group=self._group,
            taken_at=view.taken_at.timestamp(),
            tool=_TOOL,
            catalogue=self._declared,
            settings=self._in.settings_text,
            detector=DETECTOR_VERSION,
            rules=bytes.fromhex(self._rules_hash),
            structure=session.add_structure(structure) if structure else b"",
            redacted=taken.cut,
            quarantined=taken.quarantined,
            unreadable=taken.unreadable,
            findings=frozenset(taken.waiting),
            not_scanned=tuple(
                f"{part} of {name}" for name in self._recordings_sets() for part in ("sidecars", "sound")
            ),
            left_out=len(taken.findings),
        )
        before = session.chunks
        taken.number = session.commit(outcome)
        taken.chunks, taken.stored = before.stored_chunks, before.bytes_put
        caches.keep(taken.number)
        self._look_back(session.begin.base, taken)
        return taken

    def _look_back(self, base: int, taken: Taken) -> None:
        """Report a source that is empty and was not: a disk that is not mounted looks so."""
        before = self._repository.state.snapshots.get(base)
        if before is not None and before.entry.rows and not taken.records:
            reason = f"it is empty now; snapshot {base} has {before.entry.rows} records. Is its disk mounted?"
            taken.findings.append(Finding(reason=reason, where=b""))

    def _data_set(self, session: Session, view: View, data_set: str, caches: RowCaches, taken: Taken) -> None:
        declared = self._source.data_sets.get(data_set)
        if declared is not None and declared.kind is DataSetKind.RECORDINGS:
            self._recordings(session, view, data_set, taken)
        else:
            self._table(session, view, data_set, caches, taken)

    @cached_property
    def _redactor(self) -> "Redactor":
        # Imported here: recordings need no detector of text.
        from tenure.operations.answers import answers_of  # noqa: PLC0415
        from tenure.operations.redaction import Redactor  # noqa: PLC0415

        at = self._repository.place.objects.now()
        key = self._repository.keys_of(self._repository.rights.writers[self._name].secrets.writer).finding
        answers = answers_of(self._repository.state, self._name, key, at)
        return Redactor(self._rules, self._in.catalogue, answers)

    def _table(self, session: Session, view: View, data_set: str, caches: RowCaches, taken: Taken) -> None:
        layout = view.layout(data_set)
        total = view.count(data_set)
        settings = self._settings(session, data_set, layout)
        base = session.base.trees(data_set) if session.base.layout(data_set) == layout else {}
        cache, homes = caches.open(data_set, settings, layout), fullest_open(session.base.cohorts(data_set))
        writer = TableWriter(session.chunks, cache, base, settings, homes=homes, scratch=caches.scratch)
        task = self._in.progress.begin(f"{self._name}: {data_set}", total=total, unit="rows")
        redact = self._redactor.for_table(data_set, layout)
        for batch in view.rows(data_set, redact.refine):
            redact.count(batch)
            codes, cohorts = cohorts_of(batch, data_set, self._rules, session.open_span)
            if batch.noted.waiting:
                codes, cohorts = in_quarantine(codes, cohorts, batch.noted.waiting)
            writer.feed(batch, codes, cohorts)
            task.advance(len(batch))
        result = writer.end()
        task.end()
        if result.rows != total:
            raise IncompleteSnapshotError(
                f"data set {data_set!r} has {total} rows, and {result.rows} were read; nothing was committed",
                hint="run the snapshot again; if it stays so, check the database with its own tools",
            )
        session.add_table(data_set, layout, result.trees, plain=result.bytes)
        caches.add(data_set, settings, layout, result.cache)
        taken.records += result.rows
        taken.plain += result.bytes
        taken.changes[data_set] = result.changes
        _count_cards(redact, taken)

    def _recordings(self, session: Session, view: View, data_set: str, taken: Taken) -> None:
        task = self._in.progress.begin(f"{self._name}: {data_set}", total=None, unit="bytes")
        writer = session.media(data_set, open_recording=view.open, progress=task)
        same = session.base.is_by(catalogue=self._declared, rules=bytes.fromhex(self._rules_hash), tool=_TOOL)
        for batch in view.recordings(data_set, writer.unchanged if same else None):
            codes, cohorts = cohorts_of(batch, data_set, self._rules, session.open_span)
            writer.feed(batch, [cohorts[c] for c in codes.tolist()])
        trees = writer.end()
        task.end()
        session.add_recordings(data_set, trees)
        taken.records += writer.counts.records
        taken.plain += writer.counts.plain
        taken.findings += writer.counts.left_out
        n = writer.counts
        taken.changes[data_set] = Changes(new=n.records - n.unchanged)

    def _settings(self, session: Session, data_set: str, layout: RowLayout) -> TableSettings:
        keys = self._repository.keys_of(session.begin.writer)
        declared = self._source.data_sets.get(data_set)
        subjects = dict(declared.subjects) if declared is not None else {}
        expressions = Expressions(layout=layout, subjects=subjects, zone=self._source.time_zone)
        return TableSettings(
            table=data_set,
            key_cells=layout.key_cells,
            identity_key=keys.identity,
            mix_key=keys.mix,
            row_seed=keys.row_seed,
            cut_key=keys.cut,
            subjects=tuple(sorted(subjects)),
            expressions=layouts.encode(expressions),
            detector=DETECTOR_VERSION,
        )

    def _recordings_sets(self) -> list[str]:
        """Return the data sets that card detection cannot look into."""
        sets = self._source.data_sets.items()
        return sorted(name for name, d in sets if d.kind is DataSetKind.RECORDINGS)

    def _lookups(self) -> Lookups:
        """Return lookups into the databases of this run, for recordings whose facts stand in a row."""
        found: dict[str, object] = {}
        for name, view in self._views.items():
            if self._in.catalogue.sources[name].kind in DATABASES:
                found.update(view.lookups())  # type: ignore[attr-defined]
        return found  # type: ignore[return-value]


def _count_cards(redact: "TableRedactor", taken: Taken) -> None:
    found: tuple[tuple[dict[str, Any], Any], ...] = (
        (taken.cut, dict(sorted(redact.lines.items()))),
        (taken.likely, redact.likely),
        (taken.quarantined, redact.waiting),
        (taken.unreadable, dict(sorted(redact.unreadable.items()))),
    )
    for into, what in found:
        if what:
            into[redact.data_set] = what
    taken.waiting |= redact.findings
