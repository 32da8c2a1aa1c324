"""The officer's commands: check, test, words, explain, plan, approve, reject, schedule."""

from support.cli import Site
from support.retention import NOTES, RULES, Centre


def test_rules_are_checked_tested_listed_and_explained(site: Site) -> None:
    assert site.run("rules", "check", "--json").worked().document["rules"] == 4
    tested = site.run("rules", "test", "--json").worked().document
    assert all(e["passed"] for e in tested["examples"])
    assert tested["unnoticed"] == []
    assert "data: cases" in site.run("rules", "words", "--values", "--json").worked().document["words"]
    said = site.run("rules", "explain", "--record", "cases", "10", "--json").worked().document["explanation"]
    assert said[0].startswith("deleted: rule `cases`")
    site.run("rules", "explain", "notes").worked()
    site.run("rules", "explain", "nots").refused(10, "there is no rule")
    site.run("rules", "explain", "--record", "cases", "777").refused(10, "no record")
    site.run("rules", "explain", "--record", "casse", "10").refused(10, "there is no data set")


def test_a_rule_that_cannot_be_used_is_refused_with_its_line(site: Site, centre: Centre) -> None:
    centre.write_rules(
        {**RULES, "notes": NOTES.replace("starting_from: case closed", "starting_from: case clsed")}
    )
    for command in ("check", "test", "plan"):
        site.run("rules", command).refused(15, r"notes\.yaml:\d+", "case closed")


def test_an_example_that_is_decided_otherwise_fails_the_test(site: Site, centre: Centre) -> None:
    wrong = NOTES.replace("as of: 2021-02-11, expect: delete", "as of: 2021-02-10, expect: delete")
    centre.write_rules({**RULES, "notes": wrong})
    site.run("rules", "test").refused(15, "decided otherwise")


def test_a_plan_is_shown_rejected_and_approved(site: Site, centre: Centre) -> None:
    before = centre.ids()
    plan = site.run("rules", "plan", "--json").worked().document
    assert {c["data_set"] for c in plan["counts"]} == {"customers", "cases", "notes", "recordings"}
    site.run("rules", "reject", plan["plan"][:10], "--reason", "not before the audit").worked()
    site.run("rules", "approve", plan["plan"], "--reason", "no").refused(63, "rejected")
    text = site.run("rules", "plan").worked().out
    assert "What goes" in text
    assert "What stays, and why" in text
    approved = site.run("rules", "approve", "--reason", "looked at it", "--json").worked().document
    assert approved["one_person"] is True
    schedule = site.run("rules", "schedule", "--json").worked().document
    assert schedule["rule_set"] == approved["rule_set_in_force"]
    assert centre.ids() == before
