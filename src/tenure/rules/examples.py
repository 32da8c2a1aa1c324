"""Examples that stand in rules: whether the rule decides them as it says, and whether they would notice a slip."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tenure.rules.holds import Holds
from tenure.rules.judge import Judgement, RecordFacts, judge
from tenure.rules.model import CardRule, Example, Rule, Unit
from tenure.rules.outcomes import Outcome
from tenure.rules.periods import zone
from tenure.rules.ruleset import RuleSet

Redactor = Callable[[str, CardRule], str]
"""Returns a text as a card rule leaves it."""

_ANOTHER = ""  # a value no rule asks for; see conditions.py


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleResult:
    """How one example of a rule came out. `number` counts from 1 in the rule's file."""

    rule: str
    number: int
    passed: bool
    said: str  # expected and decided, in words; for a text: never the text

    def __str__(self) -> str:
        """Return one line to print."""
        return f"{'ok  ' if self.passed else 'FAIL'} {self.rule} example {self.number}: {self.said}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """A change of a rule by one day (or hour) that none of its examples notices."""

    rule: str
    said: str


def run_examples(rules: RuleSet, redactor: Redactor) -> tuple[ExampleResult, ...]:
    """Return the result of every example of every rule, each rule judged alone."""
    results: list[ExampleResult] = []
    for rule in rules.rules:
        results += [_run(rules, rule, n, example) for n, example in enumerate(rule.examples, 1)]
    for card_rule in rules.card_rules:
        results += _run_texts(card_rule, redactor)
    return tuple(results)


def _run(rules: RuleSet, rule: Rule, number: int, example: Example) -> ExampleResult:
    decided = {d: decided_example(rules, rule, example, d) for d in example.data}
    wrong = [d for d, found in decided.items() if _word(found, rule) != example.expect]
    which = wrong[0] if wrong else example.data[0]
    said = f"expected {example.expect}, decided {_said(decided[which], rule)}"
    if wrong:
        said += f" for {which}"
    return ExampleResult(rule=rule.name, number=number, passed=not wrong, said=said)


def decided_example(rules: RuleSet, rule: Rule, example: Example, data_set: str) -> Judgement:
    """Return what a rule alone decides of its example, in the time zone of the data set."""
    time_zone = rules.time_zone_of(data_set)
    conditions = (rule.only_if, *(branch.only_if for branch in rule.unless))
    attributes: dict[str, str | None] = {part.attribute: _ANOTHER for c in conditions for part in c.asked}
    attributes |= dict(example.attributes)
    record = RecordFacts(
        data_set=data_set,
        key=b"",
        subjects={},
        starting={name: datetime.fromisoformat(text) for name, text in example.starting},
        attributes=attributes,
    )
    at = datetime.fromisoformat(example.as_of).replace(tzinfo=zone(time_zone))
    return judge(record, replace(rules, rules=(rule,), card_rules=()), Holds(), at, time_zone)


def _word(found: Judgement, rule: Rule) -> str:
    return rule.then.kind.value if found.outcome in {Outcome.DELETE, Outcome.EDIT} else "keep"


def _said(found: Judgement, rule: Rule) -> str:
    why = found.reason.name.lower().replace("_", " ")
    which = f" (exception {found.branch + 1})" if found.branch >= 0 else ""
    due = f", due {found.due}" if found.due else ""
    return f"{_word(found, rule)}: {why}{which}{due}"


def _run_texts(rule: CardRule, redactor: Redactor) -> list[ExampleResult]:
    results: list[ExampleResult] = []
    for number, example in enumerate(rule.examples, 1):
        expected = example.text if example.expect == "unchanged" else example.expect
        passed = redactor(example.text, rule) == expected
        # the text may hold a card number, so a failure names the example and shows none of it
        said = "the text came out as expected" if passed else "the text came out otherwise than expected"
        results.append(ExampleResult(rule=rule.name, number=number, passed=passed, said=said))
    return results


def unnoticed_slips(rules: RuleSet) -> tuple[Slip, ...]:
    """Return the rules whose examples do not pin their line: shifted by a day either way, none of them breaks.

    Rules in hours are shifted by an hour. Only rules with a limit have a line.
    """
    slips: list[Slip] = []
    for rule in rules.rules:
        if rule.delete_after is None:
            continue
        unit = "hour" if rule.delete_after.unit is Unit.HOURS else "day"
        step = timedelta(hours=1) if unit == "hour" else timedelta(days=1)
        acted = rule.then.kind.value
        if not _breaks(rules, rule, step):
            slips.append(Slip(rule=rule.name, said=f"no example with `expect: keep` on the last {unit}"))
        if not _breaks(rules, rule, -step):
            slips.append(
                Slip(rule=rule.name, said=f"no example with `expect: {acted}` on the first {unit} it is due")
            )
    return tuple(slips)


def _breaks(rules: RuleSet, rule: Rule, step: timedelta) -> bool:
    shifted: Sequence[Example] = [_shifted(example, step) for example in rule.examples]
    return any(not _run(rules, rule, 0, example).passed for example in shifted)


def _shifted(example: Example, step: timedelta) -> Example:
    return replace(example, as_of=(datetime.fromisoformat(example.as_of) + step).isoformat())
