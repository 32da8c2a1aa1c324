"""What is where: sources, data sets, keys, subjects, starting points and links, as engineers declare them.

Rules speak in the catalogue's names; sources and the repository turn them into columns. A *reference* is the
name of a column of the data set itself (``customer_id``), of a field of a recording's sidecar
(``sidecar.customer_id``), or of a column of a data set reached by one link (``cases.customer_id``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class DataSetKind(StrEnum):
    """A table of rows, or a set of recordings."""

    TABLE = "table"
    RECORDINGS = "recordings"


class SourceKind(StrEnum):
    """Which adapter reads a source."""

    SQLITE = "sqlite"
    FOLDER = "folder"


class ColumnClass(StrEnum):
    """What a column holds, as far as the law cares."""

    PERSONAL = "personal"
    CARD = "card"
    HEALTH = "health"
    BIOMETRIC = "biometric"
    FREE_TEXT = "free text"


class Orphan(StrEnum):
    """What becomes of a child whose parent falls, where no rule names the child."""

    REFUSE = "refuse"  # an error before the first row
    CASCADE = "cascade"  # the child falls too
    DETACH = "detach"  # the child's reference is blanked
    STUB = "stub"  # the parent stays as key only, its personal columns blanked


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A reference from this data set (the child) to the key of another (the parent)."""

    to: str  # name of the parent data set, in this source or another
    by: tuple[str, ...]  # this data set's references, in the order of `columns`
    columns: tuple[str, ...]  # the parent's columns; empty: its key
    orphan: Orphan = Orphan.STUB


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A table or a set of recordings in a source."""

    name: str
    source: str
    kind: DataSetKind
    table: str = ""  # tables: its name in the database
    files: str = ""  # recordings: a glob below the folder
    sidecar: str = ""  # recordings: "{stem}.json"; empty: none
    key: tuple[str, ...] = ()  # columns; empty: primary key, or rowid; recordings: the path
    subjects: Mapping[str, str] = field(default_factory=dict)  # "customer" -> reference
    starting_points: Mapping[str, str] = field(default_factory=dict)  # "account closed" -> reference
    attributes: Mapping[str, str] = field(default_factory=dict)  # "country" -> reference
    columns: Mapping[str, frozenset[ColumnClass]] = field(default_factory=dict)
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is read: one database or one folder."""

    name: str
    kind: SourceKind
    path: str
    time_zone: str = "UTC"  # IANA name; periods are counted in it
    data_sets: Mapping[str, DataSet] = field(default_factory=dict)
    also_held_in: tuple[str, ...] = ()  # copies outside Tenure's reach, told in every certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All sources of an installation. Data-set names are unique across sources."""

    sources: Mapping[str, Source]

    def data_sets(self) -> Mapping[str, DataSet]:
        """Return every data set by name."""
        return {name: d for s in self.sources.values() for name, d in s.data_sets.items()}
