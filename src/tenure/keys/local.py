"""Local keys: pairs held in files on this machine.

For one machine. A key file lives on in every backup of its disk, which weakens what forgetting means; certificates
say so. Key services (KMS, Vault) are other providers behind the same ports.

A key file is text: a comment for the human who finds it, one line of JSON, a checksum::

    # Tenure reader key "epoch-1" of repository 5d0c...  SECRET ...
    {"created":"2026-03-01T12:00:00+00:00","fields":{"private":"..."},"format":"tenure key 1","kind":"reader",...}
    # blake3 <64 hex digits: plain BLAKE3 of everything above>

Under a passphrase, `protected` takes the place of `fields`: Argon2id parameters, and the fields under AES-256-GCM.
"""

import base64
import binascii
import errno
import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from tenure.crypto import aead
from tenure.crypto.hashing import content_hash, random_bytes
from tenure.crypto.hpke import PRIVATE_BYTES, RecipientPrivate, RecipientPublic, unwrap, wrap
from tenure.crypto.passphrase import Stretching, stretch
from tenure.domain.errors import ConfigError, IntegrityError, KeyMismatchError, KeyUnavailableError
from tenure.keys.base import Purpose, WrappedKey, for_none_of
from tenure.keys.disk import fill, sync_folder

PROVIDER = "local"

_FORMAT = "tenure key 1"
_CHECKSUM = b"# blake3 "
_MOST_BYTES = 64 * 1024  # a key file is far smaller; whatever is larger is another file


class LocalRecipients:
    """Wraps for public keys; implements `Wrapper`."""

    def __init__(self, publics: Sequence[RecipientPublic]) -> None:
        """Take the recipients.

        Raises:
            ValueError: None (nobody could ever unwrap), or one twice.
        """
        if not publics or len(set(publics)) != len(publics):
            raise ValueError("recipients are at least one, each once")
        self._publics = tuple(publics)

    def wrap(self, secret: bytes, *, context: Purpose) -> tuple[WrappedKey, ...]:
        """See `Wrapper.wrap`."""
        where = context.encoded()
        return tuple(
            WrappedKey(recipient=p.key_id, provider=PROVIDER, wrapped=wrap(p, secret, context=where))
            for p in self._publics
        )


class LocalKeyring:
    """Unwraps with private keys; implements `Unwrapper`."""

    def __init__(self, privates: Sequence[RecipientPrivate]) -> None:
        """Take the keys, of several epochs perhaps."""
        self._privates = {private.key_id: private for private in privates}

    def holds(self, wrapped: WrappedKey) -> bool:
        """See `Keyring.holds`."""
        return wrapped.provider == PROVIDER and wrapped.recipient in self._privates

    def held(self) -> tuple[str, ...]:
        """See `Keyring.held`."""
        return tuple(sorted(key_id.hex() for key_id in self._privates))

    def unwrap(self, wrapped: Sequence[WrappedKey], *, context: Purpose) -> bytes:
        """See `Unwrapper.unwrap`."""
        refused: KeyMismatchError | None = None
        for one in filter(self.holds, wrapped):
            try:
                return unwrap(self._privates[one.recipient], one.wrapped, context=context.encoded())
            except KeyMismatchError as e:
                refused = e  # another recipient's copy may be whole
        raise refused or for_none_of(self.held())


class KeyKind(StrEnum):
    """What a key file is for."""

    READER = "reader"  # private half of an epoch's KEK: reads everything
    RECOVERY = "recovery"  # the same, offline, with what it needs to trust a repository
    PURGE = "purge"  # Ed25519: signs whatever orders deletion
    WRITER = "writer"  # takes snapshots of one source; reads nothing
    EVIDENCE = "evidence"  # Ed25519: signs evidence and certificates


