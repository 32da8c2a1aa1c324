"""Key pages: where the chunks of one cohort lie, and the keys that open them. Deleting a page destroys data.

::

    "TNRK" version(1)  length(4) header  length(4) index  length(4) keys  length(4) gone  BLAKE3 of all before(32)

`header` is clear; `index` and `gone` are sealed under the source's index key, `keys` under the page key, which
the header carries wrapped for every recipient. A page key never appears in two pages.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.crypto.aead import KEY_BYTES, context, open_sealed, open_under, seal, seal_under
from tenure.crypto.hashing import content_hash, random_bytes
from tenure.domain.errors import TamperedError, TruncatedError, UnsupportedFormatError
from tenure.keys.base import Purpose, Unwrapper, WrappedKey, Wrapper
from tenure.repository import wire
from tenure.repository.entries import PageRef, Stanza
from tenure.repository.model import ChunkKind, Cohort
from tenure.repository.secrets import SourceKeys
from tenure.repository.wire import Wire

MAGIC = b"TNRK"
VERSION = 1
MOST_ENTRIES = 8_192
MOST_PACKS = 65_535

ENTRY = np.dtype(
    [
        ("id", "V16"),
        ("inc", "V8"),
        ("cid", "V16"),  # the companion's id and incarnation; zeros: none
        ("cinc", "V8"),
        ("offset", "<u4"),
        ("length", "<u4"),  # sealed, tag included
        ("plain", "<u4"),
        ("pack", "<u2"),  # index into the header's packs
        ("kind", "u1"),
        ("coding", "u1"),
    ]
)
"""64 bytes a chunk; with its DEK 96."""

GONE = np.dtype(
    [
        ("id", "V16"),
        ("inc", "V8"),
        ("rid", "V16"),  # the replacement; zeros: none
        ("rinc", "V8"),
        ("number", "<u8"),  # of the ledger entry that recorded the judging
        ("lacks", "<u4"),  # records that the replacement lacks
        ("kind", "u1"),
    ]
)

Array = NDArray[Any]


class PageHeader(Wire, frozen=True, kw_only=True):
    """What of a page can be read without keys. `packs`: ids of the packs named by the index."""

    repository: bytes
    epoch: int
    writer: bytes
    tag: bytes
    page: bytes
    session: bytes
    entries: int
    first: bytes
    last: bytes
    packs: tuple[bytes, ...]
    wrapped: tuple[Stanza, ...]


class _CohortWire(Wire, frozen=True, kw_only=True):
    data_set: str
    rule_class: str
    span: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePlain:
    """What a page holds, open. `deks`: uint8, n x 32; of a page without entries any secret bytes, see `forgetting`."""

    cohort: Cohort
    packs: tuple[bytes, ...]
    entries: Array
    gone: Array
    deks: Array = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageBytes:
    """A page taken apart; only its form and its own hash are checked."""

    header: PageHeader
    header_bytes: bytes
    index: bytes
    keys: bytes
    gone: bytes
    hash: bytes

    @property
    def size(self) -> int:
        """Return how many bytes that is, about."""
        return len(self.header_bytes) + len(self.index) + len(self.keys) + len(self.gone)


def seal_page(
    plain: PagePlain, *, keys: SourceKeys, repository: bytes, epoch: int, session: bytes, wrapper: Wrapper
) -> tuple[PageRef, bytes]:
    """Return a new page under a fresh page key, entries sorted by id.

    Raises:
        ValueError: More than `MOST_ENTRIES`.
    """
    if len(plain.entries) > MOST_ENTRIES:
        raise ValueError(f"a page has at most {MOST_ENTRIES} entries")
    order = (
        np.argsort(plain.entries["id"].view("S16"), kind="stable")
        if len(plain.entries)
        else np.zeros(0, np.int64)
    )
    entries, deks = plain.entries[order], plain.deks[order] if len(order) else plain.deks
    page_id, page_key, tag = random_bytes(16), random_bytes(KEY_BYTES), keys.tag(plain.cohort)
    header = PageHeader(
        repository=repository,
        epoch=epoch,
        writer=keys.writer,
        tag=tag,
        page=page_id,
        session=session,
        entries=len(entries),
        first=entries["id"][0].tobytes() if len(entries) else b"",
        last=entries["id"][-1].tobytes() if len(entries) else b"",
        packs=plain.packs,
        wrapped=_wrapped(page_key, wrapper, _wrap_context(repository, epoch, tag, page_id)),
    )
    head = wire.encode(header)
    cohort = _cohort_bytes(plain.cohort)
    index_plain = struct.pack("<I", len(cohort)) + cohort + entries.tobytes()
    index = seal_under(keys.index, "tenure page index", page_id, index_plain, aad=_aad("index", head))
    sealed_keys = seal(page_key, deks.tobytes(), aad=_aad("keys", head, index))
    gone_aad = _aad("gone", head, index, sealed_keys)
    gone = seal_under(keys.index, "tenure page gone", page_id, plain.gone.tobytes(), aad=gone_aad)
    raw = _join(head, index, sealed_keys, gone)
    ref = PageRef(epoch=epoch, writer=keys.writer, tag=tag, page=page_id, hash=content_hash(raw))
    return ref, raw


def _wrapped(page_key: bytes, wrapper: Wrapper, where: Purpose) -> tuple[Stanza, ...]:
    stanzas = wrapper.wrap(page_key, context=where)
    return tuple(Stanza(recipient=s.recipient, provider=s.provider, wrapped=s.wrapped) for s in stanzas)


def _cohort_bytes(cohort: Cohort) -> bytes:
    return wire.encode(_CohortWire(data_set=cohort.data_set, rule_class=cohort.rule_class, span=cohort.span))


def parse_page(raw: bytes, *, name: str) -> PageBytes:
    """Take a page apart and check its own hash: what anyone can check without keys.

    Raises:
        TruncatedError: Bytes are missing.
        TamperedError: It is no page, or was changed.
        UnsupportedFormatError: Of a newer format.
    """
    if len(raw) < 37 or raw[:4] != MAGIC:
        raise (TruncatedError if len(raw) < 37 else TamperedError)(f"{name} is not a key page")
    if raw[4] != VERSION:
        raise UnsupportedFormatError(f"{name} has version {raw[4]}; this version of Tenure knows {VERSION}")
    parts, at = [], 5
    for _ in range(4):
        end = at + 4 + (struct.unpack_from("<I", raw, at)[0] if at + 4 <= len(raw) else 0)
        if end > len(raw) - 32:
            raise TruncatedError(f"{name} is cut short")
        parts.append(raw[at + 4 : end])
        at = end
    if len(raw) != at + 32:
        raise TruncatedError(f"{name} has {len(raw)} bytes instead of {at + 32}")
    if content_hash(raw[:at]) != raw[at:]:
        raise TamperedError(f"{name} was changed: its bytes do not match its own hash")
    header = wire.decode(parts[0], PageHeader, what=name)
    if not _is_sound(header):
        raise TamperedError(f"{name} is damaged: its header holds what no page has")
    return PageBytes(
        header=header,
        header_bytes=parts[0],
        index=parts[1],
        keys=parts[2],
        gone=parts[3],
        hash=content_hash(raw),
    )


def _is_sound(header: PageHeader) -> bool:
    ids = (header.repository, header.tag, header.page, header.session)
    return (
        all(len(i) == 16 for i in ids)
        and len(header.writer) == 8
        and 0 <= header.epoch < 1 << 63
        and 0 <= header.entries <= MOST_ENTRIES
        and len(header.packs) <= MOST_PACKS
        and all(len(p) == 32 for p in header.packs)
    )


def open_index(page: PageBytes, keys: SourceKeys) -> tuple[Cohort, Array, Array]:
    """Return (cohort, entries, gone): all that a writer or pruner may know of a page.

    Raises:
        TamperedError: Changed bytes, or another source's key.
    """
    aad = _aad("index", page.header_bytes)
    index = open_under(keys.index, "tenure page index", page.header.page, page.index, aad=aad)
    size = struct.unpack_from("<I", index, 0)[0] if len(index) >= 4 else 0
    if not 0 < size <= len(index) - 4:
        raise TamperedError("a key page's index is cut short")
    found = wire.decode(index[4 : 4 + size], _CohortWire, what="a key page's cohort")
    cohort = Cohort(data_set=found.data_set, rule_class=found.rule_class, span=found.span)
    entries = _table(index[4 + size :], ENTRY)
    if len(entries) and int(entries["pack"].max()) >= len(page.header.packs):
        raise TamperedError("a key page names a pack that its header does not list")
    if len(entries) and not 1 <= int(entries["kind"].min()) <= int(entries["kind"].max()) <= max(ChunkKind):
        raise UnsupportedFormatError(
            "a key page holds chunks of a kind that this version of Tenure does not know"
        )
    gone_aad = _aad("gone", page.header_bytes, page.index, page.keys)
    gone = open_under(keys.index, "tenure page gone", page.header.page, page.gone, aad=gone_aad)
    return cohort, entries, _table(gone, GONE)


def _table(raw: bytes, dtype: np.dtype[Any]) -> Array:
    if len(raw) % dtype.itemsize:
        raise TamperedError("a key page's index is not a whole number of entries")
    return np.frombuffer(raw, dtype)


def open_keys(page: PageBytes, unwrapper: Unwrapper) -> Array:
    """Return the DEKs, n x 32, in the order of the entries; raises as `open_secret` does."""
    raw = open_secret(page, unwrapper)
    if len(raw) != page.header.entries * KEY_BYTES:
        raise TamperedError("a key page does not hold one key for each of its chunks")
    return np.frombuffer(raw, np.uint8).reshape(-1, KEY_BYTES)


def open_secret(page: PageBytes, unwrapper: Unwrapper) -> bytes:
    """Return what a page keeps under its page key.

    Raises:
        KeyMismatchError: This process's keys do not open the page.
        TamperedError: Changed bytes.
    """
    header = page.header
    stanzas = [
        WrappedKey(recipient=s.recipient, provider=s.provider, wrapped=s.wrapped) for s in header.wrapped
    ]
    where = _wrap_context(header.repository, header.epoch, header.tag, header.page)
    page_key = unwrapper.unwrap(stanzas, context=where)
    return open_sealed(page_key, page.keys, aad=_aad("keys", page.header_bytes, page.index))


def pages_of(
    cohort: Cohort, entries: Array, deks: Array, gone: Array, packs: Sequence[bytes]
) -> list[PagePlain]:
    """Split one cohort's content into as many pages as it takes; `entries["pack"]` indexes `packs` (any number)."""
    order = np.argsort(entries["id"].view("S16"), kind="stable") if len(entries) else np.zeros(0, np.int64)
    out = []
    for start in range(0, max(len(entries), 1), MOST_ENTRIES):
        part = order[start : start + MOST_ENTRIES]
        used, inverse = np.unique(entries["pack"][part], return_inverse=True)
        mine = entries[part].copy()
        mine["pack"] = inverse
        out.append(
            PagePlain(
                cohort=cohort,
                packs=tuple(packs[i] for i in used),
                entries=mine,
                deks=deks[part],
                gone=gone if start == 0 else gone[:0],
            )
        )
    return out


def _aad(section: str, *before: bytes) -> bytes:
    # Each section names itself, how many there are, and the hash of all that stands before it in the page.
    return context("key page", section, 3, *(content_hash(b) for b in before), *(len(b) for b in before))


def _wrap_context(repository: bytes, epoch: int, tag: bytes, page_id: bytes) -> Purpose:
    parts = (("repository", repository), ("epoch", epoch), ("cohort", tag), ("page", page_id))
    return Purpose(kind="page key", parts=parts)


def _join(*sections: bytes) -> bytes:
    body = MAGIC + bytes([VERSION]) + b"".join(struct.pack("<I", len(s)) + s for s in sections)
    return body + content_hash(body)
