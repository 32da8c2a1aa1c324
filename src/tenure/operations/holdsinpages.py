"""Holds that were placed while a forgetting was at work: what they cover stays in the snapshots."""

from collections.abc import Mapping

import numpy as np

from tenure.operations.judging import Judging
from tenure.operations.pagewalk import Pages, rows_with, walk
from tenure.operations.past import facts_of_recordings
from tenure.operations.proving import identities_of_source
from tenure.operations.world import World, identities_under, is_recordings
from tenure.repository import rows
from tenure.repository.layouts import Expressions
from tenure.repository.rows import Bytes
from tenure.repository.scopes import Scope
from tenure.repository.state import ForgetState
from tenure.sources.base import RowBatch
from tenure.sources.rowtext import facts_from_rows


def held_in_pages(
    world: World, judging: Judging, scopes: Mapping[str, Scope], forget: ForgetState
) -> dict[str, dict[str, Bytes]]:
    """Return the records of the scopes, any version of which a hold covers now: source -> data set -> identities."""
    found: dict[str, dict[str, list[bytes]]] = {}
    for source, scope in scopes.items():
        names = [d for d, ids in scope.records.items() if len(ids)]
        for pages in walk(world.repository, source, names, forget=forget):
            keys = _held(world, judging, pages, scope.seen_by(pages.cohort.data_set, pages.view))
            found.setdefault(source, {}).setdefault(pages.cohort.data_set, []).extend(keys)
    return {
        source: {d: _under_all_writers(world, source, keys) for d, keys in sets.items()}
        for source, sets in found.items()
    }


def _held(world: World, judging: Judging, pages: Pages, wanted: Bytes) -> list[bytes]:
    declared = world.declared(pages.cohort.data_set)
    zone = world.source_of(declared.name).time_zone
    held: list[bytes] = []
    if is_recordings(declared):
        metas = list(pages.recordings())
        facts = facts_of_recordings(declared, metas)
        mine = rows.contains(wanted, identities_under(facts.keys, pages.keys.identity))
        held += facts.keys.filter(mine & judging.held(facts)).to_pylist()
        return held

    def look(batch: RowBatch, about: Expressions, _: Bytes) -> None:
        facts = facts_from_rows(about.layout, declared, batch, zone)
        held.extend(facts.keys.filter(judging.held(facts)).to_pylist())

    rows_with(pages, wanted, look)
    return held


def _under_all_writers(world: World, source: str, keys: list[bytes]) -> Bytes:
    return identities_of_source(world, source, keys) if keys else np.empty((0, rows.IDENTITY_BYTES), np.uint8)
