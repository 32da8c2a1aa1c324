"""The words a rule may use: data sets, their starting points, attributes and columns, as the catalogue has them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tenure.domain.catalogue import Catalogue, ColumnClass
from tenure.rules.problems import did_you_mean

Observed = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Values seen in the data: data set -> attribute -> value -> number of records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetWords:
    """What may be said of one data set."""

    name: str
    starting_points: tuple[str, ...]
    attributes: tuple[str, ...]
    columns: tuple[str, ...]
    subjects: tuple[str, ...]
    personal: tuple[str, ...]  # columns the law cares about


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What may be said of an installation."""

    data_sets: Mapping[str, DataSetWords]

    def missing_data_set(self, name: str) -> str:
        """Return why this name is no data set, with what was probably meant; empty if it is one."""
        if name in self.data_sets:
            return ""
        return f"there is no data set `{name}`{did_you_mean(name, self.data_sets)}"

    def missing(self, kind: str, word: str, data_sets: Iterable[str]) -> str:
        """Return why not every one of these data sets has the word, else empty.

        `kind` is ``starting point``, ``attribute`` or ``column``; data sets that do not exist are passed over.
        """
        for name in data_sets:
            words = self.data_sets.get(name)
            if words is None:
                continue
            known = _known(words, kind)
            if word not in known:
                return f"data set `{name}` has no {kind} `{word}`{did_you_mean(word, known)}"
        return ""


def _known(words: DataSetWords, kind: str) -> tuple[str, ...]:
    known = {
        "starting point": words.starting_points,
        "attribute": words.attributes,
        "column": words.columns,
    }
    return known[kind]


def words_of(catalogue: Catalogue) -> Words:
    """Return what rules may say for a catalogue."""
    harmless: frozenset[ColumnClass] = frozenset()
    return Words(
        data_sets={
            name: DataSetWords(
                name=name,
                starting_points=tuple(sorted(d.starting_points)),
                attributes=tuple(sorted(d.attributes)),
                columns=tuple(sorted(d.columns)),
                subjects=tuple(sorted(d.subjects)),
                personal=tuple(sorted(c for c, classes in d.columns.items() if classes != harmless)),
            )
            for name, d in sorted(catalogue.data_sets().items())
        }
    )


def words_in_lines(words: Words, observed: Observed | None = None) -> tuple[str, ...]:
    """Return the words as lines to print; with `observed`, the values of every attribute and their counts."""
    lines: list[str] = []
    for name, data_set in words.data_sets.items():
        lines.append(f"data: {name}")
        lines.append(f"  starting_from: {', '.join(data_set.starting_points) or 'nothing'}")
        counts = (observed or {}).get(name, {})
        lines += [f"  only_if: {a}{_values(counts.get(a))}" for a in data_set.attributes]
        lines.append(f"  columns: {', '.join(data_set.columns) or 'none'}")
    return tuple(lines)


def _values(counts: Mapping[str, int] | None) -> str:
    if not counts:
        return ""
    shown = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:20]
    rest = f" and {len(counts) - 20} more" if len(counts) > 20 else ""
    return ": " + ", ".join(f"{value} ({count:,})" for value, count in shown) + rest
