"""Scanning live stores for card data: counted by place and confidence, never with a digit."""

import json
from pathlib import Path

import pytest

from support.retention import CARDS, RULES, Centre, found
from tenure.cards.findings import Confidence, Kind
from tenure.domain.errors import ConfigError
from tenure.operations.cardscan import Scanned, scanned

CARD = "card 4111 1111 1111 1111 cvv 123"
OTHER = "visa 4012888888881881"


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return found(tmp_path / "site", rules={**RULES, "cards": CARDS})


def scan(centre: Centre, source: str | None = None, by: str = "") -> Scanned:
    with centre.open() as installation:
        return scanned(installation, source, by=by)


def told(found_: Scanned) -> set[tuple[str, str, Kind, Confidence, int]]:
    return {
        (t.spot.data_set, t.spot.column, t.spot.kind, t.spot.confidence, t.count) for t in found_.tallies()
    }


def test_clean_stores_have_nothing_exposed(centre: Centre) -> None:
    found_ = scan(centre)
    assert found_.records == 4 + 6 + 7 + 4
    assert found_.exposed == 0
    assert told(found_) == set()


def test_numbers_and_codes_are_counted_by_data_set_and_column(centre: Centre) -> None:
    centre.sql(
        f"UPDATE notes SET body = '{CARD}' WHERE id IN (100, 101)",
        f"UPDATE customers SET email = '{OTHER}' WHERE id = 4",
    )
    found_ = scan(centre)
    assert told(found_) == {
        ("notes", "body", Kind.NUMBER, Confidence.SURE, 2),
        ("notes", "body", Kind.CODE, Confidence.SURE, 2),
        ("customers", "email", Kind.NUMBER, Confidence.SURE, 1),
    }
    assert found_.exposed == 5
    assert "4111" not in repr(found_)


def test_a_number_without_a_word_about_cards_is_likely_and_not_exposed(centre: Centre) -> None:
    centre.sql("UPDATE notes SET body = 'order 5425 2334 3010 9903 arrived' WHERE id = 100")
    found_ = scan(centre)
    assert told(found_) == {("notes", "body", Kind.NUMBER, Confidence.LIKELY, 1)}
    assert found_.exposed == 0


def test_findings_are_counted_by_the_column_asked_for(centre: Centre) -> None:
    centre.sql(
        f"UPDATE notes SET body = '{OTHER}' WHERE case_id = 10",
        f"UPDATE notes SET body = '{OTHER}' WHERE id = 106",
    )
    assert scan(centre, "crm", by="case_id").by == {("notes", "10"): 2, ("notes", "41"): 1}


def test_sidecars_are_scanned_too(centre: Centre) -> None:
    sidecar = centre.folder / "recordings" / "2023/01/a-first.json"
    sidecar.write_text(
        json.dumps({"customer": "1", "ended": "2023-01-04T10:00:00", "note": CARD, "queue": "billing"})
    )
    found_ = scan(centre, "calls", by="queue")
    assert ("recordings", "sidecar", Kind.NUMBER, Confidence.SURE, 1) in told(found_)
    assert found_.by[("recordings", "billing")] >= 1


def test_what_was_found_stands_in_evidence_without_a_digit(centre: Centre) -> None:
    centre.sql(f"UPDATE notes SET body = '{CARD}' WHERE id = 100")
    scan(centre)
    with centre.open() as installation:
        entry = next(iter(installation.evidence.log.entries(kind="card-scan")))
    assert entry.outcome == "found where it must not be"
    assert entry.details["exposed"] == 2
    assert "4111" not in repr(entry)


@pytest.mark.parametrize(
    ("source", "by", "says"), [("nobody", "", "no source"), (None, "shoe_size", "has a column")]
)
def test_what_is_not_there_is_refused(centre: Centre, source: str | None, by: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        scan(centre, source, by)
