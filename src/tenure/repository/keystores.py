"""Every key store holds every key page. Write to all, read from any, delete from all."""

from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from tenure.crypto.hashing import content_hash
from tenure.domain.errors import (
    IntegrityError,
    ObjectLockedError,
    ObjectNotFoundError,
    ObjectStoreError,
    PreconditionFailedError,
    StoreUnavailableError,
    TamperedError,
    UnsupportedFormatError,
)
from tenure.objectstore.base import ObjectStore
from tenure.repository import names
from tenure.repository.entries import PageRef
from tenure.repository.inflight import each
from tenure.repository.page import PageBytes, parse_page

_NOTHING = "probe/"
"""A prefix below which there is nothing to list but what a probe leaves for seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedStore:
    """A key store and what the configuration calls it."""

    name: str
    store: ObjectStore


@dataclass(slots=True, kw_only=True)
class Deletion:
    """What a deletion in every key store came to. `failed`: names of stores that did not confirm.

    `locked`: when locks end that stood in the way, the last one of each store; that is a state, and no error.
    """

    pages: int = 0
    failed: set[str] = field(default_factory=set)
    locked: dict[str, datetime] = field(default_factory=dict)

    def take(self, other: "Deletion") -> None:
        """Add what another deletion did not confirm."""
        self.failed |= other.failed
        for name, until in other.locked.items():
            self.locked[name] = max(until, self.locked.get(name, until))

    def refused(self, name: str, error: ObjectStoreError) -> None:
        """Note that a store did not delete."""
        self.failed.add(name)
        until = error.until if isinstance(error, ObjectLockedError) else None
        if until is not None:
            self.locked[name] = max(until, self.locked.get(name, until))


class PageSource(Protocol):
    """Where pages are read."""

    def get(self, ref: PageRef) -> PageBytes:
        """Return a page.

        Raises:
            IntegrityError: No store has it whole.
        """
        ...


class KeyStores:
    """All key stores of a repository, as one."""

    def __init__(self, stores: Iterable[NamedStore]) -> None:
        self.stores = tuple(stores)
        if not self.stores:
            raise ValueError("a repository has at least one key store")
        self._away = set[str]()

    def require_all(self) -> None:
        """Ask every store whether it is there: what a session writes has to go to all of them.

        Raises:
            ObjectStoreError: One is not; better told before a source is read than after.
        """
        for named in self.stores:
            next(iter(named.store.list(_NOTHING)), None)

    def put(self, ref: PageRef, raw: bytes) -> None:
        """Put a page into every store.

        Raises:
            ObjectStoreError: One of them refused; the page is not named by the ledger yet, so nothing is lost.
        """
        name = names.page(ref.epoch, ref.tag, ref.page)
        for named in self.stores:
            _put_into(named, name, raw)

    def put_where_possible(
        self, pages: Iterable[tuple[PageRef, bytes]], readers: Executor | None = None
    ) -> set[str]:
        """Put pages into every store that takes them; return the names of those that did not.

        For forgetting, which must not wait for a store that is down; a sweep mends it later. `readers`: put many at
        once; None: one after the other.

        Raises:
            ObjectStoreError: Not one of them took a page.
        """
        wanted = [(names.page(ref.epoch, ref.tag, ref.page), raw) for ref, raw in pages]

        def one(put: tuple[NamedStore, str, bytes]) -> ObjectStoreError | None:
            try:
                _put_into(*put)
            except PreconditionFailedError:
                raise
            except ObjectStoreError as e:
                return e
            return None

        refused = each(readers, one, ((named, name, raw) for name, raw in wanted for named in self.stores))
        failed = set[str]()
        for _ in wanted:
            errors = {named.name: e for named in self.stores if (e := next(refused)) is not None}
            failed |= set(errors)
            if len(errors) == len(self.stores):
                refused.close()
                raise next(iter(errors.values()))
        return failed

    def has_whole(self, ref: PageRef, named: NamedStore) -> bool:
        """Whether one store has a page, unchanged.

        Raises:
            ObjectStoreError: The store does not answer.
        """
        try:
            return content_hash(named.store.get(names.page(ref.epoch, ref.tag, ref.page))) == ref.hash
        except ObjectNotFoundError:
            return False

    def mend(self, ref: PageRef, named: NamedStore) -> None:
        """Put a live page right in a store that lacks it or has it damaged, from one that has it whole.

        Raises:
            IntegrityError: None has.
            ObjectStoreError: The store refuses.
        """
        name, whole = names.page(ref.epoch, ref.tag, ref.page), self._whole(ref)
        try:
            named.store.put(name, whole)
        except PreconditionFailedError:
            # Damaged there. The name gets the very bytes it was first given, so it is still written once.
            named.store.delete(name)
            named.store.put(name, whole)

    def get(self, ref: PageRef) -> PageBytes:
        """Return a page from the first store that has it whole.

        Raises:
            IntegrityError: No store has it whole; the message names what each of them has.
        """
        return parse_page(self._whole(ref), name=names.page(ref.epoch, ref.tag, ref.page))

    def _whole(self, ref: PageRef) -> bytes:
        name = names.page(ref.epoch, ref.tag, ref.page)
        troubles: list[str] = []
        # A server that does not answer takes minutes to say so: once is enough, then it is asked last.
        for named in sorted(self.stores, key=lambda s: s.name in self._away):
            try:
                raw = named.store.get(name)
                if content_hash(raw) == ref.hash:
                    return raw
                troubles.append(f"{named.name}: {_what_is_wrong(raw, name)}")
            except ObjectNotFoundError:
                troubles.append(f"{named.name}: missing")
            except StoreUnavailableError as e:
                self._away.add(named.name)
                troubles.append(f"{named.name}: {e}")
            except ObjectStoreError as e:
                troubles.append(f"{named.name}: {e}")
        raise IntegrityError(f"key page {name} is whole in no key store ({'; '.join(troubles)})")

    def lacking(self, ref: PageRef) -> list[str]:
        """Return the names of the stores that do not have the page whole."""
        name = names.page(ref.epoch, ref.tag, ref.page)
        bad = []
        for named in self.stores:
            try:
                if content_hash(named.store.get(name)) != ref.hash:
                    bad.append(named.name)
            except ObjectStoreError:
                bad.append(named.name)
        return bad

    def delete(self, object_names: Iterable[str], readers: Executor | None = None) -> Deletion:
        """Delete pages in every store, and read back that they are gone; a failing store does not stop the others.

        `readers`: delete many at once; None: one after the other.
        """
        result, away, wanted = Deletion(), set[str](), list(object_names)

        def one(asked: tuple[NamedStore, str]) -> ObjectStoreError | None:
            named, name = asked
            if named.name in away:
                return StoreUnavailableError("it answered nothing a moment ago")
            error = _delete_in(named, name)
            if isinstance(error, StoreUnavailableError):
                away.add(named.name)  # it stays failed, and a later run deletes there
            return error

        asked = [(named, name) for name in wanted for named in self.stores]
        for (named, _), error in zip(asked, each(readers, one, asked), strict=True):
            if error is not None:
                result.refused(named.name, error)
        result.pages = len(wanted)
        return result


def _put_into(named: NamedStore, name: str, raw: bytes) -> None:
    try:
        named.store.put(name, raw)
    except PreconditionFailedError:
        if named.store.get(name) != raw:
            raise


def _delete_in(named: NamedStore, name: str) -> ObjectStoreError | None:
    """Delete a page in one store; return why it is there still, or None."""
    try:
        named.store.delete(name)
        named.store.stat(name)
    except ObjectNotFoundError:
        return None
    except ObjectStoreError as e:
        return e
    return ObjectStoreError(f"{name} is still there after it was deleted")


def _what_is_wrong(raw: bytes, name: str) -> str:
    try:
        parse_page(raw, name=name)
    except (TamperedError, UnsupportedFormatError):
        return "changed"
    except IntegrityError:
        return "cut short"
    return "another page under this name"
