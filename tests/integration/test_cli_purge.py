"""Purge, holds, evidence and the ledger's list, from the command line."""

from support.cli import Site
from support.retention import Centre


def approve(site: Site) -> str:
    site.run("rules", "plan").worked()
    return str(site.run("rules", "approve", "--reason", "looked at it", "--json").worked().document["plan"])


def test_a_purge_needs_an_approval_and_happens_once(site: Site, centre: Centre) -> None:
    site.run("snapshot").worked()
    site.run("purge").refused(64, "no approved plan")
    plan = approve(site)
    done = site.run("purge", plan, "--json").worked().document
    assert done["certificates"][0]["deleted"]["cases"] >= 3
    assert 10 not in centre.ids()["cases"]
    assert 40 in centre.ids()["cases"]
    site.run("purge", plan).refused(63, "executed")
    site.run("purge", "feedbeef").refused(63, "begin with")


def test_a_hold_keeps_until_it_is_released(site: Site, centre: Centre) -> None:
    site.run("snapshot").worked()
    asked = ("--matter", "M-1", "--reason", "lawsuit", "--review-by", "2099-01-01")
    site.run("hold", "place", *asked).refused(10, "must cover something")
    site.run("hold", "place", *asked, "--subject", "pet=1").refused(10, "no data set has a subject")
    site.run("hold", "place", *asked, "--record", "casse", "1").refused(10, "there is no data set")
    placed = site.run("hold", "place", *asked, "--subject", "customer=1", "--json").worked().document["hold"]
    (listed,) = site.run("hold", "list", "--json").worked().document["holds"]
    assert (listed["hold"], listed["covers"]) == (placed, "1 customer")
    approve(site)
    site.run("purge").worked()
    assert {1} <= centre.ids()["customers"]
    assert 10 in centre.ids()["cases"]
    assert 20 not in centre.ids()["cases"]
    site.run("hold", "release", placed[:6], "--reason", "settled").worked()
    site.run("hold", "release", placed[:6], "--reason", "settled").refused(10, "no holds in force begin with")
    assert site.run("hold", "list", "--json").worked().document["holds"] == []
    approve(site)
    site.run("purge").worked()
    assert 10 not in centre.ids()["cases"]


def test_evidence_is_listed_shown_and_verified_and_a_changed_certificate_is_found(site: Site) -> None:
    site.run("snapshot").worked()
    approve(site)
    site.run("purge").worked()
    (line,) = site.run("evidence", "list", "--json").worked().document["certificates"]
    assert line["kind"] == "purge"
    shown = site.run("evidence", "show", line["id"][:7], "--json").worked().document
    assert shown["one_person_mode"] is True
    assert site.run("evidence", "verify", "--json").worked().document["sound"] is True
    (entry,) = site.run("ledger", "list", "--json").worked().document["forgettings"]
    assert (entry["state"], entry["kind"]) == ("done", "purge")
    certificate = site.root / "state" / "evidence" / "certificates" / f"{line['id']}.json"
    certificate.write_text(certificate.read_text().replace('"test"', '"tset"'))
    site.run("evidence", "verify").refused(41, "not what was written")
