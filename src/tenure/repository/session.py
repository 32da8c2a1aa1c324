"""One session: from `begin` to the commit that makes a snapshot exist, or to nothing.

Packs first, then key pages to every key store, then the manifest, then the ledger's next number: that one put is
the commit. Whatever happens before it leaves objects that the ledger does not name, which the next sweep deletes.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, TypeVar

from tenure.crypto.hashing import content_hash
from tenure.crypto.signing import SigningKey
from tenure.domain.errors import LeasedError, OvertakenError
from tenure.domain.progress import ProgressTask
from tenure.keys.base import Wrapper
from tenure.objectstore.base import ObjectStore
from tenure.repository import names, structure, voids
from tenure.repository.basis import Basis
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.chunkwriter import ChunkWriter
from tenure.repository.entries import Begin, PageRef, Snapshot, Void
from tenure.repository.keystores import KeyStores
from tenure.repository.ledger import Ledger
from tenure.repository.manifest import CutLine, DataSetLine, Manifest, seal_manifest
from tenure.repository.marker import Parameters
from tenure.repository.mediawriter import MediaWriter
from tenure.repository.model import ChunkRef, Cohort, Tree
from tenure.repository.nodes import join
from tenure.repository.openspans import open_span
from tenure.repository.packs import Packer, Until
from tenure.repository.page import PagePlain, seal_page
from tenure.repository.secrets import SourceKeys
from tenure.repository.state import SnapshotState, State
from tenure.repository.structure import NewMediaTree
from tenure.repository.structurecache import StructureCache
from tenure.sources.base import Recording, RowLayout

T = TypeVar("T")

UPLOADS = "pack-put"
"""What the names of the threads that put packs begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParts:
    """What a session works with; made by `Repository.begin`. `cache`: file of tree nodes that were read before."""

    objects: ObjectStore
    key_stores: KeyStores
    ledger: Ledger
    keys: SourceKeys
    key: SigningKey
    repository: bytes
    wrapper: Wrapper
    epoch: int
    parameters: Parameters
    until: Until
    executor: Executor
    reader: ChunkReader
    base: tuple[SnapshotState, Manifest] | None
    cache: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the operation says of a finished snapshot; see `Manifest`. `findings`: what waits in quarantine, by name."""

    group: bytes
    taken_at: float
    tool: str
    catalogue: bytes
    settings: bytes
    detector: str
    rules: bytes
    structure: bytes = b""
    redacted: Mapping[str, Mapping[str, CutLine]] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)
    not_scanned: tuple[str, ...] = ()
    unreadable: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    findings: frozenset[bytes] = frozenset()
    left_out: int = 0


class Uploads(Executor):
    """Two threads that put packs, until `close`.

    What is handed in later is put all the same, each by a thread of its own that ends with it: jobs of a session that
    failed may still be sealing, and wait for the buffers which only a put gives back.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._threads: Executor | None = ThreadPoolExecutor(max_workers=2, thread_name_prefix=UPLOADS)

    def submit(self, fn: Callable[..., T], /, *args: Any, **named: Any) -> Future[T]:
        """See `Executor.submit`; works after `close`, too."""
        with self._lock:
            if self._threads is not None:
                return self._threads.submit(fn, *args, **named)
        late = ThreadPoolExecutor(max_workers=1, thread_name_prefix=UPLOADS)
        try:
            return late.submit(fn, *args, **named)
        finally:
            late.shutdown(wait=False)

    def close(self) -> None:
        """Wait for what was handed in, and end the threads."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=True)


class Session:
    """A snapshot in the making. Belongs to one thread; ends with `commit` or `abandon`."""

    def __init__(self, parts: SessionParts, begin: Begin, number: int) -> None:
        self._parts = parts
        self.begin = begin
        self.number = number
        self._uploads = Uploads()
        state = parts.ledger.state
        self.open_span = open_span(state.sessions[begin.session.hex()].began_at)
        # While a forgetting of this source is open, its chunks may be about to go: nothing of them is built upon.
        self.may_reuse = not state.sessions[begin.session.hex()].fresh
        self._cache = None if parts.cache is None else StructureCache.open(parts.cache)
        self.base = Basis(
            parts.reader, parts.base, state, begin.session, may_reuse=self.may_reuse, cache=self._cache
        )
        self.chunks = ChunkWriter(
            keys=parts.keys,
            repository=parts.repository,
            packer=Packer(parts.objects, self._uploads, pack_bytes=parts.parameters.pack, until=parts.until),
            executor=parts.executor,
            known=self.base.known,
        )
        self._lines: dict[str, DataSetLine] = {}

    def media(
        self,
        data_set: str,
        *,
        open_recording: Callable[[Recording], BinaryIO],
        progress: ProgressTask,
    ) -> MediaWriter:
        """Return a writer for a set of recordings."""
        return MediaWriter(
            chunks=self.chunks,
            keys=self._parts.keys,
            base=self.base.recordings(data_set),
            executor=self._parts.executor,
            chunk_bytes=self._parts.parameters.media_chunk,
            open_recording=open_recording,
            returning=self._returning,
            progress=progress,
        )

    def _returning(self, cohort: Cohort) -> dict[bytes, ChunkRef]:
        known = self.base.returning(cohort, self._parts.keys.tag(cohort))
        return {chunk_id: ref for chunk_id, (ref, _) in known.items()}

    def add_table(self, data_set: str, layout: RowLayout, trees: tuple[Tree, ...], *, plain: int) -> None:
        """Enter a finished table into the snapshot."""
        root = structure.write_table(data_set, layout, trees, self.chunks.put_structure)
        records = sum(t.rows for t in trees)
        self._lines[data_set] = DataSetLine(root=join(root), kind="table", records=records, plain=plain)

    def add_recordings(self, data_set: str, trees: tuple[NewMediaTree, ...]) -> None:
        """Enter a finished set of recordings into the snapshot."""
        root = structure.write_recordings(data_set, trees, self.chunks.put_structure)
        records, plain = sum(t.records for t in trees), sum(t.plain for t in trees)
        self._lines[data_set] = DataSetLine(root=join(root), kind="recordings", records=records, plain=plain)

    def add_structure(self, raw: bytes) -> bytes:
        """Store the source's own schema; return what `Outcome.structure` wants."""
        return join(self.chunks.put_structure(raw))

    def commit(self, outcome: Outcome) -> int:
        """Put everything and commit; return the snapshot's number. Whatever comes of it, the session's threads end.

        Raises:
            OvertakenError: A forgetting began or was judged since the session began; nothing was committed.
            LeasedError: The session was voided or lapsed; nothing was committed.
            ObjectStoreError: A put failed; nothing was committed.
        """
        try:
            number = self._commit(outcome)
        except BaseException:
            self._close()
            raise
        self._close(tidy=self.may_reuse)
        return number

    def _commit(self, outcome: Outcome) -> int:
        parts = self._parts
        refs = self._put_pages(self.chunks.end())
        manifest = self._manifest(outcome)
        raw = seal_manifest(manifest, keys=parts.keys, repository=parts.repository, key=parts.key)
        name = names.manifest(self.number, self.begin.session)
        parts.objects.put(name, raw)
        entry = Snapshot(
            session=self.begin.session,
            writer=parts.keys.writer,
            source=self.begin.source,
            group=outcome.group,
            manifest=name,
            manifest_hash=content_hash(raw),
            view=self.number,
            taken_at=outcome.taken_at,
            rows=sum(line.records for line in self._lines.values()),
            plain=sum(line.plain for line in self._lines.values()),
            pages=tuple(refs),
            findings=tuple(sorted(f for f in outcome.findings if f.hex() not in parts.ledger.state.findings)),
        )
        state = parts.ledger.append(entry, parts.key, check=lambda newest: self._may_commit(newest, entry))
        if state.number not in state.snapshots:
            # Between the check and the put its time ran out.
            raise self._lapsed()
        return state.number

    def abandon(self, reason: str) -> None:
        """Void the session; what it put stays unnamed and is swept."""
        self._close()
        void = Void(session=self.begin.session, writer=self._parts.keys.writer, reason=reason)
        self._parts.ledger.append(void, self._parts.key)

    def _close(self, *, tidy: bool = False) -> None:
        self._uploads.close()
        if self._cache is not None:
            self._cache.close(tidy=tidy)

    def _may_commit(self, state: State, entry: Snapshot) -> None:
        session = state.sessions.get(self.begin.session.hex())
        now = self._parts.objects.now().timestamp()
        if session is None or session.lapsed(now):
            raise self._lapsed()
        refusal = voids.snapshot(state, entry, at=now)
        if refusal:
            raise OvertakenError(
                f"while {self.begin.source!r} was read, records of it were purged or keys were rotated: {refusal}"
            )

    def _lapsed(self) -> LeasedError:
        return LeasedError(
            f"the snapshot of {self.begin.source!r} took longer than its session may last, or was voided; nothing was"
            " committed",
            hint="run the snapshot again; raise `session_hours` if it always takes this long",
        )

    def _put_pages(self, plain: list[PagePlain]) -> list[PageRef]:
        """Put pages, some at a time; none is on its way any more when this returns or raises."""
        puts = [self._parts.executor.submit(self._put_page, page) for page in plain]
        wait(puts)
        return [put.result() for put in puts]

    def _put_page(self, plain: PagePlain) -> PageRef:
        parts = self._parts
        ref, raw = seal_page(
            plain,
            keys=parts.keys,
            repository=parts.repository,
            epoch=parts.epoch,
            session=self.begin.session,
            wrapper=parts.wrapper,
        )
        parts.key_stores.put(ref, raw)
        return ref

    def _manifest(self, outcome: Outcome) -> Manifest:
        return Manifest(
            session=self.begin.session,
            group=outcome.group,
            source=self.begin.source,
            taken_at=outcome.taken_at,
            view=self.number,
            tool=outcome.tool,
            structure=outcome.structure,
            data_sets=dict(sorted(self._lines.items())),
            redacted={name: dict(cut) for name, cut in outcome.redacted.items()},
            quarantined=dict(outcome.quarantined),
            not_scanned=outcome.not_scanned,
            unreadable={name: dict(cells) for name, cells in outcome.unreadable.items()},
            left_out=outcome.left_out,
            catalogue=outcome.catalogue,
            settings=outcome.settings,
            detector=outcome.detector,
            rules=outcome.rules,
        )
