"""Codings: how a chunk's bytes are made smaller before they are sealed, chosen by what the bytes are.

Text goes through zstd. Sound is samples: neighbours differ little, so their high bits are alike and their low bits
are noise. Blosc turns a block of samples into planes of bits, where LZ4 finds the alike ones and skips the noise: on
8 kHz 16-bit speech with line noise it stores 0.76 where zstd stores 0.84, three times as fast in both directions.
Both libraries let other threads run meanwhile.
"""

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import zstandard

from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.repository.blocks import block

RAW, ZSTD, PLANES_8, PLANES_16 = 0, 1, 2, 3
"""Codings, fixed by the format: as they are; one zstd frame; a Blosc 1 chunk of 8-bit or of 16-bit samples."""

ZSTD_LEVEL = 1
"""Level 1 beat level 3 on CRM text in speed (2x) and size."""

PLANES = (PLANES_8, PLANES_16)
BLOSC_HEADER = 16

PLANES_LEVEL = 5
PLANES_BLOCK = 1 << 16
"""Level 9 saves 2 % more and takes a fifth longer; blocks of 64 KiB stay in a core's own cache."""

WORTH = 0.97
"""A coding must save 3 % or the bytes stay raw: decoding is not free."""

SAMPLE = 1 << 13
"""Bytes tried at the start, the middle and the end of a recording's piece before all of it is coded.

A second's worth in all of telephone sound: with four times as much the choice was the same, and a twentieth of the time
of a snapshot went into trying."""

Buffer = bytes | bytearray | memoryview

_local = threading.local()

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_memcmp.restype = ctypes.c_int


def encode_text(plain: Buffer) -> tuple[int, Buffer]:
    """Return (coding, payload) of rows, companions and structure."""
    return _worth(ZSTD, plain, _zstd)


def encode_media(plain: Buffer) -> tuple[int, Buffer]:
    """Return (coding, payload) of a piece of a recording: the coding that does best on samples of it.

    What no coding makes smaller (MP3, Opus, encrypted sound) is left as it is.
    """
    coding = _best(_sampled(plain))
    return (RAW, plain) if coding == RAW else _worth(coding, plain, _CODERS[coding])


def decode(coding: int, payload: Buffer, plain: int) -> bytes:
    """Return the `plain` bytes that were coded.

    Raises:
        TamperedError: They are not what was coded.
        UnsupportedFormatError: A coding this version does not know.
    """
    if coding == RAW:
        decoded = bytes(payload)
    elif coding == ZSTD:
        decoded = _unzstd(payload, plain)
    elif coding in PLANES:
        decoded = _unplanes(payload, plain)
    else:
        raise UnsupportedFormatError(
            f"a chunk has coding {coding}, which this version of Tenure does not know"
        )
    if len(decoded) != plain:
        raise TamperedError("a chunk is not as long as its page says")
    return decoded


def decode_into(coding: int, payload: Buffer, out: memoryview) -> None:
    """Fill `out` with the bytes that were coded.

    Raises:
        TamperedError: They are not what was coded, or not as many.
        UnsupportedFormatError: A coding this version does not know.
    """
    if coding in PLANES:
        _unplanes(payload, out.nbytes, into=out)
    else:
        out[:] = decode(coding, payload, out.nbytes)


def check(coding: int, payload: Buffer, plain: Buffer) -> None:
    """Decode `payload` and compare.

    Raises:
        TamperedError: It does not give `plain` back.
    """
    if coding in PLANES:
        decoded: Buffer = scratch("decoded", len(plain))
        _unplanes(payload, len(plain), into=decoded)
    else:
        decoded = payload if coding == RAW else decode(coding, payload, len(plain))
    if not _equal(decoded, plain):
        raise TamperedError(
            "a chunk did not survive its own sealing; the memory of this machine may be faulty"
        )


def scratch(purpose: str, size: int) -> memoryview:
    """Return `size` bytes of this thread's own, used again by the next call with the same purpose."""
    held: dict[str, memoryview] = _local.__dict__.setdefault("scratch", {})
    if purpose not in held or len(held[purpose]) < size:
        held[purpose] = block(size)
    return held[purpose][:size]


def _worth(coding: int, plain: Buffer, coder: Callable[[Buffer], bytes]) -> tuple[int, Buffer]:
    packed = coder(plain)
    return (coding, packed) if len(packed) < WORTH * len(plain) else (RAW, plain)


def _sampled(plain: Buffer) -> bytes:
    if len(plain) <= 3 * SAMPLE:
        return bytes(plain)
    # Even places, so that 16-bit samples are not cut in two.
    middle = (len(plain) - SAMPLE) // 2 & ~1
    view = memoryview(plain)
    last = (len(plain) - SAMPLE) & ~1
    return b"".join((view[:SAMPLE], view[middle : middle + SAMPLE], view[last:]))


def _best(sampled: bytes) -> int:
    """Return the coding with the smallest outcome; a tie goes to planes, which are the fastest."""
    sizes = {coding: len(coder(sampled)) for coding, coder in _CODERS.items()}
    best = min(sizes, key=sizes.__getitem__)
    return best if sizes[best] < WORTH * len(sampled) else RAW


def _zstd(plain: Buffer) -> bytes:
    coder = getattr(_local, "zstd", None)
    if coder is None:
        coder = _local.zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False)
    packed: bytes = coder.compress(plain)
    return packed


def _unzstd(payload: Buffer, plain: int) -> bytes:
    decoder = getattr(_local, "unzstd", None)
    if decoder is None:
        decoder = _local.unzstd = zstandard.ZstdDecompressor()
    try:
        decoded: bytes = decoder.decompress(payload, max_output_size=plain)
    except zstandard.ZstdError as e:
        raise TamperedError("a chunk does not decode") from e
    return decoded


def _planes(plain: Buffer, width: int) -> bytes:
    blosc = _blosc()
    packed: bytes = blosc.compress(plain, b"lz4", PLANES_LEVEL, blosc.BITSHUFFLE, PLANES_BLOCK, width)
    return packed


def _unplanes(payload: Buffer, plain: int, into: Buffer | None = None) -> bytes:
    # The library writes as many bytes as bytes 4-7 of the chunk say: that must be what there is room for.
    if len(payload) < BLOSC_HEADER or int.from_bytes(payload[4:8], "little") != plain:
        raise TamperedError("a chunk is not as long as its page says")
    try:
        decoded: bytes = _blosc().decompress(payload, into)
    except RuntimeError as e:
        raise TamperedError("a chunk does not decode") from e
    return decoded


def _blosc() -> Any:
    # Imported when the first recording is coded: commands that touch none start a tenth of a second sooner.
    from numcodecs import blosc  # noqa: PLC0415

    # Without this, calls from the main thread take a lock and a pool of their own; we have workers already.
    blosc.use_threads = False
    return blosc


def _equal(one: Buffer, other: Buffer) -> bool:
    # memoryviews compare item by item, a hundred times slower than memcmp; ctypes lets other threads run meanwhile.
    left, right = np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8)
    return left.size == right.size and _memcmp(left.ctypes.data, right.ctypes.data, left.size) == 0


_CODERS: dict[int, Callable[[Buffer], bytes]] = {
    PLANES_16: lambda plain: _planes(plain, 2),
    PLANES_8: lambda plain: _planes(plain, 1),
    ZSTD: _zstd,
}
