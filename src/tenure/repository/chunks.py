"""One chunk: compressed where that wins, sealed under its own key, decoded and compared before it is put."""

import threading

import zstandard

from tenure.crypto.aead import OVERHEAD, context, open_into, open_sealed, seal_fresh_into
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


def compress(plain: Buffer) -> tuple[int, Buffer]:
    """Return (coding, payload)."""
    coder = getattr(_local, "coder", None)
    if coder is None:
        coder = _local.coder = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False)
    packed = coder.compress(plain)
    return (ZSTD, packed) if len(packed) < WORTH * len(plain) else (RAW, plain)


def decompress(coding: int, payload: bytes, plain: int) -> bytes:
    """Return the `plain` bytes that were coded.

    Raises:
        TamperedError: They are not what was coded.
        UnsupportedFormatError: A coding this version does not know.
    """
    if coding == RAW:
        return payload
    if coding != ZSTD:
        raise UnsupportedFormatError(
            f"a chunk has coding {coding}, which this version of Tenure does not know"
        )
    decoder = getattr(_local, "decoder", None)
    if decoder is None:
        decoder = _local.decoder = zstandard.ZstdDecompressor()
    try:
        return bytes(decoder.decompress(payload, max_output_size=plain))
    except zstandard.ZstdError as e:
        raise TamperedError("a chunk does not decode") from e


def bound_to(
    repository: bytes, tag: bytes, ref: ChunkRef, *, kind: ChunkKind, coding: int, plain: int
) -> bytes:
    """Return a chunk's associated data. Neither pack nor epoch: repacking and rotation touch no chunk."""
    return context("chunk", repository, int(kind), tag, ref.id, ref.incarnation, coding, plain)


def seal_chunk(payload: Buffer, out: memoryview, *, aad: bytes) -> bytes:
    """Seal into `out` (exactly `len(payload) + OVERHEAD` bytes) and return the DEK, having opened it again.

    The second opening is what keeps a flipped bit of memory, or a wrong buffer, from becoming a lost recording.

    Raises:
        TamperedError: What was sealed does not open to what was given.
    """
    dek, size = seal_fresh_into(payload, out, aad=aad)
    scratch = _scratch(size)
    opened = open_into(dek, out[:size], scratch, aad=aad)
    if opened != size - OVERHEAD or scratch[:opened] != memoryview(payload):
        raise TamperedError(
            "a chunk did not survive its own sealing; the memory of this machine may be faulty"
        )
    return dek


def check_coding(coding: int, payload: Buffer, plain: Buffer) -> None:
    """Decode `payload` and compare.

    Raises:
        TamperedError: It does not give `plain` back.
    """
    if coding != RAW and decompress(coding, bytes(payload), len(plain)) != plain:
        raise TamperedError(
            "a chunk did not survive its own compression; the memory of this machine may be faulty"
        )


def open_chunk(sealed: Buffer, dek: bytes, *, coding: int, plain: int, aad: bytes) -> bytes:
    """Open and decode a chunk.

    Raises:
        TamperedError: Changed bytes, or another chunk's key.
    """
    return decompress(coding, open_sealed(dek, sealed, aad=aad), plain)


def _scratch(size: int) -> memoryview:
    held = getattr(_local, "scratch", None)
    if held is None or len(held) < size:
        held = _local.scratch = memoryview(bytearray(size))
    return held
