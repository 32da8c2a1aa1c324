"""Which snapshots stay: so many of each period, never fewer than so many that were read back whole, and a brake.

All is decided on the times the store stamped the commits with: the clock of a machine that takes snapshots may be wrong.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tenure.domain.errors import BrakePulledError
from tenure.repository.state import SnapshotState, State

_NO_POLICIES: Mapping[str, "KeepPolicy"] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepPolicy:
    """How many snapshots of a source stay: the newest `last`, and the newest of each of so many periods, UTC.

    `verified`: of those that stay, at least so many were read back whole, whatever the periods say; while there are
    fewer, none goes.
    """

    last: int = 3
    hourly: int = 0
    daily: int = 7
    weekly: int = 5
    monthly: int = 12
    yearly: int = 3
    verified: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneBrake:
    """Stops a prune that would take more of a source's snapshots than `percent`, and more than `least`."""

    percent: float = 50
    least: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What an installation keeps. `policy`: of sources that have none of their own in `sources`."""

    policy: KeepPolicy = field(default_factory=KeepPolicy)
    sources: Mapping[str, KeepPolicy] = field(default_factory=dict)
    brake: PruneBrake = field(default_factory=PruneBrake)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """Which snapshots go and which stay, each with its reason; good for one use at ledger number `head`.

    `going`: source -> (how many go, how many there are).
    """

    head: int
    drop: tuple[tuple[int, str], ...]
    keep: tuple[tuple[int, str], ...]
    going: Mapping[str, tuple[int, int]]

    def check(self, brake: PruneBrake, *, confirmed: int | None = None) -> None:
        """Refuse a plan that takes too much at once, unless somebody said how many snapshots are meant.

        Raises:
            BrakePulledError: More goes than the brake lets, or another number than was confirmed.
        """
        if confirmed is not None and confirmed != len(self.drop):
            raise BrakePulledError(
                f"{len(self.drop)} snapshots would go, not the {confirmed} that were confirmed; nothing was dropped",
                hint="look at `tenure prune --plan` again",
            )
        for source, (going, there) in self.going.items():
            if confirmed is None and going > max(brake.least, there * brake.percent / 100):
                raise BrakePulledError(
                    f"{going} of the {there} snapshots of {source} would go at once; nothing was dropped",
                    hint=f"look at `tenure prune --plan`; if that is meant, run `tenure prune --drop {len(self.drop)}`",
                )


def plan_prune(
    state: State,
    policy: KeepPolicy,
    *,
    source: str | None = None,
    sources: Mapping[str, KeepPolicy] = _NO_POLICIES,
    verified: Collection[int] = (),
) -> PrunePlan:
    """Decide which snapshots go: pure.

    The newest snapshot of every source always stays; while a hold is in force, all do.

    Args:
        state: The ledger's.
        policy: Of sources that have none of their own.
        source: Plan for this one only.
        sources: Source -> its own policy.
        verified: Numbers of snapshots that were read back whole.
    """
    held = [h for h in state.holds.values() if not h.released]
    keep: list[tuple[int, str]] = []
    drop: list[tuple[int, str]] = []
    going: dict[str, tuple[int, int]] = {}
    for name in sorted({s.entry.source for s in state.snapshots.values()} if source is None else {source}):
        snapshots = state.snapshots_of(name)[::-1]
        if held:
            reasons = dict.fromkeys(range(len(snapshots)), f"hold {held[0].matter!r}")
        else:
            reasons = _reasons(snapshots, sources.get(name, policy), verified)
        keep += [(snapshots[i].number, reason) for i, reason in reasons.items()]
        lost = [s.number for i, s in enumerate(snapshots) if i not in reasons]
        drop += [(number, "no period keeps it") for number in lost]
        going[name] = (len(lost), len(snapshots))
    return PrunePlan(head=state.number, drop=tuple(sorted(drop)), keep=tuple(sorted(keep)), going=going)


def _reasons(snapshots: list[SnapshotState], policy: KeepPolicy, verified: Collection[int]) -> dict[int, str]:
    """Return index -> reason of those that stay; `snapshots` newest first."""
    times = np.array([s.committed_at for s in snapshots]).astype("datetime64[s]")
    reasons = {0: "newest"} if snapshots else {}
    for i, reason in _of_periods(times, policy):
        reasons.setdefault(i, reason)
    proven = [i for i, s in enumerate(snapshots) if s.number in verified]
    missing = policy.verified - sum(i in reasons for i in proven)
    if missing <= 0:
        return reasons
    if len(proven) < policy.verified:
        why = f"only {len(proven)} of the {policy.verified} that must be verified are: run `tenure verify`"
        return {i: reasons.get(i, why) for i in range(len(snapshots))}
    for i in [i for i in proven if i not in reasons][:missing]:
        reasons[i] = f"one of the {policy.verified} verified that stay"
    return reasons


def _of_periods(
    times: "np.ndarray[tuple[int], np.dtype[np.datetime64]]", policy: KeepPolicy
) -> Iterator[tuple[int, str]]:
    """Yield (index, reason); `times` newest first."""
    for i in range(min(policy.last, len(times))):
        yield i, "among the last"
    # datetime64[W] begins its weeks on Thursdays; shifted by three days they begin on Mondays (ISO 8601).
    weeks = (times + np.timedelta64(3, "D")).astype("datetime64[W]")
    periods = (
        ("hourly", policy.hourly, times.astype("datetime64[h]")),
        ("daily", policy.daily, times.astype("datetime64[D]")),
        ("weekly", policy.weekly, weeks),
        ("monthly", policy.monthly, times.astype("datetime64[M]")),
        ("yearly", policy.yearly, times.astype("datetime64[Y]")),
    )
    for word, count, keys in periods:
        _, firsts = np.unique(keys, return_index=True)
        for i in sorted(firsts.tolist())[:count]:
            yield i, f"newest of its {word} period"
