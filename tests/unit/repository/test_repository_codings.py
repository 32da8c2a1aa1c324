"""Codings give back what went in, whatever it is; sound is made smaller than zstd makes it; damage is found."""

import random
import wave
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.repository import codings
from tenure.repository.codings import PLANES_8, PLANES_16, RAW, ZSTD, Buffer


def speech_like(samples: int) -> bytes:
    """Return a WAV file: three wandering tones and line noise, 8 kHz, 16 bit."""
    rng = np.random.default_rng(5)
    at = np.arange(samples) / 8000
    loud = np.sin(at * 2) ** 2 * 4000
    sound = loud * (np.sin(at * 900) + np.sin(at * 2300) / 2) + rng.normal(0, 30, samples)
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(sound.astype("<i2").tobytes())
    return out.getvalue()


Encoder = Callable[[Buffer], tuple[int, Buffer]]
SPEECH = speech_like(200_000)


@given(plain=st.binary(max_size=3000), times=st.integers(1, 60))
def test_any_bytes_come_back_through_every_way_in(plain: bytes, times: int) -> None:
    whole = plain * times
    for encode in (codings.encode_text, codings.encode_media):
        coding, payload = encode(whole)
        codings.check(coding, payload, whole)
        assert codings.decode(coding, payload, len(whole)) == whole
        assert len(payload) <= len(whole)


@pytest.mark.parametrize("cut", [0, 1, 45, 100_001])
def test_speech_of_even_and_odd_lengths_becomes_planes_and_comes_back(cut: int) -> None:
    whole = SPEECH[: len(SPEECH) - cut]
    coding, payload = codings.encode_media(whole)
    assert coding == PLANES_16
    assert codings.decode(coding, payload, len(whole)) == whole


def test_planes_store_speech_in_fewer_bytes_than_zstd() -> None:
    assert len(codings.encode_media(SPEECH)[1]) < 0.95 * len(codings.encode_text(SPEECH)[1])


def test_eight_bit_sound_becomes_planes_of_bytes_or_zstd_but_not_of_words() -> None:
    rng = np.random.default_rng(6)
    at = np.arange(300_000)
    sound = (128 + np.sin(at / 9) * 6 + rng.normal(0, 1.5, len(at))).astype("u1").tobytes()
    coding, payload = codings.encode_media(sound)
    assert coding in (PLANES_8, ZSTD)
    assert codings.decode(coding, payload, len(sound)) == sound


def test_sound_that_is_compressed_already_stays_as_it_is() -> None:
    noise = random.Random(7).randbytes(400_000)
    assert codings.encode_media(noise) == (RAW, noise)


def test_samples_that_promise_too_much_cost_nothing_but_time() -> None:
    """Silence where it is sampled, noise everywhere else: coded whole it saves too little, so it stays raw."""
    whole = bytearray(random.Random(8).randbytes(8_000_000))
    for start in (0, len(whole) // 2 - codings.SAMPLE, len(whole) - codings.SAMPLE):
        whole[start : start + 2 * codings.SAMPLE] = bytes(len(whole[start : start + 2 * codings.SAMPLE]))
    coding, payload = codings.encode_media(whole)
    assert coding == RAW
    assert payload is whole


@pytest.mark.parametrize("encode", [codings.encode_text, codings.encode_media])
def test_another_plaintext_is_not_taken_for_the_coded_one(encode: Encoder) -> None:
    coding, payload = encode(SPEECH)
    other = bytearray(SPEECH)
    other[-1] ^= 1
    with pytest.raises(TamperedError, match="did not survive"):
        codings.check(coding, payload, other)


@pytest.mark.parametrize("coding", [RAW, ZSTD, PLANES_8, PLANES_16])
@given(payload=st.binary(max_size=200), plain=st.integers(0, 300))
def test_bytes_that_no_coder_wrote_are_refused_or_come_out_at_their_length(
    coding: int, payload: bytes, plain: int
) -> None:
    try:
        decoded = codings.decode(coding, payload, plain)
    except TamperedError:
        return
    assert len(decoded) == plain


@pytest.mark.parametrize("change", [4, 8, 12, 20, 40])
def test_a_changed_plane_chunk_is_refused_or_differs_and_never_writes_past_its_room(change: int) -> None:
    coding, payload = codings.encode_media(SPEECH)
    broken = bytearray(payload)
    broken[change] ^= 0x55
    with pytest.raises(TamperedError):
        codings.check(coding, broken, SPEECH)


def test_a_length_that_its_page_does_not_say_is_refused() -> None:
    for encode in (codings.encode_text, codings.encode_media):
        coding, payload = encode(SPEECH)
        for wrong in (len(SPEECH) - 1, len(SPEECH) + 1):
            with pytest.raises(TamperedError):
                codings.decode(coding, payload, wrong)


def test_a_coding_of_a_newer_version_is_named() -> None:
    with pytest.raises(UnsupportedFormatError, match="coding 9"):
        codings.decode(9, b"", 0)
