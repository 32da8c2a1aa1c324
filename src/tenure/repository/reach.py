"""What live snapshots reach: every chunk, companion and structure node of one source's snapshots.

Of a prune's cohorts it is told in arrays, eight bytes for a chunk: a month of calls is millions of chunks. Such marks
are of the chunk's id and incarnation, both random, so two hardly ever have the same; if they do, a chunk stays that could go.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tenure.repository import structure
from tenure.repository.cohortindex import CohortIndex
from tenure.repository.model import ChunkRef, Cohort
from tenure.repository.nodes import join, read_list, ref_of, split
from tenure.repository.page import Array
from tenure.repository.repository import Repository
from tenure.repository.rows import Bits
from tenure.repository.secrets import STRUCTURE
from tenure.repository.state import SnapshotState
from tenure.repository.structure import Root, names_in, refs_in

Marks = NDArray[np.uint64]
"""Chunks by the exclusive or of their id's first eight bytes and their incarnation."""

_REF = np.dtype([("id", "V16"), ("inc", "V8")])
_NO_MARKS = np.zeros(0, np.uint64)


class Reach:
    """Collects the nodes of all cohorts; what they name is read a cohort at a time, for it may be millions of chunks.

    Nodes that snapshots share are read once.
    """

    def __init__(self, repository: Repository, writer: bytes) -> None:
        """Begin with no snapshot."""
        self._repository = repository
        self._reader = repository.structure_reader(repository.keys_of(writer))
        self._structure: set[ChunkRef] = set()
        self._lists: dict[ChunkRef, list[ChunkRef]] = {}
        self._nodes: dict[Cohort, dict[ChunkRef, str]] = {}

    @property
    def cohorts(self) -> list[Cohort]:
        """Return the cohorts that these snapshots reach something of, that of structure among them."""
        return [STRUCTURE, *self._nodes]

    def add(self, snapshots: Iterable[SnapshotState]) -> "Reach":
        """Take in what these snapshots reach.

        Raises:
            IntegrityError: A manifest or node cannot be read; nothing may be dropped then.
        """
        for snapshot in snapshots:
            manifest = self._repository.manifest(snapshot)
            if manifest.structure:
                self._structure.add(ref_of(manifest.structure))
            for line in manifest.data_sets.values():
                root_ref = ref_of(line.root)
                if root_ref not in self._structure:
                    self._structure.add(root_ref)
                    self._root(structure.read_root(self._reader.structure(root_ref)))
        return self

    def closed(self, cohort: Cohort, index: CohortIndex) -> set[ChunkRef]:
        """Return a cohort's references and, through its pages' gone lists, what replaced them.

        Raises:
            IntegrityError: A node cannot be read.
        """
        if cohort == STRUCTURE:
            return set(self._structure)
        found: set[ChunkRef] = set()
        nodes = self._nodes.get(cohort, {})
        for node, raw in self._reader.structures(list(nodes)):
            found.update(names_in(raw or self._reader.structure(node), node, nodes[node]))
        queue = list(found) if index.gone else []
        while queue:
            ref = queue.pop()
            replacement = index.gone[ref].replacement if ref in index.gone else None
            if replacement is not None and replacement not in found:
                found.add(replacement)
                queue.append(replacement)
        # What a reached chunk has beside it is reached too.
        return found | {index.places[ref].companion for ref in found if ref in index.places}

    def marks(self, cohorts: Sequence[Cohort]) -> dict[Cohort, Marks]:
        """Return the marks of all that nodes of some cohorts name; their nodes are read together.

        Raises:
            IntegrityError: A node cannot be read.
        """
        found: dict[Cohort, list[Marks]] = {cohort: [_NO_MARKS] for cohort in cohorts}
        wanted = [
            (cohort, node, kind) for cohort in cohorts for node, kind in self._nodes.get(cohort, {}).items()
        ]
        raws = self._reader.structures([node for _, node, _ in wanted])
        for (cohort, node, kind), (_, raw) in zip(wanted, raws, strict=True):
            refs = refs_in(raw or self._reader.structure(node), node, kind)
            found[cohort].append(_marks_of(np.frombuffer(refs, _REF), "id", "inc"))
        if STRUCTURE in found:
            refs = b"".join(map(join, self._structure))
            found[STRUCTURE].append(_marks_of(np.frombuffer(refs, _REF), "id", "inc"))
        return {cohort: np.concatenate(some) for cohort, some in found.items()}

    def _root(self, root: Root) -> None:
        for cohort, tree in root.cohorts():
            nodes = self._nodes.setdefault(cohort, {})
            for layer in tree.layers:
                refs = split(layer.nodes)
                for ref in [node for part in refs for node in self._list(part)] if layer.depth else refs:
                    nodes[ref] = root.wire.kind
                    self._structure.add(ref)

    def _list(self, ref: ChunkRef) -> list[ChunkRef]:
        if ref not in self._lists:
            self._structure.add(ref)
            self._lists[ref] = read_list(self._reader.structure(ref), ref)
        return self._lists[ref]


class Reached:
    """What of a cohort is reached: what nodes name, what replaced it, and what stands beside either."""

    def __init__(self, named: Marks, entries: Array, gone: Array) -> None:
        """Follow replacements. `entries`, `gone`: of all the cohort's pages (`page.ENTRY`, `page.GONE`)."""
        self._marks = np.unique(named)
        before, after = _marks_of(gone, "id", "inc"), _marks_of(gone, "rid", "rinc")
        replaced = after != 0  # zeros: nothing replaced it
        while True:
            more = after[replaced & self._holds(before)]
            more = more[~self._holds(more)]
            if not len(more):
                break
            self._take(more)
        self._take(_marks_of(entries, "cid", "cinc")[self.of(entries)])

    def of(self, rows: Array) -> Bits:
        """Say of each entry, or of each row of a gone list, whether it is reached."""
        return self._holds(_marks_of(rows, "id", "inc"))

    def _holds(self, marks: Marks) -> Bits:
        at = np.searchsorted(self._marks, marks)
        found = np.zeros(len(marks), np.bool_)
        inside = at < len(self._marks)
        found[inside] = self._marks[at[inside]] == marks[inside]
        return found

    def _take(self, more: Marks) -> None:
        self._marks = np.union1d(self._marks, more)


def _marks_of(rows: Array, chunk_id: str, incarnation: str) -> Marks:
    if not len(rows):
        return _NO_MARKS
    ids = np.ascontiguousarray(rows[chunk_id]).view("<u8")[::2]
    marks: Marks = ids ^ np.ascontiguousarray(rows[incarnation]).view("<u8")
    return marks
