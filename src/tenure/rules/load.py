"""Rule files to a rule set: everything is read, every problem of every file is told at once, or nothing is used."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from tenure.domain.catalogue import Catalogue, ColumnClass
from tenure.domain.errors import RuleError
from tenure.rules.model import CardRule, Condition, MaskKind, Period, Rule
from tenure.rules.nodes import read_documents
from tenure.rules.parse import Written, read_rule
from tenure.rules.parts import AskedValue, Reading
from tenure.rules.periods import may_exceed
from tenure.rules.problems import Place, Problem, Problems, did_you_mean
from tenure.rules.ruleset import RuleSet, rule_set_of
from tenure.rules.sentence import says_the_same, sentence_of
from tenure.rules.words import Observed, words_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A rule set and where the values of its conditions were written, for `unmatched_values`."""

    rules: RuleSet
    asked: tuple[AskedValue, ...] = ()


def load_folder(folder: Path, catalogue: Catalogue) -> Loaded:
    """Return the proposed rules of a folder: every ``*.yaml`` in it.

    Raises:
        RuleError: There is no rule file, one cannot be read, or the rules have problems (all of them are told).
    """
    try:
        files = {f"{folder.name}/{path.name}": path.read_bytes() for path in rule_files(folder)}
    except OSError as error:
        raise RuleError(f"the rule files in {folder} cannot be read: {error.strerror}") from error
    if not files:
        raise RuleError(
            f"there is no rule file in {folder}", hint="`tenure init` writes a first set of rules"
        )
    return load(files, catalogue)


def rule_files(folder: Path) -> list[Path]:
    """Return the rule files of a folder, sorted; empty where there is none.

    Raises:
        RuleError: The folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in {".yaml", ".yml"})
    except OSError as error:
        raise RuleError(f"the rule files in {folder} cannot be read: {error.strerror}") from error


def load(files: Mapping[str, bytes], catalogue: Catalogue) -> Loaded:
    """Return the rules of these files (name to content), checked against the catalogue and each other.

    Raises:
        RuleError: Something is wrong; the message holds all problems, one ``file:line: what`` a line.
    """
    problems = Problems()
    reading = Reading(problems=problems, words=words_of(catalogue))
    written: list[Written] = []
    for name, content in sorted(files.items()):
        written += _read_file(name, content, reading)
    _check_names(written, problems)
    problems.stop_if_any()  # what follows compares whole rules and would only echo what is already told
    timed = [(w, w.rule) for w in written if isinstance(w.rule, Rule)]
    _check_sentences(written, problems)
    _check_giving_way(timed, problems)
    _check_clashes(timed, problems)
    _check_truncation(written, catalogue, problems)
    problems.stop_if_any()
    cards = [w.rule for w in written if isinstance(w.rule, CardRule)]
    rules = rule_set_of([rule for _, rule in timed], cards, catalogue)
    return Loaded(rules=rules, asked=tuple(value for w in written for value in w.asked))


def _read_file(name: str, content: bytes, reading: Reading) -> Iterator[Written]:
    head = Place(file=name, line=1)
    if not name.endswith(".yaml"):
        reading.problems.add(head, "rule files end in `.yaml`; rename this one")
        return
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        reading.problems.add(Place(file=name, line=line), "this is no UTF-8 text; save the file as UTF-8")
        return
    before = len(reading.problems)
    documents = read_documents(name, text, reading.problems)
    if not documents:
        if len(reading.problems) == before:
            reading.problems.add(head, "this file holds no rule; write one or remove the file")
        return
    first = documents[0]
    if not any(key.value == "language" for key, _ in getattr(first, "fields", ())):
        reading.problems.add(first.place, "the file does not begin with `language: 1`")
    for document in documents:
        yield read_rule(document, reading)


def _check_names(written: Sequence[Written], problems: Problems) -> None:
    seen: dict[str, Place] = {}
    for one in written:
        name = one.rule.name
        if name and name in seen:
            first = seen[name]
            problems.add(one.place, f"rule `{name}` was already written in {first.file}:{first.line}")
        seen.setdefault(name, one.place)


def _check_sentences(written: Sequence[Written], problems: Problems) -> None:
    for one in written:
        generated = sentence_of(one.rule)
        if not says_the_same(one.rule.sentence, generated):
            what = "the sentence does not say what the rule does; if the rule is right, write: "
            problems.add(one.sentence_place, f"{what}{generated}")


def _check_giving_way(timed: Sequence[tuple[Written, Rule]], problems: Problems) -> None:
    way = {rule.name: rule.gives_way_to for _, rule in timed}
    for one, rule in timed:
        for name in rule.gives_way_to:
            if name not in way:
                hint = did_you_mean(name, set(way) - {rule.name})
                problems.add(one.gives_way_place, f"there is no rule `{name}` to give way to{hint}")
        if _leads_back(rule.name, way):
            problems.add(one.gives_way_place, f"`{rule.name}` gives way to rules that give way to it")


def _leads_back(name: str, way: Mapping[str, tuple[str, ...]]) -> bool:
    seen: set[str] = set()
    ahead = list(way[name])
    while ahead:
        following = ahead.pop()
        if following == name:
            return True
        if following not in seen:
            seen.add(following)
            ahead += way.get(following, ())
    return False


def _check_clashes(timed: Sequence[tuple[Written, Rule]], problems: Problems) -> None:
    """Refuse a duty that can outlast another rule's limit on the same record, unless one gives way."""
    for (one, left), (two, right) in combinations(timed, 2):
        if left.name in right.gives_way_to or right.name in left.gives_way_to:
            continue
        for where, limiting, keeping in ((one, left, right), (two, right, left)):
            duty = _clash(limiting, keeping)
            if duty:
                what = f"`{limiting.name}` deletes after {limiting.delete_after} what `{keeping.name}` {duty}"
                say = f"say `gives_way_to: {keeping.name}` here, or ask for other records"
                problems.add(where.place, f"{what}; {say}")


