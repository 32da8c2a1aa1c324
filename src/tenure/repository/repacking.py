"""Repacking: what lives in packs that are mostly dead is copied into new ones, so that the old ones can go.

Only ciphertext moves: a chunk is bound to neither pack nor epoch, so its key, id and incarnation stay. A pack is read
whole and must match its name, and each chunk must open under its key, before one byte of it is written anew.
New packs and pages are put first; one `merge` entry makes them what is live; the old pages are deleted; then
the old packs are named by nothing. A death before the entry leaves new objects that the ledger does not name, a death
after it old ones: sweeps delete both.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tenure.crypto.aead import open_into
from tenure.crypto.hashing import content_hash
from tenure.domain.errors import IntegrityError, ObjectNotFoundError, TamperedError, TruncatedError
from tenure.domain.progress import Progress
from tenure.objectstore.base import ObjectInfo
from tenure.repository import chunks, names
from tenure.repository.content import CohortContent, rewriter_of
from tenure.repository.model import ChunkKind, ChunkRef
from tenure.repository.packs import HEADER_BYTES, OpenPack, Packer, group_of
from tenure.repository.repository import Repository
from tenure.repository.session import Uploads
from tenure.repository.state import PageState, State
from tenure.repository.survey import Survey

DEAD_SHARE = 3
"""A pack is repacked when more than one part in this many of its bytes is dead."""

BATCH_BYTES = 256 * 1024 * 1024
"""Live bytes that one `merge` moves: what a death loses, and far less than its lease has time for."""


@dataclass(slots=True, kw_only=True)
class Repacked:
    """What was repacked. `packs`: old ones that nothing names now; `chunks`, `copied`: moved, and bytes put for it.

    `unsound`: names of packs that were left alone because their bytes are not what was written; `pending`: key stores
    that did not confirm that old pages are gone.
    """

    packs: int = 0
    chunks: int = 0
    copied: int = 0
    unsound: list[str] = field(default_factory=list)
    pending: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class WornPack:
    """A pack that may be worth repacking. `live`: bytes of it that live pages name."""

    id: bytes
    info: ObjectInfo
    live: int

    @property
    def is_worn(self) -> bool:
        """Whether more than a third of it is dead."""
        return (self.info.size - HEADER_BYTES - self.live) * DEAD_SHARE > self.info.size


@dataclass(slots=True)
class _Move:
    """A chunk on its way: row `row` of `content`. `pack` and `offset`: where to."""

    content: CohortContent
    row: int
    pack: OpenPack | None = None
    offset: int = 0

    def placed(self, pack: OpenPack, offset: int) -> None:
        self.pack, self.offset = pack, offset


def at_rest(state: State) -> frozenset[bytes]:
    """Return the writers whose source is neither being snapshotted nor losing anything: their pages may be rewritten."""
    busy = {s.source for s in state.sessions.values()}
    busy |= {source for f in state.open_forgets() for source in f.intent.sources}
    return frozenset(bytes.fromhex(w) for w, s in state.writers.items() if s.source not in busy)


class Repacker:
    """Repacks worn packs. Needs the reading key, the purge key, and put and delete on every store."""

    def __init__(self, repository: Repository, progress: Progress, survey: Survey | None = None) -> None:
        """Begin with nothing. `survey`: what is known of pages already."""
        self._repository = repository
        self._progress = progress
        self._survey = survey or Survey(repository)
        self._scratch = bytearray()
        self.done = Repacked()

    def repack(self) -> Iterator[ObjectInfo]:
        """Repack what is worn; yield each old pack once nothing names it any more, to be deleted by the caller.

        Sources that are being snapshotted, or of which something is being forgotten, wait for the next run.

        Raises:
            IntegrityError: A live page is whole in no key store.
            StalePlanError: A forgetting began meanwhile, or pages were replaced; run it again.
            ObjectStoreError: A store refused; what was switched stands, the rest stays as it was.
        """
        worn = self.worn()
        if not worn:
            return
        task = self._progress.begin("Repacking", total=sum(p.live for p in worn), unit="bytes")
        for batch in _batches(worn):
            yield from self._batch(batch)
            task.advance(sum(p.live for p in batch))
        task.end()

    def worn(self) -> list[WornPack]:
        """Return the packs that are more than a third dead, the most dead first."""
        repository, state = self._repository, self._repository.refresh()
        quiet, live, busy = at_rest(state), dict[bytes, int](), set[bytes]()
        pages = list(state.pages.values())  # a list: the state goes on when the ledger is read on
        surveyed = self._survey.of(pages)
        for page in pages:
            found = surveyed[page.ref.page]
            if page.ref.writer not in quiet:
                busy.update(found)
                continue
            for pack, count in found.items():
                live[pack] = live.get(pack, 0) + count
        there = {info.name: info for info in repository.place.objects.list(names.PACKS)}
        packs = [
            WornPack(id=pack, info=there[names.pack(pack)], live=count)
            for pack, count in live.items()
            if pack not in busy and names.pack(pack) in there
        ]
        return sorted((p for p in packs if p.is_worn), key=lambda p: (p.live / p.info.size, p.id))

    def _batch(self, batch: Sequence[WornPack]) -> Iterator[ObjectInfo]:
        repository = self._repository
        repository.refresh()
        rewriter = rewriter_of(repository)  # before anything is read or put: it says how old that may become
        moves = self._moves(batch)
        moved, copied = self._copied(batch, moves)
        contents = {id(m.content): m.content for some in moved.values() for m in some}
        deletion = rewriter.replace(contents.values(), cause="repack")
        self.done.pending |= deletion.failed
        self.done.copied += copied
        self.done.chunks += sum(len(some) for some in moved.values())
        live = self._survey.of(repository.state.pages.values()).values()
        left = {pack for packs in live for pack in packs if pack in moved}
        for pack in batch:
            if pack.id in moved and pack.id not in left:
                self.done.packs += 1
                yield pack.info

    def _naming(self, packs: frozenset[bytes]) -> list[PageState]:
        """Return the live pages that name one of these packs."""
        pages = list(self._repository.state.pages.values())
        surveyed = self._survey.of(pages)
        return [page for page in pages if not packs.isdisjoint(surveyed[page.ref.page])]

    def _moves(self, batch: Sequence[WornPack]) -> dict[bytes, list[_Move]]:
        """Open the pages that name these packs; return each pack's live chunks, in the order they lie in."""
        repository, ids = self._repository, frozenset(p.id for p in batch)
        groups: dict[tuple[bytes, bytes], list[PageState]] = {}
        for page in self._naming(ids):
            groups.setdefault((page.ref.writer, page.ref.tag), []).append(page)
        moves: dict[bytes, list[_Move]] = {pack: [] for pack in ids}
        for (writer, _), pages in sorted(groups.items()):
            keys = repository.keys_of(writer)
            content = CohortContent.load(pages, keys, repository.place.key_stores, repository.unwrapper)
            for number, pack in enumerate(content.packs):
                if pack in ids:
                    rows = np.flatnonzero(content.entries["pack"] == number)
                    moves[pack] += [_Move(content, row) for row in rows.tolist()]
        for some in moves.values():
            some.sort(key=lambda m: int(m.content.entries["offset"][m.row]))
        return moves

    def _copied(
        self, batch: Sequence[WornPack], moves: dict[bytes, list[_Move]]
    ) -> tuple[dict[bytes, list[_Move]], int]:
        """Copy live chunks into new packs and point their entries there; return what was moved, and bytes put."""
        repository = self._repository
        moved: dict[bytes, list[_Move]] = {}
        uploads = Uploads()
        try:
            packer = Packer(
                repository.place.objects,
                uploads,
                pack_bytes=repository.marker.parameters.pack,
                until=repository.place.until,
            )
            for pack in batch:
                try:
                    raw = self._whole(pack, moves[pack.id])
                except (IntegrityError, ObjectNotFoundError):
                    self.done.unsound.append(pack.info.name)
                    continue
                moved[pack.id] = moves[pack.id]
                for move in moves[pack.id]:
                    _copy(packer, move, raw)
            packer.flush()
        finally:
            uploads.close()
        _point(m for some in moved.values() for m in some)
        return moved, packer.bytes_put

    def _whole(self, pack: WornPack, moves: Sequence[_Move]) -> memoryview:
        """Return a pack's bytes after every check that can be made of them.

        Raises:
            TamperedError: They do not match the pack's name, or a chunk does not open under its key.
            TruncatedError: A chunk would reach beyond its end.
            ObjectNotFoundError: It is gone.
        """
        raw = memoryview(self._repository.place.objects.get(pack.info.name))
        if content_hash(raw) != pack.id:
            raise TamperedError(f"{pack.info.name} was changed: its bytes do not match its name")
        for move in moves:
            self._open(move, raw)
        return raw

    def _open(self, move: _Move, raw: memoryview) -> None:
        content, entry = move.content, move.content.entries[move.row]
        sealed = _sealed(move, raw)
        ref, kind = ChunkRef(entry["id"].tobytes(), entry["inc"].tobytes()), ChunkKind(int(entry["kind"]))
        keys = content.keys
        aad = chunks.bound_to(
            self._repository.id,
            keys.tag(content.cohort),
            ref,
            kind=kind,
            coding=int(entry["coding"]),
            plain=int(entry["plain"]),
        )
        if len(self._scratch) < len(sealed):
            self._scratch = bytearray(len(sealed))
        dek = keys.structure_key(ref) if kind is ChunkKind.STRUCTURE else content.deks[move.row].tobytes()
        open_into(dek, sealed, memoryview(self._scratch), aad=aad)


