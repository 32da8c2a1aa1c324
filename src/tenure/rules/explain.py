"""What was decided of a record, in plain sentences: the rule that won, why, and the rules that did not."""

from datetime import timedelta

from tenure.rules.conditions import Match, match_condition
from tenure.rules.decide import Decisions
from tenure.rules.judge import Judgement, RecordFacts, TimedDay, judge, record_at
from tenure.rules.model import Rule
from tenure.rules.outcomes import Outcome, Reason
from tenure.rules.ruleset import RuleSet
from tenure.rules.sentence import listed, start_words

_ONE_DAY = timedelta(days=1)
_WITHOUT_DAYS = {Reason.VALUE_UNKNOWN, Reason.STARTING_POINT_MISSING, Reason.WITHOUT_LIMIT}


def explain(decisions: Decisions, index: int) -> str:
    """Return why record `index` was decided as it was: one line, then one for each other rule of its data set."""
    record = record_at(decisions.facts, index)
    found = judge(record, decisions.rules, decisions.holds, decisions.at, decisions.time_zone)
    main = _main(found, record, decisions.rules)
    if found.outcome is Outcome.HELD:
        hold = decisions.holds.holds[found.hold]
        main = f"held for `{hold.matter}` ({hold.reason}), to be reviewed by {hold.review_by}; without it: {main}"
    return "\n".join([main, *_others(found, record, decisions.rules)])


def _main(found: Judgement, record: RecordFacts, rules: RuleSet) -> str:
    if found.rule < 0:
        return f"kept and reported: no rule covers this record of `{record.data_set}`"
    rule = rules.rules[found.rule]
    named = f"rule `{rule.name}`"
    if found.reason in _WITHOUT_DAYS:
        without = {
            Reason.VALUE_UNKNOWN: f"kept and reported: {named} asks for {_unknown(rule, record)}, which is unknown here",
            Reason.STARTING_POINT_MISSING: f"kept and reported: {named} counts from {_from(rule)}, and that is missing here",
            Reason.WITHOUT_LIMIT: f"kept: {named} keeps it without limit ({rule.why.law})",
        }
        return without[found.reason]
    day = _governing(found)
    said = _words(day, rule, found)
    over = ", which is over" if _is_duty(day, found) else ""
    with_days = {
        Reason.DUTY_ENDED: f"kept and reported: {said}, which is over, and no rule says when it goes",
        Reason.DUTY_RUNS: f"kept: {said}, until {day.due - _ONE_DAY}",
        Reason.DUE: f"{_acted(found)}: {said}{over}; due since {found.due}",
        Reason.NOT_YET_DUE: f"kept: {said}; due on {found.due}",
    }
    return with_days[found.reason]


def _acted(found: Judgement) -> str:
    """Return what happens to a record that is due; under a hold the deletion is what the hold prevents."""
    edits = all(
        day.timed in found.case.edits for day in found.days if day.passed and not _is_duty(day, found)
    )
    return "edited" if edits else "deleted"


def _governing(found: Judgement) -> TimedDay:
    """Return the limit or duty that the judgement names; of a rule that has both, the one that set the day."""
    own = [d for d in found.days if (d.timed.rule, d.timed.branch) == (found.rule, found.branch)]
    return next((d for d in own if d.due == found.due), own[-1])


def _is_duty(day: TimedDay, found: Judgement) -> bool:
    return day.timed in found.case.duties


def _words(day: TimedDay, rule: Rule, found: Judgement) -> str:
    if _is_duty(day, found):
        return _duty(day, rule)
    return f"rule `{rule.name}` says {rule.then.kind.value} {day.timed.period} after {_from(rule)}"


def _duty(day: TimedDay, rule: Rule) -> str:
    law = rule.unless[day.timed.branch].law if day.timed.branch >= 0 else rule.why.law
    which = f", exception {day.timed.branch + 1}," if day.timed.branch >= 0 else ""
    return f"rule `{rule.name}`{which} keeps it at least {day.timed.period} after {_from(rule)} ({law})"


def _from(rule: Rule) -> str:
    return start_words(rule.starting_from) if rule.starting_from else "nothing"


def _unknown(rule: Rule, record: RecordFacts) -> str:
    """Return the attributes that a rule or its exceptions ask for and that are null."""
    conditions = [rule.only_if]
    conditions += [
        b.only_if for b in rule.unless if match_condition(b.only_if, dict(record.attributes)) is not Match.NO
    ]
    asked = {a.attribute for c in conditions for a in c.asked}
    return listed([f"`{name}`" for name in sorted(asked) if record.attributes.get(name) is None])


def _others(found: Judgement, record: RecordFacts, rules: RuleSet) -> list[str]:
    lines: list[str] = []
    winner = _governing(found) if found.rule >= 0 and found.reason not in _WITHOUT_DAYS else None
    weighed = {day.timed.rule for day in found.days}
    for day in found.days:
        if day is winner:
            continue
        rule = rules.rules[day.timed.rule]
        if _is_duty(day, found):
            lines.append(f"also: {_duty(day, rule)}, {'over since' if day.passed else 'over on'} {day.due}")
        else:
            lines.append(f"also: {_words(day, rule, found)}, due {'since' if day.passed else 'on'} {day.due}")
    for index, rule in rules.rules_of(record.data_set):
        if index in weighed or index == found.rule:
            continue
        if index not in found.case.matched:
            lines.append(f"also: rule `{rule.name}` does not cover it")
        elif rule.gives_way_to:
            lines.append(f"also: rule `{rule.name}` covers it and gives way to {listed(rule.gives_way_to)}")
        else:
            lines.append(f"also: rule `{rule.name}` covers it")
    return lines
