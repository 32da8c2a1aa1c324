"""Verification: what anyone can check without keys, then structure, then data with the reading key.

Data is read back what was looked at longest ago first, as much as was asked for or as time allows; the control
database knows where the last run stopped.
"""

from dataclasses import dataclass
from datetime import timedelta

from tenure.control.checks import Checks
from tenure.domain.errors import ConfigError, IntegrityError, TenureError
from tenure.operations import proven
from tenure.operations.installation import Installation
from tenure.repository import names, verify
from tenure.repository.entries import PageRef
from tenure.repository.keystores import KeyStores
from tenure.repository.readback import Reading
from tenure.repository.verify import Damage, Verification

DEFAULT_SHARE = 0.05
"""Share of stored bytes that is read back where nobody says how much: twenty runs come round to all of it."""


ALL = 1.0

_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How deep to look. `share`: of stored bytes to read back, 0 to 1; `time`: to do it in; `keys`: whether to at all."""

    share: float = DEFAULT_SHARE
    keys: bool = True
    time: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found. `plain`: without keys; `sealed`: with them, None where they were not asked for.

    `mendable`: every finding is a key page that another key store still has whole. `snapshots`: numbers of those that
    are verified now, by this run and by others before.
    """

    plain: Verification
    sealed: Verification | None
    mendable: bool
    snapshots: frozenset[int] = frozenset()

    @property
    def damage(self) -> list[Damage]:
        """Return every finding once; where both passes met one, with the snapshots it touches."""
        found = [*(self.sealed.damage if self.sealed else ()), *self.plain.damage]
        return list({(d.what, d.where): d for d in reversed(found)}.values())[::-1]

    @property
    def exit_code(self) -> int:
        """Return 0 for sound, 3 for what a prune mends, otherwise that of `IntegrityError`."""
        if not self.damage:
            return 0
        return 3 if self.mendable else IntegrityError.exit_code


def share_of(words: str) -> float:
    """Return the share that ``5%`` stands for.

    Raises:
        ConfigError: It is no percentage of 0 to 100.
    """
    try:
        share = float(words.strip().removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f"{words!r} is no share of the data", hint="write a percentage: --read-data 10%")
    return share


def time_of(words: str) -> timedelta:
    """Return the time that ``90s``, ``30m`` or ``2h`` stands for.

    Raises:
        ConfigError: It is no such time.
    """
    number, unit = words.strip()[:-1], words.strip()[-1:]
    try:
        seconds = float(number) * _UNITS[unit]
        found = timedelta(seconds=seconds)
    except (ValueError, KeyError, OverflowError):
        found = timedelta(0)
    if found <= timedelta(0):
        raise ConfigError(f"{words!r} is no time to read in", hint="write it like 90s, 30m or 2h")
    return found


def verified(installation: Installation, depth: Depth) -> Verified:
    """Look at everything to this depth; the result stands in evidence.

    Raises:
        KeyProviderError: The reading key was asked for and is not here.
        ObjectStoreError: A store cannot be reached at all.
    """
    place, progress = installation.where(), installation.progress
    plain = verify.without_keys(place.objects, place.key_stores, installation.pins.purge_key, progress)
    found = Verified(plain=plain, sealed=None, mendable=False)
    if depth.keys:
        found = _with_keys(installation, depth, plain)
    sealed = found.sealed
    installation.evidence.log.append(
        "verification",
        who=installation.officer,
        at=installation.clock.now(),
        subject_of_entry="repository",
        outcome="sound" if not found.damage else "damage found",
        details={
            "findings": len(found.damage),
            "packs": plain.packs,
            "chunks_unsealed": sealed.chunks if sealed else 0,
            "with_keys": depth.keys,
        },
    )
    return found


def _with_keys(installation: Installation, depth: Depth, plain: Verification) -> Verified:
    """Verify with keys; a repository that cannot even be opened is a finding, since the rest was looked at."""
    try:
        repository = installation.open_reading()
    except IntegrityError as e:
        damage = [Damage(what=str(e), where=names.LEDGER)]
        return Verified(plain=plain, sealed=Verification(damage=damage), mendable=False)
    found = verify.with_keys(
        repository, reading=_reading(installation, depth), progress=installation.progress
    )
    state = repository.state
    Checks(installation.control).drop_others({page.ref.tag for page in state.pages.values()})
    stores = repository.place.key_stores
    only_pages = all(names.PAGES in d.where for d in [*plain.damage, *found.damage])
    return Verified(
        plain=plain,
        sealed=found,
        mendable=only_pages and all(_is_whole(stores, page.ref) for page in state.pages.values()),
        snapshots=proven.verified(installation, state),
    )


def _reading(installation: Installation, depth: Depth) -> Reading:
    checks, clock = Checks(installation.control), installation.clock
    until = None if depth.time is None else clock.now() + depth.time
    return Reading(
        share=depth.share,
        is_over=lambda: until is not None and clock.now() >= until,
        checks=checks.all(),
        save=checks.save,
        executor=installation.executor,
    )


def _is_whole(stores: KeyStores, page: PageRef) -> bool:
    try:
        stores.get(page)
    except TenureError:
        return False
    return True
