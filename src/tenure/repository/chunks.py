"""One chunk: compressed where that wins, sealed under its own key, decoded and compared before it is put."""

import ctypes
import threading

import numpy as np
import zstandard

from tenure.crypto.aead import context, open_into, open_sealed, seal_fresh_into
from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.repository.model import ChunkKind, ChunkRef

RAW, ZSTD = 0, 1
"""Codings, fixed by the format."""

ZSTD_LEVEL = 1
"""Level 1 beat level 3 on CRM text in speed (2x) and size, and on audio no level wins much."""

WORTH = 0.97
"""A coding must save 3 % or the bytes stay raw: decoding is not free."""

Buffer = bytes | bytearray | memoryview

_local = threading.local()

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_memcmp.restype = ctypes.c_int


def compress(plain: Buffer) -> tuple[int, Buffer]:
    """Return (coding, payload)."""
    coder = getattr(_local, "coder", None)
    if coder is None:
        coder = _local.coder = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False)
    packed = coder.compress(plain)
    return (ZSTD, packed) if len(packed) < WORTH * len(plain) else (RAW, plain)


def decompress(coding: int, payload: Buffer, plain: int) -> bytes:
    """Return the `plain` bytes that were coded.

    Raises:
        TamperedError: They are not what was coded.
        UnsupportedFormatError: A coding this version does not know.
    """
    if coding == RAW:
        return bytes(payload)
    if coding != ZSTD:
        raise UnsupportedFormatError(
            f"a chunk has coding {coding}, which this version of Tenure does not know"
        )
    decoder = getattr(_local, "decoder", None)
    if decoder is None:
        decoder = _local.decoder = zstandard.ZstdDecompressor()
    try:
        return decoder.decompress(payload, max_output_size=plain)
    except zstandard.ZstdError as e:
        raise TamperedError("a chunk does not decode") from e


def bound_to(
    repository: bytes, tag: bytes, ref: ChunkRef, *, kind: ChunkKind, coding: int, plain: int
) -> bytes:
    """Return a chunk's associated data. Neither pack nor epoch: repacking and rotation touch no chunk."""
    return context("chunk", repository, int(kind), tag, ref.id, ref.incarnation, coding, plain)


def seal_chunk(payload: Buffer, out: memoryview, *, coding: int, plain: Buffer, aad: bytes) -> bytes:
    """Seal `payload` into `out` (exactly `len(payload) + OVERHEAD` bytes) and return the DEK.

    What was sealed is opened and decoded again and compared with `plain`: that is what keeps a flipped bit of memory,
    or a wrong buffer, from becoming a lost recording.

    Raises:
        TamperedError: What was sealed does not give `plain` back.
    """
    dek, size = seal_fresh_into(payload, out, aad=aad)
    scratch = _scratch(size)
    opened = open_into(dek, out[:size], scratch, aad=aad)
    check_coding(coding, scratch[:opened], plain)
    return dek


def check_coding(coding: int, payload: Buffer, plain: Buffer) -> None:
    """Decode `payload` and compare.

    Raises:
        TamperedError: It does not give `plain` back.
    """
    decoded = payload if coding == RAW else decompress(coding, payload, len(plain))
    if not _equal(decoded, plain):
        raise TamperedError(
            "a chunk did not survive its own sealing; the memory of this machine may be faulty"
        )


def open_chunk(sealed: Buffer, dek: bytes, *, coding: int, plain: int, aad: bytes) -> bytes:
    """Open and decode a chunk.

    Raises:
        TamperedError: Changed bytes, or another chunk's key.
    """
    return decompress(coding, open_sealed(dek, sealed, aad=aad), plain)


def _equal(one: Buffer, other: Buffer) -> bool:
    # memoryviews compare item by item, a hundred times slower than memcmp; ctypes lets other threads run meanwhile.
    left, right = np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8)
    return left.size == right.size and _memcmp(left.ctypes.data, right.ctypes.data, left.size) == 0


def _scratch(size: int) -> memoryview:
    held = getattr(_local, "scratch", None)
    if held is None or len(held) < size:
        held = _local.scratch = memoryview(bytearray(size))
    return held
