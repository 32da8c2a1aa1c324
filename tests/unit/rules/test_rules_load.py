import re
from pathlib import Path

import pytest

from tenure.domain.errors import RuleError
from tenure.rules.load import load, load_folder, uncovered_data_sets, unmatched_values
from tenure.rules.model import Approval, Brake, CardRule, MaskKind, Period, Rule, Start, Unit
from tenure.rules.ruleset import RuleSet
from unit.rules.rules_sample import DESIGN, STARTER, WHY, catalogue, load_text

GOOD = f"""\
language: 1
rule: old-customers
sentence: Delete customers 6 years after the account closed.
{WHY}data: customers
delete after: 6 years
starting_from: account closed
examples:
  - {{account closed: 2020-02-29, as of: 2026-02-28, expect: keep}}
  - {{account closed: 2020-02-29, as of: 2026-03-01, expect: delete}}
"""


def problems_of(*texts: str) -> str:
    with pytest.raises(RuleError) as caught:
        load_text(*texts)
    return str(caught.value)


def one_rule(text: str) -> Rule:
    (rule,) = load_text(text).rules.rules
    return rule


def changed(*pairs: tuple[str, str], text: str = GOOD) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def test_the_rules_of_the_design_load_as_written() -> None:
    rules = load_text(DESIGN).rules
    assert [rule.name for rule in rules.rules] == ["service-calls-de"]
    assert rules.rules[0].delete_after == Period(count=90, unit=Unit.DAYS)
    assert [rule.name for rule in rules.card_rules] == ["card-numbers-in-notes"]


def test_the_starter_rules_load_and_cover_what_is_personal() -> None:
    loaded = load_folder(STARTER, catalogue())
    assert [rule.name for rule in loaded.rules.rules] == [
        "call-recordings", "call-rows", "case-notes", "closed-cases", "closed-customers",
    ]  # fmt: skip
    assert uncovered_data_sets(loaded.rules, catalogue()) == ("call_transcripts",)


EVERYTHING = f"""\
language: 1
rule: everything
sentence: Keep German customers with status closed or gone for at least 5 years and mask the first 5 characters of phone of them 6 years after the latest of account closed and last invoice paid; in backups at most 30 days later; paid comes first
{WHY}data: [customers]
only_if: {{status: [closed, gone], country: DE}}
delete after: 6 years
keep at least: 5 years
starting_from: {{latest of: [last invoice paid, account closed]}}
then: {{mask: {{phone: mask first 5}}}}
also_in_backups: within 30 days
gives_way_to: paid
stop_if_more_than: {{records: 5000, percent: 2.5}}
approval: each run
examples:
  - {{country: DE, status: gone, account closed: 2020-02-29, last invoice paid: 2020-01-01, as of: 2026-02-28, expect: keep}}
  - {{country: DE, status: gone, account closed: 2020-02-29, last invoice paid: 2020-01-01, as of: 2026-03-01, expect: mask}}
"""


def test_everything_the_language_says_is_read() -> None:
    paid = changed(("old-customers", "paid"))
    rule = next(r for r in load_text(EVERYTHING, paid).rules.rules if r.name == "everything")
    assert rule.starting_from == Start(names=("account closed", "last invoice paid"))
    assert rule.keep_at_least == Period(count=5, unit=Unit.YEARS)
    assert rule.also_in_backups == Period(count=30, unit=Unit.DAYS)
    assert rule.stop_if_more_than == Brake(records=5000, percent=2.5)
    assert rule.approval is Approval.EACH_RUN
    assert rule.gives_way_to == ("paid",)
    assert (rule.then.masks[0].column, rule.then.masks[0].kind, rule.then.masks[0].first) == (
        "phone", MaskKind.MASK_FIRST, 5,
    )  # fmt: skip
    assert [part.attribute for part in rule.only_if.asked] == ["country", "status"]


