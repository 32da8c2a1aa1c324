"""Make ``crypto/golden.json``: bytes this version writes, which every later version must read.

``python tests/vectors/make_crypto.py`` from the top of the repository. What is deterministic is made again and must
come out as it was; the HPKE wrap is random, so an existing one is kept: it is the one that must open forever.
"""

import json
from pathlib import Path

from tenure.crypto import aead
from tenure.crypto.hashing import derive, keyed_hash
from tenure.crypto.hpke import RecipientPrivate, wrap
from tenure.crypto.passphrase import Stretching, stretch

PATH = Path(__file__).parent / "crypto" / "golden.json"

PRIVATE = bytes(range(96))  # published, for tests only: never a recipient of anything real
KEY = bytes(range(32))
SALT = bytes(range(16))


def deterministic() -> dict[str, str]:
    """Return everything that only depends on its inputs, in hex."""
    bound = aead.context("chunk", b"\x01\x02", 3)
    how = Stretching(salt=SALT, iterations=1, lanes=1, memory=64)
    return {
        "context": bound.hex(),
        "keyed_hash": keyed_hash(KEY, b"head", b"", b"tail").hex(),
        "derive": derive(KEY, "chunk", b"name").hex(),
        "seal_under": aead.seal_under(KEY, "chunk", b"name", b"golden", aad=bound).hex(),
        "stretch": stretch(b"correct horse", how).hex(),
        "public": RecipientPrivate.from_raw(PRIVATE).public().raw.hex(),
    }


def make() -> dict[str, object]:
    """Return the whole file."""
    before = json.loads(PATH.read_text()) if PATH.exists() else {}
    wrapped = (
        before.get("wrapped")
        or wrap(
            RecipientPrivate.from_raw(PRIVATE).public(), b"a secret of the golden file", context=b"golden"
        ).hex()
    )
    return {
        "note": "TEST KEYS, published here: private = 00 01 .. 5f, key = 00 01 .. 1f, salt = 00 01 .. 0f",
        **deterministic(),
        "wrapped": wrapped,
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=2) + "\n")
