"""Which live records an edit would still change: what is blank, masked or cut already is in no plan again.

Rules judge by facts, and facts do not change when a column is blanked; so the values are looked at here, in a
consistent view of the source.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from tenure.cards.findings import DETECTOR_VERSION
from tenure.operations.edits import Edits, edits_of_card_rule, edits_of_rule
from tenure.operations.tally import Falling, Tally
from tenure.operations.world import World, is_recordings
from tenure.repository import rows
from tenure.repository.rows import Bits, Bytes
from tenure.sources.base import View
from tenure.sources.folderfacts import read_sidecar
from tenure.sources.rowtext import CellTable, decode_cell

_SIDECAR = "sidecar."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """A batch of live records. `values`: of a column, one for each record, None where it has no such column."""

    keys: Any
    values: Callable[[str], list[Any]]


def keep_changes(world: World, tallies: Mapping[str, Tally]) -> None:
    """Drop from the tallies what an edit would not change, and add the texts that card rules would cut."""
    for source in world.installation.catalogue.sources:
        names = [n for n, t in tallies.items() if world.source_of(n).name == source and _edited(world, t)]
        if not names:
            continue
        with _view(world, source) as view:
            for name in names:
                _keep(world, view, tallies[name])


def blanked(world: World, data_set: str, keys: Sequence[bytes]) -> set[bytes]:
    """Return those of some live records whose classed columns are all blank: they are stubs already."""
    declared, wanted, found = world.declared(data_set), set(keys), set[bytes]()
    fixed = {*declared.key, *(by for link in declared.links for by in link.by)}
    columns = [c for c, classes in declared.columns.items() if classes and c not in fixed]
    with _view(world, world.source_of(data_set).name) as view:
        for batch in _batches(world, view, data_set):
            every = batch.keys.to_pylist()
            places = [i for i, k in enumerate(every) if k in wanted]
            if places:
                values = [batch.values(c) for c in columns]
                found |= {every[i] for i in places if not any(column[i] for column in values)}
    return found


def _edited(world: World, tally: Tally) -> bool:
    return bool(tally.edit) or any(_card_edits(world, tally).values())


def _card_edits(world: World, tally: Tally) -> dict[str, Edits]:
    declared = world.declared(tally.data_set)
    mine = [c for c in tally.rules.card_rules if tally.data_set in c.data]
    return {card.name: edits_of_card_rule(card, declared) for card in mine}


def _keep(world: World, view: View, tally: Tally) -> None:
    """Look at every live record once; past ones cannot be changed, so their snapshots' copies simply go."""
    edited = {rule: rows.sorted_unique(some.all_ids()) for rule, some in tally.edit.items()}
    kept: dict[int, Falling] = {rule: Falling() for rule in edited}
    live: list[Bytes] = []
    cards = {name: edits for name, edits in _card_edits(world, tally).items() if edits}
    found: dict[str, Falling] = {name: Falling() for name in cards}
    falls = rows.sorted_unique(tally.delete.all_ids())
    for batch in _batches(world, view, tally.data_set):
        ids = world.identities(batch.keys)
        live.append(ids)
        for rule, wanted in edited.items():
            mine = rows.contains(wanted, ids)
            mine &= _changes(batch, edits_of_rule(tally.rules.rules[rule]), mine)
            _take(kept[rule], batch, ids, mine)
        stays = ~rows.contains(falls, ids)
        for name, edits in cards.items():
            _take(found[name], batch, ids, _changes(batch, edits, stays))
    there = rows.sorted_unique(np.concatenate(live)) if live else falls[:0]
    for rule, some in tally.edit.items():
        gone = ~rows.contains(there, some.all_ids())
        past = Falling(keys=[k for k, g in zip(some.keys, gone.tolist(), strict=True) if g])
        past.ids.append(some.all_ids()[gone])
        kept[rule].keys += past.keys
        kept[rule].ids += past.ids
    tally.replace_edits(kept, found)


def _take(into: Falling, batch: _Looked, ids: Bytes, which: Bits) -> None:
    if which.any():
        into.add(batch.keys.filter(which), ids[which])


def _changes(batch: _Looked, edits: Edits, among: Bits) -> Bits:
    """Say of each record whether an edit would change it; only those `among` are looked at."""
    places = np.flatnonzero(among)
    changed = np.zeros(len(among), np.bool_)
    for column, edit in edits.items() if len(places) else ():
        values = batch.values(column)
        for i in places.tolist():
            if values[i] is not None and edit(values[i]) != values[i]:
                changed[i] = True
    return changed


def _batches(world: World, view: View, name: str) -> Iterator[_Looked]:
    if is_recordings(world.declared(name)):
        for some in view.recordings(name):
            yield _Looked(keys=some.facts.keys, values=_sidecar_values([r.sidecar for r in some.recordings]))
        return
    layout = view.layout(name)
    names = (*layout.columns, *layout.linked)
    for batch in view.rows(name):
        table = CellTable(batch.text, batch.offsets, len(names))
        yield _Looked(keys=table.prefixes(layout.key_cells), values=_cell_values(table, names))


def _cell_values(table: CellTable, names: tuple[str, ...]) -> Callable[[str], list[Any]]:
    def values(column: str) -> list[Any]:
        if column not in names:
            return [None] * len(table.prefixes(1))
        cells = table.column(names.index(column)).to_pylist()
        return [None if c is None else decode_cell(c) for c in cells]

    return values


def _sidecar_values(sidecars: list[bytes | None]) -> Callable[[str], list[Any]]:
    read = [read_sidecar(s) for s in sidecars]

    def values(column: str) -> list[Any]:
        found = []
        for sidecar in read:
            value: Any = sidecar
            for part in column.removeprefix(_SIDECAR).split("."):
                value = value.get(part) if isinstance(value, dict) else None
            found.append(value)
        return found

    return values


@contextmanager
def _view(world: World, source: str) -> Iterator[View]:
    view = cast("Any", world.installation.sources[source]).begin(world.lookups)
    try:
        yield view
    finally:
        view.close()


def old_detector(world: World, data_set: str) -> bool:
    """Whether some snapshot of a data set was looked through by another detector than today's."""
    source = world.source_of(data_set).name
    repository = world.repository
    return any(
        repository.manifest(s).detector != DETECTOR_VERSION for s in repository.state.snapshots_of(source)
    )