def _clash(limiting: Rule, keeping: Rule) -> str:
    """Return the duty of `keeping` that can outlast the limit of `limiting`, in words; empty if none can."""
    limit = limiting.delete_after
    if limit is None or not set(limiting.data) & set(keeping.data):
        return ""
    if not _may_both_hold([limiting.only_if, keeping.only_if]):
        return ""
    if keeping.keep_without_limit:
        return "keeps without limit"
    duties: list[tuple[Period | None, list[Condition]]] = [(keeping.keep_at_least, [])]
    duties += [(branch.keep_at_least, [branch.only_if]) for branch in keeping.unless]
    for duty, conditions in duties:
        outlasts = duty and (limiting.starting_from != keeping.starting_from or may_exceed(duty, limit))
        if outlasts and _may_both_hold([limiting.only_if, keeping.only_if, *conditions]):
            return f"keeps at least {duty}"
    return ""


def _may_both_hold(conditions: Sequence[Condition]) -> bool:
    """Whether some record can satisfy all these conditions."""
    values: dict[str, set[str]] = {}
    for condition in conditions:
        for asked in condition.asked:
            known = values.setdefault(asked.attribute, set(asked.values))
            known &= set(asked.values)
    return all(values.values())


def _check_truncation(written: Sequence[Written], catalogue: Catalogue, problems: Problems) -> None:
    """Refuse a second way to cut card numbers: two of them together give the number back (PCI DSS 3.5.1)."""
    data_sets = catalogue.data_sets()
    formats: list[tuple[str, Written]] = []
    for one in written:
        if isinstance(one.rule, CardRule):
            formats.append((one.rule.truncation.value, one))
            continue
        for mask in one.rule.then.masks:
            classes = [data_sets[d].columns.get(mask.column, frozenset()) for d in one.rule.data]
            if any(ColumnClass.CARD in found for found in classes):
                allowed = mask.kind is not MaskKind.MASK_FIRST and (mask.first, mask.last) in {(0, 4), (6, 4)}
                if allowed:
                    formats.append((mask.how(), one))
                else:
                    hint = "use `keep last 4` or `keep first 6 and last 4`"
                    problems.add(
                        one.place, f"`{mask.how()}` leaves too much of card column `{mask.column}`; {hint}"
                    )
    for how, one in formats[1:]:
        if how != formats[0][0]:
            first = f"rule `{formats[0][1].rule.name}` says `{formats[0][0]}`"
            problems.add(one.place, f"`{how}` is a second way to cut card numbers; {first}, use one for all")


def unmatched_values(loaded: Loaded, observed: Observed) -> tuple[Problem, ...]:
    """Return a problem for every value of a condition that no record has: a queue that was renamed, a typing slip.

    `observed` counts values by data set and attribute; data sets that are not in it are passed over.
    """
    problems = Problems()
    for asked in loaded.asked:
        for data_set in asked.data:
            if data_set not in observed:
                continue
            counts = observed[data_set].get(asked.attribute, {})
            if not counts.get(asked.value):
                hint = did_you_mean(asked.value, counts)
                what = f"no record of `{data_set}` has {asked.attribute} `{asked.value}`{hint}"
                problems.add(asked.place, what)
    return problems.found()


def uncovered_data_sets(rules: RuleSet, catalogue: Catalogue) -> tuple[str, ...]:
    """Return the data sets with columns of a class, or with subjects, that no rule about time names."""
    named = {name for rule in rules.rules for name in rule.data}
    personal = {name for name, d in catalogue.data_sets().items() if d.subjects or any(d.columns.values())}
    return tuple(sorted(personal - named))
