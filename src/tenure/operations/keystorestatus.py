"""What each key store holds beside what the ledger names: `tenure keys status`. One listing of each, nothing is read."""

from dataclasses import dataclass

from tenure.domain.errors import ObjectStoreError
from tenure.repository import names
from tenure.repository.keystores import NamedStore
from tenure.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStoreStatus:
    """One key store.

    `pages`: how many key pages it holds that the ledger names; `lacking`: how many it does not. `left`: pages that the
    ledger does not name: of snapshots under way, or forgotten while this store was away. `problem`: why it could not be
    asked; the counts are 0 then.
    """

    name: str
    pages: int = 0
    lacking: int = 0
    left: int = 0
    problem: str = ""

    @property
    def whole(self) -> bool:
        """Whether it alone would do."""
        return not (self.problem or self.lacking)

    @property
    def to_do(self) -> str:
        """Return what to do next; "" for nothing."""
        if self.problem:
            return "bring it back; until then nothing is forgotten for good, and no snapshot is taken"
        if self.lacking:
            return "run `tenure prune`: it copies the missing pages from another key store"
        if self.left:
            return "run `tenure prune`: it deletes what no snapshot under way needs"
        return ""


def key_stores(repository: Repository) -> tuple[KeyStoreStatus, ...]:
    """Return how each key store stands beside the ledger's head."""
    live = {names.page(p.ref.epoch, p.ref.tag, p.ref.page) for p in repository.state.pages.values()}
    return tuple(_one(named, live) for named in repository.place.key_stores.stores)


def _one(named: NamedStore, live: set[str]) -> KeyStoreStatus:
    held = left = 0
    try:
        for info in named.store.list(names.PAGES):
            if info.name in live:
                held += 1
            else:
                left += 1
    except ObjectStoreError as e:
        return KeyStoreStatus(name=named.name, problem=str(e))
    return KeyStoreStatus(name=named.name, pages=held, lacking=len(live) - held, left=left)