@pytest.mark.parametrize(
    "value", ["NO", "on", "0123", "12:30", "~", "null", "1e3", "yes", "2026-01-01", ".inf"]
)
def test_a_value_is_the_text_that_was_written(value: str) -> None:
    words = "Norwegian customers" if value == "NO" else f"customers in {value}"
    rule = one_rule(
        changed(
            ("data: customers\n", f"data: customers\nonly_if: {{country: {value}}}\n"),
            ("Delete customers", f"Delete {words}"),
            ("{account closed", f"{{country: {value}, account closed"),
        )
    )
    assert rule.only_if.asked[0].values == (value,)
    assert dict(rule.examples[0].attributes) == {"country": value}


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("delete after:", "delete_afer:")], "has no key `delete_afer`; did you mean `delete after`?"),
        ([("delete after:", "keep at leest:")], "did you mean `keep at least`?"),
        ([("data: customers", "data: custmers")], "there is no data set `custmers`; did you mean `customers`?"),
        ([("starting_from: account closed", "starting_from: acount closed")], "did you mean `account closed`?"),
        ([("6 years\n", "6 yaers\n")], "`yaers` in `6 yaers` is no unit of time; did you mean `years`?"),
        ([("delete after: 6 years", "delete after: six years")], "`six years` is no period"),
        ([("delete after: 6 years", "delete after: 06 years")], "`06 years` is no period"),
        ([("delete after: 6 years", "delete after: 0 years")], "`0 years` is no period"),
        ([("delete after: 6 years", "delete after: 300 years")], "more than 200 years"),
        ([("data: customers\n", "data: customers\nonly_if: {contry: DE}\n")], "no attribute `contry`; did you mean `country`?"),
        ([("data: customers\n", "data: customers\nonly_if: {country: []}\n")], "`country` asks for no value"),
        ([("data: customers\n", "data: customers\nonly_if: {country: ''}\n")], "must be a text"),
        ([("data: customers\n", "data: customers\nonly_if: {}\n")], "asks for nothing"),
        ([("data: customers\n", "data: customers\nthen: {blank: [emial]}\n")], "no column `emial`; did you mean `email`?"),
        ([("data: customers\n", "data: customers\nthen: {mask: {phone: hash}}\n")], "only pseudonymises"),
        ([("data: customers\n", "data: customers\nthen: delet\n")], "did you mean `delete`?"),
        ([("data: customers\n", "data: customers\ndata: cases\n")], "`data` was already said on line 5"),
        ([("data: customers", "data: &a customers")], "anchors are not allowed"),
        ([("data: customers", "data: !!str customers")], "tags are not allowed"),
        ([("data: customers\n", "data: customers\n<<: {approval: once}\n")], "merges other text"),
        ([("data: customers\n", "data: customers\napproval: twice\n")], "cannot be `twice`"),
        ([("data: customers\n", "data: customers\nstop_if_more_than: {percent: 101}\n")], "from 0 to 100"),
        ([("data: customers\n", "data: customers\nstop_if_more_than: {}\n")], "sets no limit"),
        ([("data: customers\n", "data: customers\nalso_in_backups: 7 days\n")], "write it as `within 7 days`"),
        ([("data: customers\n", "data: customers\nkeep without limit: yes\n")], "says nothing beside"),
        ([("data: customers\n", "data: customers\nkeep at least: 7 years\n")], "longer than `delete after: 6 years`"),
        ([("starting_from: account closed\n", "")], "a rule does not say `starting_from`"),
        ([("delete after: 6 years\n", "")], "must say `delete after`"),
        ([("language: 1", "language: 2")], "language `2` is not known"),
        ([("language: 1\n", "")], "does not begin with `language: 1`"),
        ([("review_by: 2027-01-31", "review_by: 2027-02-30")], "write a day that exists"),
        ([(", owner: dpo@example.com", "")], "`why` does not say `owner`"),
        ([("rule: old-customers", "rule: Old Customers")], "is no name for a rule"),
        ([("as of: 2026-02-28", "as of: yesterday")], "write `2026-01-31` or"),
        ([("as of: 2026-02-28, expect: keep", "as of: 2026-02-28, expect: delete")], "no example of a record that the rule covers and that is kept"),
        ([("2026-03-01, expect: delete", "2026-03-01, expect: keep")], "no example of a record that is due"),
        ([("expect: delete", "expect: blank")], "expects `blank`, which this rule never does"),
        ([("6 years after", "5 years after")], "write: Delete customers 6 years after the account closed."),
        ([("data: customers\n", "data: customers\ngives_way_to: nobody\n"), ("closed.", "closed; nobody comes first.")], "there is no rule `nobody` to give way to"),
        ([("language: 1\n", "language: 1\n\tx: 1\n")], "this is no YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(pairs: list[tuple[str, str]], said: str) -> None:
    text = problems_of(changed(*pairs))
    assert said in text
    assert re.match(r"1\.yaml:\d+: ", text)


def test_the_line_is_that_of_the_word_that_is_wrong() -> None:
    assert "1.yaml:6: a rule has no key `delete afer`" in problems_of(
        changed(("delete after:", "delete afer:"))
    )
    assert problems_of(changed(("6 years after", "5 years after"))).startswith("1.yaml:3: ")
    second = changed(("old-customers", "other"), ("data: customers", "data: nobody"))
    assert problems_of(GOOD + "---\n" + second).startswith("1.yaml:16: there is no data set")


def test_all_problems_of_all_files_are_told_at_once() -> None:
    bad = changed(("delete after:", "delete afer:"), ("data: customers", "data: custmers"))
    text = problems_of(bad, "language: 1\nrule: x\n", "- 1\n", "")
    assert {line.split(":")[0] for line in text.splitlines()} == {"1.yaml", "2.yaml", "3.yaml", "4.yaml"}
    assert len([line for line in text.splitlines() if line.startswith("1.yaml")]) >= 2


def test_an_alias_is_refused() -> None:
    text = problems_of(changed(("data: customers", "data: &a customers"), ("account closed\n", "*a\n")))
    assert "stands for another place" in text


def test_a_file_of_brackets_is_refused_without_harm() -> None:
    assert "nested more deeply" in problems_of("[" * 100 + "]" * 100)
    assert "this is no YAML" in problems_of("[" * 100_000)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"rule: \x00", b"language: 1\nrule: \xe9\n"])
