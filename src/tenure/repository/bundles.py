"""Bundles: the secrets that an epoch hands its recipients, and that a writer's admission hands the readers.

A bundle is sealed under a key of its own, and that key is wrapped once for every recipient, so a key service that
wraps only small secrets can be a recipient too.
"""

from collections.abc import Iterable

from tenure.crypto.aead import KEY_BYTES, open_sealed, seal
from tenure.crypto.hashing import random_bytes
from tenure.crypto.signing import VerifyKey
from tenure.domain.errors import KeyMismatchError, TamperedError
from tenure.keys.base import Purpose, Unwrapper, WrappedKey, Wrapper
from tenure.repository import wire
from tenure.repository.entries import AdmitClear, CheckpointClear, EpochClear, Recipient, Stanza
from tenure.repository.entryobjects import EntryObjects
from tenure.repository.envelope import Envelope, parse
from tenure.repository.secrets import ReaderSecrets, WriterSecrets
from tenure.repository.wire import Wire


class _WriterWire(Wire, frozen=True, kw_only=True):
    writer: bytes
    source: str
    secret: bytes
    tags: bytes


class _SharedWire(Wire, frozen=True, kw_only=True):
    ledger: bytes
    fingerprint: bytes
    writers: tuple[_WriterWire, ...]


def epoch_clear(
    secrets: ReaderSecrets,
    *,
    repository: bytes,
    epoch: int,
    recipients: tuple[Recipient, ...],
    wrapper: Wrapper,
) -> EpochClear:
    """Return the clear part of an epoch's opening."""
    shared = _SharedWire(
        ledger=secrets.ledger,
        fingerprint=secrets.fingerprint,
        writers=tuple(_to_wire(w) for w in secrets.writers),
    )
    stanzas, bundle = _seal(wire.encode(shared), _of_epoch(repository, epoch), wrapper)
    return EpochClear(epoch=epoch, recipients=recipients, stanzas=stanzas, bundle=bundle)


def admit_clear(secrets: WriterSecrets, public: bytes, *, repository: bytes, wrapper: Wrapper) -> AdmitClear:
    """Return the clear part of a writer's admission. `public`: its Ed25519 key."""
    where = _of_writer(repository, secrets.writer, public)
    stanzas, bundle = _seal(wire.encode(_to_wire(secrets)), where, wrapper)
    return AdmitClear(writer=secrets.writer, public=public, stanzas=stanzas, bundle=bundle)


def open_epoch(clear: EpochClear, *, repository: bytes, unwrapper: Unwrapper) -> ReaderSecrets:
    """Open what an epoch hands its recipients.

    Raises:
        KeyMismatchError: This key is none of the recipients'.
    """
    where = _of_epoch(repository, clear.epoch)
    plain = _open(clear.stanzas, clear.bundle, where, unwrapper)
    shared = wire.decode(plain, _SharedWire, what="an epoch's secrets")
    writers = tuple(_from_wire(w) for w in shared.writers)
    return ReaderSecrets(ledger=shared.ledger, fingerprint=shared.fingerprint, writers=writers)


def open_admission(clear: AdmitClear, *, repository: bytes, unwrapper: Unwrapper) -> WriterSecrets:
    """Open what an admission hands the readers."""
    where = _of_writer(repository, clear.writer, clear.public)
    plain = _open(clear.stanzas, clear.bundle, where, unwrapper)
    return _from_wire(wire.decode(plain, _WriterWire, what="a writer's secrets"))


def reader_secrets(
    entries: EntryObjects, *, repository: bytes, unwrapper: Unwrapper, purge_key: VerifyKey
) -> ReaderSecrets:
    """Collect what a reader may know: from the newest epoch its key opens, and every admission after that.

    Only what the purge key signed is taken: a stolen writer, who knows the ledger secret, could otherwise hand the
    readers a fingerprint key of its own. The ledger as a whole is verified by `Ledger`.

    Raises:
        KeyMismatchError: This key opens no epoch of the repository.
        TamperedError: An entry carries secrets and a signature that does not verify.
    """
    admissions: list[AdmitClear] = []
    for number, raw in entries.backwards():
        entry = parse(raw, number=number)
        if number == entries.newest():
            entries.ahead(entry.header.checkpoint)
        clear = entry.header.clear
        if clear is None or entry.header.signer != purge_key.key_id or entry.header.repository != repository:
            continue
        entry.verify(purge_key)
        if isinstance(clear, AdmitClear):
            admissions.append(clear)
        for epoch in _epochs(entry):
            try:
                shared = open_epoch(epoch, repository=repository, unwrapper=unwrapper)
            except KeyMismatchError:
                continue
            if isinstance(clear, CheckpointClear):
                admissions += clear.admits
            known = {w.writer for w in shared.writers}
            more = [a for a in admissions if a.writer not in known]
            opened = tuple(_each(more, repository, unwrapper))
            return ReaderSecrets(
                ledger=shared.ledger, fingerprint=shared.fingerprint, writers=(*shared.writers, *opened)
            )
    raise KeyMismatchError(
        "this key opens no epoch of the repository: it is another repository's, or was rotated out"
    )


def _each(
    admissions: Iterable[AdmitClear], repository: bytes, unwrapper: Unwrapper
) -> Iterable[WriterSecrets]:
    seen = set()
    for clear in admissions:
        if clear.writer not in seen:
            seen.add(clear.writer)
            yield open_admission(clear, repository=repository, unwrapper=unwrapper)


def _epochs(entry: Envelope) -> tuple[EpochClear, ...]:
    clear = entry.header.clear
    if isinstance(clear, EpochClear):
        return (clear,)
    if isinstance(clear, CheckpointClear):
        return tuple(sorted(clear.epochs, key=lambda c: -c.epoch))
    return ()


def _of_epoch(repository: bytes, epoch: int) -> Purpose:
    return Purpose(kind="epoch bundle", parts=(("repository", repository), ("epoch", epoch)))


def _of_writer(repository: bytes, writer: bytes, public: bytes) -> Purpose:
    parts = (("repository", repository), ("writer", writer), ("writer_key", public))
    return Purpose(kind="writer bundle", parts=parts)


def _seal(plain: bytes, where: Purpose, wrapper: Wrapper) -> tuple[tuple[Stanza, ...], bytes]:
    key = random_bytes(KEY_BYTES)
    stanzas = tuple(
        Stanza(recipient=s.recipient, provider=s.provider, wrapped=s.wrapped)
        for s in wrapper.wrap(key, context=where)
    )
    return stanzas, seal(key, plain, aad=where.encoded())


def _open(stanzas: tuple[Stanza, ...], bundle: bytes, where: Purpose, unwrapper: Unwrapper) -> bytes:
    wrapped = [WrappedKey(recipient=s.recipient, provider=s.provider, wrapped=s.wrapped) for s in stanzas]
    try:
        return open_sealed(unwrapper.unwrap(wrapped, context=where), bundle, aad=where.encoded())
    except TamperedError as e:
        raise TamperedError("the secrets in a ledger entry's head were changed") from e


def _to_wire(w: WriterSecrets) -> _WriterWire:
    return _WriterWire(writer=w.writer, source=w.source, secret=w.secret, tags=w.tags)


def _from_wire(w: _WriterWire) -> WriterSecrets:
    return WriterSecrets(writer=w.writer, source=w.source, secret=w.secret, tags=w.tags)
