"""Erasing a person, and asking what is held about one, from the command line."""

from pathlib import Path

from support.cli import Site
from support.retention import Centre

REQUEST = ("--request", "REF-7", "--received", "2026-01-31")


def test_a_person_is_shown_planned_and_erased(site: Site, centre: Centre, tmp_path: Path) -> None:
    site.run("snapshot").worked()
    held = site.run("subject", "customer=1", "--json").worked().document["held"]
    assert {h["data_set"]: h["live"] for h in held}["notes"] == 2
    planned = site.run("erase", "--subject", "customer=1", *REQUEST, "--plan", "--json").worked().document
    assert planned["due"] == "2026-02-28"
    assert 1 in centre.ids()["customers"]
    site.run("erase", "--subject", "customer=1", *REQUEST).refused(10, "nobody is here to confirm")
    assert 1 in centre.ids()["customers"]
    done = site.run("erase", "--subject", "customer=1", *REQUEST, "--yes", "--json").worked().document
    assert done["erased"]["deleted"]["customers"] == 1
    assert 1 not in centre.ids()["customers"]
    assert site.run("subject", "customer=1", "--json").worked().document["held"] == []
    (number,) = site.numbers("crm")
    site.run("restore", str(number), "--to", str(tmp_path / "back")).worked()
    assert b"Canary" not in b"".join(p.read_bytes() for p in (tmp_path / "back").rglob("*") if p.is_file())
    site.run("erase", "--subject", "customer=1", *REQUEST, "--yes").refused(10, "answered before")


def test_a_subject_is_written_kind_and_id(site: Site) -> None:
    for word in ("customer", "customer=", "=1"):
        assert site.run("subject", word).code == 2
    site.run("subject", "pet=1").refused(10, "the catalogue knows|no data set has a subject")


def test_a_reference_of_another_person_is_refused(site: Site, centre: Centre) -> None:
    site.run("erase", "--subject", "customer=2", *REQUEST, "--plan").worked()
    site.run("erase", "--subject", "customer=1", *REQUEST, "--yes").refused(10, "another subject")
    assert 1 in centre.ids()["customers"]
