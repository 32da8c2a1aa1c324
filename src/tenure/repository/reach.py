"""What live snapshots reach: every chunk, companion and structure node of one source's snapshots."""

from collections.abc import Iterable

from tenure.repository import structure
from tenure.repository.cohortindex import CohortIndex
from tenure.repository.model import ChunkRef, Cohort
from tenure.repository.nodes import read_list, split
from tenure.repository.repository import Repository
from tenure.repository.secrets import STRUCTURE
from tenure.repository.session import ref_of
from tenure.repository.state import SnapshotState
from tenure.repository.structure import Root, names_in


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
