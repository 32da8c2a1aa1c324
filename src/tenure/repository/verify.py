"""Verify: names against bytes without keys, structure with the index keys, data with the reading key.

It goes on after a finding and lists everything, with the snapshots each finding touches.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from tenure.crypto.hashing import content_hash
from tenure.crypto.signing import VerifyKey
from tenure.domain.errors import TamperedError, TenureError
from tenure.domain.progress import Progress
from tenure.objectstore.base import ObjectStore
from tenure.repository import names
from tenure.repository.chunkreader import Place
from tenure.repository.entries import AdmitClear, CheckpointClear
from tenure.repository.keystores import KeyStores, NamedStore
from tenure.repository.ledger import envelopes
from tenure.repository.manifest import parse_manifest
from tenure.repository.model import ChunkKind, ChunkRef, Cohort
from tenure.repository.page import open_index, parse_page
from tenure.repository.reach import Reach
from tenure.repository.repository import Repository
from tenure.repository.state import SnapshotState


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A finding. `what`: a sentence; `where`: the object's name; `snapshots`: numbers it touches, where known."""

    what: str
    where: str
    snapshots: tuple[int, ...] = ()


@dataclass(slots=True, kw_only=True)
class Verification:
    """What was looked at and what was found; `damage` empty is the good case."""

    entries: int = 0
    packs: int = 0
    pages: int = 0
    manifests: int = 0
    chunks: int = 0
    snapshots: int = 0
    bytes: int = 0
    damage: list[Damage] = field(default_factory=list)


def without_keys(
    objects: ObjectStore, stores: KeyStores, purge_key: VerifyKey, progress: Progress
) -> Verification:
    """Check what anyone can check: names against bytes, the ledger's chain and signatures."""
    found = Verification()
    try:
        _ledger(objects, purge_key, found)
    except TenureError as e:
        found.damage.append(Damage(what=str(e), where=names.LEDGER))
    infos = list(objects.list(names.PACKS))
    task = progress.begin("Checking packs", total=sum(i.size for i in infos), unit="bytes")
    for info in infos:
        found.packs += 1
        found.bytes += info.size
        _try(found, info.name, partial(_pack, objects, info.name))
        task.advance(info.size)
    task.end()
    for info in objects.list(names.MANIFESTS):
        found.manifests += 1
        _try(found, info.name, partial(_parse, parse_manifest, objects, info.name))
    for named in stores.stores:
        _try(found, named.name, partial(_pages, named, found))
    return found


def _pages(named: NamedStore, found: Verification) -> None:
    for info in named.store.list(names.PAGES):
        found.pages += 1
        _try(found, f"{named.name}: {info.name}", partial(_parse, parse_page, named.store, info.name))


def _pack(objects: ObjectStore, name: str) -> None:
    if names.pack(content_hash(objects.get(name))) != name:
        raise TamperedError(f"{name} was changed: its bytes do not match its name")


def with_keys(repository: Repository, *, share: float, progress: Progress) -> Verification:
    """Check that every live snapshot resolves, and unseal a share (0 to 1) of all chunks.

    Chunks are taken evenly over each cohort, so that a small share still meets every cohort.
    """
    found = Verification()
    state = repository.refresh()
    for page in state.pages.values():
        lacking = repository.place.key_stores.lacking(page.ref)
        name = names.page(page.ref.epoch, page.ref.tag, page.ref.page)
        found.pages += 1
        found.damage += [
            Damage(what=f"key store {n} does not have this page whole", where=name) for n in lacking
        ]
    for writer_id in sorted(state.writers):
        writer = bytes.fromhex(writer_id)
        snapshots = [s for s in state.snapshots.values() if s.entry.writer == writer]
        if snapshots:
            _Checker(repository, writer, snapshots, found).check(share, progress)
    return found


