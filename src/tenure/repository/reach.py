"""What live snapshots reach: every chunk, companion and structure node of one source's snapshots."""

from collections.abc import Iterable

from tenure.repository import structure
from tenure.repository.model import ChunkRef, Cohort
from tenure.repository.repository import Repository
from tenure.repository.secrets import STRUCTURE
from tenure.repository.session import ref_of
from tenure.repository.state import SnapshotState
from tenure.repository.structure import Root


class Reach:
    """Collects references; nodes that snapshots share are read once."""

    def __init__(self, repository: Repository, writer: bytes) -> None:
        self._repository = repository
        self._reader = repository.structure_reader(repository.keys_of(writer))
        self._seen: set[ChunkRef] = set()
        self.refs: dict[Cohort, set[ChunkRef]] = {}

    def add(self, snapshots: Iterable[SnapshotState]) -> "Reach":
        """Take in what these snapshots reach.

        Raises:
            IntegrityError: A manifest or node cannot be read; nothing may be dropped then.
        """
        nodes = self.refs.setdefault(STRUCTURE, set())
        for snapshot in snapshots:
            manifest = self._repository.manifest(snapshot)
            if manifest.structure:
                nodes.add(ref_of(manifest.structure))
            for line in manifest.data_sets.values():
                root_ref = ref_of(line.root)
                nodes.add(root_ref)
                if root_ref not in self._seen:
                    self._seen.add(root_ref)
                    self._root(structure.read_root(self._reader.structure(root_ref)))
        return self

    def closed(self, cohort: Cohort) -> set[ChunkRef]:
        """Return a cohort's references and, through its pages' gone lists, what replaced them."""
        found = set(self.refs.get(cohort, set()))
        gone = self._reader.index(cohort).gone
        queue = list(found)
        while queue:
            ref = queue.pop()
            replacement = gone[ref].replacement if ref in gone else None
            if replacement is not None and replacement not in found:
                found.add(replacement)
                queue.append(replacement)
        # What a reached chunk has beside it is reached too.
        places = self._reader.index(cohort).places
        self._reader.drop(cohort)
        return found | {places[ref].companion for ref in found if ref in places}

    def _root(self, root: Root) -> None:
        nodes = self.refs.setdefault(STRUCTURE, set())
        for cohort, wire in root.cohorts():
            mine = self.refs.setdefault(cohort, set())
            nodes.update(structure.lists_of(wire))
            for layer in wire.layers:
                for ref in structure.nodes_of(layer, self._reader.structure):
                    nodes.add(ref)
                    if ref not in self._seen:
                        self._seen.add(ref)
                        mine.update(structure.names_of(ref, root.wire.kind, self._reader.structure))
