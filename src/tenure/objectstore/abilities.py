"""What a bucket does with objects beside storing them: what a repository must know before it trusts one."""

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Protocol, cast

from tenure.objectstore.base import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a store says of itself. None: it would not tell.

    `versions`: it keeps what is deleted or overwritten. `locks`: objects can be locked. `default_lock`: every object
    is, for so long. `ends_old_days`, `ends_days`: its lifecycle deletes old versions, or current objects, so many days
    after they became that; `moves_days`: it moves them to where they cannot be read at once. `copied_to`: where copies
    of what is put go. `untold`: what it would not tell, and why.
    """

    versions: bool | None = None
    locks: bool | None = None
    default_lock: timedelta | None = None
    ends_old_days: int | None = None
    ends_days: int | None = None
    moves_days: int | None = None
    copied_to: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()

    def in_words(self) -> dict[str, str]:
        """Return it as plain text by name, what is not set left out: for the marker, and to compare."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: _word(value) for name, value in found.items() if value not in (None, ())}


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, timedelta):
        return f"{value.total_seconds() / 86_400:g} days"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


class TellingStore(ObjectStore, Protocol):
    """A store that can be asked about itself."""

    def abilities(self) -> Abilities:
        """Return what it says.

        Raises:
            StoreUnavailableError: It did not answer; retryable.
        """
        ...

    def left_of(self, name: str) -> int:
        """Return how many versions of a name are left, whether deleted or not.

        Raises:
            StoreUnavailableError: It did not answer; retryable.
            StoreDeniedError: It refused.
        """
        ...


def telling(store: ObjectStore) -> TellingStore | None:
    """Return a store as one that tells about itself, wrappers around it taken off; None for a folder."""
    while hasattr(store, "inner"):
        store = store.inner
    return cast(TellingStore, store) if hasattr(store, "abilities") else None
