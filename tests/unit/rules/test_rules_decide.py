from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest

from tenure.rules.decide import Decisions, decide
from tenure.rules.explain import explain
from tenure.rules.holds import Hold, Holds, HoldScope
from tenure.rules.model import Action, ActionKind, Asked, Branch, Condition, Period, Rule, Start, Unit, Why
from tenure.rules.outcomes import Outcome, Reason
from tenure.rules.ruleset import RuleSet
from unit.rules.rules_sample import DESIGN, decide_at, facts, load_text

WHY = Why(purpose="p", law="the law", owner="o", review_by=date(2027, 1, 1))
CLOSED = Start(names=("account closed",))
DESIGNED = load_text(DESIGN).rules


def days(count: int) -> Period:
    return Period(count=count, unit=Unit.DAYS)


def rule(name: str, **fields: object) -> Rule:
    base = Rule(name=name, sentence="", why=WHY, data=("customers",), starting_from=CLOSED)
    return replace(base, **fields)  # type: ignore[arg-type]


def only(attribute: str, *values: str) -> Condition:
    return Condition(asked=(Asked(attribute=attribute, values=values),))


def decided(
    *rules: Rule, closed: str | None = "2026-01-01", at: str = "2026-03-01T12:00", **attributes: str | None
) -> Decisions:
    known = facts(
        "customers",
        {"account closed": [closed], "last invoice paid": ["2026-01-10"]},
        {name: [value] for name, value in attributes.items()},
    )
    return decide_at(known, RuleSet(rules=rules), at, time_zone="UTC")


def outcome(found: Decisions) -> Outcome:
    return Outcome(int(found.outcome[0]))


def test_the_line_lies_between_the_last_day_and_the_day_after() -> None:
    known = facts("call_recordings", {"call ended": ["2026-01-01T15:00:00"]},
                  {"country": ["DE"], "queue": ["billing"], "advice": ["none"]})  # fmt: skip
    before = decide_at(known, DESIGNED, "2026-04-01T21:59:59")  # Berlin: still 1 April
    after = decide_at(known, DESIGNED, "2026-04-01T22:00:00")
    assert outcome(before) is Outcome.KEEP
    assert outcome(after) is Outcome.DELETE
    assert before.due[0] == after.due[0] == np.datetime64("2026-04-02")


def test_a_condition_picks_records_and_the_others_are_reported() -> None:
    known = facts(
        "call_recordings",
        {"call ended": ["2026-01-01"] * 6 + [None]},
        {
            "country": ["DE", "FR", None, "DE", "FR", "DE", "DE"],
            "queue": ["service", "service", "service", None, None, "sales", "service"],
            "advice": ["none", None, "none", "none", None, None, "none"],
        },
    )
    found = decide_at(known, DESIGNED, "2026-06-01T12:00")
    assert [Outcome(int(o)) for o in found.outcome] == [
        Outcome.DELETE,
        Outcome.NO_RULE,
        Outcome.NULL_IN_CONDITION,
        Outcome.NULL_IN_CONDITION,
        Outcome.NO_RULE,  # in France whatever the queue is
        Outcome.NO_RULE,
        Outcome.MISSING_STARTING_POINT,
    ]
    assert list(found.which(Outcome.DELETE)) == [0]
    assert list(found.rule) == [0, -1, 0, 0, -1, -1, 0]


def test_an_exception_that_cannot_be_told_keeps() -> None:
    known = facts("call_recordings", {"call ended": ["2020-01-01"] * 2},
                  {"country": ["DE"] * 2, "queue": ["service"] * 2, "advice": [None, "investment"]})  # fmt: skip
    found = decide_at(known, DESIGNED, "2026-06-01T12:00")
    assert [Outcome(int(o)) for o in found.outcome] == [Outcome.NULL_IN_CONDITION, Outcome.DELETE]
    assert "asks for `advice`, which is unknown" in explain(found, 0)


def test_an_attribute_the_source_did_not_deliver_keeps() -> None:
    known = facts(
        "call_recordings", {"call ended": ["2020-01-01"]}, {"country": ["DE"], "queue": ["service"]}
    )
    assert outcome(decide_at(known, DESIGNED, "2026-06-01T12:00")) is Outcome.NULL_IN_CONDITION


def test_a_starting_point_the_source_did_not_deliver_keeps() -> None:
    known = facts("customers", {"last invoice paid": ["2020-01-01"]})
    found = decide_at(known, RuleSet(rules=(rule("r", delete_after=days(1)),)), "2026-06-01T12:00")
    assert outcome(found) is Outcome.MISSING_STARTING_POINT


def test_a_data_set_without_rules_is_reported() -> None:
    found = decide_at(facts("cases", {"case closed": ["2000-01-01"]}), DESIGNED, "2026-06-01T12:00")
    assert outcome(found) is Outcome.NO_RULE
    assert explain(found, 0) == "kept and reported: no rule covers this record of `cases`"


def test_no_records_are_decided_without_trouble() -> None:
    empty = facts("call_recordings", {"call ended": []}, {"country": [], "queue": [], "advice": []})
    assert len(decide_at(empty, DESIGNED, "2026-06-01T12:00")) == 0


