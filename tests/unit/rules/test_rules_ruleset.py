from dataclasses import replace

import pytest

from tenure.domain.catalogue import Catalogue
from tenure.domain.errors import RuleError
from tenure.rules.differences import differences, fields_of
from tenure.rules.load import load_folder
from tenure.rules.ruleset import RuleSet, rule_set_from_bytes, rule_set_of
from tenure.rules.words import words_in_lines, words_of
from unit.rules.rules_sample import DESIGN, STARTER, catalogue, load_text


def starter(where: Catalogue | None = None) -> RuleSet:
    return load_folder(STARTER, where or catalogue()).rules


def changed_reference(where: Catalogue, data_set: str, word: str, column: str) -> Catalogue:
    source = next(s for s in where.sources.values() if data_set in s.data_sets)
    old = source.data_sets[data_set]
    new = replace(old, starting_points={**old.starting_points, word: column})
    data_sets = {**source.data_sets, data_set: new}
    return Catalogue(sources={**where.sources, source.name: replace(source, data_sets=data_sets)})


def test_a_set_comes_back_from_its_bytes_with_the_same_hash() -> None:
    for rules in (starter(), load_text(DESIGN).rules):
        again = rule_set_from_bytes(rules.to_bytes())
        assert again == rules
        assert again.hash() == rules.hash()
        assert differences(rules, again) == ()


def test_bytes_that_are_no_rule_set_are_refused() -> None:
    written = starter().to_bytes()
    for wrong in (b"", b"[]", written[:-1], written.replace(b'"6 years"', b"6"), b'{"rules": 1}'):
        if wrong != written:
            with pytest.raises(RuleError, match="stored rule set"):
                rule_set_from_bytes(wrong)


def test_the_hash_changes_with_what_a_word_means_and_only_with_words_in_use() -> None:
    before = starter()
    used = starter(changed_reference(catalogue(), "customers", "account closed", "ended_at"))
    unused = starter(changed_reference(catalogue(), "customers", "last invoice paid", "other"))
    assert used.hash() != before.hash()
    assert unused.hash() == before.hash()
    assert differences(before, used) == (
        "catalogue, data set `customers`, starting point account closed: closed_at -> ended_at",
    )


def test_the_hash_changes_with_the_time_zone_and_the_code_that_decides() -> None:
    before = starter()
    moved = starter(catalogue("America/New_York"))
    assert moved.hash() != before.hash()
    assert all("time zone: Europe/Berlin -> America/New_York" in line for line in differences(before, moved))
    newer = replace(before, decision_version=before.decision_version + 1)
    assert newer.hash() != before.hash()
    assert differences(before, newer) == ("the code that decides is another one: version 1 -> 2",)


def test_differences_are_said_in_words() -> None:
    old = load_text(DESIGN).rules
    new = load_text(DESIGN.replace("90 days", "60 days")).rules
    assert differences(old, new) == (
        f"rule `service-calls-de`, sentence: {old.rules[0].sentence} -> {new.rules[0].sentence}",
        "rule `service-calls-de`, delete after: 90 days -> 60 days",
    )  # fmt: skip
    gone = rule_set_of(old.rules, (), catalogue())
    assert differences(old, gone)[0].startswith("rule `card-numbers-in-notes` is gone: Cut card numbers")
    assert differences(gone, old)[0].startswith("rule `card-numbers-in-notes` is new: Cut card numbers")


def test_every_field_of_a_rule_shows_in_its_difference() -> None:
    rule = load_text(DESIGN).rules.rules[0]
    assert fields_of(rule) != fields_of(replace(rule, keep_without_limit=True))
    assert fields_of(rule) != fields_of(replace(rule, unless=()))
    assert fields_of(rule) != fields_of(replace(rule, examples=rule.examples[:2]))
    assert fields_of(rule) != fields_of(replace(rule, gives_way_to=("x",)))


def test_words_list_what_a_rule_may_say_with_counts() -> None:
    observed = {"cases": {"country": {"DE": 1200, "FR": 7}}}
    lines = words_in_lines(words_of(catalogue()), observed)
    at = lines.index("data: cases")
    assert lines[at : at + 4] == (
        "data: cases",
        "  starting_from: case closed",
        "  only_if: country: DE (1,200), FR (7)",
        "  only_if: topic",
    )
