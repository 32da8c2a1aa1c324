"""Gives a key file another passphrase, its first one, or none: the old file stays whole until the new one is."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenure.crypto.hashing import random_bytes
from tenure.domain.errors import ConfigError, KeyMismatchError, KeyUnavailableError
from tenure.keys.disk import fill, sync_folder
from tenure.keys.local import KeyFile, destroy_key_file, read_key_file, write_key_file


@dataclass(slots=True)
class _Ask:
    """Answers with a passphrase, and notes that it was asked: the file is protected."""

    answer: Callable[[], bytes]
    asked: bool = False

    def __call__(self) -> bytes:
        self.asked = True
        return self.answer()


def change_passphrase(
    path: Path, *, old: Callable[[], bytes] | None, new: bytes | None, repository: str | None = None
) -> bool:
    """Put a key file under another passphrase; return whether anything had to be changed.

    Running it again after a crash is safe: what opens with the new passphrase already is left as it is. The old
    file's bytes are overwritten once the new file stands in its place; see `destroy_key_file` for what that leaves.

    Args:
        path: The key file.
        old: Asked where the file is protected by another passphrase than `new`.
        new: The new passphrase; None removes it.
        repository: Id of the repository it must belong to, hex; None for any.

    Raises:
        KeyUnavailableError: It is missing or unreadable, or protected and there is nothing to ask; or the new file is
            in place and the old bytes could not be overwritten.
        KeyMismatchError: Damaged, of another repository, or the old passphrase is wrong.
        ConfigError: The folder cannot be written to; the old file is as it was.
        ValueError: The new passphrase is empty.
    """
    if new is not None and not new:
        raise ValueError("an empty passphrase protects nothing")
    key = _to_change(path, old, new, repository)
    if key is None:
        return False
    _replace(path.resolve(), key, new)
    return True


def _to_change(
    path: Path, old: Callable[[], bytes] | None, new: bytes | None, repository: str | None
) -> KeyFile | None:
    """Return what the file holds, None where it is as it should be."""
    if new is not None:
        tried = _Ask(lambda: new)
        try:
            key = read_key_file(path, passphrase=tried, repository=repository)
        except KeyMismatchError:
            if not tried.asked:  # damaged, or another repository's
                raise
        else:
            return None if tried.asked else key
    ask = _Ask(old) if old is not None else None
    key = read_key_file(path, passphrase=ask, repository=repository)
    return key if ask is not None and ask.asked else None


def _replace(path: Path, key: KeyFile, passphrase: bytes | None) -> None:
    beside = path.with_name(f".{path.name}.new")
    if os.path.lexists(beside):  # what a run left that was cut short
        destroy_key_file(beside)
    write_key_file(beside, key, passphrase=passphrase)
    try:
        _prove(beside, key, passphrase)
        worn = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except BaseException as e:
        destroy_key_file(beside)
        if isinstance(e, OSError):
            hint = "check who owns the key file"
            raise ConfigError(f"key file {path} cannot be replaced: {e.strerror}", hint=hint) from e
        raise
    _swap(beside, path, worn)


def _prove(path: Path, key: KeyFile, passphrase: bytes | None) -> None:
    """Read a new file back: the old one goes only when it opens."""
    if read_key_file(path, passphrase=None if passphrase is None else lambda: passphrase) != key:
        raise ConfigError(f"{path} does not hold what was written to it", hint="check the disk")


def _swap(beside: Path, path: Path, worn: int) -> None:
    """Put the new file in the old one's place; then, through `worn`, overwrite the old one's bytes."""
    try:
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as e:
        os.close(worn)
        hint = "run the command again; both files are whole"
        raise ConfigError(f"key file {path} cannot be replaced: {e.strerror}", hint=hint) from e
    try:
        fill(worn, random_bytes(os.fstat(worn).st_size))
    except OSError as e:
        raise KeyUnavailableError(
            f"key file {path} is changed, and its old bytes could not be overwritten: {e.strerror}",
            hint="whoever reads the raw disk may find them; rotate the keys if that matters",
        ) from e
