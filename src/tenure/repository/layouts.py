"""How a table's lines were laid out and its subjects found, as it stands in every companion.

With it a chunk can be taken apart long after the snapshot that wrote it was pruned: forgetting walks pages and
needs no manifest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from tenure.domain.catalogue import DataSet, DataSetKind
from tenure.domain.errors import TamperedError
from tenure.repository import wire
from tenure.repository.wire import Wire
from tenure.sources.base import RowLayout


class _LayoutWire(Wire, frozen=True, kw_only=True):
    columns: tuple[str, ...]
    key_cells: int
    linked: tuple[str, ...]
    subjects: dict[str, str]
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expressions:
    """A layout, the references that subjects were taken from, and the source's time zone."""

    layout: RowLayout
    subjects: Mapping[str, str]
    zone: str

    def data_set(self, name: str) -> DataSet:
        """Return just enough of a catalogue entry to derive subjects from lines."""
        return DataSet(name=name, source="", kind=DataSetKind.TABLE, subjects=self.subjects)


def encode(expressions: Expressions) -> bytes:
    """Return the bytes that stand in a companion."""
    layout = expressions.layout
    return wire.encode(
        _LayoutWire(
            columns=layout.columns,
            key_cells=layout.key_cells,
            linked=layout.linked,
            subjects=dict(sorted(expressions.subjects.items())),
            zone=expressions.zone,
        )
    )


@lru_cache(maxsize=64)  # all companions of a table say the same
def decode(raw: bytes) -> Expressions:
    """Return what `encode` was given.

    Raises:
        TamperedError: Its columns and its key do not fit.
        UnsupportedFormatError: Of a form that this version does not know.
    """
    found = wire.decode(raw, _LayoutWire, what="the layout in a companion")
    if not 0 < found.key_cells <= len(found.columns):
        raise TamperedError(
            f"the layout in a companion has {len(found.columns)} columns and a key of {found.key_cells}"
        )
    layout = RowLayout(columns=found.columns, key_cells=found.key_cells, linked=found.linked)
    return Expressions(layout=layout, subjects=found.subjects, zone=found.zone)
