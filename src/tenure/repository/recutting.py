"""Cuts card data that was answered for, or that nobody answered for in time, out of rows in quarantine."""

from tenure.cards.quarantine import Answers, TableAnswers
from tenure.cards.redact import Keep
from tenure.cards.rows import Cells, RowsPlan, redact_rows
from tenure.domain.errors import UnsupportedFormatError
from tenure.repository import rows
from tenure.repository.scopes import Recut
from tenure.sources.base import RowLayout


def recut_rows(text: bytes, data_set: str, layout: RowLayout, key: bytes, recut: Recut) -> bytes:
    """Return a chunk of rows without the card data that `recut` names; the rows stay, in their order.

    `key`: the 32 bytes that findings are named by (`SourceKeys.finding`).

    Raises:
        TamperedError: Not row text.
        UnsupportedFormatError: It is to be cut in a way that this version does not know.
    """
    columns = (*layout.columns, *layout.linked)
    try:
        keep = Keep(recut.keep)
    except ValueError:
        raise UnsupportedFormatError(
            f"a purge cuts card data so as to {recut.keep!r}, which this version does not know"
        ) from None
    plan = RowsPlan(
        cells=tuple(range(layout.key_cells, len(columns))),
        written=Cells.CLASSED,
        number=keep,
        waits=TableAnswers(
            answers=Answers(key=key, today="", cut=recut.findings), data_set=data_set, columns=columns
        ),
    )
    batch = rows.batch_of(text)
    return bytes(redact_rows(batch.text, batch.offsets, plan).text)
