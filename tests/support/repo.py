"""A repository in memory, and small snapshots of model tables and recordings in it."""

import io
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from support.clock import FixedClock
from tenure.cards.detect import find
from tenure.cards.quarantine import finding_id
from tenure.crypto.hpke import RecipientPrivate
from tenure.crypto.signing import SigningKey
from tenure.domain.progress import SilentProgress
from tenure.keys.local import LocalKeyring
from tenure.objectstore.base import ObjectStore
from tenure.objectstore.memory import MemoryStore
from tenure.repository import layouts, repository
from tenure.repository.entries import Recipient
from tenure.repository.entryobjects import HeadMemory
from tenure.repository.headfile import HeadInMemory
from tenure.repository.keystores import KeyStores, NamedStore
from tenure.repository.layering import TableSettings
from tenure.repository.layouts import Expressions
from tenure.repository.marker import Parameters
from tenure.repository.model import Cohort
from tenure.repository.repository import Pins, Repository, Rights, Writer
from tenure.repository.secrets import SourceKeys
from tenure.repository.session import Outcome, Session
from tenure.repository.snapshotreader import Balance
from tenure.repository.tablewriter import TableWriter
from tenure.rules.facts import Facts
from tenure.sources.base import Recording, RecordingBatch, RowBatch, RowLayout

LAYOUT = RowLayout(columns=("id", "customer", "text"), key_cells=1)
Rows = Mapping[int, tuple[str, str, str]]  # key -> (month, customer, text)
Calls = Mapping[str, tuple[str, str, bytes]]  # path -> (month, customer, bytes)


@dataclass
class House:
    """Everything of an installation that tests need to hold in their hands."""

    clock: FixedClock = field(default_factory=FixedClock)
    objects: ObjectStore | None = None
    key_stores: list[ObjectStore] = field(default_factory=list)
    memory: HeadMemory = field(default_factory=HeadInMemory)
    purge: SigningKey = field(default_factory=SigningKey.generate)
    readers: list[RecipientPrivate] = field(default_factory=lambda: [RecipientPrivate.generate()])
    recovery: RecipientPrivate = field(default_factory=RecipientPrivate.generate)
    writers: dict[str, Writer] = field(default_factory=dict)
    executor: Executor = field(default_factory=lambda: ThreadPoolExecutor(2))
    parameters: Parameters = field(
        default_factory=lambda: Parameters(pack=64 * 1024, media_chunk=4096, row_chunk=4096)
    )
    requests: Executor | None = None
    id: bytes = b""

    def __post_init__(self) -> None:
        self.objects = self.objects or MemoryStore(self.clock)
        self.key_stores = self.key_stores or [MemoryStore(self.clock), MemoryStore(self.clock)]

    def place(self) -> repository.Place:
        assert self.objects is not None
        stores = [NamedStore(name=f"keys-{i}", store=s) for i, s in enumerate(self.key_stores)]
        return repository.Place(
            objects=self.objects,
            key_stores=KeyStores(stores),
            memory=self.memory,
            readers=self.requests,
        )

    def recipients(self) -> tuple[Recipient, ...]:
        publics = [("reader", self.readers[-1].public()), ("recovery", self.recovery.public())]
        return tuple(Recipient(role=r, provider="local", key_id=p.key_id, public=p.raw) for r, p in publics)

    def private_halves(self) -> LocalKeyring:
        """Return what proves that the newest recipients can unwrap, and nothing older."""
        return LocalKeyring([self.readers[-1], self.recovery])

    def create(self, *sources: str) -> Repository:
        founding = repository.Founding(
            purge=self.purge,
            recipients=self.recipients(),
            created=datetime(2026, 3, 1, tzinfo=UTC),
            one_person=True,
            parameters=self.parameters,
        )
        self.id = repository.create(self.place(), founding).repository_id
        repo = self.open(reader=True)
        for source in sources:
            self.writers[source] = repo.admit(source)
        return self.open(reader=True)

    def pins(self) -> Pins:
        return Pins(repository=self.id, purge_key=self.purge.public())

    def open(self, *, reader: bool, writers: bool = True) -> Repository:
        rights = Rights(
            writers=self.writers if writers else {},
            unwrapper=LocalKeyring(self.readers) if reader else None,
            purge=self.purge if reader else None,
        )
        return Repository.open(self.place(), self.pins(), rights)


def _month(span: str) -> str:
    return "NaT" if ":" in span else span  # open, or in quarantine


def batch_of(rows: Rows) -> RowBatch:
    """Return rows as row text, in key order, with the customer as their subject."""
    keys = sorted(rows)
    lines = [f"i{k}\tt{rows[k][1]}\tt{rows[k][2]}\n".encode() for k in keys]
    facts = Facts(
        data_set="notes",
        keys=pa.array([f"i{k}".encode() for k in keys], pa.large_binary()),
        subjects={"customer": pa.array([rows[k][1] for k in keys], pa.large_string())},
        starting={"made": np.array([_month(rows[k][0]) for k in keys], "datetime64[s]")},
        attributes={},
    )
    offsets = np.cumsum([0] + [len(line) for line in lines]).astype(np.int64)
    return RowBatch(text=b"".join(lines), offsets=offsets, facts=facts)


