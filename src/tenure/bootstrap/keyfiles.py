"""The key folder of an installation: which file holds which right.

``epoch-<n>.key`` reads (or a key service does), ``recovery.key`` reads when all else is lost (keep it elsewhere), ``purge.key`` orders
deletion, ``evidence.key`` signs evidence, ``writer-<source>.key`` takes snapshots of one source.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from tenure.crypto.hpke import RecipientPrivate
from tenure.crypto.signing import SigningKey
from tenure.domain.errors import KeyUnavailableError
from tenure.keys.base import Keyring
from tenure.keys.local import KeyFile, KeyKind, LocalKeyring, read_key_file, write_key_file
from tenure.keys.services import Keyrings, KeyServices, ServiceKeyring
from tenure.repository.repository import Writer
from tenure.repository.secrets import WriterSecrets

Ask = Callable[[], bytes] | None


def keyring(folder: Path, repository: bytes, ask: Ask, services: KeyServices) -> Keyring:
    """Return every right to unwrap that this process was given: its key files, and the services it knows a way to.

    Raises:
        KeyUnavailableError: There is none.
    """
    if not services.ways:
        return readers(folder, repository, ask)
    local = LocalKeyring(_privates(folder, repository, ask))
    return Keyrings(keyrings=(local, ServiceKeyring(services=services)))  # who asks nobody comes first


def readers(folder: Path, repository: bytes, ask: Ask) -> LocalKeyring:
    """Return the reading keys in files.

    Raises:
        KeyUnavailableError: There is none.
    """
    privates = _privates(folder, repository, ask)
    if not privates:
        raise KeyUnavailableError(
            f"there is no reading key (epoch-*.key) in {folder}",
            hint="put the key file back; if it is lost, restore with the recovery key",
        )
    return LocalKeyring(privates)


def _privates(folder: Path, repository: bytes, ask: Ask) -> list[RecipientPrivate]:
    return [
        RecipientPrivate.from_raw(_read(f, KeyKind.READER, repository, ask).fields["private"])
        for f in sorted(folder.glob("epoch-*.key"))
    ]


def purge(folder: Path, repository: bytes, ask: Ask) -> SigningKey | None:
    """Return the purge key, or None where this machine was not given it."""
    path = folder / "purge.key"
    if not path.exists():
        return None
    return SigningKey.from_raw(_read(path, KeyKind.PURGE, repository, ask).fields["private"])


def evidence(folder: Path, repository: bytes, ask: Ask) -> SigningKey:
    """Return the key that signs evidence.

    Raises:
        KeyUnavailableError: It is not there.
    """
    return SigningKey.from_raw(
        _read(folder / "evidence.key", KeyKind.EVIDENCE, repository, ask).fields["private"]
    )


def writers(folder: Path, repository: bytes, ask: Ask) -> Mapping[str, Writer]:
    """Return the writers whose key files are in the folder, by source."""
    found = {}
    for path in sorted(folder.glob("writer-*.key")):
        key = _read(path, KeyKind.WRITER, repository, ask)
        f = key.fields
        found[key.name] = Writer(
            secrets=WriterSecrets(
                writer=f["writer_id"], source=key.name, secret=f["writer_secret"], tags=f["cohort_tag_secret"]
            ),
            ledger_secret=f["ledger_secret"],
            key=SigningKey.from_raw(f["signing"]),
        )
    return found


def keep_writer(
    folder: Path, repository: bytes, writer: Writer, at: datetime, *, passphrase: bytes | None = None
) -> Path:
    """Write a writer's key file, under the installation's passphrase where there is one; return its path."""
    key = KeyFile(
        kind=KeyKind.WRITER,
        repository=repository.hex(),
        name=writer.secrets.source,
        created=at,
        fields={
            "writer_id": writer.secrets.writer,
            "writer_secret": writer.secrets.secret,
            "cohort_tag_secret": writer.secrets.tags,
            "ledger_secret": writer.ledger_secret,
            "signing": writer.key.raw,
        },
    )
    path = folder / f"writer-{writer.secrets.source}.key"
    write_key_file(path, key, passphrase=passphrase)
    return path


def keep(
    folder: Path, name: str, *, kind: KeyKind, repository: bytes, at: datetime, fields: Mapping[str, bytes]
) -> Path:
    """Write a key file ``<name>.key``; return its path."""
    path = folder / f"{name}.key"
    key = KeyFile(kind=kind, repository=repository.hex(), name=name, created=at, fields=fields)
    write_key_file(path, key, passphrase=None)
    return path


def _read(path: Path, kind: KeyKind, repository: bytes, ask: Ask) -> KeyFile:
    return read_key_file(path, passphrase=ask, kind=kind, repository=repository.hex())
