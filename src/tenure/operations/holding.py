"""Place, list and release holds: entries of the ledger, mirrored in the control database for reminders."""

from dataclasses import dataclass
from datetime import date

from tenure.control.mirrors import Holds as Mirror
from tenure.control.mirrors import MirroredHold
from tenure.domain.errors import ConfigError
from tenure.operations.inforce import open_scope, place_hold, release_hold
from tenure.operations.installation import Installation
from tenure.rules.holds import Hold, HoldScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A hold to place."""

    matter: str
    reason: str
    review_by: date
    scope: HoldScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A hold to show. `covers` counts and names no person; `released`: the reason, or ""."""

    hold: str
    matter: str
    reason: str
    covers: str
    placed_by: str
    review_by: date
    released: str


def place(installation: Installation, asked: Asked) -> str:
    """Place a hold and return its id; purge and prune honour it from now on.

    Raises:
        ConfigError: It covers a data set or a kind of subject that nobody knows.
        KeyMismatchError: This process was not given the purge key.
    """
    _check(installation, asked.scope)
    repository = installation.open_reading()
    hold = Hold(
        matter=asked.matter,
        reason=asked.reason,
        placed_by=installation.officer,
        review_by=asked.review_by,
        scope=asked.scope,
    )
    placed = place_hold(repository, hold)
    number = repository.state.number
    Mirror(installation.control).mirror(
        MirroredHold(number=number, matter=asked.matter, review_by=asked.review_by)
    )
    _log(installation, placed, "placed", {"matter": asked.matter, "covers": covers(asked.scope)})
    return placed


def release(installation: Installation, word: str, *, reason: str) -> str:
    """Release a hold that is named by the beginning of its id, and return the whole id.

    Raises:
        ConfigError: None, or more than one, is in force under this name; or there is no reason.
    """
    if not reason.strip():
        raise ConfigError("a release needs a reason", hint="say it with --reason")
    repository = installation.open_reading()
    found = [i for i, h in repository.state.holds.items() if i.startswith(word) and not h.released]
    if len(found) != 1:
        raise ConfigError(
            f"{len(found) or 'no'} holds in force begin with {word!r}", hint="`tenure hold list` shows them"
        )
    matter = repository.state.holds[found[0]].matter
    release_hold(repository, found[0], reason=reason)
    now = installation.clock.now()
    mirror = Mirror(installation.control)
    for known in mirror.in_force():
        if known.matter == matter:
            mirror.mirror(
                MirroredHold(number=known.number, matter=matter, review_by=known.review_by, released=now)
            )
    _log(installation, found[0], "released", {"matter": matter, "reason": reason})
    return found[0]


def listed(installation: Installation, *, released: bool) -> list[Listed]:
    """Return the holds in force, and the released ones where asked."""
    repository = installation.open_reading()
    key = repository.secrets.fingerprint
    return [
        Listed(
            hold=hold_id,
            matter=h.matter,
            reason=h.reason,
            covers=covers(open_scope(h.scope, key)),
            placed_by=h.placed_by,
            review_by=date.fromisoformat(h.review_by),
            released=h.released,
        )
        for hold_id, h in sorted(repository.state.holds.items(), key=lambda pair: pair[1].review_by)
        if released or not h.released
    ]


def covers(scope: HoldScope) -> str:
    """Return what a hold covers, in words that name no person."""
    if scope.everything:
        return "everything"
    parts = list(scope.data_sets)
    parts += [f"{len(ids)} {kind}" + ("s" if len(ids) > 1 else "") for kind, ids in scope.subjects.items()]
    parts += [f"records of {name}" for name in scope.keys]
    return ", ".join(parts)


def _check(installation: Installation, scope: HoldScope) -> None:
    sets = installation.catalogue.data_sets()
    for name in (*scope.data_sets, *scope.keys):
        if name not in sets:
            raise ConfigError(f"there is no data set {name!r}", hint=f"there are: {', '.join(sorted(sets))}")
    kinds = {kind for d in sets.values() for kind in d.subjects}
    for kind in scope.subjects:
        if kind not in kinds:
            known = ", ".join(sorted(kinds))
            raise ConfigError(f"no data set has a subject of kind {kind!r}", hint=f"there are: {known}")


def _log(installation: Installation, hold: str, outcome: str, details: dict[str, str]) -> None:
    installation.evidence.log.append(
        "hold",
        who=installation.officer,
        at=installation.clock.now(),
        subject_of_entry=f"hold {hold}",
        outcome=outcome,
        details=details,
    )
