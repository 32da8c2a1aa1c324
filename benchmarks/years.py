"""Three years of hourly snapshots, metadata only: the installation that `yearcosts` looks at.

A call centre of 30 tables with 72 months each, of which hourly three cohorts of each table change, and of 100,000
recordings a day that all stay. The end state is made in bulk: real key pages, nodes, roots and a real ledger with every
snapshot of three years, pruned once a day; chunks are a few bytes each, those of recordings have no pack. From there
on real sessions take hourly snapshots, and a real prune runs. Time is that of a clock which is set.
"""

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from benchmarks import bulk
from benchmarks.tenure import SOURCE, Tenure
from tenure.bootstrap.wiring import Machine, build
from tenure.crypto.hashing import random_bytes
from tenure.domain.progress import SilentProgress
from tenure.operations.installation import Installation
from tenure.repository import names, wire
from tenure.repository.entries import Begin, Prune, Snapshot
from tenure.repository.keeping import KeepPolicy, plan_prune
from tenure.repository.layering import next_layer
from tenure.repository.manifest import DataSetLine
from tenure.repository.model import ChunkKind, ChunkRef, Cohort, Layer, Tree, TreeEntry
from tenure.repository.nodes import NODE_ENTRIES, MediaNodeWire
from tenure.repository.page import GONE, MOST_ENTRIES, Array, PagePlain, pages_of
from tenure.repository.repository import Repository
from tenure.repository.session import Outcome, Session
from tenure.repository.state import SnapshotState, State
from tenure.repository.structure import NewMediaTree
from tenure.rules.facts import Facts
from tenure.sources.base import Recording, RecordingBatch, RowLayout

POLICY = KeepPolicy(last=3, hourly=48, daily=35, weekly=12, monthly=36, yearly=3)
LAYOUT = RowLayout(columns=("id", "note"), key_cells=1)
CALLS = "call_recordings"
CHUNKS_A_TABLE_MONTH = 4
CHANGED_COHORTS = 3  # of each table, in an hour
RECORDING_BYTES = 400_000
HOUR = timedelta(hours=1)


class SetClock:
    """A clock that stands until it is set."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """Return the time it was set to."""
        return self.at


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much there is."""

    tables: int = 30
    months: int = 72
    recordings_a_day: int = 100_000
    days: int = 1_095

    @property
    def recordings(self) -> int:
        """Return how many recordings there are at the end."""
        return self.recordings_a_day * self.days


