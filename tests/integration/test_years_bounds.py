"""Weeks of hourly snapshots in small: what one, a prune and opening ask for stays within what docs/format.md says."""

import pytest
from benchmarks import yearcosts
from benchmarks.yearcosts import Cost
from benchmarks.years import Scale

from tenure.operations.installation import Installation
from tenure.repository import names


def sizes(installation: Installation) -> tuple[int, int, int]:
    """Return how many objects the ledger, manifests and key pages of one store are."""
    place = installation.where()
    (one, _) = place.key_stores.stores
    counted = (
        place.objects.list(names.LEDGER),
        place.objects.list(names.MANIFESTS),
        one.store.list(names.PAGES),
    )
    first, second, third = (sum(1 for _ in some) for some in counted)
    return first, second, third


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[list[Cost], tuple[int, int, int]]]:
    found = {}
    for days in (10, 20):
        scale = Scale(tables=3, months=6, recordings_a_day=2_400, days=days)
        made = yearcosts.made(tmp_path_factory.mktemp("years") / "of", scale)
        spent = yearcosts.run(made, 3)
        installation = made.installation()
        found[days] = spent, sizes(installation)
        installation.close()
    return found


def test_nothing_asks_for_more_than_the_format_says(
    costs: dict[int, tuple[list[Cost], tuple[int, int, int]]],
) -> None:
    for spent, _ in costs.values():
        assert {cost.name for cost in spent} == {"open", "snapshot", "prune"}
        assert [line for cost in spent for line in cost.exceeded()] == []


def test_a_snapshot_after_twice_the_time_puts_as_many_objects_and_as_many_bytes(
    costs: dict[int, tuple[list[Cost], tuple[int, int, int]]],
) -> None:
    put = {
        days: [
            (
                sum(r.method == "put" for r in cost.requests),
                sum(r.length for r in cost.requests if r.method == "put"),
            )
            for cost in spent
            if cost.name == "snapshot"
        ]
        for days, (spent, _) in costs.items()
    }
    assert max(n for n, _ in put[20]) <= max(n for n, _ in put[10]) + 4
    assert max(size for _, size in put[20]) <= 1.1 * max(size for _, size in put[10])


def test_only_the_ledger_and_the_recordings_grow_with_time(
    costs: dict[int, tuple[list[Cost], tuple[int, int, int]]],
) -> None:
    (ledger, manifests, pages), (longer, more, many) = costs[10][1], costs[20][1]
    assert longer - ledger <= 10 * 24 * 2 + 10 + 5, (
        "two entries for each snapshot, one for each prune, checkpoints"
    )
    assert more - manifests <= 12, "snapshots that the policy keeps, one a day"
    assert many - pages <= 4, "of ten days of recordings"
