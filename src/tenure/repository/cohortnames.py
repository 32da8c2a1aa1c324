"""Which cohorts are of some data sets: a tag does not say, so one page of each cohort is read, once in an operation."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from tenure.domain.errors import IntegrityError
from tenure.repository.model import Cohort
from tenure.repository.page import open_index
from tenure.repository.pagesahead import PagesAhead
from tenure.repository.repository import Repository
from tenure.repository.scopes import SCOPE
from tenure.repository.secrets import STRUCTURE
from tenure.repository.state import PageState

K = TypeVar("K")
Group = tuple[K, list[PageState]]
"""Pages of one writer and one cohort, under some key."""


def of_cohorts(
    repository: Repository, pages: PagesAhead, groups: Sequence[Group[K]], wanted: Callable[[Cohort], bool]
) -> list[Group[K]]:
    """Return the groups of the cohorts that are wanted, so that no other pages need to be read.

    A cohort that cannot be told, because its page is damaged, is among them: whoever reads it reports that.

    Raises:
        ObjectStoreError: A store refused.
    """
    known = repository.kept.cohorts
    unknown: dict[tuple[bytes, bytes], PageState] = {}
    for _, states in groups:
        ref = states[0].ref
        where = (ref.writer, ref.tag)
        keys = repository.keys_of(ref.writer)
        for cohort in (STRUCTURE, SCOPE):
            known[ref.writer, keys.tag(cohort)] = cohort
        if where not in known:
            unknown[where] = states[0]
    for batch in pages.batches([(where, [state.ref]) for where, state in sorted(unknown.items())]):
        for where in batch:
            with suppress(IntegrityError):
                page = pages.get(unknown[where].ref)
                known[where] = open_index(page, repository.keys_of(where[0]))[0]

    def is_wanted(states: Sequence[PageState]) -> bool:
        cohort = known.get((states[0].ref.writer, states[0].ref.tag))
        return cohort is None or wanted(cohort)

    return [group for group in groups if is_wanted(group[1])]
