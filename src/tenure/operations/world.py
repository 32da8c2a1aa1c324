"""What planning and purging look at: the repository with every right, and the live side of every source."""

import graphlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa

from tenure.crypto.hashing import derive, keyed_hash
from tenure.domain.catalogue import Catalogue, DataSet, DataSetKind, Source
from tenure.domain.errors import ConfigError
from tenure.operations.installation import Installation
from tenure.repository import rows
from tenure.repository.repository import Repository
from tenure.repository.rows import Bits, Bytes
from tenure.sources.base import LiveStore, Lookups

PRINT_BYTES = 16
_TABLES = "sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One installation, opened for planning. `identity_key`: for identities that no writer's key makes."""

    installation: Installation
    repository: Repository
    live: Mapping[str, LiveStore]
    lookups: Mapping[str, Any]
    identity_key: bytes = field(repr=False)

    def source_of(self, data_set: str) -> Source:
        """Return the source that a data set belongs to."""
        return next(s for s in self.installation.catalogue.sources.values() if data_set in s.data_sets)

    def store_of(self, data_set: str) -> LiveStore:
        """Return the live store that a data set belongs to."""
        return self.live[self.source_of(data_set).name]

    def declared(self, data_set: str) -> DataSet:
        """Return what the catalogue says of a data set."""
        return self.source_of(data_set).data_sets[data_set]

    def identities(self, keys: Any) -> Bytes:
        """Return identities of record keys (pyarrow large_binary; uint8, n x 16) that last beyond a writer."""
        return identities_under(keys, self.identity_key)

    def prints(self, data_set: str, ids: Bytes) -> Bytes:
        """Return the fingerprints of identities (uint8, n x 16): what plans name records by."""
        return prints_of(self.repository.secrets.fingerprint, data_set, ids)


@contextmanager
def opened(installation: Installation) -> Iterator[World]:
    """Open the world. Needs the reading key.

    Raises:
        KeyMismatchError: This process was given no reading key.
        SourceUnavailableError: A live store is not there.
    """
    repository = installation.open_reading()
    with ExitStack() as stack:
        lookups: dict[str, Any] = {}
        yield World(
            installation=installation,
            repository=repository,
            live=_live(installation, stack, lookups),
            lookups=lookups,
            identity_key=derive(repository.secrets.fingerprint, "tenure plan identity"),
        )


def _live(installation: Installation, stack: ExitStack, lookups: dict[str, Any]) -> Mapping[str, LiveStore]:
    """Return live stores by source; databases first, for recordings may look facts up in them."""
    found: dict[str, LiveStore] = {}
    sources = installation.catalogue.sources
    asked = any(_looks_up(d) for s in sources.values() if s.kind != _TABLES for d in s.data_sets.values())
    for name in sorted(sources, key=lambda n: (sources[n].kind != _TABLES, n)):
        adapter = cast("Any", installation.sources[name])
        if sources[name].kind != _TABLES:
            found[name] = adapter.live(cast("Lookups", lookups))
            continue
        found[name] = store = adapter.live()
        if asked:
            lookups.update(stack.enter_context(store.lookups()))
    return found


def _looks_up(data_set: DataSet) -> bool:
    references = (
        *data_set.subjects.values(),
        *data_set.starting_points.values(),
        *data_set.attributes.values(),
    )
    linked = {link.to for link in data_set.links}
    return any(r.partition(".")[0] in linked for r in references)


def children_first(catalogue: Catalogue) -> tuple[str, ...]:
    """Return every data set in the order of deletion: who refers to another comes before it.

    Raises:
        ConfigError: Links lead in a circle.
    """
    sets = catalogue.data_sets()
    after = {name: {c for c, d in sets.items() if c != name and _refers(d, name)} for name in sorted(sets)}
    try:
        return tuple(graphlib.TopologicalSorter(after).static_order())
    except graphlib.CycleError as e:
        names = " -> ".join(e.args[1])
        raise ConfigError(f"the links of the catalogue lead in a circle: {names}") from None


def _refers(child: DataSet, parent: str) -> bool:
    return any(link.to == parent for link in child.links)


def is_recordings(data_set: DataSet) -> bool:
    """Whether a data set is a set of recordings."""
    return data_set.kind is DataSetKind.RECORDINGS


def identities_under(keys: Any, key: bytes) -> Bytes:
    """Return the identities of record keys (pyarrow large_binary) under a key (uint8, n x 16)."""
    text, bounds, _ = rows.column_spans(keys)
    return rows.span_identities(text, bounds[:-1], bounds[1:], key)


def prints_of(fingerprint_key: bytes, data_set: str, ids: Bytes) -> Bytes:
    """Return what `secrets.fingerprint` makes of each identity (uint8, n x 16); the key is derived once for all."""
    key, name = derive(fingerprint_key, "tenure fingerprint"), data_set.encode()
    joined = b"".join(keyed_hash(key, name, i, length=PRINT_BYTES) for i in _each(ids))
    return np.frombuffer(joined, np.uint8).reshape(-1, PRINT_BYTES)


def _each(ids: Bytes) -> Iterator[bytes]:
    raw = np.ascontiguousarray(ids).tobytes()
    return (raw[i : i + PRINT_BYTES] for i in range(0, len(raw), PRINT_BYTES))


def within(frozen: bytes, prints: Bytes) -> Bits:
    """Say of each fingerprint whether it is among the frozen ones (sorted, joined)."""
    return rows.contains(np.frombuffer(frozen, np.uint8).reshape(-1, PRINT_BYTES), prints)


def freeze(prints: Bytes) -> bytes:
    """Return fingerprints sorted and joined, each once."""
    return rows.sorted_unique(prints).tobytes() if len(prints) else b""


def key_column(keys: Sequence[bytes]) -> Any:
    """Return record keys as the column that facts have."""
    return pa.array(list(keys), pa.large_binary())