# Field -> bytes; None: any length but none at all.
_FIELDS: Mapping[KeyKind, Mapping[str, int | None]] = {
    KeyKind.READER: {"private": PRIVATE_BYTES},
    KeyKind.RECOVERY: {"private": PRIVATE_BYTES, "purge_public": 32},
    KeyKind.PURGE: {"private": 32},
    KeyKind.WRITER: {
        "writer_id": None,
        "writer_secret": 32,
        "cohort_tag_secret": 32,
        "ledger_secret": 32,
        "signing": 32,
    },
    KeyKind.EVIDENCE: {"private": 32},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """A key file's content.

    `repository`: id of the repository it belongs to, hex. `name`: of the key; a writer's is its source's. `created`:
    aware, UTC. `fields`, by kind: reader ``private``; recovery ``private``, ``purge_public``; purge and evidence
    ``private``; writer ``writer_id``, ``writer_secret``, ``cohort_tag_secret``, ``ledger_secret``, ``signing``.

    Raises:
        ValueError: Fields are missing, unknown or of the wrong length; the repository is not hex; the name is
            empty or not printable; the time has another offset than UTC.
    """

    kind: KeyKind
    repository: str
    name: str
    created: datetime
    fields: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        expected = _FIELDS[self.kind]
        if set(self.fields) != set(expected):
            raise ValueError(f"a {self.kind} key has the fields {', '.join(expected)}")
        for name, length in expected.items():
            if not self.fields[name] or length not in (None, len(self.fields[name])):
                raise ValueError(f"field {name} of a {self.kind} key has the wrong length")
        if not self.repository or bytes.fromhex(self.repository).hex() != self.repository:
            raise ValueError("a repository id is lower-case hex")
        if not self.name.isprintable() or not 1 <= len(self.name) <= 200:
            raise ValueError("a key's name is 1 to 200 printable characters")
        if self.created.utcoffset() != timedelta(0):
            raise ValueError("a key's time is aware, in UTC")


def write_key_file(path: Path, key: KeyFile, *, passphrase: bytes | None) -> None:
    """Write a new key file, mode 0600, durable on return; folders above it are made with mode 0700.

    Args:
        path: Where; never overwritten.
        key: What.
        passphrase: Needed again to read it; None leaves the file's permissions as its only protection.

    Raises:
        ConfigError: The file exists already, or cannot be written; then no part of it stays.
        ValueError: The passphrase is empty.
    """
    content = _encode(key, passphrase)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as e:
        if e.errno == errno.EEXIST and os.path.lexists(path):
            hint = "a key file is never overwritten; move it away first"
            raise ConfigError(f"key file {path} exists already", hint=hint) from e
        raise _unwritable(path, e) from e
    try:
        fill(fd, content)
        sync_folder(path.parent)
    except BaseException as e:
        path.unlink()
        if isinstance(e, OSError):
            raise _unwritable(path, e) from e
        raise


def read_key_file(
    path: Path,
    *,
    passphrase: Callable[[], bytes] | None,
    kind: KeyKind | None = None,
    repository: str | None = None,
) -> KeyFile:
    """Read a key file and check that it is the expected one.

    Args:
        path: Where.
        passphrase: Asked only where the file is protected.
        kind: What it must be; None for any.
        repository: Id of the repository it must belong to, hex; None for any.

    Raises:
        KeyUnavailableError: It is missing or unreadable, or protected and there is no passphrase to ask for.
        KeyMismatchError: Damaged, of another kind or repository, or the passphrase is wrong.
        ConfigError: Others than its owner may use it.
    """
    expected = f"{kind} key file" if kind else "key file"
    header = _checked(_read(path, expected), path)
    try:
        found = KeyKind(header["kind"])
        owner = str(header["repository"])
    except (KeyError, ValueError) as e:
        raise _damaged(path) from e
    # Before the passphrase is asked for: nobody should type one for the wrong file.
    if kind is not None and found is not kind:
        raise KeyMismatchError(f"{path} holds a {found} key, a {kind} key is needed here")
    if repository is not None and owner != repository:
        raise KeyMismatchError(f"{path} belongs to repository {owner}, not to {repository}")
    try:
        return _decode(header, path, passphrase)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise _damaged(path) from e


def destroy_key_file(path: Path) -> None:
    """Overwrite a key file with random bytes, sync, and remove it.

    This destroys the file, not every trace of it. SSDs and copy-on-write file systems (Btrfs, ZFS) write the random
    bytes elsewhere and may keep the old ones until they reuse the place; backups, disk snapshots and copies made by
    hand are untouched. Where that matters, use a key service, or keep key files on an encrypted disk.

    Raises:
        KeyUnavailableError: There is no such file (destroyed before, or moved: the caller must know which), or it
            cannot be written.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        fill(fd, random_bytes(os.fstat(fd).st_size))
        path.unlink()
        sync_folder(path.parent)
    except OSError as e:
        raise KeyUnavailableError(
            f"key file {path} cannot be destroyed: {_reason(e)}",
            hint="check where the key file is and who owns it; it counts as destroyed only when this succeeds",
        ) from e


def _encode(key: KeyFile, passphrase: bytes | None) -> bytes:
    fields = {name: _text(value) for name, value in key.fields.items()}
    header: dict[str, Any] = {
        "format": _FORMAT,
        "kind": str(key.kind),
        "repository": key.repository,
        "name": key.name,
        "created": key.created.isoformat(),
    }
    if passphrase is None:
        header["fields"] = fields
    else:
        how = Stretching.fresh()
        # The salt is new, so this key seals this one message.
        sealed = aead.seal(stretch(passphrase, how), _json(fields), aad=_bound(header))
        header["protected"] = {
            "argon2id": {"iterations": how.iterations, "lanes": how.lanes, "memory": how.memory},
            "salt": _text(how.salt),
            "sealed": _text(sealed),
        }
    comment = (
        f"# Tenure {key.kind} key {json.dumps(key.name)} of repository {key.repository}. SECRET: keep it out of the "
        "bucket, out of Git and out of mail; whoever has it acts as its owner. Do not edit.\n"
    )
    body = comment.encode() + _json(header) + b"\n"
    return body + _CHECKSUM + content_hash(body).hex().encode() + b"\n"


def _checked(content: bytes, path: Path) -> dict[str, Any]:
    """Return the JSON of a whole, undamaged key file."""
    body, mark, checksum = content.rpartition(_CHECKSUM)
    if not mark or checksum != content_hash(body).hex().encode() + b"\n":
        raise _damaged(path)
    try:
        header = json.loads(body.split(b"\n")[1])
    except (IndexError, ValueError) as e:
        raise _damaged(path) from e
    if not isinstance(header, dict):
        raise _damaged(path)
    if header.get("format") != _FORMAT:
        raise KeyMismatchError(
            f"{path} was written in a format this version does not know",
            hint="install the Tenure version that wrote it, or a newer one",
        )
    return header


def _decode(header: dict[str, Any], path: Path, passphrase: Callable[[], bytes] | None) -> KeyFile:
    sealed = "protected" in header
    fields = json.loads(_unseal(header, path, passphrase)) if sealed else header["fields"]
    return KeyFile(
        kind=KeyKind(header["kind"]),
        repository=header["repository"],
        name=header["name"],
        created=datetime.fromisoformat(header["created"]).astimezone(UTC),
        fields={name: _bytes(value) for name, value in fields.items()},
    )


def _unseal(header: dict[str, Any], path: Path, passphrase: Callable[[], bytes] | None) -> bytes:
    if passphrase is None:
        raise KeyUnavailableError(
            f"key file {path} is protected by a passphrase and none was given",
            hint="give it with `key_passphrase_file` or TENURE_KEY_PASSPHRASE, then run the command again",
        )
    protected = header["protected"]
    how = Stretching(salt=_bytes(protected["salt"]), **protected["argon2id"])
    sealed = _bytes(protected["sealed"])
    wrong = f"the passphrase does not open key file {path}"
    typed = passphrase()
    if not typed:
        raise KeyMismatchError(f"{wrong}: it is empty")
    try:
        return aead.open_sealed(stretch(typed, how), sealed, aad=_bound(header))
    except IntegrityError as e:
        raise KeyMismatchError(wrong, hint="check the passphrase and run the command again") from e
    except MemoryError as e:
        hint = f"run the command where {how.memory // 1024} MiB of memory are free"
        raise KeyUnavailableError(f"there is too little memory to open key file {path}", hint=hint) from e


def _bound(header: Mapping[str, Any]) -> bytes:
    named = ("format", "kind", "repository", "name", "created")
    # Not aead.context: that names the repository's format, and key files outlive its drafts.
    return _json({name: header[name] for name in named})


def _read(path: Path, expected: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise ConfigError(
                    f"{expected} {path} may be used by others than its owner", hint=f"type: chmod 600 {path}"
                )
            if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
                raise KeyMismatchError(f"{path} is no key file")
            return os.read(fd, _MOST_BYTES)
        finally:
            os.close(fd)
    except OSError as e:
        state = "is missing" if e.errno == errno.ENOENT else f"cannot be read: {_reason(e)}"
        raise KeyUnavailableError(f"{expected} {path} {state}") from e


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    with suppress(binascii.Error):
        return base64.b64decode(text, validate=True)
    raise ValueError("not base64")


def _reason(e: OSError) -> str:
    return os.strerror(e.errno) if e.errno else "unknown error"


def _unwritable(path: Path, e: OSError) -> ConfigError:
    return ConfigError(
        f"key file {path} cannot be written: {_reason(e)}",
        hint="choose a folder that you may write to, with room",
    )


def _damaged(path: Path) -> KeyMismatchError:
    return KeyMismatchError(
        f"key file {path} is damaged or no key file",
        hint="put an undamaged copy back, or use the recovery key",
    )