def test_bytes_that_are_no_text_are_refused(content: bytes) -> None:
    with pytest.raises(RuleError, match=r"1\.yaml:\d+: this is no"):
        load({"1.yaml": content}, catalogue())


def test_each_exception_needs_an_example() -> None:
    lines = [line for line in DESIGN.split("---")[0].splitlines() if "advice: investment, call" not in line]
    assert "no example of a record that exception 1 of `unless` keeps" in problems_of("\n".join(lines))


def test_a_name_is_used_once() -> None:
    assert "rule `old-customers` was already written in 1.yaml:2" in problems_of(GOOD, GOOD)


DUTY = f"""\
language: 1
rule: tax
sentence: Keep German customers for at least 10 years after the account closed.
{WHY}data: customers
only_if: {{country: DE}}
keep at least: 10 years
starting_from: account closed
examples:
  - {{country: DE, account closed: 2020-02-29, as of: 2026-02-28, expect: keep}}
"""


def test_a_duty_that_outlasts_a_limit_is_a_clash_until_one_gives_way() -> None:
    text = problems_of(GOOD, DUTY)
    assert "1.yaml:2: `old-customers` deletes after 6 years what `tax` keeps at least 10 years" in text
    assert "say `gives_way_to: tax`" in text
    giving_way = changed(
        ("data: customers\n", "data: customers\ngives_way_to: tax\n"), ("closed.", "closed; tax comes first.")
    )
    assert len(load_text(giving_way, DUTY).rules.rules) == 2


def test_a_duty_on_other_records_is_no_clash() -> None:
    french = changed(
        ("data: customers\n", "data: customers\nonly_if: {country: FR}\n"),
        ("Delete customers", "Delete French customers"),
        ("{account", "{country: FR, account"),
    )
    assert len(load_text(french, DUTY).rules.rules) == 2


def test_a_duty_no_longer_than_the_limit_is_no_clash() -> None:
    shorter = changed(("10 years", "72 months"), text=DUTY)
    assert len(load_text(GOOD, shorter).rules.rules) == 2


def test_a_duty_from_another_starting_point_is_a_clash() -> None:
    other = changed(("10 years", "1 year"), ("account closed", "last invoice paid"), text=DUTY)
    assert "keeps at least 1 year" in problems_of(GOOD, other)


def test_keeping_without_limit_clashes_with_a_limit() -> None:
    for_ever = f"""\
language: 1
rule: for-ever
sentence: Keep customers without limit.
{WHY}data: customers
keep without limit: yes
examples: [{{as of: 2026-01-01, expect: keep}}]
"""
    assert "keeps without limit" in problems_of(GOOD, for_ever)


