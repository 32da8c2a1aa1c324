"""Pruning: which snapshots the keep policy lets go, shown before it is done; then sweeping what nothing names."""

from dataclasses import dataclass

from tenure.control.processes import this_process
from tenure.control.runs import RunOutcome, Runs
from tenure.domain.errors import TenureError
from tenure.operations.installation import Installation
from tenure.repository.pruning import Freed, PrunePlan, Pruner, plan_prune
from tenure.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """A prune: what was planned and what it freed."""

    plan: PrunePlan
    freed: Freed


def planned(installation: Installation) -> tuple[PrunePlan, Repository]:
    """Return what the keep policy of this installation would drop now, and the repository it was read from."""
    repository = installation.open_reading()
    return plan_prune(repository.state, installation.keep), repository


def pruned(installation: Installation) -> Pruned:
    """Drop what the keep policy lets go, and free what nothing names; nothing live is touched.

    Raises:
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
            freed = Pruner(repository, installation.progress).prune(plan)
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
        outcome = RunOutcome.INCOMPLETE if freed.pending else RunOutcome.DONE
        counts = {"snapshots": freed.snapshots, "packs": freed.packs, "bytes": freed.bytes}
        code = 3 if freed.pending else 0
        runs.end(run, outcome=outcome, at=installation.clock.now(), exit_code=code, counts=counts)
        installation.evidence.log.append(
            "prune",
            who=installation.officer,
            at=installation.clock.now(),
            subject_of_entry="snapshots",
            outcome="done" if not freed.pending else "key stores pending",
            details={"snapshots": [str(n) for n, _ in plan.drop], "packs": freed.packs, "bytes": freed.bytes},
        )
        return Pruned(plan=plan, freed=freed)
