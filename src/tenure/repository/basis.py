"""What a session builds on: the base snapshot's trees, as far as everything they name is still there.

The ledger says which cohorts a forgetting took something from since; all others are taken as they are, without their
pages and nodes being read: a snapshot costs what changed, and not what there is. Against damage, which no ledger knows,
so many pages and nodes are read in each session, others each time; what they name is stored again where one is
damaged. That costs dedup, and mends.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import groupby

from tenure.crypto.hashing import content_hash
from tenure.domain.errors import IntegrityError
from tenure.repository import structure
from tenure.repository.chunkreader import TOGETHER, ChunkReader
from tenure.repository.manifest import Manifest
from tenure.repository.mediabase import BaseRecordings
from tenure.repository.model import NO_CHUNK, ChunkRef, Cohort, Tree
from tenure.repository.nodes import MediaEntry, MediaNodeWire, media_entries, read_media_node, ref_of
from tenure.repository.secrets import STRUCTURE
from tenure.repository.state import PageState, SnapshotState, State
from tenure.repository.structure import Root, TreeWire, read_root
from tenure.repository.structurecache import StructureCache
from tenure.sources.base import RowLayout

LOOKED_AT = 64
"""Key pages, and about as many nodes of all tables together, that a session reads to see whether they are whole."""

_SHRUNK = 0.9  # of the most records that a live snapshot has: a base with fewer may lack what comes back

Known = dict[bytes, tuple[ChunkRef, ChunkRef]]
"""Chunks by id, each with its companion."""


class Basis:
    """The base of one session. Belongs to one thread."""

    def __init__(
        self,
        reader: ChunkReader,
        base: tuple[SnapshotState, Manifest] | None,
        state: State,
        session: bytes,
        *,
        may_reuse: bool,
        cache: StructureCache | None = None,
    ) -> None:
        """Take the base; None where there is none that can be read. `state`: when the session began.

        `may_reuse`: False where nothing that was stored before may be named.
        """
        base = base if may_reuse else None
        self._reader = reader
        self._cache = cache
        self._manifest = base[1] if base is not None else None
        self._number = base[0].number if base is not None else 0
        self._session = session
        self._state = state
        self._pages: dict[bytes, list[PageState]] = {}
        for page in state.live_pages(frozenset({reader.keys.writer})) if may_reuse else ():
            self._pages.setdefault(page.ref.tag, []).append(page)
        rows = [s.entry.rows for s in state.snapshots.values() if s.entry.writer == reader.keys.writer]
        # More is stored than the base says: of all cohorts, and of some.
        self._lacks = base is None or base[0].entry.rows < _SHRUNK * max(rows, default=0)
        self._lacking = set[Cohort]()
        self._trees: dict[Cohort, TreeWire] = {}
        self._structure: Known = {}
        self._spoiled = set[bytes]()

    def is_by(self, *, catalogue: bytes, rules: bytes, tool: str) -> bool:
        """Whether the base was taken by the same catalogue, rules and program: what it says of a record holds still."""
        base = self._manifest
        return base is not None and (base.catalogue, base.rules, base.tool) == (catalogue, rules, tool)

    def trees(self, data_set: str) -> dict[Cohort, Tree]:
        """Return the base's trees of a table that are whole, their nodes not read."""
        root = self._root(data_set, "table")
        trees: dict[Cohort, Tree] = {}
        wires = dict(root.cohorts()) if root is not None else {}
        doubtful = {cohort for cohort in wires if self._is_doubtful(cohort)}
        looked_at = doubtful | self._sample(wires)
        nodes = self._nodes_anew([wires[cohort] for cohort in looked_at])
        for cohort, wire in wires.items():
            with suppress(IntegrityError):
                if cohort in looked_at:
                    tree = structure.read_tree(cohort, wire, lambda ref: nodes.get(ref) or self._get(ref))
                    if cohort in doubtful and not self._is_whole(tree):
                        continue
                trees[cohort] = structure.stored_tree(cohort, wire)
        self._trees |= {cohort: wires[cohort] for cohort in trees}
        return trees

    def recordings(self, data_set: str) -> BaseRecordings:
        """Return the base's recordings, less those of which something was forgotten or is damaged."""
        found = BaseRecordings(self._media_node)
        root = self._root(data_set, "recordings")
        wires = dict(root.cohorts()) if root is not None else {}
        places = [(cohort, ref) for cohort, wire in wires.items() for ref in self._nodes_of(wire, cohort)]
        doubtful = {cohort for cohort in wires if self._is_doubtful(cohort)}
        # Of all cohorts together: one request brings what lies together.
        nodes = self._structures(refs := [ref for _, ref in places], anew=self._chosen(refs))
        for cohort, mine in groupby(zip(places, nodes, strict=True), key=lambda pair: pair[0][0]):
            for (_, ref), raw in mine:
                node, lost = _node_of(raw, ref), list[int]()
                if node is not None:
                    lost = self._lost(cohort, node) if cohort in doubtful else lost
                    found.add(cohort, ref, node, lost)
                if node is None or lost:
                    self._lacking.add(cohort)
            self._reader.drop(cohort)
        return found.end()

    def cohorts(self, data_set: str) -> list[tuple[Cohort, int]]:
        """Return the cohorts of the base's table with their records, damaged and cut ones too."""
        root = self._root(data_set, "table")
        return [] if root is None else [(cohort, wire.records) for cohort, wire in root.cohorts()]

    def layout(self, data_set: str) -> RowLayout | None:
        """Return how the base's lines of a table are laid out; None where there is no base."""
        root = self._root(data_set, "table")
        return None if root is None else root.layout

    def known(self, cohort: Cohort, tag: bytes) -> Known:
        """Return what is stored of a cohort and may be named again.

        What the base's tree names, where that is whole. Else, and where the base lacks much, because it is damaged
        or was taken while a disk was not mounted: all that live pages name.
        """
        wire = self._trees.get(cohort)
        if wire is not None and not self._lacks:
            with suppress(IntegrityError):
                nodes = dict(zip(refs := self._nodes_of(wire), self._structures(refs), strict=True))
                tree = structure.read_tree(cohort, wire, lambda ref: nodes.get(ref) or self._get(ref))
                entries = [e for layer in tree.layers for e in layer.entries]
                return {e.chunk.id: (e.chunk, e.companion or NO_CHUNK) for e in entries}
        if tag not in self._pages:
            return {}
        places = self._reader.index(cohort).places
        found = {place.ref.id: (place.ref, place.companion) for place in places.values()}
        if cohort == STRUCTURE:
            self._structure = {i: pair for i, pair in found.items() if i not in self._spoiled}
            return self._structure
        self._reader.drop(cohort)
        return found

    def returning(self, cohort: Cohort, tag: bytes) -> Known:
        """Return what is stored of a cohort of recordings, where the base may lack what comes back."""
        return self.known(cohort, tag) if self._lacks or cohort in self._lacking else {}

    def _root(self, data_set: str, kind: str) -> Root | None:
        line = self._manifest.data_sets.get(data_set) if self._manifest is not None else None
        return self._roots.get(ref_of(line.root)) if line is not None and line.kind == kind else None

    @cached_property
    def _roots(self) -> dict[ChunkRef, Root]:
        """Return the roots of all data sets; one that is damaged is stored again."""
        lines = self._manifest.data_sets.values() if self._manifest is not None else ()
        found: dict[ChunkRef, Root] = {}
        refs = [ref_of(line.root) for line in lines]
        for ref, raw in zip(refs, self._structures(refs, anew=refs), strict=True):
            with suppress(IntegrityError):
                if raw is not None:
                    found[ref] = read_root(raw)
        self._lacks |= len(found) < len(set(refs))
        return found

    def _nodes_anew(self, wires: Sequence[TreeWire]) -> dict[ChunkRef, bytes | None]:
        """Read the nodes of some trees from the store."""
        refs = [ref for wire in wires for ref in self._nodes_of(wire)]
        return dict(zip(refs, self._structures(refs, anew=refs), strict=True))

    def _nodes_of(self, wire: TreeWire, cohort: Cohort | None = None) -> list[ChunkRef]:
        """Return a tree's nodes, as far as they are named whole; of `cohort` something is lacking where they are not."""
        lists = dict(zip(refs := structure.lists_of(wire), self._structures(refs), strict=True))

        def get(ref: ChunkRef) -> bytes:
            found = lists.get(ref)
            return self._get(ref) if found is None else found

        nodes: list[ChunkRef] = []
        for layer in wire.layers:
            try:
                nodes += structure.nodes_of(layer, get)
            except IntegrityError:
                self._lacking |= {cohort} if cohort is not None else set()
        return nodes

    def _structures(self, refs: Sequence[ChunkRef], anew: Iterable[ChunkRef] = ()) -> Iterator[bytes | None]:
        """Yield structure chunks, None for one that is damaged; those of `anew` are read from the store in any case."""
        anew = frozenset(anew)
        for at in range(0, len(refs), TOGETHER):
            some = refs[at : at + TOGETHER]
            here = {ref: raw for ref in some if ref not in anew and (raw := self._kept(ref)) is not None}
            read = self._reader.structures([ref for ref in some if ref not in here], self._keep)
            for ref in some:
                raw = here[ref] if ref in here else next(read)[1]
                if raw is None:
                    self._spoil(ref)
                yield raw

    def _chosen(self, refs: Sequence[ChunkRef]) -> Sequence[ChunkRef]:
        """Return some of many nodes, others in each session."""
        step = max(len(refs) // LOOKED_AT, 1)
        return refs[int.from_bytes(self._session[:4], "little") % step :: step]

    def _kept(self, ref: ChunkRef) -> bytes | None:
        """Return a structure chunk that was read in an earlier session."""
        sealed = None if self._cache is None else self._cache.get(ref)
        if sealed is None or self._cache is None:
            return None
        try:
            return self._reader.structure_in(ref, sealed)
        except IntegrityError:
            self._cache.drop(ref)
            return None

    def _keep(self, ref: ChunkRef, sealed: bytes | memoryview) -> None:
        if self._cache is not None and ref not in self._cache:
            self._cache.add(ref, sealed)

    def _get(self, ref: ChunkRef) -> bytes:
        """Return a structure chunk; one that is damaged is not named again."""
        try:
            return self._reader.structure(ref)
        except IntegrityError:
            self._spoil(ref)
            raise

    def _spoil(self, ref: ChunkRef) -> None:
        self._spoiled.add(ref.id)
        self._structure.pop(ref.id, None)

    def _media_node(self, ref: ChunkRef) -> MediaNodeWire:
        """Read a node again that was whole when the base was read, here or in the store."""
        return read_media_node(self._kept(ref) or self._reader.structure(ref), ref)

    def _lost(self, cohort: Cohort, node: MediaNodeWire) -> list[int]:
        """Return the places of recordings of which the pages lack something.

        A companion that was replaced, because another recording in it was forgotten, still describes the others.
        """
        places = self._reader.index(cohort).places
        return [
            at
            for at, entry in enumerate(media_entries(node))
            if not all(chunk in places for chunk in entry.chunks) or not self._describes(cohort, entry)
        ]

    def _describes(self, cohort: Cohort, entry: MediaEntry) -> bool:
        with suppress(IntegrityError):
            return self._reader.locate(cohort, entry.companion) is not None
        return False

    def _is_whole(self, tree: Tree) -> bool:
        """Whether nothing of a tree was forgotten or is damaged."""
        places = self._reader.index(tree.cohort).places
        found = all(e.chunk in places for layer in tree.layers for e in layer.entries)
        self._reader.drop(tree.cohort)
        return found

    def _is_doubtful(self, cohort: Cohort) -> bool:
        """Whether pages of a cohort were cut since the base was committed, or one that was looked at is damaged."""
        tag = self._reader.keys.tag(cohort)
        cut = max(self._state.cohorts_cut.get(tag.hex(), 0), self._state.cohorts_gone.get(tag.hex(), 0))
        return cut > self._number or tag in self._damaged or tag not in self._pages

    def _sample(self, wires: dict[Cohort, TreeWire]) -> set[Cohort]:
        """Return trees whose nodes are read, others in each session."""
        tags = {cohort: self._reader.keys.tag(cohort) for cohort in wires}
        tables = len(self._manifest.data_sets) if self._manifest is not None else 1
        left, found = max(LOOKED_AT // tables, 1), set[Cohort]()
        for cohort in sorted(wires, key=lambda c: content_hash(self._session, tags[c])):
            left -= sum(layer.records > 0 for layer in wires[cohort].layers)
            if left < 0:
                break
            found.add(cohort)
        return found

    @cached_property
    def _damaged(self) -> set[bytes]:
        """Return the tags of cohorts of which a page is damaged, of so many pages."""
        structure_tag = self._reader.keys.tag(STRUCTURE)
        pages = [p.ref for tag, some in self._pages.items() if tag != structure_tag for p in some]
        chosen = sorted(pages, key=lambda ref: content_hash(self._session, ref.page))[:LOOKED_AT]
        return {ref.tag for ref, whole in self._reader.are_whole(chosen) if not whole}


def _node_of(raw: bytes | None, ref: ChunkRef) -> MediaNodeWire | None:
    with suppress(IntegrityError):
        return None if raw is None else read_media_node(raw, ref)
    return None
