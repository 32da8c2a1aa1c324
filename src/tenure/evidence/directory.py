"""The evidence directory: the audit log, certificates and drill records, and checking all of it.

::

    log/           the audit log
    certificates/  <id>.json, signed, and <id>.html
    drills/        <id>.json, signed, and <id>.html

Each document is named, with its hash, by an entry of the log; so one that is removed is missed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from tenure.crypto.signing import SigningKey, VerifyKey
from tenure.domain.errors import TamperedError, TenureError
from tenure.evidence.certificate import FORMAT as CERTIFICATE_FORMAT
from tenure.evidence.certificate import Certificate, sign_certificate, verify_certificate
from tenure.evidence.documents import SignedDocument, read_document, verify_document, write_document
from tenure.evidence.drill_record import FORMAT as DRILL_FORMAT
from tenure.evidence.drill_record import sign_drill, verify_drill
from tenure.evidence.entries import Position, read_line
from tenure.evidence.log import AuditLog
from tenure.evidence.verification import Verification, log_files, verify_log
from tenure.evidence.views import DrillView, Issuer

DOCUMENT = "evidence-document"
"""Kind of the log entry that names a document and its hash."""

_FOLDERS = {CERTIFICATE_FORMAT: "certificates", DRILL_FORMAT: "drills"}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Severity(StrEnum):
    """How bad a finding is: an error breaks the proof, a notice does not."""

    ERROR = "error"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that checking found: where, and what is wrong."""

    severity: Severity
    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryCheck:
    """What checking an evidence directory found; `documents`: how many are sound."""

    log: Verification
    documents: int
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing breaks the proof."""
        return all(f.severity is not Severity.ERROR for f in self.findings)


class EvidenceDirectory:
    """Writes evidence, and reads it back."""

    def __init__(
        self, root: Path, signing_key: SigningKey, *, also_trusted: Sequence[VerifyKey] = ()
    ) -> None:
        """Open or create the directory `root`; `also_trusted` are keys that signed older evidence."""
        self._root = root
        self._signing_key = signing_key
        self._keys = (signing_key.public(), *also_trusted)
        self.log = AuditLog(root / "log", signing_key, also_trusted=also_trusted)

    def issue_certificate(self, certificate: Certificate, issuer: Issuer, *, who: str, at: datetime) -> Path:
        """Sign, write and log a certificate; running it again with the same one changes nothing.

        Raises:
            TamperedError: Another certificate has this id, or the log is broken.
            TruncatedError: The log's tail is missing.
            ValueError: An id that is no file name.
        """
        from tenure.evidence.pages import certificate_page  # noqa: PLC0415 - most commands write no page

        document = sign_certificate(certificate, self._signing_key)
        page = certificate_page(certificate, document, issuer)
        return self._add(document, certificate.id, page, who=who, at=at, outcome="issued")

    def record_drill(self, view: DrillView, *, who: str, at: datetime) -> Path:
        """Sign, write and log a drill record with its report; running it again changes nothing.

        Raises:
            TamperedError: Another drill has this id, or the log is broken.
            TruncatedError: The log's tail is missing.
            ValueError: An id that is no file name.
        """
        from tenure.evidence.pages import drill_page  # noqa: PLC0415

        document = sign_drill(view.record, self._signing_key)
        return self._add(
            document, view.record.id, drill_page(view), who=who, at=at, outcome=view.record.outcome
        )

    def certificates(self) -> Iterator[tuple[Path, SignedDocument]]:
        """Yield the certificates, by file name; unjudged.

        Raises:
            TamperedError: One cannot be read.
        """
        for path in sorted((self._root / "certificates").glob("*.json")):
            yield path, read_document(path)

    def check(self, *, known: Position | None = None) -> DirectoryCheck:
        """Check the log and every document."""
        return check_directory(self._root, self._keys, known=known)

    def _add(
        self, document: SignedDocument, name: str, page: str, *, who: str, at: datetime, outcome: str
    ) -> Path:
        """Files first, then the entry: after a crash between them the next run adds the entry."""
        if not _ID.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a file: use letters, digits, dots and dashes")
        path = self._root / _FOLDERS[document.format] / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        place = f"{path.parent.name}/{path.name}"
        if path.exists():
            if read_document(path).hash != document.hash:
                raise TamperedError(f"{place} is taken by another document", hint="give this one a new id")
            if any(
                e.details.get("hash") == document.hash.hex() for e in self.log.entries(subject_of_entry=place)
            ):
                return path
        write_document(path, document, page, self._signing_key)
        self.log.append(
            DOCUMENT,
            who=who,
            at=at,
            subject_of_entry=place,
            outcome=outcome,
            details={"format": document.format, "hash": document.hash.hex()},
        )
        return path


def check_directory(
    path: Path, keys: Sequence[VerifyKey], *, known: Position | None = None
) -> DirectoryCheck:
    """Check the log, every document and its page, and that log and documents name each other.

    Args:
        path: The evidence directory.
        keys: Public keys that are trusted.
        known: How far the log had come when last seen, from elsewhere.
    """
    log = verify_log(path / "log", keys, known=known)
    findings = list(_log_findings(path, log))
    named = _documents_named(path / "log")
    sound = 0
    for file in sorted(p for folder in _FOLDERS.values() for p in (path / folder).glob("*.json")):
        place = f"{file.parent.name}/{file.name}"
        problem = _document_problem(file, keys)
        if problem:
            findings.append(Finding(severity=Severity.ERROR, where=place, what=problem))
        elif place not in named:
            what = "the log does not name this document (a crash can leave that; issuing it again mends it)"
            findings.append(Finding(severity=Severity.NOTICE, where=place, what=what))
        elif read_document(file).hash.hex() != named[place]:
            findings.append(
                Finding(severity=Severity.ERROR, where=place, what="not the document that was issued")
            )
        else:
            sound += 1
    gone = [place for place in sorted(named) if not (path / place).exists()]
    findings += [Finding(severity=Severity.ERROR, where=p, what="issued, but no longer there") for p in gone]
    return DirectoryCheck(log=log, documents=sound, findings=tuple(findings))


def _log_findings(path: Path, log: Verification) -> Iterator[Finding]:
    if not log_files(path / "log"):
        yield Finding(severity=Severity.ERROR, where="log", what="there is no evidence log here")
    if not log.is_sound:
        yield Finding(severity=Severity.ERROR, where=f"log/{log.place}", what=log.problem)
    if log.torn_bytes:
        what = f"a crash left {log.torn_bytes} bytes of an entry that was never finished; nothing is missing"
        yield Finding(severity=Severity.NOTICE, where="log", what=what)


def _documents_named(log: Path) -> dict[str, str]:
    """Return place -> hash of every document that a readable entry names; `verify_log` has judged the entries."""
    named: dict[str, str] = {}
    for file in log_files(log):
        for line in file.read_bytes().splitlines(keepends=True):
            try:
                entry = read_line(line)
            except TamperedError:
                continue
            if entry.kind == DOCUMENT:
                named[entry.object] = str(entry.details.get("hash", ""))
    return named


def _document_problem(file: Path, keys: Sequence[VerifyKey]) -> str:
    """Return what is wrong with a document, or an empty text."""
    try:
        _prove(file, keys)
    except TenureError as e:
        return str(e)
    return ""


def _prove(file: Path, keys: Sequence[VerifyKey]) -> None:
    """Return when a document is what it says, where it belongs.

    Raises:
        IntegrityError: It, its page, its name or its place was changed.
        UnsupportedFormatError: Written by another version.
    """
    claimed = read_document(file)
    key = next((k for k in keys if k.key_id == claimed.key), None)
    if key is None:
        raise TamperedError("signed by a key that is not trusted")
    document = verify_document(file, key)
    verify = verify_certificate if document.format == CERTIFICATE_FORMAT else verify_drill
    if verify(document, key).id != file.stem:
        raise TamperedError("the file bears another document's name")
    if file.parent.name != _FOLDERS[document.format]:
        raise TamperedError("this kind of document does not belong here")
