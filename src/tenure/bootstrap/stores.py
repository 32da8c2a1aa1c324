"""Which store an address means: ``file:FOLDER``, or ``s3://BUCKET/PREFIX?endpoint=...``; see docs/object-storage.md."""

import difflib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tenure.domain.clock import Clock
from tenure.domain.errors import ConfigError, ObjectStoreError, PreconditionFailedError
from tenure.objectstore.base import ObjectStore
from tenure.objectstore.file import FileStore
from tenure.objectstore.late import LateStore
from tenure.repository.keystores import KeyStores, NamedStore

if TYPE_CHECKING:
    from tenure.objectstore.s3 import S3Store
    from tenure.objectstore.s3client import S3Settings

_EXAMPLES = "write file:FOLDER or s3://BUCKET/PREFIX?endpoint=https://HOST"
_FLAGS = {"yes": True, "no": False}
_PROBE = "probe/init"


def _flag(word: str) -> bool:
    return _FLAGS[word]


def _some(word: str) -> float:
    number = float(word)
    if number <= 0:
        raise ValueError("not above zero")
    return number


_WAYS: Mapping[str, Callable[[str], Any]] = {
    "endpoint": str,
    "region": str,
    "path_style": _flag,
    "ca_file": str,
    "encryption": str,
    "kms_key": str,
    "storage_class": str,
    "connect": _some,
    "read": _some,
    "attempts": int,
    "give_up": _some,
    "connections": int,
}
"""Parameters of an address, and how each is read; those of `S3Settings` (objectstore/s3client.py)."""

_WHO = ("profile", "role_arn", "external_id", "session_name", "token_file")
"""Parameters that say who asks. Keys have no place in an address: they come from the profile or the environment."""

_ENCRYPTIONS = ("", "AES256", "aws:kms")


def open_store(url: str, root: Path, clock: Clock, *, keys: bool = False) -> ObjectStore:
    """Return the object store of an address; `keys`: it is a key store, where what is deleted has to be gone.

    Raises:
        ConfigError: The address is none.
        StoreUnavailableError: The folder is not there.
    """
    if url.startswith("s3:"):
        return _s3(url, clock, keys=keys)
    return FileStore(folder_of(url, root), clock)


def open_key_stores(addresses: Mapping[str, str], root: Path, clock: Clock) -> KeyStores:
    """Return the key stores of these addresses, by their names; one that is away is tried again at each call.

    Raises:
        ConfigError: An address is none.
        ObjectStoreError: Not one of them is there.
    """
    stores: list[NamedStore] = []
    away: list[ObjectStoreError] = []
    for name, url in addresses.items():
        reopen = partial(open_store, url, root, clock, keys=True)
        store: ObjectStore
        try:
            store = reopen()
        except ObjectStoreError as e:
            store = LateStore(reopen)
            away.append(e)
        stores.append(NamedStore(name=name, store=store))
    if away and len(away) == len(stores):
        raise away[0]
    return KeyStores(stores)


def create_store(url: str, root: Path, clock: Clock, *, keys: bool = False) -> ObjectStore:
    """Return a store for a new repository. A folder is made; a bucket has to be there, and to keep its promises.

    Raises:
        ConfigError: The address is none, or the store replaces what is written once.
        ObjectStoreError: The store cannot be reached, or refuses.
    """
    if not url.startswith("s3:"):
        return FileStore.create(folder_of(url, root), clock)
    store = _s3(url, clock, keys=keys)
    _require_written_once(store)
    return store


def folder_of(url: str, root: Path) -> Path:
    """Return the folder of a ``file:`` address.

    Raises:
        ConfigError: It is no such address.
    """
    kind, _, rest = url.partition(":")
    if kind != "file" or not rest:
        raise ConfigError(f"{url!r} is no object store", hint=_EXAMPLES)
    return root / rest.removeprefix("//")


def s3_settings(url: str, *, keys: bool = False) -> "S3Settings":
    """Return what an ``s3:`` address says.

    Raises:
        ConfigError: It has no bucket, a parameter that is none, or a value that cannot be used.
    """
    from tenure.objectstore.s3client import S3Access, S3Settings  # noqa: PLC0415 - boto3 takes long to load

    parts = urlsplit(url)
    if not parts.netloc or "@" in parts.netloc or parts.fragment:
        raise ConfigError(f"{url!r} is no object store", hint=_EXAMPLES)
    prefix = parts.path.strip("/")
    given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    if len(dict(given)) != len(given):
        raise ConfigError(f"{url!r} says something twice")
    found = {name: _read(name, value, parts.netloc) for name, value in given}
    who = {name: found.pop(name) for name in _WHO if name in found}
    found.setdefault("path_style", "endpoint" in found)  # AWS wants the bucket in the host's name
    return S3Settings(
        bucket=parts.netloc,
        prefix=f"{prefix}/" if prefix else "",
        access=S3Access(**who),
        all_versions=keys,
        **found,
    )


def _read(name: str, value: str, bucket: str) -> Any:
    known = (*_WAYS, *_WHO)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"the address of bucket {bucket} has an unknown parameter {name!r}{meant}")
    if name == "encryption" and value not in _ENCRYPTIONS:
        raise ConfigError(f"bucket {bucket}: encryption is AES256 or aws:kms, not {value!r}")
    try:
        return _WAYS.get(name, str)(value)
    except (ValueError, KeyError) as e:
        wanted = "yes or no" if name == "path_style" else "a number above zero"
        raise ConfigError(f"bucket {bucket}: {name} is {wanted}, not {value!r}") from e


def _s3(url: str, clock: Clock, *, keys: bool) -> "S3Store":
    from tenure.objectstore.s3 import S3Store  # noqa: PLC0415 - boto3 takes long to load

    return S3Store(s3_settings(url, keys=keys), clock)


def _require_written_once(store: "S3Store") -> None:
    """Put one name twice: on a store that takes both, two writers would overwrite each other's commits.

    Raises:
        ConfigError: It took both.
        ObjectStoreError: It cannot be reached, or refuses.
    """
    store.delete(_PROBE)
    try:
        store.put(_PROBE, b"first")
        try:
            store.put(_PROBE, b"second")
        except PreconditionFailedError:
            return
        raise ConfigError(
            f"{store.settings.where} replaces objects although it was told not to (If-None-Match): nothing was made",
            hint="use a bucket without versions, or a server that honours conditional writes on versioned ones",
        )
    finally:
        with suppress(ObjectStoreError):  # under a default lock, perhaps; nothing names it
            store.delete(_PROBE)
