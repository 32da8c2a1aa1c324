"""The ports of key providers: wrapping is for everybody who writes, unwrapping for those who may read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tenure.crypto.aead import context
from tenure.crypto.hashing import content_hash
from tenure.domain.errors import KeyMismatchError


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A key, wrapped for one recipient. `recipient`: 16-byte key id; `provider`: "local", "awskms" or "vault"."""

    recipient: bytes
    provider: str
    wrapped: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What a wrapped key is for. It is authenticated, not stored: moved elsewhere, a wrapped key does not open.

    `kind`: "page key", "epoch bundle" or "writer bundle"; `parts`: names, which key services write into their logs, and
    values. Nothing of it is secret or personal.
    """

    kind: str
    parts: tuple[tuple[str, bytes | int], ...] = ()

    def encoded(self) -> bytes:
        """Return it as the format encodes it (docs/format.md, "Cryptography"); different purposes never encode alike."""
        return context(self.kind, *(value for _, value in self.parts))

    def readable(self) -> dict[str, str]:
        """Return it as words, for services that log what a key was asked for: bytes as hex."""
        words = {name: value.hex() if isinstance(value, bytes) else str(value) for name, value in self.parts}
        return {"purpose": self.kind, **words}


class Wrapper(Protocol):
    """Has the right to wrap; it cannot get back what it wrapped."""

    def wrap(self, secret: bytes, *, context: Purpose) -> tuple[WrappedKey, ...]:
        """Wrap a secret once for every recipient; several threads may.

        Raises:
            KeyUnavailableError: The key service did not answer; retryable.
            KeyDeniedError: The key service refused.
            KeyDestroyedError: The key is gone, or about to be.
            KeyMismatchError: A recipient's key cannot be used.
        """
        ...


class Unwrapper(Protocol):
    """Has the right to unwrap."""

    def unwrap(self, wrapped: Sequence[WrappedKey], *, context: Purpose) -> bytes:
        """Return the secret, by the first wrapped key whose recipient this is; several threads may.

        Raises:
            KeyMismatchError: None of them is for this recipient, or the one that is does not open in this context.
            KeyUnavailableError: The key file is unreadable, or the key service did not answer; retryable.
            KeyDeniedError: The key service refused.
            KeyDestroyedError: The key is gone, or about to be.
        """
        ...


class Keyring(Unwrapper, Protocol):
    """An unwrapper that can tell, without asking anybody, what it is for."""

    def holds(self, wrapped: WrappedKey) -> bool:
        """Whether this was wrapped for one of its keys."""
        ...

    def held(self) -> tuple[str, ...]:
        """Return its keys as messages name them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKey:
    """A key that a key service keeps, as an epoch's signed opening names it.

    `address`: of "awskms" the key's ARN; of "vault" ``MOUNT/KEY/VERSION``. How to get there is no part of it: that
    comes from the configuration of whoever goes there, never from a repository.
    """

    provider: str
    address: str

    @property
    def key_id(self) -> bytes:
        """Return 16 bytes that stand for it."""
        return content_hash(context("key service", self.provider, self.address))[:16]

    def __str__(self) -> str:
        return f"{self.provider}:{self.address}"


class KeyService(Protocol):
    """The way to one key of a key service, all its versions. Several threads may use it.

    Every method raises KeyUnavailableError (retryable), KeyDeniedError, KeyDestroyedError or KeyMismatchError, as
    `Wrapper` and `Unwrapper` say.
    """

    def wrap(self, key: ServiceKey, secret: bytes, *, context: Purpose) -> bytes:
        """Return a secret of at most 4 KiB, wrapped."""
        ...

    def unwrap(self, key: ServiceKey, wrapped: bytes, *, context: Purpose) -> bytes:
        """Return the secret."""
        ...

    def fresh(self, used: Sequence[ServiceKey]) -> ServiceKey:
        """Return the key for a new epoch, proven by wrapping and unwrapping; another one than `used` where it can be.

        Raises:
            ConfigError: The key is of a kind that cannot be used.
        """
        ...

    def ends(self, key: ServiceKey, *, now: datetime) -> datetime | None:
        """Return when a key is destroyed: `now` where it is gone already, None while nobody ordered that."""
        ...

    def destroy(self, key: ServiceKey, *, kept: ServiceKey | None, now: datetime) -> datetime:
        """Have a key destroyed; return when that is so. `kept`: of the same service, and in use from here on."""
        ...


def for_none_of(held: Sequence[str]) -> KeyMismatchError:
    """Return the error for what no key at hand is a recipient of."""
    return KeyMismatchError(
        f"this is wrapped for none of the keys at hand (key ids: {', '.join(held) or 'none'})"
    )
