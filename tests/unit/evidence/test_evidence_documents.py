"""Certificates, drill records, and the directory that holds them."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec
import pytest

from tenure.crypto.signing import SigningKey
from tenure.domain.errors import TamperedError, UnsupportedFormatError
from tenure.evidence.certificate import Certificate, StoreResult, sign_certificate, verify_certificate
from tenure.evidence.directory import EvidenceDirectory, Severity, check_directory
from tenure.evidence.documents import SignedDocument, sign_document
from tenure.evidence.drill_record import sign_drill, verify_drill
from tenure.evidence.views import DrillView
from unit.evidence.evidence_samples import ISSUER, NOON, certificate, drill, drills

KEY = SigningKey.from_raw(bytes(range(32)))


def issued(root: Path) -> tuple[EvidenceDirectory, Path]:
    evidence = EvidenceDirectory(root, KEY)
    path = evidence.issue_certificate(certificate(), ISSUER, who="service", at=NOON)
    view = DrillView(installation="example", record=drill(), history=drills())
    evidence.record_drill(view, who="service", at=NOON)
    return evidence, path


def test_a_certificate_comes_back_as_it_was_signed() -> None:
    made = certificate()
    assert verify_certificate(sign_certificate(made, KEY), KEY.public()) == made


def test_a_drill_record_comes_back_as_it_was_signed() -> None:
    assert verify_drill(sign_drill(drill(), KEY), KEY.public()) == drill()


def test_a_certificate_signed_by_another_is_refused() -> None:
    document = sign_certificate(certificate(), SigningKey.generate())
    with pytest.raises(TamperedError):
        verify_certificate(document, KEY.public())
    with pytest.raises(TamperedError):
        verify_certificate(replace(document, key=KEY.key_id), KEY.public())


def test_a_drill_record_is_no_certificate() -> None:
    with pytest.raises(UnsupportedFormatError):
        verify_certificate(sign_drill(drill(), KEY), KEY.public())


def test_the_format_is_signed_too() -> None:
    document = sign_drill(drill(), KEY)
    with pytest.raises(TamperedError):
        replace(document, format="tenure certificate 1").verify(KEY.public())


def test_a_signed_certificate_with_an_extra_or_a_missing_field_is_refused() -> None:
    content = msgspec.json.decode(msgspec.json.encode(certificate()))
    for changed in ({**content, "extra": 1}, {k: v for k, v in content.items() if k != "stores"}):
        document = sign_document("tenure certificate 1", changed, KEY)
        with pytest.raises(TamperedError):
            verify_certificate(document, KEY.public())


@pytest.mark.parametrize("name", [f.name for f in msgspec.inspect.type_info(Certificate).fields])  # type: ignore[attr-defined]
def test_every_field_of_a_certificate_is_signed(name: str) -> None:
    document = sign_certificate(certificate(), KEY)
    changed = {**document.content, name: "changed"}
    forged = SignedDocument(
        format=document.format, content=changed, key=document.key, signature=document.signature
    )
    with pytest.raises(TamperedError):
        verify_certificate(forged, KEY.public())


def test_the_last_copy_is_gone_when_the_last_place_is_final() -> None:
    assert certificate().last_copy_gone_on == date(2026, 3, 23)


def test_there_is_no_such_day_while_a_place_is_pending_or_undated() -> None:
    done = StoreResult(store="a", method="deleted", records=1, final_on=date(2026, 3, 9))
    for other in (replace(done, pending="key store b is down"), replace(done, final_on=None)):
        assert certificate(stores=(done, other)).last_copy_gone_on is None
    assert certificate(stores=()).last_copy_gone_on is None


def test_a_directory_as_written_has_no_findings(tmp_path: Path) -> None:
    evidence, _ = issued(tmp_path)
    assert check_directory(tmp_path, (KEY.public(),)).findings == ()
    check = evidence.check(known=evidence.log.head())
    assert (check.is_sound, check.documents) == (True, 2)


def test_issuing_again_changes_nothing(tmp_path: Path) -> None:
    evidence, path = issued(tmp_path)
    before = path.read_bytes()
    evidence.issue_certificate(certificate(), ISSUER, who="service", at=NOON)
    assert path.read_bytes() == before
    assert evidence.log.verify().entries == 2


def test_another_certificate_under_the_same_id_is_refused(tmp_path: Path) -> None:
    evidence, path = issued(tmp_path)
    before = path.read_bytes()
    with pytest.raises(TamperedError, match="taken"):
        evidence.issue_certificate(certificate(request="other"), ISSUER, who="service", at=NOON)
    assert path.read_bytes() == before


def test_a_crash_before_the_log_entry_is_a_notice_and_mended_by_issuing_again(tmp_path: Path) -> None:
    issued(tmp_path / "a")
    other = EvidenceDirectory(tmp_path / "b", KEY)
    other.log.append("start", who="service", at=NOON, subject_of_entry="service", outcome="done", details={})
    (tmp_path / "b" / "certificates").mkdir()
    for file in (tmp_path / "a" / "certificates").iterdir():
        (tmp_path / "b" / "certificates" / file.name).write_bytes(file.read_bytes())
    findings = check_directory(tmp_path / "b", (KEY.public(),)).findings
    assert [f.severity for f in findings] == [Severity.NOTICE]
    other.issue_certificate(certificate(), ISSUER, who="service", at=NOON)
    assert check_directory(tmp_path / "b", (KEY.public(),)).findings == ()


@pytest.mark.parametrize("name", ["../outside", "", "a/b", ".hidden", "x" * 101])
def test_an_id_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError):
        EvidenceDirectory(tmp_path, KEY).issue_certificate(certificate(id=name), ISSUER, who="s", at=NOON)
    assert list(tmp_path.rglob("*.html")) == []


def edit_json(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"records": 41', b'"records": 14'))


def edit_page(path: Path) -> None:
    page = path.with_suffix(".html")
    page.write_bytes(page.read_bytes().replace(b"47 records", b"74 records"))


def remove_page(path: Path) -> None:
    path.with_suffix(".html").unlink()


def remove_both(path: Path) -> None:
    path.unlink()
    path.with_suffix(".html").unlink()


def rename(path: Path) -> None:
    for suffix in (".json", ".html"):
        path.with_suffix(suffix).rename(path.with_name("erasure-2026-0099" + suffix))


def resign(path: Path) -> None:
    stranger = EvidenceDirectory(path.parents[1].parent / "stranger", SigningKey.generate())
    made = stranger.issue_certificate(certificate(), ISSUER, who="x", at=NOON)
    for suffix in (".json", ".html"):
        path.with_suffix(suffix).write_bytes(made.with_suffix(suffix).read_bytes())


def replace_with_another(path: Path) -> None:
    twin = EvidenceDirectory(path.parents[1].parent / "twin", KEY)
    made = twin.issue_certificate(certificate(request="other"), ISSUER, who="x", at=NOON)
    for suffix in (".json", ".html"):
        path.with_suffix(suffix).write_bytes(made.with_suffix(suffix).read_bytes())


def add_field(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "note": "harmless"}))


@pytest.mark.parametrize(
    ("tamper", "word"),
    [
        (edit_json, "signature"),
        (edit_page, "page"),
        (remove_page, "page"),
        (remove_both, "no longer there"),
        (rename, "another document's name"),
        (resign, "not trusted"),
        (replace_with_another, "not the document that was issued"),
        (add_field, "other fields"),
    ],
)
def test_tampering_with_a_document_is_found(
    tmp_path: Path, tamper: Callable[[Path], None], word: str
) -> None:
    root = tmp_path / "evidence"
    _, path = issued(root)
    tamper(path)
    check = check_directory(root, [KEY.public()])
    assert not check.is_sound
    assert any(word in f.what for f in check.findings)


def test_a_directory_without_a_log_is_not_sound(tmp_path: Path) -> None:
    assert [f.what for f in check_directory(tmp_path, (KEY.public(),)).findings] == [
        "there is no evidence log here"
    ]


def test_a_key_that_is_not_the_installations_finds_everything_wrong(tmp_path: Path) -> None:
    issued(tmp_path)
    assert not check_directory(tmp_path, [SigningKey.generate().public()]).is_sound
