"""Against published vectors, and against bytes an earlier version wrote."""

import json
import runpy
import struct
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tenure.crypto import aead
from tenure.crypto.hashing import content_hash, hkdf, keyed_hash
from tenure.crypto.hpke import RecipientPrivate, unwrap
from tenure.crypto.signing import SigningKey, VerifyKey

VECTORS = Path(__file__).parents[2] / "vectors"
PUBLISHED: dict[str, Any] = json.loads((VECTORS / "crypto" / "published.json").read_text())
GOLDEN: dict[str, str] = json.loads((VECTORS / "crypto" / "golden.json").read_text())


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize("case", PUBLISHED["aes_256_gcm"]["cases"])
def test_sealing_is_aes_256_gcm_with_the_zero_nonce(case: dict[str, str]) -> None:
    assert aead.seal(raw(case["key"]), raw(case["plain"]), aad=b"") == raw(case["sealed"])
    assert aead.open_sealed(raw(case["key"]), raw(case["sealed"]), aad=b"") == raw(case["plain"])


@pytest.mark.parametrize("case", PUBLISHED["blake3"]["cases"])
def test_hashing_is_blake3(case: dict[str, Any]) -> None:
    text = bytes(i % 251 for i in range(case["length"]))
    assert content_hash(text) == content_hash(text[:7], memoryview(text)[7:]) == raw(case["hash"])
    assert blake3(text, key=PUBLISHED["blake3"]["key"].encode()).digest() == raw(case["keyed"])


def test_keyed_hashing_is_keyed_blake3_of_the_documented_encoding() -> None:
    key = bytes(range(32))
    encoded = struct.pack("<IQ", 3, 2) + b"ab" + struct.pack("<Q", 0) + b"tail"
    assert keyed_hash(key, b"ab", b"", b"tail", length=32) == blake3(encoded, key=key).digest()


@pytest.mark.parametrize("case", PUBLISHED["hkdf_sha256"]["cases"])
def test_deriving_is_hkdf_sha256(case: dict[str, str]) -> None:
    out = raw(case["out"])
    assert hkdf(raw(case["key"]), salt=raw(case["salt"]), info=raw(case["info"]), length=len(out)) == out


@pytest.mark.parametrize("case", PUBLISHED["ed25519"]["cases"])
def test_signing_is_ed25519(case: dict[str, str]) -> None:
    key = SigningKey.from_raw(raw(case["private"]))
    assert key.public().raw == raw(case["public"])
    assert key.sign(raw(case["message"])) == raw(case["signature"])
    VerifyKey(raw(case["public"])).verify(raw(case["message"]), raw(case["signature"]))


def test_what_an_earlier_version_derived_and_sealed_comes_out_the_same() -> None:
    made = runpy.run_path(str(VECTORS / "make_crypto.py"))["deterministic"]()
    assert made == {name: GOLDEN[name] for name in made}


def test_what_an_earlier_version_wrapped_still_opens() -> None:
    private = RecipientPrivate.from_raw(bytes(range(96)))
    assert unwrap(private, raw(GOLDEN["wrapped"]), context=b"golden") == b"a secret of the golden file"
