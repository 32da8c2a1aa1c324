"""Signed documents: a JSON file with its signature inside, and the same as a page beside it.

The content is signed in its canonical spelling (sorted keys, no spaces), so the file may be indented for people.
The page is signed by its hash, so that what a person reads cannot be changed either.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tenure.crypto.hashing import content_hash
from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import TamperedError, TruncatedError, UnsupportedFormatError
from tenure.evidence.files import replace_durably

_LABEL = b"tenure evidence document 1\0"
_PAGE_LABEL = b"tenure evidence page 1\0"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedDocument:
    """A content of one format, and who signed it. `key`: 16-byte id; `signature`: 64 bytes."""

    format: str
    content: Any
    key: bytes
    signature: bytes

    @property
    def hash(self) -> bytes:
        """The 32-byte hash of the content, as the audit log names it."""
        return content_hash(_LABEL, canonical(self.format), canonical(self.content))

    def verify(self, key: VerifyKey) -> None:
        """Return when `key`'s owner signed exactly this.

        Raises:
            TamperedError: Edited, forged, or signed by another key.
        """
        if key.key_id != self.key:
            raise TamperedError("this evidence is signed by another key than the one given")
        key.verify(message=_LABEL + self.hash, signature=self.signature)


def canonical(value: Any) -> bytes:
    """Return the one spelling of a value that is signed: JSON, keys sorted, no spaces."""
    return msgspec.json.encode(value, order="sorted")


def sign_document(document_format: str, content: Any, signing_key: SigningKey) -> SignedDocument:
    """Sign `content` (JSON values or frozen dataclasses) as a document of `document_format`."""
    plain = msgspec.json.decode(canonical(content))
    unsigned = SignedDocument(format=document_format, content=plain, key=signing_key.key_id, signature=b"")
    return SignedDocument(
        format=document_format,
        content=plain,
        key=signing_key.key_id,
        signature=signing_key.sign(_LABEL + unsigned.hash),
    )


def write_document(path: Path, document: SignedDocument, page: str, signing_key: SigningKey) -> None:
    """Write the page, then the JSON that vouches for it; `path` ends in ``.json``, the page in ``.html``."""
    html = page.encode()
    envelope = {
        "content": document.content,
        "format": document.format,
        "key": document.key.hex(),
        "page_signature": signing_key.sign(_page_message(document, html)).hex(),
        "signature": document.signature.hex(),
    }
    replace_durably(path.with_suffix(".html"), html)
    replace_durably(path, msgspec.json.format(canonical(envelope), indent=2) + b"\n")


def read_document(path: Path) -> SignedDocument:
    """Read a document, without judging its signature.

    Raises:
        TamperedError: Not a document as this module writes it.
    """
    return _split(_envelope(path))


def verify_document(path: Path, key: VerifyKey) -> SignedDocument:
    """Read a document and prove it and its page.

    Raises:
        TamperedError: The document or its page was edited or forged.
        TruncatedError: The page is gone.
    """
    envelope = _envelope(path)
    document = _split(envelope)
    document.verify(key)
    try:
        html = path.with_suffix(".html").read_bytes()
    except FileNotFoundError as e:
        raise TruncatedError("the page beside this document is gone") from e
    try:
        key.verify(message=_page_message(document, html), signature=bytes.fromhex(envelope["page_signature"]))
    except (TamperedError, ValueError) as e:
        raise TamperedError("the page beside this document was changed") from e
    return document


def _page_message(document: SignedDocument, html: bytes) -> bytes:
    # Bound to its document, so that a page cannot be moved beside another one.
    return _PAGE_LABEL + document.hash + content_hash(html)


def _envelope(path: Path) -> dict[str, Any]:
    try:
        envelope = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.MsgspecError, FileNotFoundError) as e:
        raise TamperedError("this document cannot be read") from e
    if set(envelope) != {"content", "format", "key", "page_signature", "signature"}:
        raise TamperedError("this document has other fields than it was written with")
    return envelope


def _split(envelope: dict[str, Any]) -> SignedDocument:
    try:
        return SignedDocument(
            format=str(envelope["format"]),
            content=envelope["content"],
            key=bytes.fromhex(envelope["key"]),
            signature=bytes.fromhex(envelope["signature"]),
        )
    except (ValueError, TypeError) as e:
        raise TamperedError("this document cannot be read") from e


def typed(document: SignedDocument, document_format: str, kind: type[T]) -> T:
    """Return the content as the dataclass it was made from.

    Raises:
        UnsupportedFormatError: Of another format or version.
        TamperedError: It lacks what the format demands.
    """
    if document.format != document_format:
        raise UnsupportedFormatError(f"this is a {document.format!r}, not a {document_format!r}")
    try:
        return msgspec.convert(document.content, kind)
    except msgspec.ValidationError as e:
        raise TamperedError(f"this {document_format} lacks what it must have") from e
