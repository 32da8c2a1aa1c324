"""One document of a rule file to one rule, typed and checked against the catalogue's words."""

from dataclasses import dataclass

from tenure.rules.form import Form
from tenure.rules.model import (
    Branch,
    CardRule,
    Condition,
    Example,
    Period,
    Rule,
    TextExample,
    Truncation,
    Unit,
    WhenLikely,
)
from tenure.rules.nodes import Fields, Items, Node
from tenure.rules.parts import (
    AskedValue,
    Reading,
    read_approval,
    read_brake,
    read_condition,
    read_data,
    read_language,
    read_name,
    read_start,
    read_then,
    read_why,
)
from tenure.rules.periods import may_exceed
from tenure.rules.problems import Place

_HEAD = ("language", "rule", "sentence", "why")
_TAIL = ("stop_if_more_than", "approval", "examples")
_LIMITS = ("delete after", "keep at least", "keep without limit")
_TIMED = ("data", "only_if", *_LIMITS, "starting_from", "unless", "then", "also_in_backups", "gives_way_to")
RULE_KEYS = (*_HEAD, *_TIMED, *_TAIL)
CARD_KEYS = (*_HEAD, "find", "in", "expected_in", "then", "when_likely", *_TAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A rule and where its words stand."""

    rule: Rule | CardRule
    place: Place
    sentence_place: Place
    gives_way_place: Place
    asked: tuple[AskedValue, ...] = ()


def read_rule(node: Node, reading: Reading) -> Written:
    """Return the rule of a document; what cannot be read is noted as a problem and left at its default."""
    is_card = isinstance(node, Fields) and any(key.value == "find" for key, _ in node.fields)
    keys = CARD_KEYS if is_card else RULE_KEYS
    form = Form(node, reading.problems, what="a rule", keys=keys)
    read_language(form)
    form.need("rule", "sentence", "why", "examples")
    rule, asked = (_read_card_rule(form, reading), ()) if is_card else _read_timed_rule(form, reading)
    return Written(
        rule=rule,
        place=form.place_of("rule"),
        sentence_place=form.place_of("sentence"),
        gives_way_place=form.place_of("gives_way_to"),
        asked=asked,
    )


def _read_timed_rule(form: Form, reading: Reading) -> tuple[Rule, tuple[AskedValue, ...]]:
    form.need("data")
    data = read_data(form, "data", reading)
    condition, asked = read_condition(form, "only_if", data, reading)
    branches, branch_asked = _read_branches(form, data, reading)
    rule = Rule(
        name=read_name(form),
        sentence=form.text("sentence") or "",
        why=read_why(form, reading),
        data=data,
        only_if=condition,
        delete_after=form.period("delete after"),
        keep_at_least=form.period("keep at least"),
        keep_without_limit=form.word("keep without limit", ["yes"]) is not None,
        starting_from=read_start(form, data, reading),
        unless=branches,
        then=read_then(form, data, reading),
        also_in_backups=_read_backups(form),
        gives_way_to=tuple(sorted(t.value for t in form.texts("gives_way_to"))),
        stop_if_more_than=read_brake(form, reading),
        approval=read_approval(form),
        examples=_read_examples(form, data, reading),
    )
    _check_limits(form, rule)
    _check_examples(form, rule)
    return rule, (*asked, *branch_asked)


def _read_backups(form: Form) -> Period | None:
    period = form.within("also_in_backups")
    if period is not None and period.unit is Unit.HOURS:
        form.refuse("also_in_backups", "`also_in_backups` is counted in days at least")
    return period


def _read_branches(
    form: Form, data: tuple[str, ...], reading: Reading
) -> tuple[tuple[Branch, ...], tuple[AskedValue, ...]]:
    node = form.node("unless")
    if node is None:
        return (), ()
    if not isinstance(node, Items) or not node.items:
        form.refuse("unless", "`unless` must be a list; begin each exception with `-`")
        return (), ()
    branches: list[Branch] = []
    asked: list[AskedValue] = []
    for item in node.items:
        inner = Form(item, reading.problems, what="an exception", keys=("only_if", "keep at least", "law"))
        inner.need("only_if", "keep at least", "law")
        condition, values = read_condition(inner, "only_if", data, reading)
        period, law = inner.period("keep at least"), inner.text("law")
        asked += values
        if period is not None:
            branches.append(Branch(only_if=condition, keep_at_least=period, law=law or ""))
    return tuple(branches), tuple(asked)


def _check_limits(form: Form, rule: Rule) -> None:
    """Refuse rules that say nothing, or contradict themselves."""
    if not any(key in form for key in _LIMITS):
        form.refuse("rule", "a rule must say `delete after`, `keep at least` or `keep without limit`")
    if "keep without limit" in form:
        for key in ("delete after", "keep at least", "starting_from", "unless", "then", "also_in_backups"):
            if key in form:
                form.refuse(key, f"`{key}` says nothing beside `keep without limit`; leave one of them out")
        return
    form.need("starting_from")
    if "delete after" not in form:
        for key in ("then", "unless", "also_in_backups", "stop_if_more_than"):
            if key in form:
                form.refuse(key, f"`{key}` needs `delete after`")
    duty, limit = rule.keep_at_least, rule.delete_after
    if duty and limit and may_exceed(duty, limit):
        form.refuse("keep at least", f"`keep at least: {duty}` is longer than `delete after: {limit}`")


def _read_examples(form: Form, data: tuple[str, ...], reading: Reading) -> tuple[Example, ...]:
    examples = [_read_example(node, data, reading) for node in _example_nodes(form)]
    return tuple(example for example in examples if example is not None)


def _example_nodes(form: Form) -> tuple[Node, ...]:
    node = form.node("examples")
    if node is None:
        return ()
    if not isinstance(node, Items):
        form.refuse("examples", "`examples` must be a list; begin each with `-`")
        return ()
    return node.items


def _read_example(node: Node, data: tuple[str, ...], reading: Reading) -> Example | None:
    known = [reading.words.data_sets[d] for d in data if d in reading.words.data_sets]
    starts = sorted({name for words in known for name in words.starting_points})
    attributes = sorted({name for words in known for name in words.attributes})
    form = Form(
        node, reading.problems, what="an example", keys=("data", "as of", "expect", *starts, *attributes)
    )
    form.need("as of", "expect")
    named = read_data(form, "data", reading)
    for name in set(named) - set(data):
        form.refuse("data", f"this rule says nothing about data set `{name}`")
    as_of, expect = form.moment("as of"), form.word("expect", ["keep", "delete", "blank", "mask"])
    starting = [(key, form.moment(key)) for key in starts if key in form]
    texts = [(key, form.text(key)) for key in attributes if key in form]
    if as_of is None or expect is None:
        return None
    return Example(
        data=named or data,
        attributes=tuple((key, text) for key, text in texts if text is not None),
        starting=tuple((key, moment) for key, moment in starting if moment is not None),
        as_of=as_of,
        expect=expect,
    )


def matches(condition: Condition, attributes: dict[str, str]) -> bool:
    """Whether these attributes satisfy a condition; what is not named does not."""
    return all(attributes.get(asked.attribute) in asked.values for asked in condition.asked)


def _check_examples(form: Form, rule: Rule) -> None:
    """Ask for an example of each outcome, exceptions included."""
    if "examples" not in form:
        return
    acted = rule.then.kind.value
    for example in rule.examples:
        if example.expect not in {"keep", acted} or (example.expect != "keep" and not rule.delete_after):
            form.refuse("examples", f"an example expects `{example.expect}`, which this rule never does")
    base = [e for e in rule.examples if matches(rule.only_if, dict(e.attributes))]
    plain = [e for e in base if not any(matches(b.only_if, dict(e.attributes)) for b in rule.unless)]
    if not any(e.expect == "keep" for e in plain):
        form.refuse(
            "examples", "no example of a record that the rule covers and that is kept (`expect: keep`)"
        )
    if rule.delete_after and not any(e.expect == acted for e in base):
        form.refuse("examples", f"no example of a record that is due (`expect: {acted}`)")
    for number, branch in enumerate(rule.unless, 1):
        if not any(e.expect == "keep" and matches(branch.only_if, dict(e.attributes)) for e in base):
            form.refuse("examples", f"no example of a record that exception {number} of `unless` keeps")


def _read_card_rule(form: Form, reading: Reading) -> CardRule:
    form.need("in", "then")
    form.word("find", ["card numbers"])
    truncation = Truncation.KEEP_LAST_4
    then = form.node("then")
    if then is not None:
        inner = Form(then, reading.problems, what="`then`", keys=("card number", "security code"))
        inner.need("card number", "security code")
        text = inner.word("card number", [t.value for t in Truncation])
        inner.word("security code", ["remove"])
        truncation = Truncation(text) if text else truncation
    form.word("when_likely", [w.value for w in WhenLikely])
    rule = CardRule(
        name=read_name(form),
        sentence=form.text("sentence") or "",
        why=read_why(form, reading),
        data=read_data(form, "in", reading),
        expected_in=read_data(form, "expected_in", reading, may_be_empty="expected nowhere"),
        truncation=truncation,
        stop_if_more_than=read_brake(form, reading),
        approval=read_approval(form),
        examples=_read_text_examples(form, reading),
    )
    if "examples" in form and not any(e.expect == "unchanged" for e in rule.examples):
        form.refuse("examples", "no example of a text that stays as it is (`expect: unchanged`)")
    if "examples" in form and all(e.expect == "unchanged" for e in rule.examples):
        form.refuse("examples", "no example of a text in which something is found")
    return rule


def _read_text_examples(form: Form, reading: Reading) -> tuple[TextExample, ...]:
    examples: list[TextExample] = []
    for node in _example_nodes(form):
        inner = Form(node, reading.problems, what="an example", keys=("text", "expect"))
        inner.need("text", "expect")
        text, expect = inner.text("text"), inner.text("expect")
        if text is not None and expect is not None:
            examples.append(TextExample(text=text, expect=expect))
    return tuple(examples)