def test_the_latest_of_several_starting_points_counts_and_an_open_one_keeps() -> None:
    latest = rule(
        "r", delete_after=days(60), starting_from=Start(names=("account closed", "last invoice paid"))
    )
    found = decided(latest)
    assert found.due[0] == np.datetime64("2026-03-12")
    assert outcome(decided(latest, closed=None)) is Outcome.MISSING_STARTING_POINT


def test_a_duty_beats_a_limit_until_it_ends() -> None:
    limit, duty = rule("limit", delete_after=days(10)), rule("tax", keep_at_least=days(90))
    during = decided(limit, duty)
    assert outcome(during) is Outcome.KEPT_BY_DUTY
    assert during.rule[0] == 1
    assert during.due[0] == np.datetime64("2026-04-02")
    assert outcome(decided(limit, duty, at="2026-04-02T00:00")) is Outcome.DELETE
    assert outcome(decided(limit, duty, at="2026-01-05T00:00")) is Outcome.KEEP
    assert explain(during, 0).splitlines() == [
        "kept: rule `tax` keeps it at least 90 days after the account closed (the law), until 2026-04-01",
        "also: rule `limit` says delete 10 days after the account closed, due since 2026-01-12",
    ]


def test_a_duty_alone_never_deletes_and_its_end_is_reported() -> None:
    duty = rule("tax", keep_at_least=days(10))
    assert outcome(decided(duty, at="2026-01-05T00:00")) is Outcome.KEPT_BY_DUTY
    ended = decided(duty)
    assert outcome(ended) is Outcome.NO_RULE
    assert Reason(int(ended.reason[0])) is Reason.DUTY_ENDED
    assert "no rule says when it goes" in explain(ended, 0)


def test_the_longest_of_the_exceptions_that_apply_counts() -> None:
    branches = (
        Branch(only_if=only("country", "DE"), keep_at_least=days(100), law="a"),
        Branch(only_if=only("status", "x"), keep_at_least=days(200), law="b"),
    )
    limit = rule("r", delete_after=days(10), unless=branches)
    both = decided(limit, country="DE", status="x")
    assert (both.branch[0], both.due[0]) == (1, np.datetime64("2026-07-21"))
    assert decided(limit, country="DE", status="y").branch[0] == 0
    assert decided(limit, country="FR", status="y").branch[0] == -1


def test_the_earliest_of_several_limits_counts() -> None:
    found = decided(rule("a", delete_after=days(30)), rule("b", delete_after=days(10)))
    assert (found.rule[0], found.due[0]) == (1, np.datetime64("2026-01-12"))


def test_an_edit_comes_before_and_a_deletion_after() -> None:
    blank = rule("blank", delete_after=days(10), then=Action(kind=ActionKind.BLANK, columns=("email",)))
    delete = rule("delete", delete_after=days(90))
    assert outcome(decided(blank, delete, at="2026-01-05T00:00")) is Outcome.KEEP
    assert decided(blank, delete, at="2026-01-05T00:00").due[0] == np.datetime64("2026-01-12")
    edited = decided(blank, delete)
    assert (outcome(edited), edited.rule[0]) == (Outcome.EDIT, 0)
    assert explain(edited, 0).startswith("edited: rule `blank` says blank 10 days after the account closed")
    assert outcome(decided(blank, delete, at="2026-05-01T00:00")) is Outcome.DELETE


def test_a_duty_keeps_from_edits_too() -> None:
    blank = rule("blank", delete_after=days(10), then=Action(kind=ActionKind.BLANK, columns=("email",)))
    assert outcome(decided(blank, rule("tax", keep_at_least=days(90)))) is Outcome.KEPT_BY_DUTY


def test_keeping_without_limit_keeps() -> None:
    for_ever = rule("ever", keep_without_limit=True, starting_from=None)
    for rules in ((for_ever,), (for_ever, rule("limit", delete_after=days(1), gives_way_to=("ever",)))):
        found = decided(*rules)
        assert (outcome(found), found.rule[0]) == (Outcome.KEEP, 0)
        assert np.isnat(found.due[0])
        assert explain(found, 0).startswith("kept: rule `ever` keeps it without limit (the law)")


def test_a_limit_that_gives_way_to_another_is_dropped_where_both_apply() -> None:
    general = rule("general", delete_after=days(10), gives_way_to=("german",))
    german = rule("german", delete_after=days(90), only_if=only("country", "DE"))
    assert outcome(decided(general, german, country="DE")) is Outcome.KEEP
    assert outcome(decided(general, german, country="FR")) is Outcome.DELETE
    assert "gives way to german" in explain(decided(general, german, country="DE"), 0)


def test_a_duty_that_gives_way_to_a_limit_is_dropped() -> None:
    duty = rule("duty", keep_at_least=days(90), gives_way_to=("limit",))
    assert outcome(decided(duty, rule("limit", delete_after=days(10)))) is Outcome.DELETE


