"""Keys in the transit engine of HashiCorp Vault or OpenBao.

What a wrapped key is for is bound as associated data, so the transit key has to be of type ``aes256-gcm96`` (or
``chacha20-poly1305``) and not derived: those take a ``context`` instead, and hide what it was. It belongs to one
repository alone, because a rotation destroys its old versions::

    vault write transit/keys/tenure type=aes256-gcm96

**One version for each epoch.** An epoch's opening names the version it wraps with, and every request says so too.
Whatever rotates the key meanwhile changes nothing, and when an epoch is closed its version can go: nothing that is
live was wrapped with it.

A token may end in the middle: on the first refusal this logs in again (Kubernetes), or reads the token's file again.
"""

import base64
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import hvac
import requests
import stamina
from hvac import exceptions as refusals
from requests.adapters import HTTPAdapter
from stamina.instrumentation import set_on_retry_hooks

from tenure.crypto.hashing import random_bytes
from tenure.domain.errors import (
    ConfigError,
    KeyDeniedError,
    KeyDestroyedError,
    KeyMismatchError,
    KeyProviderError,
    KeyUnavailableError,
    TenureError,
)
from tenure.keys.base import Purpose, ServiceKey
from tenure.keys.servicesettings import VaultSettings, vault_version

PROVIDER = "vault"

TRIAL = Purpose(kind="trial")
"""What a secret is wrapped for that only shows that a key can be used."""

T = TypeVar("T")
Foreign = (refusals.VaultError, requests.RequestException)

_KINDS = ("aes256-gcm96", "chacha20-poly1305")
_PASSING = (
    refusals.RateLimitExceeded, refusals.InternalServerError, refusals.BadGateway, refusals.VaultDown,
    requests.ConnectionError, requests.Timeout,
)  # fmt: skip
_WAIT_FIRST, _WAIT_MOST = 0.1, 5.0  # seconds between tries, doubling, with jitter


