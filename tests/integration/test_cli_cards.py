"""Card data from the command line: what was cut, what waits for an answer, what could not be looked into."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.cli import Site
from support.retention import CARDS, RULES, Centre, found

ORDER, CUT = "order 5425 2334 3010 9903 arrived", "order **** **** **** 9903 arrived"
WAITS = "order 4012 8888 8888 1881 arrived"


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    made = found(tmp_path / "site", rules={**RULES, "cards": CARDS}, at=datetime(2024, 1, 1, tzinfo=UTC))
    made.sql(
        "ALTER TABLE notes ADD COLUMN attached BLOB",
        f"UPDATE notes SET body = '{ORDER}' WHERE id = 104",
        f"UPDATE notes SET body = '{WAITS}' WHERE id = 105",
        "UPDATE notes SET body = 'card 4111 1111 1111 1111 cvv 123' WHERE id = 103",
        "UPDATE notes SET attached = X'FFD8FFE0' WHERE id IN (100, 101)",
    )
    return made


@pytest.fixture
def site(centre: Centre) -> Site:
    return Site(centre.folder)


def test_the_list_is_masked_and_an_answer_changes_it(site: Site) -> None:
    site.run("cards", "quarantine", "list").worked()
    taken = site.run("snapshot", "crm").worked()
    assert "2 rows may hold card data" in " ".join(taken.out.split())
    shown = site.run("cards", "quarantine", "list").worked()
    listed = site.run("cards", "quarantine", "list", "--json").worked()
    for digits in ("5425", "4012", "8888"):
        assert digits not in shown.out + listed.out
    findings = {f["context"]: f for f in listed.document["findings"]}
    assert set(findings) == {CUT, "order **** **** **** 1881 arrived"}
    assert findings[CUT]["column"] == "body"
    site.run("cards", "quarantine", "keep", findings[CUT]["finding"][:12]).worked()
    site.run("cards", "quarantine", "redact", "--all").worked()
    (left,) = site.run("cards", "quarantine", "list", "--json").worked().document["findings"]
    assert (left["answer"], left["is_due"]) == ("redact", True)


def test_what_was_answered_for_goes_with_the_next_purge(site: Site, centre: Centre) -> None:
    number = str(site.run("snapshot", "crm", "--json").worked().document["snapshots"][0]["number"])
    site.run("cards", "quarantine", "redact", "--all").worked()
    plan = site.run("rules", "plan", "--json").worked().document
    assert ("likely card data", "notes", 2) in {(c["rule"], c["data_set"], c["live"]) for c in plan["counts"]}
    site.run("rules", "approve", "--reason", "looked at it").worked()
    site.run("purge").worked()
    assert centre.rows("notes")[105][2] == "order **** **** **** 1881 arrived"  # 104 was due by a rule
    site.run("restore", number, "--to", "back.sqlite").worked()
    back = (centre.folder / "back.sqlite").read_bytes()
    assert b"order **** **** **** 1881 arrived" in back
    assert not any(digits in back for digits in (b"5425 2334", b"4012 8888"))
    assert site.run("cards", "quarantine", "list", "--json").worked().document["findings"] == []


def test_show_and_the_list_of_snapshots_say_what_was_cut_and_what_was_not_looked_into(site: Site) -> None:
    taken = site.run("snapshot", "--json").worked().document["snapshots"]
    number = next(s["number"] for s in taken if s["source"] == "crm")
    shown = site.run("show", str(number), "--json").worked().document
    assert shown["redacted"] == {"notes": {"body": {"card_numbers": 1, "security_codes": 1, "track_data": 0}}}
    assert shown["quarantined"] == {"notes": 2}
    assert shown["unreadable"] == {"notes": {"attached": 2}}
    listed = site.run("snapshots", "--json").worked().document["snapshots"]
    both = {s["source"]: s for s in listed}
    assert both["crm"]["redacted"] == shown["redacted"]
    assert both["calls"]["not_scanned"] == ["sidecars of recordings", "sound of recordings"]
    text = " ".join(site.run("show", str(number)).worked().out.split())
    assert "2 cells of notes.attached are binary and were not looked into" in text
    assert "2 rows of notes may hold card data" in text


def test_a_scan_says_what_could_not_be_looked_into(site: Site) -> None:
    done = site.run("cards", "scan", "--json")
    assert done.code == 3
    places = {(u["data_set"], u["column"]): u["cells"] for u in done.document["unreadable"]}
    assert places == {("notes", "attached"): 2, ("recordings", "sound"): 4}
    assert "could not be looked into" in site.run("cards", "scan").out


def test_wrong_answers_are_refused(site: Site) -> None:
    for wrong in (("redact",), ("redact", "abc", "--all"), ("keep",)):
        assert site.run("cards", "quarantine", *wrong).code == 2
    site.run("cards", "quarantine", "keep", "abc").refused(10, "no findings in quarantine begin with")
    nothing = site.run("cards", "quarantine", "redact", "--all", "--json").worked().document
    assert nothing == {"answer": "redact", "findings": 0}


def test_what_was_answered_for_goes_also_where_there_is_no_rule_file(site: Site, centre: Centre) -> None:
    site.run("snapshot", "crm").worked()
    for file in (centre.folder / "retention_rules").glob("*.yaml"):
        file.unlink()
    site.run("cards", "quarantine", "redact", "--all").worked()
    shown = site.run("rules", "plan").worked()
    assert "there is no rule file" in " ".join(shown.out.split())
    approved = site.run("rules", "approve", "--reason", "looked at it", "--json").worked().document
    assert approved["kind"] == "each run"
    site.run("purge").worked()
    assert (centre.rows("notes")[104][2], centre.rows("notes")[105][2]) == (
        CUT,
        "order **** **** **** 1881 arrived",
    )
