"""Laws of deciding: they hold for all rules, records, holds and moments."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.rules.classes import classify
from tenure.rules.decide import Decisions, decide
from tenure.rules.explain import explain
from tenure.rules.facts import Facts
from tenure.rules.holds import Hold, Holds, HoldScope
from tenure.rules.judge import judge, record_at
from tenure.rules.model import Action, ActionKind, Asked, Branch, Condition, Period, Rule, Start, Unit, Why
from tenure.rules.outcomes import Outcome
from tenure.rules.periods import due_day, due_days, due_instant, due_instants
from tenure.rules.ruleset import RuleSet, rule_set_from_bytes

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe")
WHY = Why(purpose="p", law="l", owner="o", review_by=date(2027, 1, 1))
VALUES = ("x", "y", "z")
FIRST = datetime(2020, 1, 1)  # noqa: DTZ001 - starting points are local times
NAMES = ("one", "two", "three", "four")

periods = st.builds(
    Period,
    count=st.integers(1, 40),
    unit=st.sampled_from([Unit.HOURS, Unit.DAYS, Unit.WEEKS, Unit.MONTHS, Unit.YEARS]),
)
conditions = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.lists(st.sampled_from(VALUES), min_size=1, max_size=2, unique=True),
    max_size=2,
).map(
    lambda asked: Condition(
        asked=tuple(Asked(attribute=a, values=tuple(v)) for a, v in sorted(asked.items()))
    )
)
starts = st.sampled_from([Start(names=("s",)), Start(names=("t",)), Start(names=("s", "t"))])
branches = st.lists(
    st.builds(Branch, only_if=conditions, keep_at_least=periods, law=st.just("l")), max_size=2
).map(tuple)
actions = st.sampled_from([Action(), Action(), Action(kind=ActionKind.BLANK, columns=("c",))])


@st.composite
def rule(draw: st.DrawFn, name: str) -> Rule:
    """A rule the parser would let through, taken alone."""
    base = Rule(name=name, sentence="", why=WHY, data=("d",), only_if=draw(conditions))
    kind = draw(st.sampled_from(["limit", "limit", "duty", "both", "ever"]))
    if kind == "ever":
        return replace(base, keep_without_limit=True)
    timed = replace(base, starting_from=draw(starts))
    if kind != "limit":
        timed = replace(timed, keep_at_least=draw(periods))
    if kind == "duty":
        return timed
    return replace(timed, delete_after=draw(periods), unless=draw(branches), then=draw(actions))


@st.composite
def rule_sets(draw: st.DrawFn) -> RuleSet:
    """Up to four rules; each gives way only to later ones, so never in a circle."""
    rules = [draw(rule(name)) for name in sorted(NAMES[: draw(st.integers(0, 4))])]
    giving = [
        replace(
            r,
            gives_way_to=tuple(
                draw(st.lists(st.sampled_from([o.name for o in rules[i + 1 :]]), unique=True))
            ),
        )
        if rules[i + 1 :]
        else r
        for i, r in enumerate(rules)
    ]
    return RuleSet(rules=tuple(giving))


times = st.none() | st.datetimes(FIRST, FIRST.replace(year=2027)).map(lambda t: t.replace(microsecond=0))
texts = st.none() | st.sampled_from((*VALUES, "w", ""))


@st.composite
def some_facts(draw: st.DrawFn) -> Facts:
    n = draw(st.integers(1, 12))

    def column(values: st.SearchStrategy[object]) -> list[object]:
        return draw(st.lists(values, min_size=n, max_size=n))

    return Facts(
        data_set="d",
        keys=pa.array([str(i).encode() for i in range(n)], pa.large_binary()),
        subjects={"customer": pa.array(column(texts), pa.large_string())},
        starting={s: np.array([t or "NaT" for t in column(times)], "datetime64[s]") for s in ("s", "t")},
        attributes={a: pa.array(column(texts), pa.large_string()) for a in ("a", "b")},
    )


holds = st.lists(
    st.sampled_from(
        [
            HoldScope(subjects={"customer": ("x",)}),
            HoldScope(keys={"d": (b"0", b"3")}),
            HoldScope(data_sets=("other",)),
            HoldScope(data_sets=("d",)),
            HoldScope(everything=True),
        ]
    ).map(lambda s: Hold(matter="m", reason="r", placed_by="p", review_by=date(2027, 1, 1), scope=s)),
    max_size=2,
).map(lambda found: Holds(holds=tuple(found)))
moments = st.datetimes(FIRST, FIRST.replace(year=2030), timezones=st.just(UTC))
zones = st.sampled_from(ZONES)


def acts(found: Decisions) -> np.ndarray:
    """Which records are changed."""
    return np.isin(found.outcome, [Outcome.DELETE, Outcome.EDIT])


@settings(max_examples=300)
@given(some_facts(), rule_sets(), holds, moments, zones)
def test_columns_decide_what_one_record_at_a_time_decides(
    known: Facts, rules: RuleSet, held: Holds, at: datetime, time_zone: str
) -> None:
    found = decide(known, rules, held, at, time_zone)
    for i in range(len(known)):
        one = judge(record_at(known, i), rules, held, at, time_zone)
        due = None if np.isnat(found.due[i]) else found.due[i].item()
        assert (one.outcome, one.reason, one.hold, one.due) == (
            found.outcome[i],
            found.reason[i],
            found.hold[i],
            due,
        )
        assert (one.rule, one.branch) == (found.rule[i], found.branch[i])
        assert explain(found, i)


@given(some_facts(), rule_sets(), holds, moments, zones)
def test_a_held_record_never_expires(
    known: Facts, rules: RuleSet, held: Holds, at: datetime, time_zone: str
) -> None:
    found = decide(known, rules, held, at, time_zone)
    assert not acts(found)[found.hold >= 0].any()
    assert (found.outcome[found.hold >= 0] == Outcome.HELD).all()
    without = decide(known, rules, Holds(), at, time_zone)
    assert not (acts(found) & ~acts(without)).any()


@given(some_facts(), rule_sets(), moments, zones)
def test_a_record_whose_dates_are_missing_is_kept(
    known: Facts, rules: RuleSet, at: datetime, time_zone: str
) -> None:
    nothing = {s: np.full(len(known), np.datetime64("NaT"), "datetime64[s]") for s in known.starting}
    assert not acts(decide(replace(known, starting=nothing), rules, Holds(), at, time_zone)).any()


@given(some_facts(), rule_sets(), moments, zones)
def test_a_record_nobody_rules_is_kept(known: Facts, rules: RuleSet, at: datetime, time_zone: str) -> None:
    assert not acts(decide(replace(known, data_set="another"), rules, Holds(), at, time_zone)).any()


@given(some_facts(), rule_sets(), holds, moments, zones, st.randoms(use_true_random=False), st.integers(1, 5))
def test_each_record_is_decided_once_in_any_order_and_in_any_batches(  # noqa: PLR0917 - one argument for each thing drawn
    known: Facts, rules: RuleSet, held: Holds, at: datetime, time_zone: str, random: object, size: int
) -> None:
    order = list(range(len(known)))
    random.shuffle(order)  # type: ignore[attr-defined]
    whole = decide(known, rules, held, at, time_zone)
    for begin in range(0, len(order), size):
        places = order[begin : begin + size]
        part = decide(taken(known, places), rules, held, at, time_zone)
        for name in ("outcome", "reason", "rule", "branch", "due", "hold"):
            left, right = getattr(part, name), getattr(whole, name)[places]
            assert np.array_equal(left, right, equal_nan=name == "due")


def taken(known: Facts, places: list[int]) -> Facts:
    return Facts(
        data_set=known.data_set,
        keys=known.keys.take(places),
        subjects={k: c.take(places) for k, c in known.subjects.items()},
        starting={k: c[places] for k, c in known.starting.items()},
        attributes={k: c.take(places) for k, c in known.attributes.items()},
    )


@given(some_facts(), rule_sets(), conditions, periods, starts, moments, zones)
def test_one_more_duty_never_deletes_more(  # noqa: PLR0917 - one argument for each thing drawn
    known: Facts,
    rules: RuleSet,
    condition: Condition,
    period: Period,
    start: Start,
    at: datetime,
    time_zone: str,
) -> None:
    duty = Rule(
        name="zz",
        sentence="",
        why=WHY,
        data=("d",),
        only_if=condition,
        keep_at_least=period,
        starting_from=start,
    )
    more = replace(rules, rules=(*rules.rules, duty))
    before, after = (acts(decide(known, r, Holds(), at, time_zone)) for r in (rules, more))
    assert not (after & ~before).any()


@given(some_facts(), rule_sets(), moments, moments, zones)
def test_what_was_due_stays_due(
    known: Facts, rules: RuleSet, one: datetime, two: datetime, time_zone: str
) -> None:
    earlier, later = (acts(decide(known, rules, Holds(), at, time_zone)) for at in sorted((one, two)))
    assert not (earlier & ~later).any()


@given(some_facts(), rule_sets())
def test_classes_do_not_depend_on_names_or_periods(known: Facts, rules: RuleSet) -> None:
    longer = Period(count=7, unit=Unit.WEEKS)
    renamed = tuple(
        replace(
            r,
            name=f"q{9 - i}",
            delete_after=r.delete_after and longer,
            keep_at_least=r.keep_at_least and longer,
        )
        for i, r in enumerate(rules.rules)
    )
    left, right = classify(known, rules), classify(known, replace(rules, rules=renamed[::-1]))
    assert [left.classes[c] for c in left.codes] == [right.classes[c] for c in right.codes]
    assert [left.spans[c] for c in left.span_codes] == [right.spans[c] for c in right.span_codes]


@given(rule_sets())
def test_a_rule_set_survives_its_bytes(rules: RuleSet) -> None:
    assert rule_set_from_bytes(rules.to_bytes()) == rules


day_periods = periods.filter(lambda p: p.unit is not Unit.HOURS)


@settings(max_examples=300)
@given(st.lists(st.dates(), min_size=1, max_size=20), day_periods)
def test_due_days_in_columns_are_due_days_one_by_one(events: list[date], period: Period) -> None:
    columns = due_days(np.array(events, "datetime64[D]").astype("datetime64[s]"), period)
    assert columns.tolist() == [due_day(event, period) for event in events]


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), day_periods, st.integers(1, 60))
def test_a_later_event_or_a_longer_period_is_never_due_sooner(event: date, period: Period, more: int) -> None:
    due = due_day(event, period)
    assert due > event
    assert due_day(event + timedelta(days=more), period) >= due
    assert due_day(event, replace(period, count=period.count + more)) > due


local_times = st.datetimes(FIRST.replace(year=1971), FIRST.replace(year=2099)).map(
    lambda t: t.replace(microsecond=0)
)


@settings(max_examples=300)
@given(st.lists(local_times, min_size=1, max_size=20), st.integers(1, 100), zones)
def test_due_instants_in_columns_are_due_instants_one_by_one(
    events: list[datetime], hours: int, time_zone: str
) -> None:
    period = Period(count=hours, unit=Unit.HOURS)
    columns = due_instants(np.array(events, "datetime64[s]"), period, time_zone)
    alone = [due_instant(event, period, time_zone).replace(tzinfo=None) for event in events]
    assert columns.tolist() == alone
