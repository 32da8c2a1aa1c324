"""The marker, ``tenure.json``: what kind of repository this is. Written once, signed by the purge key."""

from datetime import datetime

import msgspec

from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import (
    ObjectNotFoundError,
    RepositoryNotFoundError,
    TamperedError,
    UnsupportedFormatError,
)
from tenure.objectstore.base import ObjectStore
from tenure.repository import names

FORMAT = "1-draft"


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes in bytes that a repository was made with."""

    pack: int = 32 * 1024 * 1024
    media_chunk: int = 8 * 1024 * 1024
    row_chunk: int = 1024 * 1024


class Marker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the marker says. `repository`: 32 hex digits; `purge_key`: the purger's public key, hex.

    `found`: by store, what those in buckets said of themselves when the repository was made, in words.
    """

    format: str
    repository: str
    created: datetime
    purge_key: str
    one_person: bool
    key_stores: int
    parameters: Parameters
    found: dict[str, dict[str, str]] = {}

    @property
    def repository_id(self) -> bytes:
        """Return the repository id, 16 bytes."""
        return bytes.fromhex(self.repository)


class _Signed(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    marker: msgspec.Raw
    signature: str


_CONTEXT = b"tenure marker\0"


def write(store: ObjectStore, marker: Marker, key: SigningKey) -> None:
    """Put the marker.

    Raises:
        PreconditionFailedError: There is a repository already.
    """
    body = msgspec.json.encode(marker)
    signed = {"marker": msgspec.Raw(body), "signature": key.sign(_CONTEXT + body).hex()}
    store.put(names.MARKER, msgspec.json.format(msgspec.json.encode(signed)))


def read(store: ObjectStore, *, trust: VerifyKey | None) -> Marker:
    """Return the marker, its signature checked under `trust`, or under the key it names where None.

    None is for the one case that has no pin: a restore from nothing but the repository and a recovery key
    without pins; callers print the key then.

    Raises:
        RepositoryNotFoundError: There is none.
        UnsupportedFormatError: A newer format.
        TamperedError: It was changed, or belongs to another installation.
    """
    try:
        raw = store.get(names.MARKER)
    except ObjectNotFoundError as e:
        raise RepositoryNotFoundError("there is no repository here: tenure.json is missing") from e
    try:
        loose = msgspec.json.decode(raw)
        found = loose["marker"]["format"]
    except (msgspec.DecodeError, KeyError, TypeError) as e:
        raise TamperedError("tenure.json is damaged: it is not the marker of a repository") from e
    if found != FORMAT:
        raise UnsupportedFormatError(
            f"the repository has format {found!r}; this version of Tenure knows {FORMAT!r}"
        )
    try:
        signed = msgspec.json.decode(raw, type=_Signed)
        body = msgspec.json.encode(msgspec.json.decode(signed.marker, type=Marker))
        marker = msgspec.json.decode(body, type=Marker)
        key = trust or VerifyKey(bytes.fromhex(marker.purge_key))
        key.verify(_CONTEXT + body, bytes.fromhex(signed.signature))
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as e:
        raise TamperedError("tenure.json is damaged") from e
    except TamperedError as e:
        raise TamperedError("tenure.json is not signed by the purge key this installation trusts") from e
    return marker
