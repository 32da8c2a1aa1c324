"""Facts of recordings: from fields of their sidecars, from their paths, and from rows of another source."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from tenure.domain.catalogue import DataSet, Link
from tenure.domain.errors import ConfigError, SchemaDriftError
from tenure.rules.facts import Facts
from tenure.sources.base import Lookups, Recording, RowLayout
from tenure.sources.rowtext import encode_column, fact_plan, facts_of_cells, plain_text

_SIDECAR = "sidecar."


def _name(recording: Recording) -> bytes:
    return recording.path.rpartition(b"/")[2]


def _stem(recording: Recording) -> bytes:
    stem, dot, _ = _name(recording).rpartition(b".")
    return stem if dot and stem else _name(recording)


_OF_FILE: Mapping[str, Callable[[Recording], Any]] = {
    "path": lambda r: bytearray(r.path),
    "name": lambda r: bytearray(_name(r)),
    "stem": lambda r: bytearray(_stem(r)),
    "folder": lambda r: bytearray(r.path.rpartition(b"/")[0]),
    "modified": lambda r: r.mtime_ns // 1_000_000_000,
}
"""References that need no sidecar; `modified` is in Unix seconds. bytearray: text as bytes, see rowtext."""


def read_sidecar(text: bytes | None) -> Mapping[str, Any] | None:
    """Return a sidecar's fields; None where there is none or it is no JSON object."""
    if text is None:
        return None
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _field(sidecar: Mapping[str, Any] | None, dotted: str) -> Any:
    """Return a field as a cell's value; what is no plain value is unknown."""
    value: Any = sidecar
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, (str, int, float)) else None


class RecordingFacts:
    """Makes facts of recordings of one data set."""

    def __init__(self, data_set: DataSet, zone: str, lookups: Lookups) -> None:
        """Check that every reference can be followed.

        Raises:
            SchemaDriftError: A reference is neither of the file, its sidecar nor a link.
            ConfigError: A link leads to a data set that nobody looks up.
        """
        named = (
            *data_set.subjects.values(),
            *data_set.starting_points.values(),
            *data_set.attributes.values(),
        )
        self._references = tuple(dict.fromkeys(named))
        self._data_set, self._lookups = data_set, lookups
        self._layout = RowLayout(columns=self._references, key_cells=0)
        self._plan = fact_plan(self._layout, data_set, zone)
        self._links = {r: self._link(r) for r in self._references if not self._own(r)}

    @property
    def are_settled(self) -> bool:
        """Whether a recording that has a starting point has the same facts for as long as its files stay as they are.

        Not so where another source's rows are looked up; nor where a starting point is known without the sidecar, which
        may be one that nobody can read: that is reported each time.
        """
        starting = self._data_set.starting_points.values()
        return not self._links and (
            not self._data_set.sidecar or all(r.startswith(_SIDECAR) for r in starting)
        )

    @staticmethod
    def _own(reference: str) -> bool:
        return reference in _OF_FILE or reference.startswith(_SIDECAR)

    def _link(self, reference: str) -> Link:
        parent = reference.partition(".")[0]
        link = next((n for n in self._data_set.links if n.to == parent), None)
        if link is None or not all(map(self._own, link.by)):
            raise SchemaDriftError(
                f"data set {self._data_set.name}: nothing is known of the reference {reference}",
                hint="use sidecar.FIELD, path, name, stem, folder, modified, or declare a link by one of them",
            )
        if parent not in self._lookups:
            raise ConfigError(
                f"data set {self._data_set.name} takes facts from {parent}, which is not at hand",
                hint="put both sources into one group, the database first",
            )
        return link

    def of(self, recordings: Sequence[Recording]) -> Facts:
        """Return the facts of n recordings."""
        sidecars = [read_sidecar(r.sidecar) for r in recordings]
        columns: dict[str, Any] = {}

        def own(reference: str) -> Any:
            if reference in _OF_FILE:
                return encode_column([_OF_FILE[reference](r) for r in recordings])
            return encode_column([_field(s, reference.removeprefix(_SIDECAR)) for s in sidecars])

        for reference in self._references:
            if reference not in self._links:
                columns[reference] = own(reference)
        for link in dict.fromkeys(self._links.values()):
            asked = [r for r, n in self._links.items() if n == link]
            given = [plain_text(own(by)).to_pylist() for by in link.by]
            keys = list(zip(*given, strict=True))
            found = self._lookups[link.to]([r.partition(".")[2] for r in asked], link.columns, keys)
            columns |= {r: found[r.partition(".")[2]] for r in asked}
        keys_column = pa.array([r.path for r in recordings], pa.large_binary())
        cells = {i: columns[r] for i, r in enumerate(self._references)}
        return facts_of_cells(self._plan, keys_column, cells)
