"""Many requests under way at once: what does not wait for another's answer need not stand in line behind it."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 64
"""Results that may wait to be taken: enough to keep every thread of a pool busy while one answer is looked at."""

PAGES_AHEAD = 8
"""Key pages that are under way while one is taken in, some 800 KB each."""


def each(
    executor: Executor | None, work: Callable[[T], R], items: Iterable[T], *, ahead: int = AHEAD
) -> Generator[R, None, None]:
    """Yield what `work` makes of each item, in their order, some of them ahead; None: one after the other.

    An error comes where its item stands. Nothing is under way any more when this ends, however it ends.
    """
    if executor is None:
        yield from map(work, items)
        return
    flying: deque[Future[R]] = deque()
    try:
        for item in items:
            flying.append(executor.submit(work, item))
            if len(flying) >= ahead:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()
    finally:
        for job in flying:
            job.cancel()
        wait(flying)


def all_of(executor: Executor | None, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Do all of it, and return what it came to, in the order of the items.

    Raises:
        BaseException: The first item's that failed; what was under way beside it has ended.
    """
    return list(each(executor, work, items))
