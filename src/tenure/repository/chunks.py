"""One chunk: sealed under its own key, opened, decoded and compared before it is put."""

from tenure.crypto.aead import OVERHEAD, context, open_into, open_sealed, seal_fresh_into
from tenure.domain.errors import TamperedError
from tenure.repository import codings
from tenure.repository.codings import Buffer
from tenure.repository.model import ChunkKind, ChunkRef


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
    scratch = codings.scratch("opened", size)
    opened = open_into(dek, out[:size], scratch, aad=aad)
    codings.check(coding, scratch[:opened], plain)
    return dek


def open_chunk_into(
    sealed: Buffer, dek: bytes, out: memoryview, *, coding: int, plain: int, aad: bytes
) -> None:
    """Open and decode a chunk into exactly `plain` bytes of memory.

    Raises:
        TamperedError: Changed bytes, or another chunk's key.
        ValueError: `out` has another size.
    """
    if out.nbytes != plain:
        raise ValueError(f"the buffer has {out.nbytes} bytes, {plain} are needed")
    if coding == codings.RAW:
        if memoryview(sealed).nbytes - OVERHEAD != plain:
            raise TamperedError("a chunk is not as long as its page says")
        open_into(dek, sealed, out, aad=aad)
        return
    payload = codings.scratch("opened", memoryview(sealed).nbytes)
    codings.decode_into(coding, payload[: open_into(dek, sealed, payload, aad=aad)], out)


def open_chunk(sealed: Buffer, dek: bytes, *, coding: int, plain: int, aad: bytes) -> bytes:
    """Open and decode a chunk.

    Raises:
        TamperedError: Changed bytes, or another chunk's key.
    """
    if coding == codings.RAW:
        return codings.decode(coding, open_sealed(dek, sealed, aad=aad), plain)
    payload = codings.scratch("opened", memoryview(sealed).nbytes)
    return codings.decode(coding, payload[: open_into(dek, sealed, payload, aad=aad)], plain)
