from dataclasses import replace

import pytest

from tenure.rules.model import (
    Action,
    ActionKind,
    Asked,
    Branch,
    Condition,
    Mask,
    MaskKind,
    Period,
    Rule,
    Start,
    Unit,
)
from tenure.rules.sentence import says_the_same, sentence_of, words
from unit.rules.rules_sample import DESIGN, load_text

DESIGN_RULE = load_text(DESIGN).rules.rules[0]


def rule(**fields: object) -> Rule:
    base = Rule(
        name="r",
        sentence="",
        why=DESIGN_RULE.why,
        data=("customers",),
        delete_after=Period(count=1, unit=Unit.YEARS),
        starting_from=Start(names=("account closed",)),
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def asks(**values: str) -> Condition:
    return Condition(
        asked=tuple(Asked(attribute=a, values=tuple(v.split("|"))) for a, v in sorted(values.items()))
    )


DAYS_30 = Period(count=30, unit=Unit.DAYS)
YEARS_10 = Period(count=10, unit=Unit.YEARS)


def test_the_sentences_of_the_design_come_out_as_written() -> None:
    (timed,), (cards,) = load_text(DESIGN).rules.rules, load_text(DESIGN).rules.card_rules
    assert sentence_of(timed) == timed.sentence
    assert sentence_of(cards) == cards.sentence


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Delete customers 1 year after the account closed."),
        ({"data": ("customers", "cases", "case_notes")}, "Delete customers, cases and case notes 1 year after the account closed."),
        ({"only_if": asks(country="DE|XX")}, "Delete customers in DE or XX 1 year after the account closed."),
        ({"only_if": asks(country="DE|FR", status="gone")}, "Delete German and French customers with status gone 1 year after the account closed."),
        ({"data": ("interactions",), "only_if": asks(channel="chat", queue="billing")}, "Delete billing chat interactions 1 year after the account closed."),
        ({"delete_after": None, "keep_at_least": YEARS_10}, "Keep customers for at least 10 years after the account closed."),
        ({"keep_at_least": DAYS_30}, "Keep customers for at least 30 days and delete them 1 year after the account closed."),
        ({"delete_after": None, "starting_from": None, "keep_without_limit": True}, "Keep customers without limit."),
        ({"then": Action(kind=ActionKind.BLANK, columns=("email", "phone"))}, "Blank email and phone of customers 1 year after the account closed."),
        ({"then": Action(kind=ActionKind.MASK, masks=(Mask(column="card", kind=MaskKind.KEEP_LAST, last=4),))}, "Cut card to the last four characters of customers 1 year after the account closed."),
        ({"starting_from": Start(names=("account closed", "last invoice paid"))}, "Delete customers 1 year after the latest of account closed and last invoice paid."),
        ({"unless": (Branch(only_if=asks(status="disputed"), keep_at_least=YEARS_10, law="x"),)}, "Delete customers 1 year after the account closed; keep those with status disputed for 10 years."),
        ({"unless": (Branch(only_if=asks(country="DE"), keep_at_least=YEARS_10, law="x"),)}, "Delete customers 1 year after the account closed; keep German customers for 10 years."),
        ({"also_in_backups": DAYS_30, "gives_way_to": ("a", "b")}, "Delete customers 1 year after the account closed; in backups at most 30 days later; a and b come first."),
    ],
)  # fmt: skip
def test_a_rule_is_said_in_one_sentence(fields: dict[str, object], sentence: str) -> None:
    assert sentence_of(rule(**fields)) == sentence


def test_case_spacing_articles_and_the_last_stop_do_not_matter() -> None:
    said = "Delete customers 1 year after the account closed."
    assert says_the_same("  delete  CUSTOMERS 1 year after account closed ", said)
    assert says_the_same("Delete the customers 1 year after an account closed .", said)
    assert not says_the_same("Delete customers 2 years after the account closed.", said)
    assert not says_the_same("Do not delete customers 1 year after the account closed.", said)
    assert not says_the_same("", said)


def test_rules_that_decide_differently_have_different_sentences() -> None:
    variants = [
        rule(),
        rule(delete_after=Period(count=12, unit=Unit.MONTHS)),
        rule(data=("cases",)),
        rule(only_if=asks(status="a")),
        rule(only_if=asks(status="a|b")),
        rule(starting_from=Start(names=("last invoice paid",))),
        rule(keep_at_least=DAYS_30),
        rule(unless=(Branch(only_if=asks(status="a"), keep_at_least=YEARS_10, law="x"),)),
        rule(then=Action(kind=ActionKind.BLANK, columns=("email",))),
        rule(also_in_backups=DAYS_30),
        rule(gives_way_to=("x",)),
    ]
    assert len({sentence_of(one) for one in variants}) == len(variants)


def test_a_rule_is_told_with_what_stands_around_it() -> None:
    lines = words(DESIGN_RULE)
    assert lines[0] == f"service-calls-de: {DESIGN_RULE.sentence}"
    assert "  exception: keep calls flagged as investment advice for 5 years (MiFID II Art. 16(7))" in lines
    assert "  owner: dpo@example.com, review by 2027-01-31" in lines