def test_rules_do_not_give_way_in_a_circle() -> None:
    one = changed(
        ("data: customers\n", "data: customers\ngives_way_to: tax\n"), ("closed.", "closed; tax comes first.")
    )
    two = changed(
        ("data: customers\n", "data: customers\ngives_way_to: old-customers\n"),
        ("closed.", "closed; old-customers comes first."),
        text=DUTY,
    )
    assert "gives way to rules that give way to it" in problems_of(one, two)


CARDS = "language: 1\nrule: card-" + DESIGN.split("---\nlanguage: 1\nrule: card-")[1]


def test_card_numbers_are_cut_in_one_way_only() -> None:
    second = changed(
        ("card-numbers-in-notes", "cards-2"), ("keep last 4", "keep first 6 and last 4"), text=CARDS
    )
    second = second.replace("the last four digits", "the first six and last four digits")
    assert "a second way to cut card numbers" in problems_of(CARDS, second)


def test_a_card_column_keeps_no_more_than_the_standard_allows() -> None:
    text = changed(
        ("data: customers\n", "data: customers\nthen: {mask: {card: mask first 5}}\n"),
        ("Delete customers", "Mask the first 5 characters of card of customers"),
        ("expect: delete", "expect: mask"),
    )
    assert "leaves too much of card column `card`" in problems_of(text)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("security code: remove", "security code: keep")], "`security code` cannot be `keep`"),
        ([(", security code: remove", "")], "does not say `security code`"),
        ([("keep last 4", "keep last 8")], "did you mean `keep last 4`?"),
        ([("find: card numbers", "find: phone numbers")], "did you mean `card numbers`?"),
        ([("when_likely: ask", "when_likely: ignore")], "it can be `ask`"),
        ([("chat_messages", "chat_mesages")], "did you mean `chat_messages`?"),
        ([("expect: unchanged", 'expect: "IMEI ***"')], "no example of a text that stays"),
        (
            [('expect: "card **** **** **** 1111 cvv ***"', "expect: unchanged")],
            "no example of a text in which",
        ),
        ([("in: [case_notes, chat_messages, call_transcripts, call_recordings]\n", "")], "does not say `in`"),
        ([("when_likely: ask ", "delete after: 3 days")], "has no key `delete after`"),
    ],
)
def test_a_card_rule_that_is_wrong_is_refused(pairs: list[tuple[str, str]], said: str) -> None:
    assert said in problems_of(changed(*pairs, text=CARDS))


def test_a_card_rule_says_where_numbers_are_expected() -> None:
    text = changed(("expected_in: []", "expected_in: [customers]"), text=CARDS)
    text = text.replace("security codes.\n", "security codes; they are expected in customers.\n")
    (rule,) = load_text(text).rules.card_rules
    assert isinstance(rule, CardRule)
    assert rule.expected_in == ("customers",)


def test_a_value_no_record_has_is_a_problem_at_its_line() -> None:
    loaded = load_text(DESIGN)
    seen = {"DE": 5, "FR": 1}
    observed = {
        "call_recordings": {
            "country": seen, "queue": {"services": 3, "billing": 9}, "advice": {"investment": 1},
        }
    }  # fmt: skip
    (problem,) = unmatched_values(loaded, observed)
    assert str(problem) == (
        "1.yaml:6: no record of `call_recordings` has queue `service`; did you mean `services`?"
    )


def test_a_folder_without_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="no rule file"):
        load_folder(tmp_path, catalogue())
    with pytest.raises(RuleError, match="cannot be read"):
        load_folder(tmp_path / "missing", catalogue())


def test_a_file_with_the_wrong_ending_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "tax.yml").write_text(DUTY)
    with pytest.raises(RuleError, match=r"tax\.yml:1: rule files end in `\.yaml`"):
        load_folder(tmp_path, catalogue())


def test_the_order_of_files_and_documents_does_not_matter() -> None:
    other = changed(("old-customers", "a-rule"), ("data: customers", "data: cases"), ("Delete customers", "Delete cases"),
                    ("account closed", "case closed"))  # fmt: skip
    other = other.replace("the account", "the case")
    assert load_text(GOOD, other).rules == load_text(other + "---\n" + GOOD).rules
    assert isinstance(load_text(GOOD).rules, RuleSet)