@dataclass(slots=True)
class Years:
    """The installation with its years."""

    side: Tenure
    scale: Scale
    clock: SetClock
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(20260309))
    made: int = 0
    _lines: dict[str, DataSetLine] = field(default_factory=dict)

    def installation(self) -> Installation:
        """Open the installation under the set clock."""
        machine = Machine(clock=self.clock, progress=SilentProgress())
        return build(self.side.scratch / "tenure.yaml", machine)

    def build(self) -> None:
        """Make the end state, but for the last hours."""
        installation = self.installation()
        repository = installation.open_reading()
        begun = time.perf_counter()
        self._contents(repository, installation)
        print(f"  tables and recordings: {time.perf_counter() - begun:.0f} s")
        self._hours(repository, installation)
        print(f"  ledger of {self.scale.days * 24} hours: {time.perf_counter() - begun:.0f} s in all")
        installation.close()

    def _contents(self, repository: Repository, installation: Installation) -> None:
        """Put every table's base, and month by month the recordings; each month is a snapshot."""
        trees: list[NewMediaTree] = []
        left, month = self.scale.recordings, 0
        while left or not month:
            count = min(left, self.scale.recordings_a_day * 30)
            session = begun(repository, installation)
            pages = self._calls_of(session, bulk.cohort(month), count, trees)
            ended = session.chunks.end
            if month == 0:
                for table in range(self.scale.tables):
                    self._first(session, f"table{table:02d}")
            else:
                session._lines |= self._lines  # noqa: SLF001 - the tables as they are
            session.add_recordings(CALLS, tuple(trees))
            session.chunks.end = lambda ended=ended, pages=pages: [*ended(), *pages]  # type: ignore[method-assign,misc]
            self._lines = dict(session._lines)  # noqa: SLF001
            committed(session, installation)
            left, month = left - count, month + 1

    def _first(self, session: Session, table: str) -> None:
        trees = []
        for month in range(self.scale.months):
            cohort = replace(bulk.cohort(month), data_set=table)
            entries = tuple(self._chunk(session, cohort) for _ in range(CHUNKS_A_TABLE_MONTH))
            trees.append(Tree(cohort=cohort, layers=(Layer(tier=9, entries=entries),), rows=1000))
        session.add_table(table, LAYOUT, tuple(trees), plain=1)

    def _chunk(self, session: Session, cohort: Cohort) -> TreeEntry:
        plain = self.rng.bytes(2_000)
        chunk, beside = session.chunks.put(cohort, ChunkKind.ROWS, plain, lambda: plain[:300])
        return TreeEntry(chunk=chunk, kind=ChunkKind.ROWS, records=10, plain=1_000_000, companion=beside)

    def _calls_of(
        self, session: Session, cohort: Cohort, count: int, trees: list[NewMediaTree]
    ) -> list[PagePlain]:
        """Put a month's nodes; return its pages."""
        pages: list[PagePlain] = []
        nodes: list[ChunkRef] = []
        done = 0
        while done < count:
            some = min(count - done, MOST_ENTRIES * 16)
            entries, deks, packs = bulk.entries_of(self.rng, some + -(-some // bulk.RECORDINGS_A_COMPANION))
            pages += pages_of(cohort, entries, deks, np.zeros(0, GONE), packs)
            media = entries[entries["kind"] == ChunkKind.MEDIA]
            nodes += [
                session.chunks.put_structure(wire.encode(node)) for node in _nodes(self.rng, media[:some])
            ]
            done += some
        tree = NewMediaTree(
            cohort=cohort, nodes=tuple(nodes), entries=(), records=count, plain=count * RECORDING_BYTES
        )
        trees.append(tree)
        return pages

    def _hours(self, repository: Repository, installation: Installation) -> None:
        """Let the hours pass: a snapshot in each, and what the policy does not keep is dropped once a day."""
        hours = [self.clock.now() + (n + 1) * HOUR for n in range(self.scale.days * 24)]
        staying = surviving(hours)
        for number, at in enumerate(hours):
            self.clock.at = at
            if number in staying:
                session = begun(repository, installation)
                session._lines |= self._lines  # noqa: SLF001 - nothing changed
                committed(session, installation)
            else:
                self._passing(repository)
            if number % 24 == 23:
                plan = plan_prune(repository.refresh(), POLICY)
                drop, reasons = [n for n, _ in plan.drop], [r for _, r in plan.drop]
                entry = Prune(snapshots=tuple(drop), reasons=tuple(reasons))
                repository.ledger.append(entry, repository.purge_key)

    def _passing(self, repository: Repository) -> None:
        """Say in the ledger that a snapshot was begun and taken; nothing of it is there any more in the end."""
        writer = repository.rights.writers[SOURCE]
        session, mine = random_bytes(16), writer.secrets.writer
        begin = Begin(session=session, writer=mine, source=SOURCE, base=0, expires=3600)
        number = repository.ledger.append(begin, writer.key).number
        taken = Snapshot(
            session=session,
            writer=mine,
            source=SOURCE,
            group=bytes(16),
            manifest=names.manifest(number, session),
            manifest_hash=bytes(32),
            view=number,
            taken_at=self.clock.now().timestamp(),
            rows=self.scale.recordings,
            plain=1,
            pages=(),
            findings=(),
        )
        repository.ledger.append(taken, writer.key)

    def hour(self, repository: Repository, installation: Installation) -> int:
        """Take a real snapshot of an hour; return the records in it."""
        session = begun(repository, installation)
        for table in range(self.scale.tables):
            self._changed(session, f"table{table:02d}")
        self._recorded(session)
        return committed(session, installation)

    def _changed(self, session: Session, table: str) -> None:
        trees = session.base.trees(table)
        last = max(trees)
        others = self.rng.choice(len(trees), CHANGED_COHORTS - 1, replace=False).tolist()
        for cohort in {last, *(sorted(trees)[n] for n in others)}:
            old = trees[cohort]
            start, tier = next_layer(old)
            new = Layer(tier=tier if start else 9, entries=(self._chunk(session, cohort),))
            trees[cohort] = replace(old, layers=(*old.layers[:start], new))
        session.add_table(table, LAYOUT, tuple(trees.values()), plain=1)

    def _recorded(self, session: Session) -> None:
        count = self.scale.recordings_a_day // 24
        progress = SilentProgress().begin("", total=None, unit="")
        writer = session.media(CALLS, open_recording=lambda _: io.BytesIO(bytes(16)), progress=progress)
        writer._base._kept[:] = True  # noqa: SLF001 - each of them is still there; asking for each is the source's work
        paths = [f"new/{self.made + n:09d}.wav".encode() for n in range(count)]
        self.made += count
        recordings = tuple(
            Recording(path=p, size=16, mtime_ns=1, mode=0o644, sidecar_path=b"", sidecar=b"") for p in paths
        )
        facts = Facts(
            data_set=CALLS,
            keys=pa.array(paths, pa.large_binary()),
            subjects={"customer": pa.array([p.decode() for p in paths], pa.large_string())},
            starting={"call ended": np.full(count, self.clock.now().replace(tzinfo=None), "datetime64[s]")},
            attributes={},
        )
        cohort = bulk.cohort(-(-self.scale.days // 30))
        for at in range(0, count, 1000):
            part = slice(at, at + 1000)
            some = Facts(
                data_set=CALLS, keys=facts.keys[part], subjects={k: v[part] for k, v in facts.subjects.items()},
                starting={k: v[part] for k, v in facts.starting.items()}, attributes={},
            )  # fmt: skip
            batch = RecordingBatch(recordings=recordings[part], facts=some)
            writer.feed(batch, [cohort] * len(batch.recordings))
        session.add_recordings(CALLS, writer.end())


def _nodes(rng: np.random.Generator, media: Array) -> Iterator[MediaNodeWire]:
    """Yield nodes of recordings of one chunk each."""
    for at in range(0, len(media), NODE_ENTRIES):
        part = media[at : at + NODE_ENTRIES]
        refs, beside = np.zeros((len(part), 24), np.uint8), np.zeros((len(part), 24), np.uint8)
        for into, chunk_id, inc in ((refs, "id", "inc"), (beside, "cid", "cinc")):
            into[:, :16] = np.frombuffer(np.ascontiguousarray(part[chunk_id]).tobytes(), np.uint8).reshape(
                -1, 16
            )
            into[:, 16:] = np.frombuffer(np.ascontiguousarray(part[inc]).tobytes(), np.uint8).reshape(-1, 8)
        yield MediaNodeWire(
            paths=rng.bytes(16 * len(part)),
            chunks=(1,) * len(part),
            refs=refs.tobytes(),
            companions=beside.tobytes(),
            places=tuple(n % 256 for n in range(len(part))),
            sizes=(RECORDING_BYTES,) * len(part),
        )


def surviving(hours: Sequence[datetime]) -> set[int]:
    """Return which of hourly snapshots are there at the end, when the policy is applied once a day."""
    empty = Snapshot(
        session=bytes(16), writer=bytes(8), source=SOURCE, group=bytes(16), manifest="", manifest_hash=b"",
        view=0, taken_at=0.0, rows=0, plain=0, pages=(), findings=(),
    )  # fmt: skip
    state = State()
    for number, at in enumerate(hours):
        state.snapshots[number] = SnapshotState(number=number, entry=empty, committed_at=at.timestamp())
        state.number = number
        if number % 24 == 23:
            for gone, _ in plan_prune(state, POLICY).drop:
                del state.snapshots[gone]
    return set(state.snapshots)


def begun(repository: Repository, installation: Installation) -> Session:
    """Begin a session."""
    return repository.begin(SOURCE, installation.executor, expires=3600, alone=True)


def committed(session: Session, installation: Installation) -> int:
    """Commit a session."""
    at = installation.clock.now().timestamp()
    return session.commit(
        Outcome(
            group=bytes(16), taken_at=at, tool="benchmark", catalogue=b"{}", settings=b"{}", detector="", rules=b""
        )
    )  # fmt: skip
