"""Which key pages a forgetting reads and opens: those that can hold what goes, and each of them once."""

from collections import Counter
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from support.forgets import ORDER, forgetting, keys_in, rows, scope_of
from support.repo import House, take
from tenure.domain.errors import IntegrityError
from tenure.keys.base import Unwrapper
from tenure.objectstore.metered import Meter, MeteredStore, counts
from tenure.operations.pagewalk import count_of, walk
from tenure.repository import chunkreader, names
from tenure.repository.model import Cohort
from tenure.repository.page import Array, PageBytes, open_keys

MONTHS = [f"2025-{month:02d}" for month in range(1, 13)]
CALLS = {"a.wav": ("2025-01", "anna", b"a" * 5000), "b.wav": ("2025-02", "bert", b"b" * 5000)}


@pytest.fixture(params=[None, 8])
def house(request: pytest.FixtureRequest) -> House:
    requests: Executor | None = None if request.param is None else ThreadPoolExecutor(request.param)
    house = House(requests=requests)
    house.create("crm")
    return house


def months(house: House, snapshots: int) -> list[int]:
    """Take snapshots of a record of each month of 2025, and of one more of 2026 each time."""
    closed = {k: (MONTHS[k], f"c{k}", f"note {k}") for k in range(12)}
    return [
        take(house, closed | {100 + n: ("2026-01", f"c{n}", f"later {n}") for n in range(extra)}, CALLS)
        for extra in range(1, snapshots + 1)
    ]


def asked_of_pages(house: House, cohort: Cohort) -> int:
    scope, meter = scope_of(house, cohorts=(cohort,)), Meter()
    work = forgetting(house)
    judged = work.amend(work.order(scope, ORDER), scope, left=0)
    bare, house.key_stores = house.key_stores, [MeteredStore(s, meter) for s in house.key_stores]
    forgetting(house).carry_out(judged)
    house.key_stores = bare
    return counts(meter.take())["get", "keys"]


def test_a_cohort_goes_whole_with_as_few_pages_read_after_many_snapshots_as_after_one(house: House) -> None:
    numbers = months(house, 1)
    few = asked_of_pages(house, Cohort(data_set="notes", rule_class="", span="2025-01"))
    other = House(requests=house.requests)
    other.create("crm")
    numbers = months(other, 20)
    many = asked_of_pages(other, Cohort(data_set="notes", rule_class="", span="2025-01"))
    assert 0 < many == few
    assert 0 not in keys_in(other, numbers[0])
    assert 1 in keys_in(other, numbers[-1])


def test_pages_of_other_data_sets_are_asked_for_once_to_know_them(house: House) -> None:
    months(house, 3)
    meter = Meter()
    house.key_stores = [MeteredStore(s, meter) for s in house.key_stores]
    repo = house.open(reader=True)
    first = [p.cohort for p in walk(repo, "crm", ["calls"])]
    asked = Counter(r.name for r in meter.take() if r.method == "get")
    calls = {p.ref.tag for p in repo.state.pages.values()} - {t for c in MONTHS for t in [tag(repo, c)]}
    assert sorted(c.span for c in first) == ["2025-01", "2025-02"]
    assert len(asked) < len(repo.state.pages)
    again = [p.cohort for p in walk(repo, "crm", ["calls"], written_after=1_000_000)]
    read = {r.name for r in meter.take() if r.method == "get"}
    assert again == first
    assert {name.split("/")[2] for name in read} <= {t.hex() for t in calls}


def tag(repo: object, span: str) -> bytes:
    state = repo.state  # type: ignore[attr-defined]
    (writer,) = state.writers_of("crm")
    keys = repo.keys_of(writer)  # type: ignore[attr-defined]
    return bytes(keys.tag(Cohort(data_set="notes", rule_class="", span=span)))


def test_a_damaged_page_of_a_cohort_that_nobody_knows_yet_is_reported(house: House) -> None:
    months(house, 1)
    repo = house.open(reader=True)
    page = next(p for p in repo.state.pages.values() if p.ref.tag == tag(repo, "2025-03"))
    for store in house.key_stores:
        store.delete(names.page(page.ref.epoch, page.ref.tag, page.ref.page))
    with pytest.raises(IntegrityError, match="whole in no key store"):
        list(walk(repo, "crm", ["calls"]))


def test_one_operation_unwraps_each_page_once_and_still_asks_the_stores_whether_it_is_there(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    months(house, 3)
    repo, scope = house.open(reader=True), scope_of(house, 3, 100)["crm"]
    opened = Counter[bytes]()

    def counted(page: PageBytes, unwrapper: Unwrapper) -> Array:
        opened[page.header.page] += 1
        return open_keys(page, unwrapper)

    monkeypatch.setattr(chunkreader, "open_keys", counted)

    def count(*, written_after: int = 0) -> int:
        pages = walk(repo, "crm", ["notes"], written_after=written_after)
        return sum(count_of(p, scope.seen_by(p.cohort.data_set, p.view)) for p in pages)

    found = count()
    assert found >= 2
    assert count() == found == count(written_after=1_000_000)
    assert set(opened.values()) == {1}
    lost = next(p for p in repo.state.pages.values() if p.ref.tag == tag(repo, "2025-04"))
    for store in house.key_stores:
        store.delete(names.page(lost.ref.epoch, lost.ref.tag, lost.ref.page))
    with pytest.raises(IntegrityError, match="whole in no key store"):
        count(written_after=1_000_000)


def test_what_is_kept_of_pages_has_an_end(house: House) -> None:
    house.open(reader=True)
    take(house, rows(*range(200)))
    repo = house.open(reader=True)
    repo.kept._indexes._most = 1
    assert [len(list(p.places)) for p in walk(repo, "crm", ["notes"])] == [
        len(list(p.places)) for p in walk(repo, "crm", ["notes"])
    ]
    assert not repo.kept._indexes._values
