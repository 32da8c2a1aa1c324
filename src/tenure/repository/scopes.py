"""Which records a forgetting takes, and how that is kept: in pages that are deleted when it is done.

The ledger is for ever, so it holds fingerprints only. The identities themselves, which filters need, stand in *scope
pages* in the key stores, sealed like key pages and gone with the forgetting.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tenure.crypto.aead import context, open_under, seal_under
from tenure.crypto.hashing import random_bytes
from tenure.keys.base import Unwrapper, Wrapper
from tenure.repository import wire
from tenure.repository.entries import PageRef
from tenure.repository.keystores import KeyStores
from tenure.repository.model import Cohort
from tenure.repository.page import ENTRY, GONE, PagePlain, open_secret, seal_page
from tenure.repository.rows import Bytes, contains, sorted_unique
from tenure.repository.secrets import SourceKeys, fingerprint
from tenure.repository.wire import Wire

SCOPE = Cohort(data_set="", rule_class="", span="scope")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What goes from one source.

    `records`: data set -> identities (uint8, n x 16, sorted and unique). `cohorts`: forgotten whole, because the plan
    proved every record in them due.
    """

    records: Mapping[str, Bytes] = field(default_factory=dict)
    cohorts: tuple[Cohort, ...] = ()

    def count(self) -> int:
        """Return how many records are named."""
        return sum(len(ids) for ids in self.records.values())

    def without(self, left: Mapping[str, Bytes]) -> "Scope":
        """Return the scope less some records; a cohort with one of them no longer goes whole."""
        records = {}
        for data_set, ids in self.records.items():
            drop = sorted_unique(left[data_set]) if data_set in left else np.empty((0, 16), np.uint8)
            records[data_set] = ids[~contains(drop, ids)]
        spoiled = {data_set for data_set, ids in left.items() if len(ids)}
        return Scope(records=records, cohorts=tuple(c for c in self.cohorts if c.data_set not in spoiled))


class _ScopeWire(Wire, frozen=True, kw_only=True):
    records: dict[str, bytes]
    cohorts: tuple[tuple[str, str, str], ...]


class _FingerprintsWire(Wire, frozen=True, kw_only=True):
    salt: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """What scope pages are sealed with."""

    repository: bytes
    epoch: int
    wrapper: Wrapper
    forget: bytes


def put_scope(scope: Scope, keys: SourceKeys, stores: KeyStores, sealing: Sealing) -> PageRef:
    """Put a scope page into every key store that takes it; they need no second copy, they only must all go."""
    raw = wire.encode(
        _ScopeWire(
            records={d: ids.tobytes() for d, ids in sorted(scope.records.items())},
            cohorts=tuple((c.data_set, c.rule_class, c.span) for c in sorted(scope.cohorts)),
        )
    )
    plain = PagePlain(
        cohort=SCOPE,
        packs=(),
        entries=np.zeros(0, ENTRY),
        gone=np.zeros(0, GONE),
        deks=np.frombuffer(raw, np.uint8),
    )
    ref, page = seal_page(
        plain,
        keys=keys,
        repository=sealing.repository,
        epoch=sealing.epoch,
        session=sealing.forget,
        wrapper=sealing.wrapper,
    )
    stores.put_where_possible(ref, page)
    return ref


def get_scope(ref: PageRef, stores: KeyStores, unwrapper: Unwrapper) -> Scope:
    """Read a scope page back.

    Raises:
        IntegrityError: It is whole in no key store.
    """
    raw = open_secret(stores.get(ref), unwrapper)
    found = wire.decode(raw, _ScopeWire, what="a scope page")
    records = {d: np.frombuffer(ids, np.uint8).reshape(-1, 16) for d, ids in found.records.items()}
    cohorts = tuple(Cohort(data_set=d, rule_class=r, span=s) for d, r, s in found.cohorts)
    return Scope(records=records, cohorts=cohorts)


def seal_fingerprints(scopes: Mapping[str, Scope], fingerprint_key: bytes) -> bytes:
    """Return what the ledger keeps: source -> data set -> fingerprints, for readers and purgers only."""
    found = {
        source: {
            data_set: b"".join(fingerprint(fingerprint_key, data_set, i.tobytes()) for i in ids)
            for data_set, ids in scope.records.items()
        }
        for source, scope in sorted(scopes.items())
    }
    salt = random_bytes(16)
    sealed = seal_under(
        fingerprint_key, "tenure fingerprints", salt, wire.encode(found), aad=context("fingerprints")
    )
    return wire.encode(_FingerprintsWire(salt=salt, sealed=sealed))


def open_fingerprints(
    raw: bytes, fingerprint_key: bytes, source: str | None = None
) -> Mapping[str, frozenset[bytes]]:
    """Return data set -> 16-byte fingerprints, of one source or, where None, of all together."""
    found = wire.decode(raw, _FingerprintsWire, what="a forgetting's fingerprints")
    plain = open_under(
        fingerprint_key, "tenure fingerprints", found.salt, found.sealed, aad=context("fingerprints")
    )
    loose = wire.decode(plain, dict[str, dict[str, bytes]], what="a forgetting's fingerprints")
    prints: dict[str, set[bytes]] = {}
    for name, data_sets in loose.items():
        for data_set, joined in data_sets.items() if source in {None, name} else ():
            prints.setdefault(data_set, set()).update(joined[i : i + 16] for i in range(0, len(joined), 16))
    return {data_set: frozenset(some) for data_set, some in prints.items()}


def matcher(prints: Mapping[str, frozenset[bytes]], fingerprint_key: bytes) -> Callable[[str, bytes], bool]:
    """Return a predicate: is this record (data set, identity) among the fingerprints?"""

    def matches(data_set: str, identity: bytes) -> bool:
        wanted = prints.get(data_set)
        return bool(wanted) and fingerprint(fingerprint_key, data_set, identity) in wanted  # type: ignore[operator]

    return matches
