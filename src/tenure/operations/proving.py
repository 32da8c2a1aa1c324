"""Which cohorts lose records, and which of them go whole because every record in them is proven to fall.

A cohort is proven by looking at every row of it, in whatever snapshot it lies: each belongs to a record that falls.
Its class is not asked then; it would only say which rule the rows were sorted by. Recordings are forgotten singly.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from tenure.operations.pagewalk import Pages, walk
from tenure.operations.world import World, identities_under, is_recordings, key_column
from tenure.repository import layouts, rows
from tenure.repository.model import Cohort
from tenure.repository.rows import Bytes
from tenure.repository.scopes import Scope
from tenure.repository.state import ForgetState
from tenure.repository.suspects import of_records
from tenure.rules.periods import zone


@dataclass(slots=True)
class CohortProof:
    """One cohort that loses records. `chunks`: touched; `whole`: nothing in it stays."""

    cohort: Cohort
    records: set[bytes] = field(default_factory=set)
    chunks: int = 0
    whole: bool = True


def prove(
    world: World, source: str, scope: Scope, at: datetime, forget: ForgetState | None = None
) -> list[CohortProof]:
    """Return the cohorts of a source that hold records of the scope; `forget`: whose scope it is, once ordered.

    Raises:
        IntegrityError: A page or chunk cannot be read.
    """
    found: dict[Cohort, CohortProof] = {}
    names = [d for d, ids in scope.records.items() if len(ids)]
    for pages in walk(world.repository, source, names, forget=forget):
        proof = found.setdefault(pages.cohort, CohortProof(pages.cohort))
        if is_recordings(world.declared(pages.cohort.data_set)):
            _recordings(pages, scope.seen_by(pages.cohort.data_set, pages.view), proof)
        else:
            proof.whole &= _is_past(world, pages.cohort, at)
            _rows(pages, scope.seen_by(pages.cohort.data_set, pages.view), proof)
    return [p for p in found.values() if p.records]


def _recordings(pages: Pages, wanted: Bytes, proof: CohortProof) -> None:
    proof.whole = False
    for meta in pages.recordings():
        identity = rows.identity_of(meta.recording.path, pages.keys.identity)
        if rows.contains(wanted, np.frombuffer(identity, np.uint8).reshape(1, -1)).any():
            proof.records.add(identity)
            proof.chunks += len(meta.chunks)


def _rows(pages: Pages, wanted: Bytes, proof: CohortProof) -> None:
    looked = pages.look(of_records(wanted))
    proof.whole &= not looked.denied and not looked.mute
    for suspect in looked.suspects:
        expressions = layouts.decode(suspect.about.expressions)
        batch = pages.rows(suspect.place, expressions)
        if batch is None:
            continue
        ids = rows.identities(batch, expressions.layout.key_cells, pages.keys.identity)
        falls = rows.contains(wanted, ids)
        proof.whole &= bool(falls.all())
        if falls.any():
            proof.chunks += 1
            proof.records.update(i.tobytes() for i in ids[falls])


def _is_past(world: World, cohort: Cohort, at: datetime) -> bool:
    """Whether a cohort's month is over, so that no record joins it any more but by a late entry."""
    if cohort.is_open:
        return False
    zone_name = world.source_of(cohort.data_set).time_zone
    return cohort.span < f"{at.astimezone(zone(zone_name)):%Y-%m}"


def scopes_of(world: World, keys: Mapping[str, Sequence[bytes]]) -> dict[str, Scope]:
    """Return what forgetting takes, source -> scope, from record keys by data set.

    A record has one identity for each writer its source ever had; all of them are named.
    """
    found: dict[str, dict[str, Bytes]] = {}
    for data_set, some in keys.items():
        source = world.source_of(data_set).name
        if some:
            found.setdefault(source, {})[data_set] = identities_of_source(world, source, some)
    return {source: Scope(records=records) for source, records in found.items()}


def identities_of_source(world: World, source: str, keys: Iterable[bytes]) -> Bytes:
    """Return the identities of records under every writer's key (uint8, m x 16, sorted)."""
    column = key_column(list(keys))
    writers = sorted(world.repository.state.writers_of(source))
    ids = [identities_under(column, world.repository.keys_of(w).identity) for w in writers]
    return rows.sorted_unique(np.concatenate([np.empty((0, rows.IDENTITY_BYTES), np.uint8), *ids]))
