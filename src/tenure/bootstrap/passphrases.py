"""The passphrase of an installation's key files, where the environment or a file gives it and nobody has to type it."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from tenure.bootstrap.settings import Settings
from tenure.domain.errors import ConfigError

_MOST_BYTES = 4096
"""Of a passphrase file; whatever is larger is another file."""


def given(settings: Settings, root: Path) -> bytes | None:
    """Return the passphrase that settings give, None where they give none.

    Raises:
        ConfigError: Both kinds are given, or the file cannot be used.
    """
    if settings.key_passphrase is not None:
        if settings.key_passphrase_file:
            raise ConfigError(
                "the passphrase of the key files is given twice",
                hint="unset TENURE_KEY_PASSPHRASE, or take `key_passphrase_file` out of the settings",
            )
        return settings.key_passphrase.get_secret_value().encode()
    if settings.key_passphrase_file:
        return read_passphrase(root / settings.key_passphrase_file)
    return None


def asking(passphrase: bytes | None, terminal: Callable[[], bytes] | None) -> Callable[[], bytes] | None:
    """Return whom to ask for passphrases: nobody where one is given."""
    return terminal if passphrase is None else lambda: passphrase


def read_passphrase(path: Path) -> bytes:
    """Return the passphrase in a file: its one line, without the line's end.

    Raises:
        ConfigError: It is missing, unreadable, empty, of several lines, or everybody may read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_BYTES + 1)
    except OSError as e:
        hint = "check its path and permissions"
        raise ConfigError(f"passphrase file {path} cannot be read: {e.strerror}", hint=hint) from e
    if stat.S_IMODE(mode) & 0o007:
        raise ConfigError(f"passphrase file {path} may be used by everybody", hint=f"type: chmod o= {path}")
    phrase = content.removesuffix(b"\n").removesuffix(b"\r")
    if not phrase or b"\n" in phrase or len(content) > _MOST_BYTES:
        raise ConfigError(
            f"passphrase file {path} holds no passphrase",
            hint="write one line into it: the passphrase, at most 4096 bytes",
        )
    return phrase
