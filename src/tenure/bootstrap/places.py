"""Where a repository lies, as an installation's settings say it: its stores opened, its locks in force."""

from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tenure.bootstrap.settings import Settings
from tenure.bootstrap.stores import KEYS, Use, open_store
from tenure.domain.clock import Clock
from tenure.domain.errors import ObjectStoreError
from tenure.objectstore.base import ObjectStore
from tenure.objectstore.late import LateStore
from tenure.objectstore.split import SplitStore
from tenure.repository import names
from tenure.repository.entryobjects import HeadMemory
from tenure.repository.founding import Place
from tenure.repository.keystores import KeyStores, NamedStore
from tenure.repository.locks import NONE, LockPolicy, with_slack
from tenure.repository.readahead import REQUESTS

if TYPE_CHECKING:
    from tenure.objectstore.s3client import LockMode

KEY_STORES = {"first": "file:key-store-1", "second": "file:key-store-2"}
OBJECT_STORE = "file:repository"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where a repository lies; addresses as in `bootstrap.stores`. Two key stores, with other owners, are advised.

    `ledger`: where marker and ledger lie, "" beside the rest. `mode`: of locks, "" for none. `shred_days`: for how
    long key stores that keep versions keep those of deleted pages.
    """

    objects: str = OBJECT_STORE
    keys: Mapping[str, str] = field(default_factory=lambda: dict(KEY_STORES))
    ledger: str = ""
    mode: "LockMode" = ""
    locks: LockPolicy = NONE
    shred_days: int = 0

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the address of every store."""
        return (self.objects, *((self.ledger,) if self.ledger else ()), *self.keys.values())


def stores_of(settings: Settings) -> Stores:
    """Return what settings say."""
    found = settings.repository
    locks = found.locks
    return Stores(
        objects=found.object_store,
        keys=found.key_stores,
        ledger=found.ledger_store,
        mode="" if locks is None else "COMPLIANCE" if locks.mode == "compliance" else "GOVERNANCE",
        locks=NONE
        if locks is None
        else LockPolicy(days=locks.days, data_sets=locks.data_sets, page_days=locks.key_page_days),
        shred_days=found.shred_window_days,
    )


def readers_for(stores: Stores) -> Executor | None:
    """Return what asks for many ranges at once; None where sealed data lies on this machine's disks."""
    if not stores.objects.startswith("s3:"):
        return None
    return ThreadPoolExecutor(REQUESTS, thread_name_prefix="tenure-read")


def place_of(
    stores: Stores,
    root: Path,
    clock: Clock,
    memory: HeadMemory,
    *,
    create: bool = False,
    readers: Executor | None = None,
    cache: Path | None = None,
) -> Place:
    """Open the stores; `create`: for a new repository, so folders are made.

    Raises:
        ConfigError: An address is none, or a folder has to lock.
        ObjectStoreError: The object store's folder is not there, or that of not one key store.
    """
    period = with_slack(stores.locks.most)
    use = Use(mode=stores.mode, period=period)
    objects = open_store(stores.objects, root, clock, use, create=create)
    if stores.ledger:
        apart = open_store(stores.ledger, root, clock, create=create)
        objects = SplitStore(objects, apart, prefixes=(names.LEDGER, names.MARKER))
    return Place(
        objects=objects,
        key_stores=_key_stores(stores, root, clock, create=create),
        memory=memory,
        locks=stores.locks,
        shred=timedelta(days=stores.shred_days),
        readers=readers,
        cache=cache,
    )


def _key_stores(stores: Stores, root: Path, clock: Clock, *, create: bool) -> KeyStores:
    """Open the key stores; one of several that is away is tried again at each call.

    Raises:
        ObjectStoreError: Not one of them is there, or one could not be made.
    """
    named: list[NamedStore] = []
    away: list[ObjectStoreError] = []
    for name, url in stores.keys.items():
        reopen = partial(_key_store, url, stores, root, clock, create=create)
        store: ObjectStore
        try:
            store = reopen()
        except ObjectStoreError as e:
            if create:
                raise
            store = LateStore(reopen)
            away.append(e)
        named.append(NamedStore(name=name, store=store))
    if away and len(away) == len(named):
        raise away[0]
    return KeyStores(named)


def _key_store(url: str, stores: Stores, root: Path, clock: Clock, *, create: bool) -> ObjectStore:
    """Open a key store. Folders neither lock nor keep versions: what is deleted there is gone at once."""
    if not url.startswith("s3:"):
        return open_store(url, root, clock, KEYS, create=create)
    use = Use(versions=not stores.shred_days, mode=stores.mode, period=timedelta(days=stores.locks.page_days))
    return open_store(url, root, clock, use)