class VaultTransit:
    """One transit key, all its versions, as `KeyService`."""

    def __init__(self, settings: VaultSettings) -> None:
        """Get ready; nothing is asked of the server yet.

        Raises:
            ConfigError: The settings name a file that is not there.
        """
        needed = [settings.ca_file, settings.token_file if settings.auth == "token" else settings.jwt_file]
        for path in needed:
            if path and not Path(path).is_file():
                raise ConfigError(f"{path} is not there", hint="correct the path in `key_services`")
        self._settings = settings
        self._client = _client(settings)
        self._transit = self._client.secrets.transit
        self._lock = Lock()
        set_on_retry_hooks([])  # the command tells what failed in the end; each try is nobody's news

    def wrap(self, key: ServiceKey, secret: bytes, *, context: Purpose) -> bytes:
        """See `KeyService.wrap`."""
        answer = self._tried(
            lambda: self._transit.encrypt_data(
                name=self._settings.key,
                plaintext=_text(secret),
                associated_data=_text(context.encoded()),
                key_version=_version(key),
                mount_point=self._settings.mount,
            ),
            f"wrap with {self._name}",
        )
        wrapped = str(answer["data"]["ciphertext"]).encode("ascii")
        if vault_version(wrapped) != str(_version(key)):
            raise KeyMismatchError(f"{self._name} wrapped with another version than {_version(key)}")
        return wrapped

    def unwrap(self, key: ServiceKey, wrapped: bytes, *, context: Purpose) -> bytes:
        """See `KeyService.unwrap`."""
        if vault_version(wrapped) != str(_version(key)):
            raise KeyMismatchError(f"this was not wrapped with {key}")
        answer = self._tried(
            lambda: self._transit.decrypt_data(
                name=self._settings.key,
                ciphertext=wrapped.decode("ascii"),
                associated_data=_text(context.encoded()),
                mount_point=self._settings.mount,
            ),
            f"unwrap with {self._name}",
        )
        return base64.b64decode(answer["data"]["plaintext"])

    def fresh(self, used: Sequence[ServiceKey]) -> ServiceKey:
        """See `KeyService.fresh`. The newest version where no epoch has it yet, else a new one.

        Raises:
            ConfigError: The key is of another type, or has versions that others made.
        """
        newest = int(self._about()["latest_version"])
        known = {_version(key) for key in used}
        if not known and newest > 1:
            raise ConfigError(
                f"{self._name} has {newest} versions, none of them this repository's: others use the key",
                hint="make a transit key for this repository alone: a rotation destroys its old versions",
            )
        if newest <= max(known, default=0):
            self._tried(
                lambda: self._transit.rotate_key(name=self._settings.key, mount_point=self._settings.mount),
                f"rotate {self._name}",
            )
            newest = int(self._about()["latest_version"])
        key = self._key(newest)
        secret = random_bytes(32)
        if self.unwrap(key, self.wrap(key, secret, context=TRIAL), context=TRIAL) != secret:
            raise KeyMismatchError(f"{key} does not give back what it wrapped")
        return key

    def ends(self, key: ServiceKey, *, now: datetime) -> datetime | None:
        """See `KeyService.ends`."""
        try:
            return now if _version(key) < int(self._about()["min_available_version"]) else None
        except KeyDestroyedError:
            return now

    def destroy(self, key: ServiceKey, *, kept: ServiceKey | None, now: datetime) -> datetime:
        """See `KeyService.destroy`. All versions below the kept one go at once.

        Raises:
            KeyProviderError: It is the key that is kept, or a newer one.
        """
        if kept is not None and _version(key) >= _version(kept):
            raise KeyProviderError(f"{key} is in use: it is not destroyed")
        if self.ends(key, now=now) is not None:
            return now
        least = self._above(key) if kept is None else _version(kept)
        here = {"name": self._settings.key, "mount_point": self._settings.mount}
        # One after the other: hvac refuses the two together where they are equal, which is what trimming needs.
        for field in ("min_encryption_version", "min_decryption_version"):
            self._tried(
                partial(self._transit.update_key_configuration, **{field: least}, **here),
                f"withdraw old versions of {self._name}",
            )
        self._tried(
            lambda: self._transit.trim_key(min_version=least, **here), f"destroy old versions of {self._name}"
        )
        if self.ends(key, now=now) is None:
            raise KeyProviderError(f"{key} is still there, although {self._name} was trimmed")
        return now

    def _above(self, key: ServiceKey) -> int:
        """Return a version that no epoch uses: only whole keys can be without one."""
        newest = int(self._about()["latest_version"])
        if newest > _version(key):
            return newest
        self._tried(
            lambda: self._transit.rotate_key(name=self._settings.key, mount_point=self._settings.mount),
            f"rotate {self._name}",
        )
        return int(self._about()["latest_version"])

    @property
    def _name(self) -> str:
        return f"transit key {self._settings.name} at {self._settings.address}"

    def _key(self, version: int) -> ServiceKey:
        return ServiceKey(provider=PROVIDER, address=f"{self._settings.name}/{version}")

    def _about(self) -> Any:
        found = self._tried(
            lambda: self._transit.read_key(name=self._settings.key, mount_point=self._settings.mount),
            f"look at {self._name}",
        )["data"]
        if found["type"] not in _KINDS or found.get("derived"):
            raise ConfigError(
                f"{self._name} is of a type that cannot bind what is wrapped to its place ({found['type']})",
                hint="make it with type=aes256-gcm96, not derived",
            )
        return found

    def _tried(self, once: Callable[[], T], what: str) -> T:
        """Ask, and ask again while the server or the way to it is busy; log in again where the token has ended."""

        def again(error: Exception) -> bool:
            return isinstance(error, _PASSING) and not _is_sealed(error)

        patience = self._settings.patience
        try:
            for attempt in stamina.retry_context(
                on=again,
                attempts=patience.attempts,
                timeout=patience.give_up,
                wait_initial=_WAIT_FIRST,
                wait_max=_WAIT_MOST,
                wait_jitter=_WAIT_FIRST,
            ):
                with attempt:
                    return self._with_token(once)
        except Foreign as e:
            raise self._translated(e, f"cannot {what}") from e
        raise AssertionError("a call ends with its result or with an error")

    def _with_token(self, once: Callable[[], T]) -> T:
        used = self._token()
        try:
            return once()
        except (refusals.Forbidden, refusals.Unauthorized):
            if not self._renewed(used):
                raise
            return once()

    def _token(self) -> str:
        """Return the token in use; the first time, get one."""
        if not self._client.token:
            self._renewed("")
        return str(self._client.token)

    def _renewed(self, refused: str) -> bool:
        """Have another token than the one that was refused; whether there is one. One thread logs in for all."""
        with self._lock:
            now = str(self._client.token or "")
            if now == refused:
                now = self._client.token = self._another()
        return now != refused

    def _another(self) -> str:
        settings = self._settings
        if settings.auth == "kubernetes":
            answer = self._client.auth.kubernetes.login(
                role=settings.role,
                jwt=_content(settings.jwt_file),
                use_token=False,
                mount_point=settings.auth_mount,
            )
            return str(answer["auth"]["client_token"])
        found = _content(settings.token_file) if settings.token_file else settings.token
        if not found:
            raise KeyDeniedError(
                f"there is no token for {self._name}",
                hint="set `token_file` in `key_services`, TENURE_VAULT_TOKEN, or auth=kubernetes",
            )
        return found

    def _translated(self, error: Exception, what: str) -> TenureError:
        """Return the error of ours for one of hvac's or of its transport's."""
        if isinstance(error, requests.exceptions.SSLError):
            hint = "set `ca_file` to the certificate authority of the server"
            return KeyUnavailableError(f"{what}: its certificate is not trusted", hint=hint)
        if _is_sealed(error):
            hint = "unseal it, then run the command again: nothing is lost"
            return KeyUnavailableError(f"{what}: the server is sealed", hint=hint)
        if isinstance(error, _PASSING):
            return KeyUnavailableError(f"{what}: the server did not answer ({type(error).__name__})")
        if isinstance(error, (refusals.Forbidden, refusals.Unauthorized)):
            return KeyDeniedError(
                f"{what}: the token has expired, or its policies do not allow this",
                hint="renew the token, or grant the right; docs/keys.md lists the least policies",
            )
        said = " ".join(getattr(error, "errors", None) or ())
        return _answered(said, what, error)


