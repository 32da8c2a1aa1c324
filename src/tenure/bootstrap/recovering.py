"""Opens a repository with nothing but its stores and the recovery key: no configuration, no control database.

The recovery key file says which repository it belongs to and whose orders to believe, so nothing of that is taken
from the stores themselves.
"""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tenure.bootstrap.places import Stores, place_of, readers_for
from tenure.bootstrap.wiring import Machine, threads_for
from tenure.crypto.hpke import RecipientPrivate
from tenure.crypto.signing import VerifyKey
from tenure.domain.errors import ConfigError
from tenure.domain.progress import Progress
from tenure.keys.local import KeyFile, KeyKind, LocalKeyring, read_key_file
from tenure.operations import recoverycheck, restore
from tenure.operations.recoverycheck import RecoveryCheck
from tenure.operations.restore import Part, Restored
from tenure.repository.headfile import HeadInMemory
from tenure.repository.repository import Pins, Repository, Rights

EVERYTHING = Part()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What is left after a disaster: the recovery key, and the addresses of the stores (`bootstrap.stores`).

    `key`: its file, or what shares of it came to, which is on no disk then.
    """

    key: Path | KeyFile
    repository: str
    key_stores: tuple[str, ...]
    ledger: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A repository opened with the recovery key (`key_id`: its id), and what loading needs."""

    repository: Repository
    key_id: bytes
    progress: Progress
    executor: Executor

    def restore(self, number: int, target: Path, part: Part = EVERYTHING) -> Restored:
        """Bring a snapshot back to `target`, which must not exist yet; nobody is there to write evidence to.

        Raises:
            ConfigError: The target exists, or is the live store; or the part names what is not there.
            IntegrityError: Something is missing or damaged that nobody ordered forgotten; nothing is left there.
        """
        if target.exists() or target.is_symlink():
            raise ConfigError(f"{target} exists already", hint="name a place that does not exist yet")
        reader = self.repository.read(number, self.executor)
        return restore.load(self, self.repository, reader, target, part)

    def checked(self) -> RecoveryCheck:
        """Prove that the key opens a sample of everything in every key store; nothing is written.

        Raises:
            KeyMismatchError: It is no recovery key of the epoch in use.
        """
        return recoverycheck.checked(self.repository, self.key_id, self.executor, self.progress)


@contextmanager
def recovered(remains: Remains, machine: Machine) -> Iterator[Recovered]:
    """Open what remains.

    Raises:
        ConfigError: No key store was named, or a URL is none.
        KeyMismatchError: The key is another repository's, or was replaced by a rotation.
        RepositoryNotFoundError: There is no repository.
    """
    if not remains.key_stores:
        raise ConfigError("no key store was named", hint="name each with --key-store file:FOLDER")
    key = remains.key
    if isinstance(key, Path):
        key = read_key_file(key, passphrase=machine.passphrase, kind=KeyKind.RECOVERY)
    stores = Stores(
        objects=remains.repository, keys={url: url for url in remains.key_stores}, ledger=remains.ledger
    )
    readers = readers_for(stores)
    place = place_of(stores, Path(), machine.clock, HeadInMemory(), readers=readers)
    executor = ThreadPoolExecutor(threads_for(stores.addresses, machine), thread_name_prefix="tenure")
    try:
        repository = Repository.open(place, pins_of(key), rights_of(key))
        yield Recovered(
            repository=repository,
            key_id=RecipientPrivate.from_raw(key.fields["private"]).key_id,
            progress=machine.progress,
            executor=executor,
        )
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        if readers is not None:
            readers.shutdown(wait=True, cancel_futures=True)


def pins_of(key: KeyFile) -> Pins:
    """Return whom a recovery key file says to trust."""
    return Pins(
        repository=bytes.fromhex(key.repository),
        purge_key=VerifyKey(key.fields["purge_public"]),
        least_epoch=1,
    )


def rights_of(key: KeyFile) -> Rights:
    """Return what a reading or recovery key opens."""
    return Rights(unwrapper=LocalKeyring([RecipientPrivate.from_raw(key.fields["private"])]))
