"""What becomes of keys that services keep, once no epoch in use was wrapped with them: when they end, each attested.

A key that a service keeps cannot be destroyed here, only there. Until it is, a copy of an old key page opens with it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from tenure.domain.errors import KeyProviderError
from tenure.keys.base import ServiceKey
from tenure.keys.local import PROVIDER
from tenure.keys.services import Way
from tenure.operations.installation import Installation
from tenure.repository.founding import service_key
from tenure.repository.state import State

KIND = "key-destruction"
"""Kind of the evidence that says when a service destroys a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An old key of a service. `at`: when it is destroyed, None while nothing says that; `why`: what it waits for."""

    key: ServiceKey
    at: datetime | None = None
    why: str = ""


def retire(installation: Installation, state: State) -> tuple[Ended, ...]:
    """Have the keys destroyed that closed epochs leave behind, where settings say so; return what became of each.

    What a service refuses is told and not raised: the rotation itself is done, and a later one tries again.
    """
    attested = _attested(installation)
    ended = []
    for key, in_use in _old_keys(state):
        if in_use:
            ended.append(Ended(key=key, why="the open epoch uses it too"))
            continue
        way = installation.key_services.way_to(key)
        one = _by_way(installation, state, way, key) if way is not None else _from_evidence(attested, key)
        if one.at is not None and attested.get(str(key)) != one.at and way is not None:
            _attest(installation, one)
        ended.append(one)
    return tuple(ended)


def is_due(installation: Installation, state: State) -> bool:
    """Whether a key could be destroyed now that settings want destroyed: a rotation was cut short before it."""
    return any(_is_due(installation, key) for key, in_use in _old_keys(state) if not in_use)


def _is_due(installation: Installation, key: ServiceKey) -> bool:
    way = installation.key_services.way_to(key)
    if way is None or not way.retire or str(key) in _attested(installation):
        return False
    try:
        return installation.key_services.service(way).ends(key, now=installation.clock.now()) is None
    except KeyProviderError:
        return False  # this process may not look, so it could not destroy either


def _old_keys(state: State) -> Iterator[tuple[ServiceKey, bool]]:
    """Yield the keys of services that closed epochs were wrapped with, and whether an epoch that is not still is."""
    keys = {True: dict[ServiceKey, None](), False: dict[ServiceKey, None]()}
    for _, epoch in sorted(state.epochs.items()):
        for recipient in epoch.opened.recipients:
            if recipient.provider != PROVIDER:
                keys[epoch.state == "closed"][service_key(recipient)] = None
    for key in keys[True]:
        yield key, key in keys[False]


def _by_way(installation: Installation, state: State, way: Way, key: ServiceKey) -> Ended:
    """Ask the service; have it destroy the key where settings say so."""
    now = installation.clock.now()
    kept = [
        found
        for _, epoch in sorted(state.epochs.items())
        if epoch.state != "closed"
        for found in (service_key(r) for r in epoch.opened.recipients if r.provider != PROVIDER)
        if way.covers(found)
    ]
    service = installation.key_services.service(way)
    try:
        at = service.ends(key, now=now)
        if at is None and way.retire:
            # The oldest one in use: an epoch that is not closed yet needs its own version too.
            at = service.destroy(key, kept=kept[0] if kept else None, now=now)
    except KeyProviderError as e:
        return Ended(key=key, why=str(e))
    return Ended(key=key, at=at, why="" if at else "its address in `key_services` does not say retire=yes")


def _from_evidence(attested: Mapping[str, datetime], key: ServiceKey) -> Ended:
    at = attested.get(str(key))
    return Ended(
        key=key, at=at, why="" if at else "`key_services` names it no more, and nothing attests its end"
    )


def _attested(installation: Installation) -> dict[str, datetime]:
    return {
        entry.object: datetime.fromisoformat(str(entry.details["destroyed_at"]))
        for entry in installation.evidence.log.entries(kind=KIND)
    }


def _attest(installation: Installation, ended: Ended) -> None:
    now = installation.clock.now()
    at = ended.at or now
    installation.evidence.log.append(
        KIND,
        who=installation.officer,
        at=now,
        subject_of_entry=str(ended.key),
        outcome="done" if at <= now else "scheduled",
        details={"destroyed_at": at.isoformat()},
    )