def _answered(said: str, what: str, error: Exception) -> TenureError:
    """Return the error for what the server answered; it tells apart in words only."""
    if "too old" in said:
        return KeyDestroyedError(
            f"{what}: this version is below min_decryption_version, or was trimmed",
            hint="lower min_decryption_version if nobody meant that; a version that was trimmed is gone for good",
        )
    if isinstance(error, refusals.InvalidPath) or "key not found" in said:
        hint = "check mount, key and namespace in `key_services`; make the key with type=aes256-gcm96 if it is new"
        return KeyDestroyedError(f"{what}: there is no such key", hint=hint)
    if any(word in said for word in ("authentication failed", "invalid ciphertext", "too new")):
        return KeyMismatchError(f"{what}: it does not open in this place, or was changed")
    if "context" in said or "associated_data" in said:
        hint = "make the key with type=aes256-gcm96, not derived"
        return ConfigError(f"{what}: it is of a type that cannot be used", hint=hint)
    return KeyProviderError(f"{what}: {type(error).__name__}")


def _is_sealed(error: Exception) -> bool:
    return isinstance(error, refusals.VaultDown) and "sealed" in str(error)


def _client(settings: VaultSettings) -> Any:
    session = requests.Session()
    session.mount(settings.address, HTTPAdapter(pool_maxsize=settings.connections, max_retries=0))
    session.verify = settings.ca_file or True
    session.trust_env = False  # a proxy of the environment has no business between us and the keys
    return hvac.Client(
        url=settings.address,
        token="",  # none yet; where it is None, hvac takes one from the environment
        namespace=settings.namespace or None,
        verify=settings.ca_file or True,
        timeout=(settings.patience.connect, settings.patience.read),
        session=session,
        strict_http=True,
    )


def _version(key: ServiceKey) -> int:
    return int(key.address.rpartition("/")[2])


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _content(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as e:
        hint = "check its path and permissions"
        raise KeyUnavailableError(f"{path} cannot be read: {e.strerror}", hint=hint) from e
