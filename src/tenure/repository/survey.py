"""What a prune needs to know of each live key page, read once: pages never change."""

from collections.abc import Iterable, Mapping

import numpy as np

from tenure.repository.entries import PageRef
from tenure.repository.inflight import PAGES_AHEAD, each
from tenure.repository.page import Array, PageBytes, open_index
from tenure.repository.repository import Repository
from tenure.repository.state import PageState

LiveBytes = Mapping[bytes, int]
"""Pack id -> sealed bytes of it that a page names, of every pack in the page's header."""


class Survey:
    """The packs of live pages. Belongs to one prune and one thread; some 70 bytes for each pack that a page names."""

    def __init__(self, repository: Repository) -> None:
        """Begin with no page."""
        self._repository = repository
        self._live: dict[bytes, LiveBytes] = {}

    def of(self, pages: Iterable[PageState]) -> dict[bytes, LiveBytes]:
        """Return the packs of these pages by page id; what was not read before is read now, several at a time.

        Raises:
            IntegrityError: A page is whole in no key store.
        """
        wanted = list(pages)
        place = self._repository.place
        missing = [page.ref for page in wanted if page.ref.page not in self._live]
        read = each(place.readers, place.key_stores.get, missing, ahead=PAGES_AHEAD)
        for ref, page in zip(missing, read, strict=True):
            _, entries, _ = open_index(page, self._repository.keys_of(ref.writer))
            self.take(ref, page, entries)
        return {page.ref.page: self._live[page.ref.page] for page in wanted}

    def take(self, ref: PageRef, page: PageBytes, entries: Array) -> None:
        """Take in a page that was read for something else."""
        packs = page.header.packs
        sums = np.bincount(entries["pack"], weights=entries["length"], minlength=len(packs))
        self._live[ref.page] = {pack: int(count) for pack, count in zip(packs, sums.tolist(), strict=True)}