def _batches(worn: Iterable[WornPack]) -> Iterator[list[WornPack]]:
    batch: list[WornPack] = []
    for pack in worn:
        if batch and sum(p.live for p in batch) + pack.live > BATCH_BYTES:
            yield batch
            batch = []
        batch.append(pack)
    if batch:
        yield batch


def _sealed(move: _Move, raw: memoryview) -> memoryview:
    entry = move.content.entries[move.row]
    start, length = int(entry["offset"]), int(entry["length"])
    if start + length > len(raw):
        raise TruncatedError("a pack ends before a chunk that a key page names in it")
    return raw[start : start + length]


def _copy(packer: Packer, move: _Move, raw: memoryview) -> None:
    sealed, group = _sealed(move, raw), group_of(move.content.cohort)
    if move.content.entries["kind"][move.row] == ChunkKind.COMPANION:
        packer.add_tail(bytes(sealed), move.placed, group)
        return
    slot = packer.reserve(len(sealed), group)
    slot.view[:] = sealed
    move.placed(slot.pack, slot.offset)
    packer.release(slot)


def _point(moves: Iterable[_Move]) -> None:
    """Make the entries name the new places; every new pack was put."""
    places: dict[int, dict[bytes, int]] = {}
    for move in moves:
        content = move.content
        pack, offset = move.pack.place(move.offset) if move.pack is not None else (b"", 0)
        if not pack:
            raise RuntimeError("a chunk was never put")
        known = places.setdefault(id(content), {p: i for i, p in enumerate(content.packs)})
        if pack not in known:
            known[pack] = len(content.packs)
            content.packs.append(pack)
        content.entries["pack"][move.row] = known[pack]
        content.entries["offset"][move.row] = offset
