"""YAML text to nodes that know their file and line, every scalar as the text that was written.

YAML's own typing is never used: it turns `NO` into false, `0123` into 83 and `12:30` into 750, and each of these
could widen a deletion. Anchors, aliases, tags, merge keys and duplicate keys are refused: what a reader sees is
what counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from tenure.rules.problems import Place, Problems

if TYPE_CHECKING:
    from yaml.events import Event

MAX_DEPTH = 16  # rules need 4; a file of brackets must not exhaust the stack

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A scalar, as written."""

    place: Place
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list."""

    place: Place
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """A mapping; keys are unique."""

    place: Place
    fields: tuple[tuple[Text, "Node"], ...]


Node = Text | Items | Fields


def read_documents(file: str, text: str, problems: Problems) -> tuple[Node, ...]:
    """Return the documents of a file; empty ones are left out, and a broken rest is noted as a problem."""
    reader = _Reader(file, problems)
    documents: list[Node] = []
    try:
        events = iter(yaml.parse(text, Loader=_LOADER))
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                node = reader.node(next(events), events, 0)
                if node is not None and not (isinstance(node, Text) and not node.value):
                    documents.append(node)
    except _TooDeepError as error:
        problems.add(error.place, "this is nested more deeply than any rule needs")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problems.add(Place(file=file, line=line), f"this is no YAML: {error.problem or error.context}")
    except (yaml.YAMLError, UnicodeError):
        problems.add(Place(file=file, line=1), "this is no text: it holds characters YAML does not allow")
    return tuple(documents)


class _TooDeepError(Exception):
    """A file of brackets; caught where it is read, because nothing after it can be told apart."""

    def __init__(self, place: Place) -> None:
        """Keep where the reader gave up."""
        super().__init__(f"{place.file}:{place.line}")
        self.place = place


class _Reader:
    """Builds nodes from the parser's events; events, because only they tell of anchors and tags."""

    def __init__(self, file: str, problems: Problems) -> None:
        self._file = file
        self._problems = problems

    def _place(self, event: "Event") -> Place:
        mark = event.start_mark
        return Place(file=self._file, line=mark.line + 1 if mark else 1)

    def node(self, event: "Event", events: Iterator["Event"], depth: int) -> Node | None:
        """Return the node that begins with `event`; None where it was refused."""
        place = self._place(event)
        if depth > MAX_DEPTH:
            raise _TooDeepError(place)
        if isinstance(event, yaml.AliasEvent):
            self._problems.add(place, f"`*{event.anchor}` stands for another place; write it out")
            return None
        if isinstance(event, yaml.NodeEvent) and event.anchor:
            self._problems.add(place, f"anchors are not allowed; leave `&{event.anchor}` out")
        if getattr(event, "tag", None):
            self._problems.add(place, "tags are not allowed; leave what begins with `!` out")
        if isinstance(event, yaml.ScalarEvent):
            return Text(place=place, value=event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._items(place, events, depth)
        return self._fields(place, events, depth)

    def _items(self, place: Place, events: Iterator["Event"], depth: int) -> Items:
        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            node = self.node(event, events, depth + 1)
            if node is not None:
                items.append(node)
        return Items(place=place, items=tuple(items))

    def _fields(self, place: Place, events: Iterator["Event"], depth: int) -> Fields:
        fields: dict[str, tuple[Text, Node]] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self.node(event, events, depth + 1)
            value = self.node(next(events), events, depth + 1)
            if not isinstance(key, Text):
                self._problems.add(self._place(event), "a key must be plain text")
            elif key.value == "<<":
                self._problems.add(key.place, "`<<` merges other text in here; write it out")
            elif key.value in fields:
                first = fields[key.value][0].place.line
                self._problems.add(key.place, f"`{key.value}` was already said on line {first}")
            elif value is not None:
                fields[key.value] = (key, value)
        return Fields(place=place, fields=tuple(fields.values()))