class _Checker:
    """Checks one writer's snapshots."""

    def __init__(
        self, repository: Repository, writer: bytes, snapshots: list[SnapshotState], found: Verification
    ) -> None:
        self._repository = repository
        self._writer = writer
        self._snapshots = snapshots
        self._found = found
        self._reader = repository.chunk_reader(repository.keys_of(writer))
        self._touched: dict[Cohort, set[int]] = {}
        self._closed: dict[tuple[int, Cohort], frozenset[ChunkRef]] = {}

    def check(self, share: float, progress: Progress) -> None:
        """Resolve every reference, then read a share of the chunks."""
        for snapshot in sorted(self._snapshots, key=lambda s: s.number):
            self._found.snapshots += 1
            try:
                reach = Reach(self._repository, self._writer).add([snapshot])
            except TenureError as e:
                damage = Damage(what=str(e), where=snapshot.entry.manifest, snapshots=(snapshot.number,))
                self._found.damage.append(damage)
                continue
            self._reader.read_as_of(snapshot.number)
            for cohort, refs in reach.refs.items():
                self._touched.setdefault(cohort, set()).add(snapshot.number)
                for ref in refs:
                    _try(
                        self._found,
                        snapshot.entry.manifest,
                        partial(self._reader.locate, cohort, ref),
                        (snapshot.number,),
                    )
        self._take_in_all_pages()
        step = max(1, round(1 / share)) if share > 0 else 0
        task = progress.begin("Unsealing chunks", total=len(self._touched), unit="cohorts")
        for cohort in sorted(self._touched) if step else ():
            for place in self._places(cohort)[::step]:
                self._chunk(cohort, place)
            self._reader.drop(cohort)
            task.advance(1)
        task.end()

    def _take_in_all_pages(self) -> None:
        """Take in cohorts that no snapshot reaches any more, too."""
        for page in self._repository.state.live_pages(frozenset({self._writer})):
            try:
                cohort, _, _ = open_index(self._repository.place.key_stores.get(page.ref), self._reader.keys)
            except TenureError as e:
                name = names.page(page.ref.epoch, page.ref.tag, page.ref.page)
                self._found.damage.append(Damage(what=str(e), where=name))
                continue
            self._touched.setdefault(cohort, set())

    def _places(self, cohort: Cohort) -> list[Place]:
        try:
            return list(self._reader.index(cohort).places.values())
        except TenureError as e:
            touched = tuple(sorted(self._touched[cohort]))
            self._found.damage.append(Damage(what=str(e), where="key pages", snapshots=touched))
            return []

    def _chunk(self, cohort: Cohort, place: Place) -> None:
        self._found.chunks += 1
        self._found.bytes += place.length

        def read() -> None:
            plain = self._reader.open(cohort, place, self._reader.read(place))
            keys = self._reader.keys
            if (
                place.kind is not ChunkKind.MEDIA
                and keys.row_id(keys.tag(cohort), place.kind, plain) != place.ref.id
            ):
                raise TamperedError(f"chunk {place.ref.id.hex()} opens, and is not the chunk of this id")

        try:
            read()
        except TenureError as e:
            touched = self._who_reaches(cohort, place.ref)
            self._found.damage.append(Damage(what=str(e), where=names.pack(place.pack), snapshots=touched))

    def _who_reaches(self, cohort: Cohort, ref: ChunkRef) -> tuple[int, ...]:
        """Return the snapshots that need a chunk; worked out for damaged ones only, which are few."""
        found = []
        for snapshot in self._snapshots:
            key = (snapshot.number, cohort)
            if key not in self._closed:
                self._closed[key] = frozenset()
                with suppress(TenureError):  # reported before
                    self._closed[key] = frozenset(
                        Reach(self._repository, self._writer).add([snapshot]).closed(cohort)
                    )
            if ref in self._closed[key]:
                found.append(snapshot.number)
        return tuple(sorted(found))


def _ledger(objects: ObjectStore, purge_key: VerifyKey, found: Verification) -> None:
    keys = {purge_key.key_id: purge_key}
    for info, entry in envelopes(objects):
        found.entries += 1
        clear = entry.header.clear
        admits = (
            clear.admits
            if isinstance(clear, CheckpointClear)
            else (clear,)
            if isinstance(clear, AdmitClear)
            else ()
        )
        for admit in admits:
            key = VerifyKey(admit.public)
            keys[key.key_id] = key
        signer = keys.get(entry.header.signer)
        if signer is None:
            found.damage.append(
                Damage(what="signed by a key that the ledger never admitted", where=info.name)
            )
            continue
        _try(found, info.name, partial(entry.verify, signer))


def _parse(parse: Callable[..., object], store: ObjectStore, name: str) -> object:
    return parse(store.get(name), name=name)


def _try(
    found: Verification, where: str, work: Callable[[], object], snapshots: tuple[int, ...] = ()
) -> None:
    try:
        work()
    except TenureError as e:
        found.damage.append(Damage(what=str(e), where=where, snapshots=snapshots))
