"""Which records a forgetting takes, and how that is kept: in pages that are deleted when it is done.

The ledger is for ever, so it holds fingerprints only. The identities themselves, which filters need, stand in *scope
pages* in the key stores, sealed like key pages and gone with the forgetting.
"""

import struct
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import numpy as np

from tenure.crypto.aead import context, open_under, seal_under
from tenure.crypto.hashing import random_bytes
from tenure.domain.errors import UnsupportedFormatError
from tenure.keys.base import Unwrapper, Wrapper
from tenure.repository import wire
from tenure.repository.entries import PageRef
from tenure.repository.keystores import KeyStores
from tenure.repository.model import Cohort
from tenure.repository.page import ENTRY, GONE, PagePlain, open_secret, seal_page
from tenure.repository.rows import Bytes, Words, contains, sorted_unique
from tenure.repository.secrets import SourceKeys, fingerprint
from tenure.repository.wire import Wire

SCOPE = Cohort(data_set="", rule_class="", span="scope")

_NO_IDS = np.empty((0, 16), np.uint8)
_PRINT = struct.Struct("<16sQ")
_ALWAYS = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recut:
    """Card data to cut in the quarantine cohorts of one data set, whose rows stay.

    `findings`: by name (`cards.quarantine`); `keep`: what stays of a number (`cards.redact.Keep`); `records`: how
    many rows that is, as counted for the plan.
    """

    findings: frozenset[bytes]
    keep: str
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What goes from one source.

    `records`: data set -> identities (uint8, n x 16, sorted and unique). `cohorts`: forgotten whole, because the plan
    proved every record in them due. `recut`: data set -> card data that goes out of rows that stay. `gone`: data set ->
    for each of its records the ledger's head when it was seen to be gone live (uint64, n); a data set that is not in
    it: until the judging. Only snapshots whose view is no later than that may hold the record that is meant.
    """

    records: Mapping[str, Bytes] = field(default_factory=dict)
    cohorts: tuple[Cohort, ...] = ()
    recut: Mapping[str, Recut] = field(default_factory=dict)
    gone: Mapping[str, Words] = field(default_factory=dict)

    def seen_by(self, data_set: str, view: int) -> Bytes:
        """Return the records that a snapshot of this view may hold; what it has of others is newer, under their keys.

        `view`: a ledger number; 0 for what is older than every deletion.
        """
        ids = self.records.get(data_set, _NO_IDS)
        return ids[self.gone[data_set] >= view] if data_set in self.gone else ids

    def count(self) -> int:
        """Return how many records are named."""
        return sum(len(ids) for ids in self.records.values()) + self.count_recut()

    def count_recut(self) -> int:
        """Return how many of them stay, without their card data."""
        return sum(some.records for some in self.recut.values())

    def without(self, left: Mapping[str, Bytes]) -> "Scope":
        """Return the scope less some records; a cohort with one of them no longer goes whole."""
        records, gone = {}, {}
        for data_set, ids in self.records.items():
            stays = ~contains(sorted_unique(left.get(data_set, _NO_IDS)), ids)
            records[data_set] = ids[stays]
            if data_set in self.gone:
                gone[data_set] = self.gone[data_set][stays]
        spoiled = {data_set for data_set, ids in left.items() if len(ids)}
        cohorts = tuple(c for c in self.cohorts if c.data_set not in spoiled)
        return replace(self, records=records, cohorts=cohorts, gone=gone)


class _ScopeWire(Wire, frozen=True, kw_only=True):
    records: dict[str, bytes]
    cohorts: tuple[tuple[str, str, str], ...]
    recut: dict[str, tuple[tuple[bytes, ...], str, int]]
    gone: dict[str, bytes]


class _FingerprintsWire(Wire, frozen=True, kw_only=True):
    salt: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """What scope pages are sealed with. `readers`: put into many stores at once."""

    repository: bytes
    epoch: int
    wrapper: Wrapper
    forget: bytes
    readers: Executor | None = None


def put_scope(scope: Scope, keys: SourceKeys, stores: KeyStores, sealing: Sealing) -> PageRef:
    """Put a scope page into every key store that takes it; they need no second copy, they only must all go."""
    raw = wire.encode(
        _ScopeWire(
            records={d: ids.tobytes() for d, ids in sorted(scope.records.items())},
            cohorts=tuple((c.data_set, c.rule_class, c.span) for c in sorted(scope.cohorts)),
            recut={d: (tuple(sorted(r.findings)), r.keep, r.records) for d, r in sorted(scope.recut.items())},
            gone={d: numbers.astype("<u8").tobytes() for d, numbers in sorted(scope.gone.items())},
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
    stores.put_where_possible([(ref, page)], sealing.readers)
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
    recut = {
        d: Recut(findings=frozenset(some), keep=keep, records=count)
        for d, (some, keep, count) in found.recut.items()
    }
    gone = {d: np.frombuffer(raw, "<u8") for d, raw in found.gone.items()}
    return Scope(records=records, cohorts=cohorts, recut=recut, gone=gone)


def seal_fingerprints(scopes: Mapping[str, Scope], fingerprint_key: bytes) -> bytes:
    """Return what the ledger keeps: source -> data set -> fingerprints and numbers, for readers and purgers only."""
    found = {
        source: {
            data_set: b"".join(
                fingerprint(fingerprint_key, data_set, i.tobytes()) + number.to_bytes(8, "little")
                for i, number in zip(ids, scope.gone.get(data_set, _always(ids)).tolist(), strict=True)
            )
            for data_set, ids in scope.records.items()
        }
        for source, scope in sorted(scopes.items())
    }
    salt = random_bytes(16)
    sealed = seal_under(
        fingerprint_key, "tenure fingerprints", salt, wire.encode(found), aad=context("fingerprints")
    )
    return wire.encode(_FingerprintsWire(salt=salt, sealed=sealed))


def _always(ids: Bytes) -> Words:
    return np.full(len(ids), _ALWAYS, np.uint64)


def open_fingerprints(
    raw: bytes, fingerprint_key: bytes, source: str | None = None, *, view: int = 0
) -> Mapping[str, frozenset[bytes]]:
    """Return data set -> 16-byte fingerprints, of one source or, where None, of all together.

    `view`: of a snapshot; only of records that it may hold, as in `Scope.seen_by`.

    Raises:
        TamperedError: They cannot be opened.
        UnsupportedFormatError: Not a whole number of them.
    """
    found = wire.decode(raw, _FingerprintsWire, what="a forgetting's fingerprints")
    plain = open_under(
        fingerprint_key, "tenure fingerprints", found.salt, found.sealed, aad=context("fingerprints")
    )
    loose = wire.decode(plain, dict[str, dict[str, bytes]], what="a forgetting's fingerprints")
    prints: dict[str, set[bytes]] = {}
    for name, data_sets in loose.items():
        for data_set, joined in data_sets.items() if source in {None, name} else ():
            prints.setdefault(data_set, set()).update(_seen_by(view, joined))
    return {data_set: frozenset(some) for data_set, some in prints.items()}


def _seen_by(view: int, joined: bytes) -> list[bytes]:
    if len(joined) % _PRINT.size:
        raise UnsupportedFormatError("a forgetting's fingerprints are cut short")
    return [found for found, number in _PRINT.iter_unpack(joined) if number >= view]


def matcher(prints: Mapping[str, frozenset[bytes]], fingerprint_key: bytes) -> Callable[[str, bytes], bool]:
    """Return a predicate: is this record (data set, identity) among the fingerprints?"""

    def matches(data_set: str, identity: bytes) -> bool:
        wanted = prints.get(data_set)
        return bool(wanted) and fingerprint(fingerprint_key, data_set, identity) in wanted  # type: ignore[operator]

    return matches
