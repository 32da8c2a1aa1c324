"""Text of databases that keep it as UTF-16, by its code units: halves of surrogate pairs that stand alone, too.

SQLite hands text out as UTF-8, and joins a half with whatever stands next to it on the way. So cells of such a database
are read as bytes and decoded here. In row text a half stands as its three bytes of generalised UTF-8 (WTF-8), which
makes an `OddText` of the cell when it is read back.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from tenure.domain.errors import IntegrityError
from tenure.sources.rowtext import OddText

_CODECS = {"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}
MOST_COLUMNS = 2000  # of a result; SQLITE_MAX_COLUMN, its default


class Utf16Text(bytes):
    """Text as UTF-16 code units in the database's own byte order. To be bound as ``CAST(substr(?, 1) AS TEXT)``.

    A bare ``CAST(? AS TEXT)`` takes a bound blob for UTF-8 whatever the database's encoding is; the result of a
    function is taken as the documentation of CAST says.
    """

    __slots__ = ()


def reads(cells: Sequence[str], encoding: str) -> list[str]:
    """Return what to select instead of these cells; `columns` puts the result right."""
    if not _is_split(cells, encoding):
        return list(cells)
    return [
        part for c in cells for part in (f"iif(typeof({c}) = 'text', CAST({c} AS BLOB), {c})", f"typeof({c})")
    ]


def columns(cells: Sequence[str], found: Sequence[Sequence[Any]], encoding: str) -> list[Sequence[Any]]:
    """Return the columns of `cells` from rows of what `reads` said to select; halves of pairs are lone surrogates.

    Raises:
        IntegrityError: A text of the database is not a whole number of code units.
    """
    columns_ = list(zip(*found, strict=True))
    if not _is_split(cells, encoding):
        return list(columns_)
    codec = _CODECS[encoding]
    return [_column(columns_[i], columns_[i + 1], codec) for i in range(0, len(columns_), 2)]


def bound(values: Iterable[Any], encoding: str) -> tuple[Any, ...]:
    """Return values as they are to be bound in a database of this encoding.

    Raises:
        IntegrityError: Text that no database of this encoding can hold.
    """
    codec = _CODECS.get(encoding)
    if codec is None:
        return tuple(values)
    return tuple(_units(v, codec) if isinstance(v, OddText) else v for v in values)


def _is_split(cells: Sequence[str], encoding: str) -> bool:
    return encoding in _CODECS and 2 * len(cells) <= MOST_COLUMNS


def _column(values: Sequence[Any], kinds: Sequence[str], codec: str) -> Sequence[Any]:
    if "text" not in kinds:
        return values
    try:
        return [
            v.decode(codec, "surrogatepass") if kind == "text" else v
            for v, kind in zip(values, kinds, strict=True)
        ]
    except UnicodeDecodeError as e:
        raise IntegrityError("a text of the database is not a whole number of UTF-16 code units") from e


def _units(text: OddText, codec: str) -> Utf16Text:
    try:
        return Utf16Text(text.decode("utf-8", "surrogatepass").encode(codec, "surrogatepass"))
    except UnicodeDecodeError as e:
        raise IntegrityError(
            "a text cannot be kept in a UTF-16 database: it is no sequence of code units"
        ) from e
