"""Small steps that the must-hold tests share: a house with snapshots, a forgetting from order to done."""

from collections.abc import Mapping

from support.repo import House, Rows, identities, outcome, read_rows, take
from tenure.domain.progress import SilentProgress
from tenure.repository.forgetting import Forgetting, Order
from tenure.repository.model import Cohort
from tenure.repository.repository import Repository
from tenure.repository.scopes import Scope
from tenure.repository.session import Session

ORDER = Order(kind="purge", plan=b"p" * 32, rules=b"r" * 32, approvals=())
JANUARY = Cohort(data_set="notes", rule_class="", span="2025-01")


def rows(*keys: int, month: str = "2025-01", text: str = "note") -> dict[int, tuple[str, str, str]]:
    return {k: (month, f"c{k}", f"{text} {k}") for k in keys}


def house_with(*snapshots: Rows) -> tuple[House, list[int]]:
    house = House()
    house.create("crm")
    return house, [take(house, s) for s in snapshots]


def scope_of(house: House, *keys: int, cohorts: tuple[Cohort, ...] = ()) -> Mapping[str, Scope]:
    texts = [f"i{k}".encode() for k in keys]
    records = {"notes": identities(house.open(reader=True), "crm", texts)} if keys else {}
    return {"crm": Scope(records=records, cohorts=cohorts)}


def forgetting(house: House, repo: Repository | None = None) -> Forgetting:
    return Forgetting(repo or house.open(reader=True), house.executor, SilentProgress())


def forget(house: House, scope: Mapping[str, Scope]) -> None:
    work = forgetting(house)
    found = work.amend(work.order(scope, ORDER), scope, left=0)
    work.finish(found, work.carry_out(found), certificate="c")


def keys_in(house: House, number: int) -> set[int]:
    return set(read_rows(house.open(reader=True), number, house.executor)[0])


def begin(house: House, *, seconds: int = 3600) -> tuple[Repository, Session]:
    repo = house.open(reader=False)
    return repo, repo.begin("crm", house.executor, expires=seconds, alone=True)


def commit_without_asking(repo: Repository, session: Session) -> int:
    """Commit as a writer would whose checks were taken out: only the ledger's own rules are left."""
    session._may_commit = lambda state, entry: None  # type: ignore[method-assign]
    return session.commit(outcome(repo.place.objects.now()))
