"""Turning a passphrase into a key: Argon2id (RFC 9106)."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tenure.crypto.hashing import KEY_BYTES, random_bytes

SALT_BYTES = 16

# A damaged or planted file must not make the reader allocate or compute without end.
_MOST_KIB = 1024 * 1024  # 16 times what is written
_MOST_ITERATIONS = 64
_MOST_LANES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretching:
    """How a passphrase is stretched; stored in the clear beside what it protects.

    The defaults are the second recommendation of RFC 9106, section 4: `iterations` 3, `lanes` 4, `memory` in KiB.
    """

    salt: bytes
    iterations: int = 3
    lanes: int = 4
    memory: int = 64 * 1024

    def __post_init__(self) -> None:
        within = (
            len(self.salt) >= SALT_BYTES
            and 1 <= self.iterations <= _MOST_ITERATIONS
            and 1 <= self.lanes <= _MOST_LANES
            and 8 * self.lanes <= self.memory <= _MOST_KIB
        )
        if not within:
            raise ValueError("Argon2id parameters out of bounds")

    @classmethod
    def fresh(cls) -> "Stretching":
        """Return the defaults with a new salt."""
        return cls(salt=random_bytes(SALT_BYTES))


def stretch(passphrase: bytes, how: Stretching) -> bytes:
    """Return the 32-byte key of a passphrase; takes about 0.1 s and 64 MiB with the defaults.

    Raises:
        ValueError: The passphrase is empty.
    """
    if not passphrase:
        raise ValueError("an empty passphrase protects nothing")
    return Argon2id(
        salt=how.salt, length=KEY_BYTES, iterations=how.iterations, lanes=how.lanes, memory_cost=how.memory
    ).derive(passphrase)
