"""An installation puts right at its start what a process that died left behind."""

from dataclasses import replace
from pathlib import Path

from support.retention import found
from tenure.control.processes import this_process
from tenure.control.runs import RunOutcome, Runs


def test_a_run_whose_process_died_is_not_running_any_more_when_the_next_command_starts(
    tmp_path: Path,
) -> None:
    centre, me = found(tmp_path / "site"), this_process()
    with centre.open() as installation:
        runs, now = Runs(installation.control), installation.clock.now()
        mine = runs.begin("snapshot", source="crm", at=now, process=me)
        died = runs.begin(
            "snapshot", source="crm", at=now, process=replace(me, boot_id="before the power cut")
        )
    with centre.open() as installation:
        outcomes = {run.id: run.outcome for run in Runs(installation.control).recent(9)}
    assert (outcomes[mine], outcomes[died]) == (RunOutcome.RUNNING, RunOutcome.INTERRUPTED)
