"""Links from one source into another: the plan says that nobody looks along them, and stops where that is not allowed."""

from pathlib import Path

import pytest

from support.retention import Centre, found
from tenure.domain.errors import RetentionError
from tenure.operations.purging import purge


def linked(folder: Path, orphan: str) -> Centre:
    """Make a centre whose recordings refer to a customer of the database."""
    centre = found(folder)
    config = folder / "tenure.yaml"
    subjects = "subjects: {customer: sidecar.customer}"
    link = f"links: [{{to: customers, by: [sidecar.customer], orphan: {orphan}}}]"
    config.write_text(config.read_text().replace(subjects, f"{subjects}\n        {link}"))
    centre.snapshot()
    return centre


@pytest.mark.parametrize("orphan", ["stub", "cascade", "detach"])
def test_a_plan_says_which_links_it_did_not_follow(tmp_path: Path, orphan: str) -> None:
    plan = linked(tmp_path / "site", orphan).planned()
    assert any("recordings refers to customers from another source" in note for note in plan.body.notes)
    assert not any("another source" in refusal for refusal in plan.body.refusals)


def test_a_link_that_must_not_break_stops_the_purge(tmp_path: Path) -> None:
    centre = linked(tmp_path / "site", "refuse")
    before = centre.ids()
    plan = centre.approved()
    assert any("`recordings`, which lies in another source, may refer" in r for r in plan.body.refusals)
    with centre.open() as installation, pytest.raises(RetentionError, match="another source"):
        purge(installation, plan.hash)
    assert centre.ids() == before


def test_nothing_is_said_where_no_record_falls_that_others_may_refer_to(tmp_path: Path) -> None:
    centre = linked(tmp_path / "site", "refuse")
    centre.sql("UPDATE customers SET closed_at = NULL")
    plan = centre.planned()
    assert not [said for said in (*plan.body.notes, *plan.body.refusals) if "another source" in said]
