"""Reads key pages before anybody asks for them: many requests in flight where key stores are across a network."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from typing import TypeVar

from tenure.domain.errors import IntegrityError
from tenure.repository.entries import PageRef
from tenure.repository.inflight import each
from tenure.repository.kept import Kept
from tenure.repository.keystores import KeyStores
from tenure.repository.page import PageBytes

K = TypeVar("K")

BATCH_BYTES = 16 * 1024 * 1024
"""Pages that are at hand together: of some 150,000 chunks."""


class PagesAhead:
    """Pages of key stores, those asked for together at hand. Belongs to one thread."""

    def __init__(self, stores: KeyStores, readers: Executor | None, kept: Kept | None = None) -> None:
        """Begin with nothing at hand. `readers`: None for one page after the other; `kept`: None reads anew."""
        self._stores = stores
        self._readers = readers
        self._kept = kept
        self._at_hand: dict[bytes, PageBytes | IntegrityError] = {}

    def get(self, ref: PageRef) -> PageBytes:
        """Return a page: one at hand, else from the first store that has it whole.

        Raises:
            IntegrityError: No store has it whole.
        """
        found = self._at_hand.get(ref.page)
        if found is None:
            return self._stores.get(ref)
        if isinstance(found, IntegrityError):
            raise found
        return found

    def batches(self, groups: Sequence[tuple[K, Sequence[PageRef]]]) -> Iterator[list[K]]:
        """Yield groups, in their order, so many together as fit in memory; their pages are at hand until the next.

        Raises:
            ObjectStoreError: A store refused; a page that is whole in none says so in `get`.
        """
        batch: list[K] = []
        size = 0
        refs = (ref for _, some in groups for ref in some)
        with closing(each(self._readers, self._read, refs)) as pages:
            for group, some in groups:
                for ref in some:
                    found = self._at_hand[ref.page] = next(pages)
                    size += 0 if isinstance(found, IntegrityError) else found.size
                batch.append(group)
                if size >= BATCH_BYTES:
                    yield batch
                    self._at_hand.clear()
                    batch, size = [], 0
        if batch:
            yield batch
        self._at_hand.clear()

    def _read(self, ref: PageRef) -> PageBytes | IntegrityError:
        found = None if self._kept is None else self._kept.page(ref.page)
        if found is not None and found.hash == ref.hash:
            return found
        try:
            found = self._stores.get(ref)
        except IntegrityError as e:
            return e
        if self._kept is not None:
            self._kept.keep_page(found)
        return found
