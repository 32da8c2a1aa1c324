"""The parts that rules are made of, read from their mappings: why, conditions, starting points, actions, brakes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from tenure.rules.form import Form, texts_of
from tenure.rules.model import (
    Action,
    ActionKind,
    Approval,
    Asked,
    Brake,
    Condition,
    Mask,
    MaskKind,
    Start,
    Why,
)
from tenure.rules.nodes import Fields, Node, Text
from tenure.rules.problems import Place, Problems, did_you_mean
from tenure.rules.words import Words

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")
_COUNT = re.compile(r"0|[1-9][0-9]{0,11}")
_MASK_FIRST = re.compile(r"mask first ([1-9][0-9]?)")
_KEEP_LAST = re.compile(r"keep last ([1-9][0-9]?)")
_KEEP_BOTH = re.compile(r"keep first ([1-9][0-9]?) and last ([1-9][0-9]?)")
_NOBODY = Why(purpose="", law="", owner="", review_by=date.min)  # stands in while problems are gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedValue:
    """A value that a condition asks for, and where it was written."""

    data: tuple[str, ...]
    attribute: str
    value: str
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What every part needs to be read: where problems go, and the words the catalogue knows."""

    problems: Problems
    words: Words


def read_name(form: Form) -> str:
    """Return the rule's name."""
    name = form.text("rule") or ""
    if name and not _NAME.fullmatch(name):
        form.refuse("rule", f"`{name}` is no name for a rule; use small letters, digits and `-`")
    return name


def read_language(form: Form) -> None:
    """Refuse a file in another version of the language."""
    text = form.text("language")
    if text is not None and text != "1":
        form.refuse("language", f"language `{text}` is not known; this version reads `language: 1`")


def read_why(form: Form, reading: Reading) -> Why:
    """Return purpose, law, owner and date of review; all four are asked for."""
    node = form.node("why")
    if node is None:
        return _NOBODY
    why = Form(node, reading.problems, what="`why`", keys=("purpose", "law", "owner", "review_by"))
    why.need("purpose", "law", "owner", "review_by")
    return Why(
        purpose=why.text("purpose") or "",
        law=why.text("law") or "",
        owner=why.text("owner") or "",
        review_by=why.day("review_by") or _NOBODY.review_by,
    )


def read_data(form: Form, key: str, reading: Reading, *, may_be_empty: str = "") -> tuple[str, ...]:
    """Return names of data sets, in the order they were written (sentences name them so)."""
    texts = form.texts(key, may_be_empty=may_be_empty)
    for text in texts:
        wrong = reading.words.missing_data_set(text.value)
        if wrong:
            reading.problems.add(text.place, wrong)
    return tuple(text.value for text in texts)


def read_condition(
    form: Form, key: str, data: tuple[str, ...], reading: Reading
) -> tuple[Condition, tuple[AskedValue, ...]]:
    """Return a condition, attributes sorted, and its values with their places."""
    node = form.node(key)
    if node is None:
        return Condition(), ()
    if not isinstance(node, Fields):
        form.refuse(key, f"`{key}` must be written as `{{attribute: value}}`")
        return Condition(), ()
    if not node.fields:
        form.refuse(key, f"`{key}` asks for nothing; leave it out")
    asked: list[Asked] = []
    values: list[AskedValue] = []
    for attribute, value in node.fields:
        wrong = reading.words.missing("attribute", attribute.value, data)
        if wrong:
            reading.problems.add(attribute.place, wrong)
        texts = texts_of(value, attribute.value, reading.problems)
        if not texts:
            reading.problems.add(attribute.place, f"`{attribute.value}` asks for no value")
        asked.append(Asked(attribute=attribute.value, values=tuple(t.value for t in texts)))
        values += [
            AskedValue(data=data, attribute=attribute.value, value=t.value, place=t.place) for t in texts
        ]
    return Condition(asked=tuple(sorted(asked, key=lambda a: a.attribute))), tuple(values)


def read_start(form: Form, data: tuple[str, ...], reading: Reading) -> Start | None:
    """Return `starting_from`: a name, or ``{latest of: [...]}``."""
    node = form.node("starting_from")
    if node is None:
        return None
    if isinstance(node, Fields):
        inner = Form(node, reading.problems, what="`starting_from`", keys=("latest of",))
        inner.need("latest of")
        texts = inner.texts("latest of")
        if len(texts) == 1:
            inner.refuse("latest of", "`latest of` needs two starting points at least")
    else:
        text = form.text("starting_from")
        texts = (Text(place=node.place, value=text),) if text else ()
    for text_node in texts:
        wrong = reading.words.missing("starting point", text_node.value, data)
        if wrong:
            reading.problems.add(text_node.place, wrong)
    return Start(names=tuple(sorted(t.value for t in texts))) if texts else None