def settings(session: Session, source_keys: object) -> TableSettings:
    expressions = Expressions(layout=LAYOUT, subjects={"customer": "customer"}, zone="UTC")
    keys = source_keys
    return TableSettings(
        table="notes",
        key_cells=1,
        identity_key=keys.identity,  # type: ignore[attr-defined]
        mix_key=keys.mix,  # type: ignore[attr-defined]
        row_seed=keys.row_seed,  # type: ignore[attr-defined]
        cut_key=keys.cut,  # type: ignore[attr-defined]
        subjects=("customer",),
        expressions=layouts.encode(expressions),
        target_bytes=4096,
        open_target_bytes=1024,
    )


def write_rows(repo: Repository, session: Session, rows: Rows) -> None:
    """Write the table `notes` into a session."""
    keys = repo.keys_of(session.begin.writer)
    writer = TableWriter(session.chunks, None, session.base.trees("notes"), settings(session, keys))
    months = sorted({r[0] for r in rows.values()})
    cohorts = [Cohort(data_set="notes", rule_class="", span=m) for m in months]
    codes = np.array([months.index(rows[k][0]) for k in sorted(rows)], np.int32)
    writer.feed(batch_of(rows), codes, cohorts)
    result = writer.end()
    session.add_table("notes", LAYOUT, result.trees, plain=result.bytes)


def write_calls(session: Session, calls: Calls) -> None:
    """Write the recordings `calls` into a session."""
    writer = session.media(
        "calls",
        open_recording=lambda r: io.BytesIO(calls[r.path.decode()][2]),
        progress=SilentProgress().begin("", total=None, unit=""),
    )
    paths = sorted(calls)
    recordings = tuple(
        Recording(
            path=p.encode(),
            size=len(calls[p][2]),
            mtime_ns=1,
            mode=0o644,
            sidecar_path=b"x",
            sidecar=p.encode(),
        )
        for p in paths
    )
    facts = Facts(
        data_set="calls",
        keys=pa.array([p.encode() for p in paths], pa.large_binary()),
        subjects={"customer": pa.array([calls[p][1] for p in paths], pa.large_string())},
        starting={"ended": np.array([calls[p][0] for p in paths], "datetime64[s]")},
        attributes={},
    )
    cohorts = [Cohort(data_set="calls", rule_class="", span=calls[p][0]) for p in paths]
    writer.feed(RecordingBatch(recordings=recordings, facts=facts), cohorts)
    session.add_recordings("calls", writer.end())


def outcome(at: datetime, findings: frozenset[bytes] = frozenset()) -> Outcome:
    return Outcome(
        group=bytes(16),
        taken_at=at.timestamp(),
        tool="test",
        catalogue=b"{}",
        settings=b"{}",
        detector="",
        rules=b"",
        findings=findings,
    )


def finding(house: House, text: str, data_set: str = "notes", column: str = "text") -> bytes:
    """Return the name of the one thing in a text that may be card data."""
    (found,) = find(text)
    return finding_id(
        SourceKeys(house.writers["crm"].secrets).finding, data_set, column, text.encode(), found
    )


def take(
    house: House,
    rows: Rows,
    calls: Calls | None = None,
    *,
    source: str = "crm",
    alone: bool = True,
    findings: frozenset[bytes] = frozenset(),
) -> int:
    """Take a whole snapshot, as a process that can only write; return its number."""
    repo = house.open(reader=False)
    session = repo.begin(source, house.executor, expires=3600, alone=alone)
    write_rows(repo, session, rows)
    if calls is not None:
        write_calls(session, calls)
    return session.commit(outcome(house.clock.now(), findings))


def read_rows(
    repo: Repository, number: int, executor: Executor
) -> tuple[dict[int, tuple[str, str]], Balance]:
    """Return key -> (customer, text) of a snapshot."""
    reader, balance = repo.read(number, executor), Balance()
    found: dict[int, tuple[str, str]] = {}
    for batch in reader.rows("notes", balance):
        for line in bytes(batch.text).decode().splitlines():
            key, customer, text = line.split("\t")
            assert int(key[1:]) not in found
            found[int(key[1:])] = (customer[1:], text[1:])
    return found, balance


def read_calls(repo: Repository, number: int, executor: Executor) -> dict[str, bytes]:
    """Return path -> bytes of a snapshot's recordings."""
    reader, balance = repo.read(number, executor), Balance()
    found = {}
    for cohort, meta in reader.recordings("calls", balance):
        assert meta.recording.sidecar == meta.recording.path
        found[meta.recording.path.decode()] = b"".join(map(bytes, reader.pieces(cohort, meta)))
    return found


def identities(
    repo: Repository, source: str, keys: Iterable[bytes]
) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    """Return the identities of record keys, as a scope wants them."""
    from tenure.repository.rows import identity_of, sorted_unique

    writer = max(repo.state.writers_of(source))
    found: Sequence[bytes] = [identity_of(k, repo.keys_of(writer).identity) for k in keys]
    return sorted_unique(np.frombuffer(b"".join(found), np.uint8).reshape(-1, 16))
