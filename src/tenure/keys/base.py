"""The ports of key providers: wrapping is for everybody who writes, unwrapping for those who may read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A key, wrapped for one recipient. `recipient`: 16-byte key id; `provider`: who can unwrap it, "local"."""

    recipient: bytes
    provider: str
    wrapped: bytes


class Wrapper(Protocol):
    """Has the right to wrap; it cannot get back what it wrapped."""

    def wrap(self, secret: bytes, *, context: bytes) -> tuple[WrappedKey, ...]:
        """Wrap a secret once for every recipient.

        `context` says what the secret is for. It is authenticated, not stored: a wrapped key that was moved
        elsewhere does not open there.

        Raises:
            KeyUnavailableError: The key service did not answer; retryable.
            KeyMismatchError: A recipient's key cannot be used.
        """
        ...


class Unwrapper(Protocol):
    """Has the right to unwrap."""

    def unwrap(self, wrapped: Sequence[WrappedKey], *, context: bytes) -> bytes:
        """Return the secret, by the first wrapped key whose recipient this is.

        Raises:
            KeyMismatchError: None of them is for this recipient, or the one that is does not open in this context.
            KeyUnavailableError: The key file is unreadable, or the key service did not answer; retryable.
        """
        ...