def read_then(form: Form, data: tuple[str, ...], reading: Reading) -> Action:
    """Return `then`: delete (also where nothing is said), blank or mask."""
    node = form.node("then")
    if node is None:
        return Action()
    if not isinstance(node, Fields):
        form.word("then", ["delete", "{blank: [columns]}", "{mask: {column: how}}"])
        return Action()
    inner = Form(node, reading.problems, what="`then`", keys=("blank", "mask"))
    if len(inner.keys()) != 1:
        form.refuse("then", "`then` must say one thing: `delete`, `{blank: [...]}` or `{mask: {...}}`")
        return Action()
    if "blank" in inner:
        columns = inner.texts("blank")
        _check_columns(columns, data, reading)
        return Action(kind=ActionKind.BLANK, columns=tuple(c.value for c in columns))
    return Action(kind=ActionKind.MASK, masks=_read_masks(inner.node("mask"), data, reading))


def _check_columns(columns: Iterable[Text], data: tuple[str, ...], reading: Reading) -> None:
    for column in columns:
        wrong = reading.words.missing("column", column.value, data)
        if wrong:
            reading.problems.add(column.place, wrong)


def _read_masks(node: Node | None, data: tuple[str, ...], reading: Reading) -> tuple[Mask, ...]:
    if not isinstance(node, Fields) or not node.fields:
        if node is not None:
            reading.problems.add(node.place, "`mask` must say how for each column: `{phone: mask first 5}`")
        return ()
    _check_columns([column for column, _ in node.fields], data, reading)
    masks = [_read_mask(column.value, how, reading.problems) for column, how in node.fields]
    return tuple(mask for mask in masks if mask is not None)


def _read_mask(column: str, how: Node, problems: Problems) -> Mask | None:
    text = how.value.strip() if isinstance(how, Text) else ""
    if match := _MASK_FIRST.fullmatch(text):
        return Mask(column=column, kind=MaskKind.MASK_FIRST, first=int(match[1]))
    if match := _KEEP_LAST.fullmatch(text):
        return Mask(column=column, kind=MaskKind.KEEP_LAST, last=int(match[1]))
    if match := _KEEP_BOTH.fullmatch(text):
        return Mask(column=column, kind=MaskKind.KEEP_FIRST_AND_LAST, first=int(match[1]), last=int(match[2]))
    if text in {"hash", "tokenise", "tokenize", "encrypt"}:
        why = f"`{text}` only pseudonymises: what it leaves is still personal (GDPR Art. 4(5))"
        problems.add(how.place, f"{why}; use `keep last 4` or `mask first 5`")
        return None
    known = ["mask first 5", "keep last 4", "keep first 6 and last 4"]
    problems.add(how.place, f"`{column}` cannot be masked by `{text}`{did_you_mean(text, known)}")
    return None


def read_brake(form: Form, reading: Reading) -> Brake | None:
    """Return `stop_if_more_than`: a number of records, a percentage, or both."""
    node = form.node("stop_if_more_than")
    if node is None:
        return None
    inner = Form(node, reading.problems, what="`stop_if_more_than`", keys=("records", "percent"))
    if isinstance(node, Fields) and not inner.keys():
        form.refuse("stop_if_more_than", "`stop_if_more_than` sets no limit; give `records` or `percent`")
    records, percent = inner.text("records"), inner.text("percent")
    if records is not None and not _COUNT.fullmatch(records):
        inner.refuse("records", f"`records` cannot be `{records}`; write a whole number such as `5000`")
        records = None
    if percent is not None and not (_PERCENT.fullmatch(percent) and float(percent) <= 100):
        inner.refuse("percent", f"`percent` cannot be `{percent}`; write a number from 0 to 100")
        percent = None
    return Brake(
        records=int(records) if records is not None else None,
        percent=float(percent) if percent is not None else None,
    )


def read_approval(form: Form) -> Approval:
    """Return how often somebody has to agree; `once` where nothing is said."""
    text = form.word("approval", [a.value for a in Approval])
    return Approval(text) if text else Approval.ONCE
