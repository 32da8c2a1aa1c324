"""What changed between two rule sets, in words an officer approves or rejects."""

from collections.abc import Iterator, Mapping

from tenure.rules.model import Asked, CardRule, Condition, Rule
from tenure.rules.ruleset import Definition, RuleSet
from tenure.rules.sentence import brake_words, listed, sentence_of, start_words


def differences(old: RuleSet, new: RuleSet) -> tuple[str, ...]:
    """Return every difference, one a line; empty where the sets have the same hash."""
    lines = list(_rules(old, new))
    for name in sorted(set(old.definitions) | set(new.definitions)):
        lines += _definitions(name, old.definitions.get(name), new.definitions.get(name))
    if old.decision_version != new.decision_version:
        versions = f"{old.decision_version} -> {new.decision_version}"
        lines.append(f"the code that decides is another one: version {versions}")
    return tuple(lines)


def _rules(old: RuleSet, new: RuleSet) -> Iterator[str]:
    before, after = _by_name(old), _by_name(new)
    for name in sorted(set(before) | set(after)):
        if name not in before:
            yield f"rule `{name}` is new: {sentence_of(after[name])}"
        elif name not in after:
            yield f"rule `{name}` is gone: {sentence_of(before[name])}"
        else:
            yield from _fields(f"rule `{name}`", fields_of(before[name]), fields_of(after[name]))


def _by_name(rules: RuleSet) -> dict[str, Rule | CardRule]:
    everything: list[Rule | CardRule] = [*rules.rules, *rules.card_rules]
    return {rule.name: rule for rule in everything}


def _fields(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for key in dict.fromkeys((*before, *after)):
        if before.get(key, "") != after.get(key, ""):
            yield f"{what}, {key}: {before.get(key) or 'nothing'} -> {after.get(key) or 'nothing'}"


def fields_of(rule: Rule | CardRule) -> dict[str, str]:
    """Return what a rule says, key by key, as text; two rules that differ differ here."""
    fields = {"sentence": rule.sentence, "purpose": rule.why.purpose, "law": rule.why.law}
    fields |= {"owner": rule.why.owner, "review_by": rule.why.review_by.isoformat()}
    fields |= _timed(rule) if isinstance(rule, Rule) else _card(rule)
    fields |= {"stop_if_more_than": brake_words(rule), "approval": rule.approval.value}
    fields["examples"] = listed([_example(example) for example in rule.examples])
    return fields


def _example(example: object) -> str:
    slots = getattr(example, "__slots__", ())
    return "{" + ", ".join(f"{slot}: {getattr(example, slot)}" for slot in slots) + "}"


def _timed(rule: Rule) -> dict[str, str]:
    unless = [f"{_condition(b.only_if)}: keep at least {b.keep_at_least} ({b.law})" for b in rule.unless]
    then = [rule.then.kind.value, *rule.then.columns, *(f"{m.column}: {m.how()}" for m in rule.then.masks)]
    return {
        "data": listed(rule.data),
        "only_if": _condition(rule.only_if),
        "delete after": str(rule.delete_after or ""),
        "keep at least": str(rule.keep_at_least or ""),
        "keep without limit": "yes" if rule.keep_without_limit else "",
        "starting_from": start_words(rule.starting_from) if rule.starting_from else "",
        "unless": "; ".join(unless),
        "then": " ".join(then),
        "also_in_backups": f"within {rule.also_in_backups}" if rule.also_in_backups else "",
        "gives_way_to": listed(rule.gives_way_to),
    }


def _card(rule: CardRule) -> dict[str, str]:
    return {
        "in": listed(rule.data),
        "expected_in": listed(rule.expected_in),
        "card number": rule.truncation.value,
        "when_likely": rule.when_likely.value,
    }


def _condition(condition: Condition) -> str:
    def one(asked: Asked) -> str:
        return f"{asked.attribute}: {listed(asked.values, 'or')}"

    return ", ".join(one(asked) for asked in condition.asked)


def _definitions(name: str, old: Definition | None, new: Definition | None) -> Iterator[str]:
    if old is None or new is None:
        yield f"data set `{name}` is {'new to' if old is None else 'no longer named by'} the rules"
        return
    yield from _fields(f"catalogue, data set `{name}`", _meaning(old), _meaning(new))


def _meaning(definition: Definition) -> dict[str, str]:
    data_set = definition.data_set
    fields = {"time zone": definition.time_zone, "source": data_set.source, "kind": data_set.kind.value}
    fields |= {"table": data_set.table, "files": data_set.files, "sidecar": data_set.sidecar}
    fields["key"] = ", ".join(data_set.key)
    fields |= {f"subject {kind}": reference for kind, reference in data_set.subjects.items()}
    fields |= {f"starting point {word}": reference for word, reference in data_set.starting_points.items()}
    fields |= {f"attribute {word}": reference for word, reference in data_set.attributes.items()}
    fields |= {f"column {c}": ", ".join(sorted(k)) or "plain" for c, k in data_set.columns.items()}
    for link in data_set.links:
        by = f"{', '.join(link.by)} -> {', '.join(link.columns) or 'its key'} ({link.orphan.value})"
        fields[f"link to {link.to} by {', '.join(link.by)}"] = by
    return fields
