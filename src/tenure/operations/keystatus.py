"""What the ledger says of keys, and which key files are here: `tenure keys status`."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tenure.keys.local import PROVIDER
from tenure.operations.installation import Installation
from tenure.operations.keystorestatus import KeyStoreStatus, key_stores
from tenure.operations.newkeys import Secrecy, key_files, read
from tenure.repository.founding import service_key


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientStatus:
    """A key that an epoch wraps for.

    `address`: of a key that a service keeps, "" for others. `file` and `created`: of the private half of a local key,
    None where that is not here.
    """

    epoch: int
    state: str
    role: str
    provider: str
    address: str
    key_id: bytes
    file: Path | None
    created: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStatus:
    """A writer that was admitted."""

    source: str
    writer: bytes
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysStatus:
    """Every key the ledger knows, and how each key store stands.

    `pages`, `old_pages`: key pages in the open epoch and in older ones.
    """

    recipients: tuple[RecipientStatus, ...]
    writers: tuple[WriterStatus, ...]
    stores: tuple[KeyStoreStatus, ...]
    pages: int
    old_pages: int


def keys_status(installation: Installation, secrecy: Secrecy) -> KeysStatus:
    """Return what the ledger says of keys, and which key files are here.

    Raises:
        KeyMismatchError: A key file here is damaged or another repository's.
    """
    repository = installation.open_writing()
    state, epoch = repository.state, repository.epoch().opened.epoch
    files = {private.key_id: path for path, private in key_files(installation, secrecy).items()}
    made = {key_id: read(installation, path, secrecy).created for key_id, path in files.items()}
    recipients = [
        RecipientStatus(
            epoch=n,
            state=e.state,
            role=r.role,
            provider=r.provider,
            address="" if r.provider == PROVIDER else service_key(r).address,
            key_id=r.key_id,
            file=files.get(r.key_id),
            created=made.get(r.key_id),
        )
        for n, e in sorted(state.epochs.items())
        for r in e.opened.recipients
    ]
    writers = [
        WriterStatus(source=w.source, writer=bytes.fromhex(i), removed=w.removed)
        for i, w in sorted(state.writers.items(), key=lambda pair: (pair[1].source, pair[0]))
    ]
    old = sum(p.ref.epoch != epoch for p in state.pages.values())
    return KeysStatus(
        recipients=tuple(recipients),
        writers=tuple(writers),
        stores=key_stores(repository),
        pages=len(state.pages) - old,
        old_pages=old,
    )
