"""Signatures: Ed25519 (RFC 8032). Ledger entries, manifests and evidence carry them."""

from dataclasses import dataclass
from typing import NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tenure.crypto.hashing import Buffer, content_hash
from tenure.domain.errors import TamperedError

KEY_ID_BYTES = 16
RAW_BYTES = 32  # either half
SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """The public half. `raw`: 32 bytes."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != RAW_BYTES:
            raise ValueError(f"a public signing key has {RAW_BYTES} bytes")

    @property
    def key_id(self) -> bytes:
        """The first 16 bytes of the BLAKE3 of `raw`."""
        return content_hash(self.raw)[:KEY_ID_BYTES]

    def verify(self, message: Buffer, signature: Buffer) -> None:
        """Return when this key's owner signed exactly this message.

        Raises:
            TamperedError: Forged, changed, or signed by another key.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError) as e:
            raise TamperedError("a signature does not verify") from e


class SigningKey:
    """The private half. Shows its id only, cannot be pickled or copied."""

    __slots__ = ("_native", "_public")

    def __init__(self, native: Ed25519PrivateKey) -> None:
        """Take a key; use `generate` or `from_raw`."""
        self._native = native
        self._public = VerifyKey(native.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> Self:
        """Draw a new pair."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """Take back what `raw` gave.

        Raises:
            ValueError: Not 32 bytes.
        """
        if len(raw) != RAW_BYTES:
            raise ValueError(f"a private signing key has {RAW_BYTES} bytes")
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    @property
    def raw(self) -> bytes:
        """The secret, for a key file: 32 bytes."""
        return self._native.private_bytes_raw()

    @property
    def key_id(self) -> bytes:
        """The id of the public half, 16 bytes."""
        return self._public.key_id

    def public(self) -> VerifyKey:
        """Return the half that may be known."""
        return self._public

    def sign(self, message: Buffer) -> bytes:
        """Return the 64-byte signature; the same message always gets the same."""
        return self._native.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled or copied")
