"""What sealing, wrapping, signing and hashing promise, whatever the bytes."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.crypto import aead
from tenure.crypto.hashing import derive, keyed_hash, random_bytes
from tenure.crypto.hpke import RecipientPrivate, RecipientPublic, unwrap, wrap
from tenure.crypto.passphrase import Stretching, stretch
from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import KeyMismatchError, TamperedError, TruncatedError

KEY = bytes(range(32))
READER = RecipientPrivate.from_raw(bytes(range(96)))
WRAPPED = wrap(READER.public(), KEY, context=b"page 1")
SIGNER = SigningKey.from_raw(KEY)

plains = st.binary(max_size=300)
aads = st.binary(max_size=40)
parts = st.lists(st.one_of(st.binary(max_size=9), st.text(max_size=9), st.integers(0, 2**64 - 1)), max_size=4)


def flipped(text: bytes, bit: int) -> bytes:
    bit %= len(text) * 8
    changed = bytearray(text)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(plain=plains, aad=aads)
def test_what_is_sealed_opens_to_the_same(plain: bytes, aad: bytes) -> None:
    sealed = aead.seal(KEY, plain, aad=aad)
    assert len(sealed) == len(plain) + aead.OVERHEAD
    assert aead.open_sealed(KEY, sealed, aad=aad) == plain
    out = memoryview(bytearray(len(plain) + 3))
    assert out[: aead.open_into(KEY, memoryview(sealed), out, aad=aad)] == plain


@given(plain=plains, aad=aads, spare=st.integers(0, 20))
def test_a_fresh_key_seals_into_the_front_of_a_larger_buffer(plain: bytes, aad: bytes, spare: int) -> None:
    out = memoryview(bytearray(b"\xee" * (len(plain) + aead.OVERHEAD + spare)))
    dek, size = aead.seal_fresh_into(memoryview(plain), out, aad=aad)
    assert size == len(plain) + aead.OVERHEAD
    assert out[size:] == b"\xee" * spare
    assert aead.open_sealed(dek, out[:size], aad=aad) == plain


@given(plain=plains, aad=aads, bit=st.integers(0))
def test_any_flipped_bit_is_found(plain: bytes, aad: bytes, bit: int) -> None:
    sealed = flipped(aead.seal(KEY, plain, aad=aad), bit)
    with pytest.raises(TamperedError):
        aead.open_sealed(KEY, sealed, aad=aad)
    out = memoryview(bytearray(b"\xee" * len(plain)))
    with pytest.raises(TamperedError):
        aead.open_into(KEY, sealed, out, aad=aad)
    assert out == bytes(len(plain)), "unverified plaintext was left behind"


@given(plain=plains, cut=st.integers(1))
def test_anything_cut_off_is_found(plain: bytes, cut: int) -> None:
    sealed = aead.seal(KEY, plain, aad=b"")
    kept = sealed[: len(sealed) - 1 - cut % len(sealed)]
    expected = TruncatedError if len(kept) < aead.OVERHEAD else TamperedError
    with pytest.raises(expected):
        aead.open_sealed(KEY, kept, aad=b"")


@given(aad=aads, other=aads)
def test_sealed_bytes_open_in_their_own_context_only(aad: bytes, other: bytes) -> None:
    sealed = aead.seal(KEY, b"x", aad=aad)
    if other == aad:
        assert aead.open_sealed(KEY, sealed, aad=other) == b"x"
    else:
        with pytest.raises(TamperedError):
            aead.open_sealed(KEY, sealed, aad=other)


@pytest.mark.parametrize(
    ("key", "kind", "name", "aad"),
    [
        (bytes(32), "page", b"1", b"a"),
        (KEY, "pag", b"1", b"a"),
        (KEY, "page", b"2", b"a"),
        (KEY, "page", b"1", b""),
    ],
)
def test_an_object_opens_under_its_key_kind_name_and_context_only(
    key: bytes, kind: str, name: bytes, aad: bytes
) -> None:
    sealed = aead.seal_under(KEY, "page", b"1", b"plain", aad=b"a")
    assert aead.open_under(KEY, "page", b"1", sealed, aad=b"a") == b"plain"
    with pytest.raises(TamperedError):
        aead.open_under(key, kind, name, sealed, aad=aad)


def test_fresh_keys_differ() -> None:
    out = memoryview(bytearray(17))
    assert len({aead.seal_fresh_into(b"x", out, aad=b"")[0] for _ in range(100)}) == 100


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        aead.seal(bytes(size), b"", aad=b"")
    with pytest.raises(ValueError, match="32 bytes"):
        aead.open_sealed(bytes(size), bytes(16), aad=b"")


def test_a_buffer_that_is_too_small_is_refused_before_anything_is_written() -> None:
    out = memoryview(bytearray(b"\xee" * 20))
    with pytest.raises(ValueError, match="21 are needed"):
        aead.seal_fresh_into(b"12345", out, aad=b"")
    with pytest.raises(ValueError, match="21 are needed"):
        aead.open_into(KEY, bytes(37), out, aad=b"")
    assert out == b"\xee" * 20


@given(one=parts, other=parts)
def test_contexts_are_equal_only_for_equal_parts(
    one: list[bytes | str | int], other: list[bytes | str | int]
) -> None:
    same = [(type(p), p) for p in one] == [(type(p), p) for p in other]
    assert (aead.context(*one) == aead.context(*other)) == same


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_a_context_refuses_numbers_it_cannot_hold(number: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        aead.context(number)


@given(one=st.lists(plains, min_size=1, max_size=4), other=st.lists(plains, min_size=1, max_size=4))
def test_keyed_hashes_are_equal_only_for_equal_parts(one: list[bytes], other: list[bytes]) -> None:
    assert (keyed_hash(KEY, *one) == keyed_hash(KEY, *other)) == (one == other)
    assert keyed_hash(KEY, *one) != keyed_hash(bytes(32), *one)


def test_derived_keys_differ_where_label_and_context_are_cut_elsewhere() -> None:
    assert (
        len(
            {
                derive(KEY, "ab", b"c"),
                derive(KEY, "a", b"bc"),
                derive(KEY, "abc"),
                derive(bytes(32), "ab", b"c"),
            }
        )
        == 4
    )
    with pytest.raises(ValueError, match="at least 32 bytes"):
        derive(bytes(31), "ab")


def test_nothing_to_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        keyed_hash(KEY)


@given(secret=st.binary(min_size=1, max_size=64), context=aads)
def test_what_is_wrapped_unwraps_to_the_same(secret: bytes, context: bytes) -> None:
    assert unwrap(READER, wrap(READER.public(), secret, context=context), context=context) == secret


@given(bit=st.integers(0))
def test_any_flipped_bit_keeps_a_wrapped_key_shut(bit: int) -> None:
    with pytest.raises(KeyMismatchError):
        unwrap(READER, flipped(WRAPPED, bit), context=b"page 1")


@pytest.mark.parametrize(
    "wrapped",
    [b"", WRAPPED[:100], WRAPPED[:-1], WRAPPED + b"x", bytes(len(WRAPPED))],
    ids=lambda w: f"{len(w)} bytes",
)
def test_a_wrapped_key_of_another_length_stays_shut(wrapped: bytes) -> None:
    with pytest.raises(KeyMismatchError):
        unwrap(READER, wrapped, context=b"page 1")


def test_a_wrapped_key_opens_for_its_recipient_in_its_context_only() -> None:
    assert unwrap(READER, WRAPPED, context=b"page 1") == KEY
    with pytest.raises(KeyMismatchError):
        unwrap(READER, WRAPPED, context=b"page 2")
    with pytest.raises(KeyMismatchError):
        unwrap(RecipientPrivate.generate(), WRAPPED, context=b"page 1")


def test_a_recipient_survives_its_raw_form() -> None:
    private = RecipientPrivate.generate()
    again = RecipientPrivate.from_raw(private.raw)
    assert (again.public(), again.key_id, again.raw) == (private.public(), private.key_id, private.raw)
    assert len(private.key_id) == 16
    for size in (0, 95, 97):
        with pytest.raises(ValueError, match="96 bytes"):
            RecipientPrivate.from_raw(bytes(size))
    with pytest.raises(ValueError, match="1216 bytes"):
        RecipientPublic(bytes(1215))


def test_an_impossible_public_key_is_refused() -> None:
    # 0xfff is no residue modulo 3329: FIPS 203 has encapsulation keys checked for it.
    with pytest.raises(KeyMismatchError, match="usable public key"):
        wrap(RecipientPublic(b"\xff" * 1216), KEY, context=b"")


@given(message=plains, bit=st.integers(0))
def test_a_signature_verifies_its_message_only(message: bytes, bit: int) -> None:
    signature = SIGNER.sign(message)
    SIGNER.public().verify(message, signature)
    with pytest.raises(TamperedError):
        SIGNER.public().verify(message, flipped(signature, bit))
    with pytest.raises(TamperedError):
        SIGNER.public().verify(message + b"x", signature)
    with pytest.raises(TamperedError):
        SigningKey.generate().public().verify(message, signature)


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65)])
def test_a_signature_that_is_none_is_refused(signature: bytes) -> None:
    with pytest.raises(TamperedError):
        SIGNER.public().verify(b"", signature)


def test_a_signing_key_survives_its_raw_form() -> None:
    key = SigningKey.generate()
    assert SigningKey.from_raw(key.raw).public() == key.public()
    assert len(key.key_id) == 16
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey.from_raw(bytes(31))
    with pytest.raises(ValueError, match="32 bytes"):
        VerifyKey(bytes(33))


@pytest.mark.parametrize("secret", [READER, SIGNER])
def test_private_keys_show_only_their_id_and_cannot_be_copied(secret: RecipientPrivate | SigningKey) -> None:
    assert repr(secret) == f"{type(secret).__name__}({secret.key_id.hex()})"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="not pickled"):
        copy.copy(secret)


def test_a_passphrase_gives_another_key_under_another_salt_or_cost() -> None:
    how = Stretching(salt=bytes(16), iterations=1, lanes=1, memory=64)
    others = [
        Stretching(salt=b"x" * 16, iterations=1, lanes=1, memory=64),
        Stretching(salt=bytes(16), iterations=2, lanes=1, memory=64),
        Stretching(salt=bytes(16), iterations=1, lanes=1, memory=72),
    ]
    assert stretch(b"a", how) == stretch(b"a", how)
    assert len({stretch(b"a", how), stretch(b"b", how), *(stretch(b"a", other) for other in others)}) == 5
    with pytest.raises(ValueError, match="empty"):
        stretch(b"", how)


def test_passphrases_are_stretched_as_rfc_9106_recommends_second() -> None:
    how = Stretching.fresh()
    assert (how.iterations, how.lanes, how.memory, len(how.salt)) == (3, 4, 65536, 16)
    assert how.salt != Stretching.fresh().salt


@pytest.mark.parametrize(
    "wrong",
    [{"salt": bytes(15)}, {"iterations": 0}, {"iterations": 65}, {"lanes": 0}, {"lanes": 65}, {"memory": 31}],
)
def test_a_stretching_out_of_bounds_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        Stretching(**{"salt": bytes(16), **wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="out of bounds"):
        Stretching(salt=bytes(16), memory=1024 * 1024 + 1)


def test_random_bytes_come_in_the_number_asked_for_and_never_twice() -> None:
    assert len(random_bytes(32)) == 32
    assert random_bytes(32) != random_bytes(32)
