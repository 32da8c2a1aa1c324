"""Pruning: which snapshots the keep policy lets go, shown before it is done; then sweeping and repacking."""

from dataclasses import dataclass

from tenure.control.processes import this_process
from tenure.control.runs import RunOutcome, Runs
from tenure.domain.errors import TenureError
from tenure.operations import proven
from tenure.operations.confirming import confirm
from tenure.operations.installation import Installation
from tenure.repository.keeping import PrunePlan, plan_prune
from tenure.repository.pruning import Freed, Pruner
from tenure.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """A prune: what was planned, what it freed, and the supplements of forgettings that are confirmed everywhere now."""

    plan: PrunePlan
    freed: Freed
    confirmed: tuple[str, ...] = ()


def planned(installation: Installation) -> tuple[PrunePlan, Repository]:
    """Return what the keep policy of this installation would drop now, and the repository it was read from."""
    repository = installation.open_reading()
    keep, state = installation.keep, repository.state
    plan = plan_prune(state, keep.policy, sources=keep.sources, verified=proven.verified(installation, state))
    return plan, repository


def pruned(
    installation: Installation, *, repack: bool = True, confirmed: int | None = None, every_page: bool = False
) -> Pruned:
    """Drop what the keep policy lets go, and free what nothing names; nothing live is lost.

    Args:
        installation: Whose.
        repack: Move what lives in packs that are more than a third dead together, and free those too.
        confirmed: How many snapshots somebody said are to go, where the brake would stop that.
        every_page: Read every key page in every key store, and put right what is missing or damaged.

    Raises:
        BrakePulledError: More would go than the brake lets, or another number than was confirmed.
        HoldViolationError: A hold was placed since the plan was made.
        StalePlanError: The repository changed meanwhile; run it again.
        LeasedError: A purge, a rotation or another prune is at work.
        KeyMismatchError: This process was not given the purge key.
    """
    with installation.alone("forgetting"):
        runs = Runs(installation.control)
        run = runs.begin("prune", source="", at=installation.clock.now(), process=this_process())
        try:
            plan, repository = planned(installation)
            plan.check(installation.keep.brake, confirmed=confirmed)
            freed = Pruner(repository, installation.progress).prune(
                plan, repack=repack, every_page=every_page
            )
            supplements = confirm(installation, repository)
        except BaseException as e:
            code = e.exit_code if isinstance(e, TenureError) else 1
            runs.end(
                run,
                outcome=RunOutcome.FAILED,
                at=installation.clock.now(),
                exit_code=code,
                error=type(e).__name__,
            )
            raise
        done = Pruned(plan=plan, freed=freed, confirmed=supplements)
        runs.end(
            run,
            outcome=RunOutcome.DONE if freed.is_whole else RunOutcome.INCOMPLETE,
            at=installation.clock.now(),
            exit_code=0 if freed.is_whole else 3,
            counts={"snapshots": freed.snapshots, **_counts(freed)},
        )
        _attest(installation, done)
        return done


def _attest(installation: Installation, done: Pruned) -> None:
    freed = done.freed
    outcome = "packs are damaged" if freed.unsound else "key stores pending" if freed.pending else "done"
    installation.evidence.log.append(
        "prune",
        who=installation.officer,
        at=installation.clock.now(),
        subject_of_entry="snapshots",
        outcome=outcome,
        details={"snapshots": [str(n) for n, _ in done.plan.drop], **_counts(freed)},
    )


def _counts(freed: Freed) -> dict[str, int]:
    return {
        "packs": freed.packs,
        "bytes": freed.bytes,
        "repacked": freed.repacked,
        "copied": freed.copied,
        "unsound": len(freed.unsound),
    }
