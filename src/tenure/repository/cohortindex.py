"""What the live pages of one cohort say together: where its chunks lie, and which were forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass

from tenure.repository.model import ChunkRef
from tenure.repository.page import Array
from tenure.repository.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A forgotten chunk: by which ledger entry, what stands for it, how many records that lacks."""

    number: int
    replacement: ChunkRef | None
    lacks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortIndex:
    """All live pages of one cohort. `forgotten_at`: number of the judging that took it whole, 0 for none.

    `damaged`: what is wrong with pages that cannot be read; what the others hold is read all the same.
    """

    places: Places
    gone: dict[ChunkRef, Gone]
    forgotten_at: int = 0
    damaged: tuple[str, ...] = ()


def gone_in(left: Array) -> Iterator[tuple[ChunkRef, Gone]]:
    """Yield what a page says of forgotten chunks (`page.GONE`)."""
    for chunk_id, inc, rid, rinc, number, lacks, _ in left.tolist():
        replacement = None if not any(rid) else ChunkRef(rid, rinc)
        yield ChunkRef(chunk_id, inc), Gone(number=number, replacement=replacement, lacks=lacks)
