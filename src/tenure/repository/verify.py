"""Verify: names against bytes without keys, structure with the index keys, data with the reading key.

It goes on after a finding and lists everything, with the snapshots each finding touches.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from tenure.crypto.hashing import content_hash
from tenure.crypto.signing import VerifyKey
from tenure.domain.errors import ObjectNotFoundError, TamperedError, TenureError
from tenure.domain.progress import Progress
from tenure.objectstore.base import ObjectStore
from tenure.repository import names
from tenure.repository.entries import AdmitClear, CheckpointClear
from tenure.repository.envelope import Envelope
from tenure.repository.keystores import KeyStores, NamedStore
from tenure.repository.ledger import envelopes
from tenure.repository.manifest import parse_manifest
from tenure.repository.model import ChunkRef, Cohort
from tenure.repository.nodes import ref_of
from tenure.repository.page import open_index, parse_page
from tenure.repository.places import Place, Places
from tenure.repository.readback import ReadBack, Reading
from tenure.repository.repository import Repository
from tenure.repository.secrets import STRUCTURE
from tenure.repository.state import SnapshotState
from tenure.repository.structure import Get, Root, TreeWire, lists_of, names_of, nodes_of, read_root


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
    with suppress(ObjectNotFoundError):  # as in `_parse`
        if names.pack(content_hash(objects.get(name))) != name:
            raise TamperedError(f"{name} was changed: its bytes do not match its name")


def with_keys(repository: Repository, *, reading: Reading, progress: Progress) -> Verification:
    """Check that every live snapshot resolves, and read data back, what was looked at longest ago first.

    Cohort by cohort: what is in memory at a time is the page indexes, keys and tree nodes of one cohort (less than
    1 kB a chunk of it), the page indexes of structure (as much for each 1,024 chunks of the source), and the roots of live
    snapshots (24 bytes for each 1,024 chunks, equal ones once). It does not grow with the number of cohorts but by
    these.
    """
    found = Verification()
    state = repository.refresh()
    for page in list(state.pages.values()):  # a list: the state goes on when the ledger is read on
        lacking = repository.place.key_stores.lacking(page.ref)
        if lacking and page.ref.page.hex() not in repository.refresh().pages:
            continue  # replaced meanwhile
        name = names.page(page.ref.epoch, page.ref.tag, page.ref.page)
        found.pages += 1
        found.damage += [
            Damage(what=f"key store {n} does not have this page whole", where=name) for n in lacking
        ]
    for writer_id in sorted(state.writers):
        writer = bytes.fromhex(writer_id)
        snapshots = [s for s in state.snapshots.values() if s.entry.writer == writer]
        if snapshots:
            _Checker(repository, writer, snapshots, found).check(reading, progress)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """One cohort in one snapshot, as its root names it. `kind`: of the root."""

    snapshot: SnapshotState
    kind: str
    wire: TreeWire

    def nodes(self, get: Get) -> Iterator[ChunkRef]:
        """Yield the references of its nodes."""
        for layer in self.wire.layers:
            yield from nodes_of(layer, get)

    def names(self, ref: ChunkRef, get: Get) -> bool:
        """Whether a structure chunk is one of its nodes, or of the lists of them."""
        with suppress(TenureError):  # a list that cannot be read was reported before
            return ref in lists_of(self.wire) or ref in set(self.nodes(get))
        return False


class _Checker:
    """Checks one writer's snapshots, cohort by cohort."""

    def __init__(
        self, repository: Repository, writer: bytes, snapshots: list[SnapshotState], found: Verification
    ) -> None:
        self._repository = repository
        self._writer = writer
        self._snapshots = sorted(snapshots, key=lambda s: s.number)
        self._found = found
        self._reader = repository.chunk_reader(repository.keys_of(writer))
        self._roots: dict[ChunkRef, Root] = {}
        self._tops: dict[int, set[ChunkRef]] = {}
        self._trees: dict[Cohort, list[_Tree]] = {STRUCTURE: []}
        # Of the cohort at hand: what its nodes name, and what each snapshot reaches of it.
        self._named: dict[ChunkRef, tuple[ChunkRef, ...]] = {}
        self._closed: dict[int, frozenset[ChunkRef]] = {}

    def check(self, reading: Reading, progress: Progress) -> None:
        """Resolve every reference, then read data back."""
        for snapshot in self._snapshots:
            self._found.snapshots += 1
            where, touched = snapshot.entry.manifest, (snapshot.number,)
            _try(self._found, where, partial(self._take_roots, snapshot), touched)
        self._take_in_all_pages()
        task = progress.begin("Checking cohorts", total=len(self._trees), unit="cohorts")
        sizes: dict[Cohort, int] = {}
        for cohort in sorted(self._trees):
            sizes[cohort] = self._cohort(cohort)
            task.advance(1)
        task.end()
        if reading.share > 0:
            self._read_back(reading, sizes, progress)

    def _read_back(self, reading: Reading, sizes: Mapping[Cohort, int], progress: Progress) -> None:
        most = math.ceil(sum(sizes.values()) * reading.share)
        task = progress.begin("Reading data back", total=most, unit="bytes")

        def told(chunks: int, size: int) -> None:
            self._found.chunks += chunks
            self._found.bytes += size
            task.advance(size)

        back = ReadBack(
            reader=self._reader,
            reading=reading,
            head=self._repository.state.number,
            at=self._repository.place.objects.now().timestamp(),
            found=self._damaged,
            told=told,
            let_go=self._let_go,
        )
        back.run(sizes, most_bytes=most)
        task.end()

    def _take_roots(self, snapshot: SnapshotState) -> None:
        """Take in a snapshot's roots, each root that snapshots share once."""
        manifest = self._repository.manifest(snapshot)
        tops = self._tops[snapshot.number] = set[ChunkRef]()
        if manifest.structure:
            tops.add(ref_of(manifest.structure))
            self._reader.structure(ref_of(manifest.structure))
        for line in manifest.data_sets.values():
            ref = ref_of(line.root)
            tops.add(ref)
            if ref not in self._roots:
                self._roots[ref] = read_root(self._reader.structure(ref))
            root = self._roots[ref]
            for cohort, wire in root.cohorts():
                tree = _Tree(snapshot=snapshot, kind=root.wire.kind, wire=wire)
                self._trees.setdefault(cohort, []).append(tree)

    def _take_in_all_pages(self) -> None:
        """Take in cohorts that no snapshot reaches any more, too."""
        for page in self._repository.state.live_pages(frozenset({self._writer})):
            try:
                cohort, _, _ = open_index(self._repository.place.key_stores.get(page.ref), self._reader.keys)
            except TenureError as e:
                name = names.page(page.ref.epoch, page.ref.tag, page.ref.page)
                self._found.damage.append(Damage(what=str(e), where=name))
                continue
            self._trees.setdefault(cohort, [])

    def _cohort(self, cohort: Cohort) -> int:
        """Check that what names a cohort's chunks finds them, and let go of it; returns its stored bytes."""
        trees = self._trees[cohort]
        try:
            places = self._reader.index(cohort).places
        except TenureError as e:
            touched = tuple(sorted(t.snapshot.number for t in trees))
            self._found.damage.append(Damage(what=str(e), where="key pages", snapshots=touched))
            return 0
        for tree in trees:
            where, touched = tree.snapshot.entry.manifest, (tree.snapshot.number,)
            self._reader.read_as_of(tree.snapshot.number)
            _try(self._found, where, partial(self._resolve, cohort, tree, places), touched)
        stored = places.stored
        self._let_go(cohort)
        return stored

    def _let_go(self, cohort: Cohort) -> None:
        self._named.clear()
        self._closed.clear()
        if cohort != STRUCTURE:  # which every other cohort's nodes are read by
            self._reader.drop(cohort)

    def _resolve(self, cohort: Cohort, tree: _Tree, places: Places) -> None:
        """Find every chunk that a tree names; the first node that cannot be read ends it."""
        where, touched = tree.snapshot.entry.manifest, (tree.snapshot.number,)
        for node in tree.nodes(self._reader.structure):
            for ref in self._names_of(tree, node):
                if ref not in places:
                    _try(self._found, where, partial(self._reader.locate, cohort, ref), touched)

    def _names_of(self, tree: _Tree, node: ChunkRef) -> tuple[ChunkRef, ...]:
        """Return what a node names; one that snapshots share is read once."""
        if node not in self._named:
            self._named[node] = tuple(names_of(node, tree.kind, self._reader.structure))
        return self._named[node]

    def _damaged(self, cohort: Cohort, place: Place, error: TenureError) -> None:
        touched = self._who_reaches(cohort, place.ref)
        self._found.damage.append(Damage(what=str(error), where=names.pack(place.pack), snapshots=touched))

    def _who_reaches(self, cohort: Cohort, ref: ChunkRef) -> tuple[int, ...]:
        """Return the snapshots that need a chunk; worked out for damaged ones only, which are few."""
        if cohort == STRUCTURE:
            needing = {n for n, tops in self._tops.items() if ref in tops}
            trees = (t for found in self._trees.values() for t in found)
            return tuple(
                sorted(needing | {t.snapshot.number for t in trees if t.names(ref, self._reader.structure)})
            )
        for tree in self._trees[cohort]:
            number = tree.snapshot.number
            if number not in self._closed:
                self._closed[number] = frozenset(self._reached(cohort, tree))
        return tuple(sorted(n for n, reached in self._closed.items() if ref in reached))

    def _reached(self, cohort: Cohort, tree: _Tree) -> set[ChunkRef]:
        """Return what a tree names, what replaced it, and what stands beside that."""
        index, found = self._reader.index(cohort), set[ChunkRef]()
        with suppress(TenureError):  # a node that cannot be read was reported before
            for node in tree.nodes(self._reader.structure):
                found.update(self._names_of(tree, node))
        queue = list(found)
        while queue:
            gone = index.gone.get(queue.pop())
            if gone is not None and gone.replacement is not None and gone.replacement not in found:
                found.add(gone.replacement)
                queue.append(gone.replacement)
        return found | {index.places[ref].companion for ref in found if ref in index.places}


