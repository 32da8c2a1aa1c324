from dataclasses import replace

import numpy as np

from tenure.rules.classes import OPEN, class_of, classify
from tenure.rules.model import Asked, Condition, Period, Start, Unit
from tenure.rules.ruleset import RuleSet
from unit.rules.rules_sample import DESIGN, facts, load_text

RULE = load_text(DESIGN).rules.rules[0]


def test_a_class_does_not_depend_on_name_period_or_order() -> None:
    renamed = replace(RULE, name="x", sentence="y", delete_after=Period(count=1, unit=Unit.DAYS))
    reordered = replace(
        RULE,
        only_if=Condition(
            asked=tuple(Asked(attribute=a.attribute, values=a.values[::-1]) for a in RULE.only_if.asked[::-1])
        ),
    )
    assert class_of(renamed) == class_of(reordered) == class_of(RULE)
    assert len(class_of(RULE)) == 32


def test_a_class_depends_on_starting_point_conditions_and_exceptions() -> None:
    others = [
        replace(RULE, starting_from=Start(names=("call began",))),
        replace(RULE, only_if=Condition()),
        replace(RULE, unless=()),
    ]
    assert len({class_of(RULE), class_of(RULE, (0,)), *(class_of(o) for o in others)}) == 5


KNOWN = facts(
    "call_transcripts",
    {"call ended": ["2026-03-31T23:59:59", "2026-04-01", None, "2026-03-01", "2025-01-05", "2026-03-02"]},
    {
        "country": ["DE", "DE", "DE", "FR", None, "DE"],
        "queue": ["service"] * 6,
        "advice": ["none", "none", "none", None, "none", "investment"],
    },
)


def test_every_record_has_a_class_and_a_month() -> None:
    found = classify(KNOWN, load_text(DESIGN).rules)
    hashes = [found.classes[c].hash for c in found.codes]
    assert hashes == [class_of(RULE)] * 3 + ["", ""] + [class_of(RULE, (0,))]
    spans = [found.spans[c] for c in found.span_codes]
    assert spans == ["2026-03", "2026-04", OPEN, "2026-03", "2025-01", "2026-03"]
    assert all(c.start == Start(names=("call ended",)) for c in found.classes)


def test_recordings_have_no_class() -> None:
    recordings = replace(KNOWN, data_set="call_recordings")
    found = classify(recordings, load_text(DESIGN).rules)
    assert {c.hash for c in found.classes} == {""}
    assert [found.spans[c] for c in found.span_codes][:3] == ["2026-03", "2026-04", OPEN]


def test_a_data_set_without_rules_is_sorted_by_its_first_starting_point() -> None:
    known = facts("cases", {"case closed": ["2026-03-01", None]})
    found = classify(known, load_text(DESIGN).rules)
    assert found.classes == (replace(found.classes[0], hash="", start=Start(names=("case closed",))),)
    assert [found.spans[c] for c in found.span_codes] == ["2026-03", OPEN]


def test_a_data_set_without_starting_points_is_open() -> None:
    known = replace(facts("cases", {"case closed": ["2026-03-01"]}), starting={})
    found = classify(known, RuleSet())
    assert [found.spans[c] for c in found.span_codes] == [OPEN]


def test_the_rule_that_can_delete_governs_whatever_it_is_called() -> None:
    duty = replace(RULE, name="a-duty", only_if=Condition(), unless=(), delete_after=None,
                   keep_at_least=Period(count=1, unit=Unit.DAYS))  # fmt: skip
    for name in ("a", "z"):
        rules = replace(load_text(DESIGN).rules, rules=(replace(duty, name=name), RULE))
        assert classify(KNOWN, rules).classes[int(classify(KNOWN, rules).codes[0])].hash == class_of(RULE)


def test_months_from_all_over_the_calendar_are_told_apart() -> None:
    known = facts("cases", {"case closed": ["0001-01-01", "9999-12-31", None, "0001-01-31", "2026-03-01"]})
    found = classify(known, RuleSet())
    assert [found.spans[c] for c in found.span_codes] == ["0001-01", "9999-12", OPEN, "0001-01", "2026-03"]
    far = replace(
        known,
        starting={
            "case closed": np.array(["-9000-01-01", "12000-01-01", "NaT", "NaT", "NaT"], "datetime64[s]")
        },
    )
    assert len(classify(far, RuleSet()).spans) == 3


def test_no_records_have_no_classes_to_speak_of() -> None:
    found = classify(facts("cases", {"case closed": []}), RuleSet())
    assert len(found.codes) == len(found.span_codes) == 0
    assert found.spans == ()
