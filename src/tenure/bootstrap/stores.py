"""Which store an address means: ``file:FOLDER``, or ``s3://BUCKET/PREFIX?endpoint=...``; see docs/object-storage.md."""

import binascii
import difflib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tenure.domain.clock import Clock
from tenure.domain.errors import ConfigError
from tenure.objectstore.base import ObjectStore, locking
from tenure.objectstore.file import FileStore
from tenure.objectstore.locked import LockedStore
from tenure.repository import names
from tenure.repository.locks import LOCKED

if TYPE_CHECKING:
    from tenure.objectstore.s3 import S3Store
    from tenure.objectstore.s3client import LockMode, S3Settings

_EXAMPLES = "write file:FOLDER or s3://BUCKET/PREFIX?endpoint=https://HOST"
_FLAGS = {"yes": True, "no": False}
_CUSTOMER_KEY = 32  # bytes of an SSE-C key: AES-256


def _flag(word: str) -> bool:
    return _FLAGS[word]


def _megabytes(word: str) -> float:
    return _some(word) * 1e6


def _key_in(word: str) -> bytes:
    """Return the key in a file: 32 bytes, or 64 hex digits; nobody else may read it.

    Raises:
        ConfigError: It is not there, is no such key, or others may read it.
    """
    try:
        fd = os.open(word, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            mode, raw = os.fstat(fd).st_mode, file.read(4096)
    except OSError as e:
        raise ConfigError(f"customer_key_file: {word} cannot be read: {e.strerror}") from e
    if mode & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"others than its owner may use {word}", hint=f"chmod 600 {word}")
    if len(raw) == _CUSTOMER_KEY:
        return raw
    try:
        key = binascii.unhexlify(raw.strip())
    except binascii.Error:
        key = b""
    if len(key) != _CUSTOMER_KEY:
        raise ConfigError(
            f"{word} holds no key of 32 bytes",
            hint=f"make one: openssl rand -hex 32 > {word}; chmod 600 {word}",
        )
    return key


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
    "customer_key_file": _key_in,
    "up": _megabytes,
    "down": _megabytes,
    "connect": _some,
    "read": _some,
    "attempts": int,
    "give_up": _some,
    "connections": int,
}
"""Parameters of an address, and how each is read; those of `S3Settings` (objectstore/s3client.py)."""

_FIELDS = {"customer_key_file": "customer_key"}
"""Parameters that `S3Settings` calls otherwise."""

_WHO = ("profile", "role_arn", "external_id", "session_name", "token_file")
"""Parameters that say who asks. Keys have no place in an address: they come from the profile or the environment."""

_ENCRYPTIONS = ("", "AES256", "aws:kms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a store is for. `versions`: whether `delete` removes every version (`S3Settings.all_versions`).

    `period`: how long what is put there is locked, 0 for not at all, `mode`: how.
    """

    versions: bool | None = None
    mode: "LockMode" = ""
    period: timedelta = timedelta(0)


OBJECTS = Use()
KEYS = Use(versions=True)
"""A key store: what is deleted has to be gone, in every version."""


def open_store(
    url: str, root: Path, clock: Clock, use: Use = OBJECTS, *, create: bool = False
) -> ObjectStore:
    """Return the object store of an address.

    Args:
        url: The address.
        root: Where relative folders lie.
        clock: This machine's.
        use: What it is for.
        create: For a new repository: a folder is made. A bucket has to be there.

    Raises:
        ConfigError: The address is none, or it is a folder and has to lock.
        StoreUnavailableError: The folder is not there.
    """
    if url.startswith("s3:"):
        store: ObjectStore = _s3(url, clock, use)
    elif create:
        store = FileStore.create(folder_of(url, root), clock)
    else:
        store = FileStore(folder_of(url, root), clock)
    if not use.period:
        return store
    return LockedStore(locking(store, "`locks`"), period=use.period, prefixes=(*LOCKED, names.PAGES))


def folder_of(url: str, root: Path) -> Path:
    """Return the folder of a ``file:`` address.

    Raises:
        ConfigError: It is no such address.
    """
    kind, _, rest = url.partition(":")
    if kind != "file" or not rest:
        raise ConfigError(f"{url!r} is no object store", hint=_EXAMPLES)
    return root / rest.removeprefix("//")


def s3_settings(url: str, use: Use = OBJECTS) -> "S3Settings":
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
    found = {_FIELDS.get(name, name): _read(name, value, parts.netloc) for name, value in given}
    who = {name: found.pop(name) for name in _WHO if name in found}
    found.setdefault("path_style", "endpoint" in found)  # AWS wants the bucket in the host's name
    return S3Settings(
        bucket=parts.netloc,
        prefix=f"{prefix}/" if prefix else "",
        access=S3Access(**who),
        all_versions=use.versions,
        lock=use.mode,
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


def _s3(url: str, clock: Clock, use: Use) -> "S3Store":
    from tenure.objectstore.s3 import S3Store  # noqa: PLC0415 - boto3 takes long to load

    return S3Store(s3_settings(url, use), clock)
