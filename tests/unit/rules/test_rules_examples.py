from tenure.rules.examples import run_examples, unnoticed_slips
from tenure.rules.load import load_folder
from tenure.rules.model import CardRule
from unit.rules.rules_sample import DESIGN, STARTER, WHY, catalogue, load_text


def redact(text: str, rule: CardRule) -> str:
    assert rule.name == "card-numbers-in-notes"
    return text.replace("4111 1111 1111 1111", "**** **** **** 1111").replace("123", "***")


def test_the_starter_rules_pass_their_examples_and_notice_slips() -> None:
    rules = load_folder(STARTER, catalogue()).rules
    results = run_examples(rules, redact)
    assert len(results) == 15
    assert [str(r) for r in results if not r.passed] == []
    assert unnoticed_slips(rules) == ()


def test_an_example_that_is_wrong_says_what_was_decided() -> None:
    rules = load_text(DESIGN.replace("as of: 2026-04-01", "as of: 2026-04-03")).rules
    failed = [str(r) for r in run_examples(rules, redact) if not r.passed]
    assert failed == [
        "FAIL service-calls-de example 1: expected keep, decided delete: due, due 2026-04-02 for call_recordings"
    ]


def test_a_text_that_comes_out_otherwise_fails_without_showing_the_text() -> None:
    results = run_examples(load_text(DESIGN).rules, lambda text, _: text)
    (failed,) = [r for r in results if not r.passed]
    assert failed.rule == "card-numbers-in-notes"
    assert "4111" not in str(failed)


def test_text_said_to_be_unchanged_must_be_unchanged() -> None:
    results = run_examples(
        load_text(DESIGN).rules, lambda text, rule: redact(text, rule).replace("IMEI", "imei")
    )
    assert [r.number for r in results if not r.passed] == [2]


def test_examples_far_from_the_line_notice_no_slip() -> None:
    loose = DESIGN.replace("as of: 2026-04-01, expect: keep", "as of: 2026-02-01, expect: keep")
    (slip,) = unnoticed_slips(load_text(loose).rules)
    assert slip.said == "no example with `expect: keep` on the last day"
    late = DESIGN.replace("call ended: 2026-01-01, as of: 2026-04-02, expect: delete",
                          "call ended: 2026-01-01, as of: 2026-05-02, expect: delete")  # fmt: skip
    (slip,) = unnoticed_slips(load_text(late).rules)
    assert slip.said == "no example with `expect: delete` on the first day it is due"


def test_rules_in_hours_are_pinned_by_the_hour() -> None:
    hours = f"""\
language: 1
rule: digits
sentence: Delete chats 2 hours after the call ended.
{WHY}data: chat_messages
delete after: 2 hours
starting_from: call ended
examples:
  - {{call ended: 2026-01-01 12:00, as of: 2026-01-01 13:30, expect: keep}}
  - {{call ended: 2026-01-01 12:00, as of: 2026-01-01 14:00, expect: delete}}
"""
    rules = load_text(hours).rules
    assert all(r.passed for r in run_examples(rules, redact))
    assert unnoticed_slips(rules) == ()
    loose = load_text(hours.replace("13:30", "12:30")).rules
    assert [s.said for s in unnoticed_slips(loose)] == ["no example with `expect: keep` on the last hour"]


def test_an_example_counts_days_in_the_time_zone_of_its_source() -> None:
    for time_zone in ("Europe/Berlin", "Pacific/Auckland", "America/Los_Angeles"):
        rules = load_text(DESIGN, time_zone=time_zone).rules
        assert all(r.passed for r in run_examples(rules, redact))
