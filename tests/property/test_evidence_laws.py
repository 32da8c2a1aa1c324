"""Laws of the evidence log and of certificates."""

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.crypto.signing import SigningKey
from tenure.domain.errors import IntegrityError
from tenure.evidence.certificate import sign_certificate, verify_certificate
from tenure.evidence.documents import canonical
from tenure.evidence.log import AuditLog
from unit.evidence.evidence_samples import certificate

KEY = SigningKey.from_raw(bytes(range(32)))
START = datetime(2026, 1, 30, tzinfo=UTC)
texts = st.text(max_size=40)
details = st.dictionaries(
    st.from_regex(r"[a-z_]*[a-z]", fullmatch=True),
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts | st.lists(texts, max_size=3),
    max_size=4,
)
happenings = st.lists(st.tuples(texts, texts, details, st.integers(-40, 40)), min_size=1, max_size=6)


def written(directory: Path, what: list[tuple[str, str, dict[str, object], int]]) -> AuditLog:
    log = AuditLog(directory, KEY)
    for kind, who, found, days in what:
        log.append(
            kind,
            who=who,
            at=START + timedelta(days=days),
            subject_of_entry="o",
            outcome="done",
            details=found,  # type: ignore[arg-type]
        )
    return log


@settings(max_examples=40, deadline=None)
@given(happenings)
def test_whatever_is_written_in_any_order_of_time_comes_back_and_verifies(
    what: list[tuple[str, str, dict[str, object], int]],
) -> None:
    with tempfile.TemporaryDirectory() as place:
        log = written(Path(place), what)
        found = [(e.kind, e.who, dict(e.details), (e.at - START).days) for e in log.entries()]
        assert found == what
        assert log.verify(known=log.head()).is_sound


@settings(max_examples=60, deadline=None)
@given(happenings, st.data())
def test_no_changed_byte_goes_unnoticed(
    what: list[tuple[str, str, dict[str, object], int]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as place:
        log = written(Path(place), what)
        known = log.head()
        path = data.draw(st.sampled_from(sorted(Path(place).glob("*.jsonl"))))
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        assert not log.verify(known=known).is_sound


@pytest.mark.parametrize("name", ["hash", "signature", "key", "previous"])
def test_a_hash_in_capitals_does_not_go_unnoticed(tmp_path: Path, name: str) -> None:
    log = written(tmp_path, [("a", "b", {}, 0), ("a", "b", {}, 0)])
    path = max(tmp_path.glob("*.jsonl"))
    lines = path.read_text().splitlines(keepends=True)
    said = json.loads(lines[1])[name]
    path.write_text(lines[0] + lines[1].replace(said, said.upper()))
    assert not log.verify().is_sound


@settings(max_examples=40, deadline=None)
@given(happenings, st.data())
def test_no_cut_goes_unnoticed(
    what: list[tuple[str, str, dict[str, object], int]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as place:
        log = written(Path(place), what)
        path = max(Path(place).glob("*.jsonl"))
        content = path.read_bytes()
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        assert not log.verify().is_sound
        with pytest.raises(IntegrityError):
            written(Path(place), what)


@given(words=texts, other=texts, number=st.integers(0, 2**40), lone=st.booleans())
def test_a_certificate_verifies_as_signed_and_not_otherwise(
    words: str, other: str, number: int, *, lone: bool
) -> None:
    made = certificate(set_in_words=words, ledger_number=number, one_person_mode=lone)
    document = sign_certificate(made, KEY)
    assert verify_certificate(document, KEY.public()) == made
    assert canonical(made) == canonical(document.content)
    if other != words:
        document.content["set_in_words"] = other
        with pytest.raises(IntegrityError):
            verify_certificate(document, KEY.public())
