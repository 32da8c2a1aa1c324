"""The live part of a purge or erasure: edits, then deletion, children first, each record judged again as it goes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from tenure.domain.catalogue import Orphan
from tenure.operations.choosing import live_ids, orphans_of, with_staying_children
from tenure.operations.edits import edits_of
from tenure.operations.goneat import GoneAt
from tenure.operations.judging import Judging
from tenure.operations.world import World, children_first, identities_under, within
from tenure.repository import rows
from tenure.repository.rows import Bytes
from tenure.repository.scopes import Scope
from tenure.sources.base import LiveStore


@dataclass(slots=True)
class LiveResult:
    """What became of live records, by data set.

    `gone`: not there any more, deleted now or by a run before; `edited`, `stubs`: changed and still there; `left`:
    keys that stay as they are, and so stay in snapshots.
    """

    gone: dict[str, int] = field(default_factory=dict)
    edited: dict[str, int] = field(default_factory=dict)
    stubs: dict[str, int] = field(default_factory=dict)
    left: dict[str, list[bytes]] = field(default_factory=dict)

    def keep(self, data_set: str, keys: Sequence[bytes]) -> None:
        """Note records that stay."""
        self.left.setdefault(data_set, []).extend(keys)

    def count_left(self) -> int:
        """Return how many stay."""
        return sum(map(len, self.left.values()))


class LiveDeletion:
    """Deletes and edits what a forgetting's scopes name. Can be run again: what is gone is simply absent."""

    def __init__(
        self,
        world: World,
        judging: Judging,
        scopes: Mapping[str, Scope],
        keys: Mapping[str, Sequence[bytes]] | None = None,
    ) -> None:
        """Get ready. `keys`: of all that the scopes name, by data set; None: live stores are looked through for it."""
        self._world = world
        self._keys = keys
        self._judging = judging
        self._scopes = scopes
        self.gone_at = GoneAt(world)
        self.result = LiveResult()

    def run(self) -> LiveResult:
        """Go through all data sets, children before their parents.

        Raises:
            SchemaDriftError: A reference or trigger that the catalogue does not cover; nothing of its table went.
            SourceUnavailableError: A store stayed locked.
        """
        for name in children_first(self._world.installation.catalogue):
            ids = self.wanted(name)
            if not len(ids):
                continue
            task = self._world.installation.progress.begin(f"Deleting {name}", total=len(ids), unit="records")
            there = list(self.present(name, ids))
            self.gone_at.looked(name)
            keys = self._concerned(name, there)
            edited = self._edit(name, keys)
            self._delete(name, [k for k in keys if k not in edited])
            self.result.gone[name] = len(ids) - len(there) + self.result.gone.get(name, 0)
            task.advance(len(ids))
            task.end()
        return self.result

    def wanted(self, data_set: str) -> Bytes:
        """Return the identities, under the writers' keys, that the scopes name of a data set."""
        scope = self._scopes.get(self._world.source_of(data_set).name, Scope())
        return scope.records.get(data_set, np.empty((0, rows.IDENTITY_BYTES), np.uint8))

    def present(self, data_set: str, ids: Bytes) -> Iterator[bytes]:
        """Yield the keys of live records among these identities."""
        repository = self._world.repository
        writers = sorted(repository.state.writers_of(self._world.source_of(data_set).name))
        keys = None if self._keys is None else list(self._keys.get(data_set, ()))
        for facts in self._world.store_of(data_set).facts(data_set, keys) if keys is None or keys else ():
            there = np.zeros(len(facts), np.bool_)
            for writer in writers:
                there |= rows.contains(ids, identities_under(facts.keys, repository.keys_of(writer).identity))
            yield from facts.keys.filter(there).to_pylist()

    def parents_among(self, data_set: str, keys: list[bytes]) -> list[bytes]:
        """Return those that something which stays refers to: they are kept as stubs."""
        return self._with_children(self._world.store_of(data_set), data_set, keys)

    def _edit(self, name: str, keys: Sequence[bytes]) -> set[bytes]:
        """Change what rules edit; return the keys that were up for it."""
        body = self._judging.body
        frozen = body.frozen[name].edit if body is not None and name in body.frozen else {}
        done: set[bytes] = set()
        for rule, prints in frozen.items():
            mine = self._among(name, keys, prints)
            edits = edits_of(self._judging.now().rules, self._world.declared(name), rule)
            if not mine or not edits:
                continue
            judge = self.gone_at.asking(name, self._judging.changes(rule))
            removal = self._world.store_of(name).rewrite(name, mine, judge, edits)
            self.gone_at.settle()
            self.result.edited[name] = self.result.edited.get(name, 0) + len(removal.gone)
            self.result.keep(name, removal.left)
            done |= set(mine)
        return done

    def _concerned(self, name: str, keys: Sequence[bytes]) -> list[bytes]:
        """Return those that the plan means: a key that somebody else's record has by now is passed over.

        Older versions under that key still go from snapshots, unless a hold covers the record that has it now.
        """
        mine: list[bytes] = []
        for facts in self._world.store_of(name).facts(name, list(keys)) if keys else ():
            meant = self._judging.means(facts)
            mine += facts.keys.filter(meant).to_pylist()
            if not meant.all():
                self.result.keep(name, facts.keys.filter(~meant & self._judging.held(facts)).to_pylist())
        return mine

    def _among(self, name: str, keys: Sequence[bytes], frozen: bytes) -> list[bytes]:
        prints = self._world.prints(name, live_ids(self._world, keys))
        return [k for k, m in zip(keys, within(frozen, prints).tolist(), strict=True) if m]

    def _delete(self, name: str, keys: Sequence[bytes]) -> None:
        store = self._world.store_of(name)
        falls = self._falling(name, keys)
        parents = self._with_children(store, name, falls)
        blocked = self._free(store, name, parents)
        bound = set(blocked)
        judge = self.gone_at.asking(name, self._judging.falls)
        removal = store.remove(name, [k for k in keys if k not in bound], judge)
        self.gone_at.settle()
        self.result.gone[name] = len(removal.gone) + len(removal.absent)
        referred = self._falling(name, removal.left)
        self.result.keep(name, [k for k in removal.left if k not in set(referred)])
        self._stub(store, name, [*blocked, *referred])

    def _falling(self, name: str, keys: Sequence[bytes]) -> list[bytes]:
        """Return those that fall as of now, outside a transaction: to ask what refers to them."""
        found: list[bytes] = []
        for facts in self._world.store_of(name).facts(name, list(keys)) if keys else ():
            found += facts.keys.filter(self._judging.falls(facts)).to_pylist()
        return found

    def _with_children(self, store: LiveStore, name: str, keys: list[bytes]) -> list[bytes]:
        """Return the records that something in the same store still refers to: what falls of it is gone by now."""
        return with_staying_children(store, name, keys, {}) if orphans_of(self._world, name) else []

    def _free(self, store: LiveStore, name: str, parents: Sequence[bytes]) -> list[bytes]:
        """Detach children where the catalogue says so; return the parents that must stay for theirs."""
        policies = orphans_of(self._world, name)
        blocked = []
        for parent in parents:
            children = cast("Any", store).children(name, [parent])
            detachable = all(
                policies.get(child) is Orphan.DETACH and not self._any_held(child, keys)
                for child, keys in children.items()
            )
            if not detachable:
                blocked.append(parent)
                continue
            for child, keys in children.items():
                self._detach(store, child, name, keys)
        return blocked

    def _detach(self, store: LiveStore, child: str, parent: str, keys: Sequence[bytes]) -> None:
        links = [n for n in self._world.declared(child).links if n.to == parent]
        edits = {by: (lambda _: None) for link in links for by in link.by}
        store.rewrite(child, list(keys), lambda facts: ~self._judging.held(facts), edits)

    def _any_held(self, child: str, keys: Sequence[bytes]) -> bool:
        found = self._world.store_of(child).facts(child, list(keys))
        return any(self._judging.held(facts).any() for facts in found)

    def _stub(self, store: LiveStore, name: str, keys: Sequence[bytes]) -> None:
        """Leave parents of records that stay as keys without personal columns; where that cannot be, as they are."""
        stub = getattr(store, "stub", None)
        if not keys:
            return
        if stub is None:
            self.result.keep(name, keys)
            return
        stub(name, list(keys))
        self.gone_at.changed(name, keys)
        self.result.stubs[name] = self.result.stubs.get(name, 0) + len(keys)


def still_due(world: World, judging: Judging, deletion: LiveDeletion, name: str) -> int:
    """Return how many live records of a scope should be gone and are not; stubs of parents are not counted."""
    ids = deletion.wanted(name)
    keys = list(deletion.present(name, ids)) if len(ids) else []
    if not keys:
        return 0
    due: list[bytes] = []
    for facts in world.store_of(name).facts(name, keys):
        due += facts.keys.filter(judging.falls(facts)).to_pylist()
    return len(due) - len(deletion.parents_among(name, due))
