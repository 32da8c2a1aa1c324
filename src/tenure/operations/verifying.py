"""Verification: what anyone can check without keys, then structure, then a share of the data with the reading key."""

from dataclasses import dataclass

from tenure.domain.errors import ConfigError, IntegrityError, TenureError
from tenure.operations.installation import Installation
from tenure.repository import names, verify
from tenure.repository.entries import PageRef
from tenure.repository.keystores import KeyStores
from tenure.repository.verify import Damage, Verification

DEFAULT_SHARE = 0.05
"""Share of all chunks that is unsealed where nobody says how much; taken evenly over every cohort."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How deep to look. `share`: of the chunks to unseal, 0 to 1; `keys`: whether keys are used at all."""

    share: float = DEFAULT_SHARE
    keys: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found. `plain`: without keys; `sealed`: with them, None where they were not asked for.

    `mendable`: every finding is a key page that another key store still has whole.
    """

    plain: Verification
    sealed: Verification | None
    mendable: bool

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


def verified(installation: Installation, depth: Depth) -> Verified:
    """Look at everything to this depth; the result stands in evidence.

    Raises:
        KeyProviderError: The reading key was asked for and is not here.
        ObjectStoreError: A store cannot be reached at all.
    """
    place, progress = installation.where(), installation.progress
    plain = verify.without_keys(place.objects, place.key_stores, installation.pins.purge_key, progress)
    sealed, mendable = None, False
    if depth.keys:
        sealed, mendable = _with_keys(installation, depth, plain)
    found = Verified(plain=plain, sealed=sealed, mendable=mendable)
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


def _with_keys(installation: Installation, depth: Depth, plain: Verification) -> tuple[Verification, bool]:
    """Verify with keys; a repository that cannot even be opened is a finding, since the rest was looked at."""
    try:
        repository = installation.open_reading()
    except IntegrityError as e:
        return Verification(damage=[Damage(what=str(e), where=names.LEDGER)]), False
    found = verify.with_keys(repository, share=depth.share, progress=installation.progress)
    damage = [*plain.damage, *found.damage]
    if not all(names.PAGES in d.where for d in damage):
        return found, False
    stores = repository.place.key_stores
    return found, all(_is_whole(stores, page.ref) for page in repository.state.pages.values())


def _is_whole(stores: KeyStores, page: PageRef) -> bool:
    try:
        stores.get(page)
    except TenureError:
        return False
    return True