def _ledger(objects: ObjectStore, purge_key: VerifyKey, found: Verification) -> None:
    keys = {purge_key.key_id: purge_key}
    for info, entry in envelopes(objects):
        found.entries += 1
        signer = keys.get(entry.header.signer)
        if signer is None:
            found.damage.append(
                Damage(what="signed by a key that the ledger never admitted", where=info.name)
            )
            continue
        _try(found, info.name, partial(_entry, entry, signer, keys, purge_key))


def _entry(entry: Envelope, signer: VerifyKey, keys: dict[bytes, VerifyKey], purge_key: VerifyKey) -> None:
    """Check an entry's signature; only then, and only where the purge key made it, are its admissions believed."""
    entry.verify(signer)
    clear = entry.header.clear
    if signer != purge_key:
        return
    admits = clear.admits if isinstance(clear, CheckpointClear) else (clear,)
    for admit in admits:
        if isinstance(admit, AdmitClear):
            key = _public(admit, entry.header.number)
            keys[key.key_id] = key


def _public(admit: AdmitClear, number: int) -> VerifyKey:
    try:
        return VerifyKey(admit.public)
    except ValueError as e:
        raise TamperedError(f"ledger entry {number} admits a writer with something that is no key") from e


def _parse(parse: Callable[..., object], store: ObjectStore, name: str) -> None:
    with suppress(
        ObjectNotFoundError
    ):  # deleted since it was listed: whether it should be there, `with_keys` says
        parse(store.get(name), name=name)


def _try(
    found: Verification, where: str, work: Callable[[], object], snapshots: tuple[int, ...] = ()
) -> None:
    try:
        work()
    except TenureError as e:
        found.damage.append(Damage(what=str(e), where=where, snapshots=snapshots))
