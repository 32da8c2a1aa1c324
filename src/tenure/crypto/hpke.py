"""Wrapping keys for recipients: HPKE (RFC 9180), ML-KEM-768 with X25519, HKDF-SHA256, AES-256-GCM.

The hybrid (draft-ietf-hpke-pq, KEM ``MLKEM768-X25519``) stays safe while either half does, so a copy of the bucket
kept for a quantum computer opens no better than today. A wrapped 32-byte key has 1,168 bytes.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from tenure.crypto.hashing import content_hash
from tenure.domain.errors import KeyMismatchError

KEY_ID_BYTES = 16

_MLKEM_PUBLIC = 1184  # FIPS 203, table 3
_MLKEM_SEED = 64  # FIPS 203: d and z
_X25519 = 32  # RFC 7748
PUBLIC_BYTES = _MLKEM_PUBLIC + _X25519
PRIVATE_BYTES = _MLKEM_SEED + _X25519

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
# HPKE's one-shot call takes no associated data; its info is authenticated just the same. The prefix keeps these
# wraps apart from whatever else might one day use the same keys.
_INFO = b"tenure/wrap/1\0"


@dataclass(frozen=True, slots=True)
class RecipientPublic:
    """Whom a key can be wrapped for. `raw`: ML-KEM-768 encapsulation key (1,184 bytes), X25519 public key (32)."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != PUBLIC_BYTES:
            raise ValueError(f"a recipient's public key has {PUBLIC_BYTES} bytes")

    @property
    def key_id(self) -> bytes:
        """The first 16 bytes of the BLAKE3 of `raw`."""
        return content_hash(self.raw)[:KEY_ID_BYTES]


class RecipientPrivate:
    """Who can unwrap. Shows its id only, cannot be pickled or copied."""

    __slots__ = ("_native", "_public", "_raw")

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        """Take both halves; use `generate` or `from_raw`."""
        self._raw = mlkem.private_bytes_raw() + x25519.private_bytes_raw()
        self._native = MLKEM768X25519PrivateKey(mlkem, x25519)
        publics = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        self._public = RecipientPublic(publics)

    @classmethod
    def generate(cls) -> Self:
        """Draw a new pair."""
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """Take back what `raw` gave.

        Raises:
            ValueError: Not 96 bytes.
        """
        if len(raw) != PRIVATE_BYTES:
            raise ValueError(f"a recipient's private key has {PRIVATE_BYTES} bytes")
        mlkem = MLKEM768PrivateKey.from_seed_bytes(raw[:_MLKEM_SEED])
        return cls(mlkem, X25519PrivateKey.from_private_bytes(raw[_MLKEM_SEED:]))

    @property
    def raw(self) -> bytes:
        """The secret, for a key file: ML-KEM-768 seed (64 bytes), X25519 private key (32)."""
        return self._raw

    @property
    def key_id(self) -> bytes:
        """The id of the public half, 16 bytes."""
        return self._public.key_id

    def public(self) -> RecipientPublic:
        """Return the half that may be known."""
        return self._public

    def __repr__(self) -> str:
        return f"RecipientPrivate({self.key_id.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled or copied")


def wrap(public: RecipientPublic, secret: bytes, *, context: bytes) -> bytes:
    """Wrap a secret so that only the holder of the private half, naming the same context, gets it back.

    Raises:
        KeyMismatchError: The public key is not one.
    """
    try:
        return _SUITE.encrypt(secret, _native(public.raw), info=_INFO + context)
    except ValueError as e:
        raise KeyMismatchError(f"recipient {public.key_id.hex()} has no usable public key") from e


@lru_cache(
    maxsize=64
)  # a page is wrapped for the same few as the one before; reading a key costs more than wrapping
def _native(raw: bytes) -> MLKEM768X25519PublicKey:
    mlkem = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC])
    return MLKEM768X25519PublicKey(mlkem, X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC:]))


def unwrap(private: RecipientPrivate, wrapped: bytes, *, context: bytes) -> bytes:
    """Return the secret given to `wrap`.

    Raises:
        KeyMismatchError: Wrapped for somebody else or in another context, or changed since.
    """
    try:
        return _SUITE.decrypt(wrapped, private._native, info=_INFO + context)  # noqa: SLF001 - same module
    except (InvalidTag, ValueError) as e:
        raise KeyMismatchError(f"key {private.key_id.hex()} does not open this") from e