def test_hours_are_due_to_the_second() -> None:
    hours = rule("r", delete_after=Period(count=2, unit=Unit.HOURS))
    known = {"closed": "2026-01-01T10:00:00"}
    assert outcome(decided(hours, at="2026-01-01T11:59:59", **known)) is Outcome.KEEP
    assert outcome(decided(hours, at="2026-01-01T12:00:00", **known)) is Outcome.DELETE


def hold(**scope: object) -> Holds:
    placed = Hold(matter="M-1", reason="claim", placed_by="legal@example.com", review_by=date(2027, 1, 1),
                  scope=HoldScope(**scope))  # type: ignore[arg-type]  # fmt: skip
    return Holds(holds=(placed,))


@pytest.mark.parametrize(
    ("scope", "held"),
    [
        ({"subjects": {"customer": ("7",)}}, [True, False, False]),
        ({"subjects": {"agent": ("7",)}}, [False, False, False]),
        ({"subjects": {"nobody": ("7",)}}, [False, False, False]),
        ({"keys": {"customers": (b"1", b"2")}}, [False, True, True]),
        ({"keys": {"cases": (b"1",)}}, [False, False, False]),
        ({"keys": {"customers": (b"1",)}, "subjects": {"customer": ("7",)}}, [True, True, False]),
        ({"data_sets": ("customers",)}, [True, True, True]),
        ({"data_sets": ("cases",)}, [False, False, False]),
        ({"everything": True}, [True, True, True]),
    ],
)
def test_a_hold_outranks_every_rule_for_the_records_in_its_scope(
    scope: dict[str, object], held: list[bool]
) -> None:
    known = facts("customers", {"account closed": ["2020-01-01"] * 3},
                  subjects={"customer": ["7", "8", None], "agent": ["1", "1", "1"]})  # fmt: skip
    found = decide_at(
        known, RuleSet(rules=(rule("r", delete_after=days(1)),)), "2026-01-01T00:00", hold(**scope)
    )
    assert [o == Outcome.HELD for o in found.outcome] == held
    assert [h == 0 for h in found.hold] == held
    assert [o == Outcome.DELETE for o in found.outcome] == [not h for h in held]
    assert found.is_due().all()


def test_a_held_record_is_explained_without_naming_the_person() -> None:
    known = facts("customers", {"account closed": ["2020-01-01"]}, subjects={"customer": ["4711"]})
    holds = hold(subjects={"customer": ("4711",)})
    found = decide_at(known, RuleSet(rules=(rule("r", delete_after=days(1)),)), "2026-01-01T00:00", holds)
    assert explain(found, 0).startswith(
        "held for `M-1` (claim), to be reviewed by 2027-01-01; without it: deleted: rule `r`"
    )
    assert "4711" not in explain(found, 0) + repr(holds) + repr(found)


@pytest.mark.parametrize("scope", [{}, {"subjects": {"customer": ()}}, {"keys": {}}])
def test_a_hold_that_covers_nothing_is_refused(scope: dict[str, dict[str, tuple[str, ...]]]) -> None:
    with pytest.raises(ValueError, match="must cover something"):
        HoldScope(**scope)  # type: ignore[arg-type]


def test_dictionary_and_chunked_columns_are_read_alike() -> None:
    plain = facts("customers", {"account closed": ["2020-01-01"] * 4}, {"country": ["DE", None, "FR", "DE"]})
    rules = RuleSet(rules=(rule("r", delete_after=days(1), only_if=only("country", "DE")),))
    expected = decide_at(plain, rules, "2026-01-01T00:00").outcome
    column = plain.attributes["country"]
    for other in (column.dictionary_encode(), pa.chunked_array([column[:1], column[1:]])):
        found = decide_at(replace(plain, attributes={"country": other}), rules, "2026-01-01T00:00")
        assert np.array_equal(found.outcome, expected)


def test_many_attributes_with_many_values_are_still_told_apart() -> None:
    values = tuple(f"v{i}" for i in range(60))
    asked = [Asked(attribute=f"a{i}", values=values) for i in range(6)]  # 62 ** 6 combinations
    rules = RuleSet(rules=(rule("r", delete_after=days(1), only_if=Condition(asked=tuple(asked))),))
    columns = {
        f"a{i}": ["v1", "v59", None if i == 3 else "v2", "other" if i == 5 else "v3"] for i in range(6)
    }
    known = facts("customers", {"account closed": ["2020-01-01"] * 4}, columns)
    found = decide_at(known, rules, "2026-01-01T00:00")
    assert [Outcome(int(o)) for o in found.outcome] == [
        Outcome.DELETE, Outcome.DELETE, Outcome.NULL_IN_CONDITION, Outcome.NO_RULE,
    ]  # fmt: skip


def test_a_moment_without_a_time_zone_is_refused() -> None:
    known = facts("customers", {"account closed": ["2020-01-01"]})
    with pytest.raises(ValueError, match="needs a time zone"):
        decide(known, RuleSet(), Holds(), datetime(2026, 1, 1), "UTC")  # noqa: DTZ001
    assert len(decide(known, RuleSet(), Holds(), datetime(2026, 1, 1, tzinfo=UTC), "UTC")) == 1
