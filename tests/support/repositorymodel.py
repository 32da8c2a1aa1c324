"""A machine that does random things to a repository and holds it against a dictionary: every snapshot reads as that says."""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support.repo import House, Rows, identities, read_calls, read_rows, take
from support.ruins import assert_nothing_unnamed_after_sweep, assert_sound
from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.progress import SilentProgress
from tenure.repository import rotation
from tenure.repository.forgetting import Forgetting, Order
from tenure.repository.keeping import KeepPolicy, plan_prune
from tenure.repository.model import Cohort
from tenure.repository.pruning import Pruner
from tenure.repository.scopes import Scope

MONTHS = ("2025-01", "2025-02", "open:2026-03")
KEYS = st.integers(min_value=0, max_value=30)
ROW = st.tuples(
    st.sampled_from(MONTHS), st.sampled_from(["anna", "bert"]), st.text("xyz\N{SNOWMAN}", max_size=40)
)
ORDER = Order(kind="purge", plan=b"", rules=b"", approvals=())


@dataclass
class Seen:
    """One snapshot in the model: what it was taken of, and what is left."""

    rows: dict[int, tuple[str, str, str]]
    calls: dict[str, tuple[str, str, bytes]]
    lost: int = 0
    lost_calls: int = 0


class RepositoryMachine(RuleBasedStateMachine):
    def made(self) -> House:
        """Return where the repository is to be, which others make of other stores."""
        return House()

    def settle(self) -> None:
        """Let the stores come to rest, before what is left in them is looked at."""

    @initialize()
    def found(self) -> None:
        self.house = self.made()
        self.house.create("crm")
        self.rows: dict[int, tuple[str, str, str]] = {}
        self.calls: dict[str, tuple[str, str, bytes]] = {}
        self.model: dict[int, Seen] = {}

    @rule(changes=st.dictionaries(KEYS, ROW, max_size=12), removed=st.sets(KEYS, max_size=5))
    def edit_rows(self, changes: Rows, removed: set[int]) -> None:
        self.rows = {k: v for k, v in (self.rows | dict(changes)).items() if k not in removed}

    @rule(name=st.sampled_from("abcd"), month=st.sampled_from(MONTHS[:2]), size=st.integers(0, 9000))
    def record(self, name: str, month: str, size: int) -> None:
        # Another take of the same recording has another size: that is how a writer sees that it changed.
        self.calls = self.calls | {f"{name}{size}": (month, name, bytes([size % 251]) * size)}

    @rule()
    def snapshot(self) -> None:
        if self.rows:
            self.model[take(self.house, self.rows, self.calls)] = Seen(dict(self.rows), dict(self.calls))
            self.house.clock.advance(days=1)

    @precondition(lambda self: bool(self.model))
    @rule(keys=st.sets(KEYS, min_size=1, max_size=4), also_call=st.booleans())
    def forget_records(self, *, keys: set[int], also_call: bool) -> None:
        paths = sorted(self.calls)[:1] if also_call else []
        repo = self.house.open(reader=True)
        records = {
            "notes": identities(repo, "crm", [f"i{k}".encode() for k in sorted(keys)]),
            "calls": identities(repo, "crm", [p.encode() for p in paths]),
        }
        self._forget(Scope(records=records))
        for seen in self.model.values():
            seen.lost += len(keys & set(seen.rows))
            seen.lost_calls += len(set(paths) & set(seen.calls))
            seen.rows = {k: v for k, v in seen.rows.items() if k not in keys}
            seen.calls = {p: v for p, v in seen.calls.items() if p not in paths}
        self.rows = {k: v for k, v in self.rows.items() if k not in keys}
        self.calls = {p: v for p, v in self.calls.items() if p not in paths}

    @precondition(lambda self: bool(self.model))
    @rule(month=st.sampled_from(MONTHS[:2]))
    def forget_cohort(self, month: str) -> None:
        self._forget(
            Scope(cohorts=tuple(Cohort(data_set=d, rule_class="", span=month) for d in ("notes", "calls")))
        )
        for seen in self.model.values():
            rows = {k: v for k, v in seen.rows.items() if v[0] != month}
            calls = {p: v for p, v in seen.calls.items() if v[0] != month}
            seen.lost += len(seen.rows) - len(rows)
            seen.lost_calls += len(seen.calls) - len(calls)
            seen.rows, seen.calls = rows, calls
        self.rows = {k: v for k, v in self.rows.items() if v[0] != month}
        self.calls = {p: v for p, v in self.calls.items() if v[0] != month}

    def _forget(self, scope: Scope) -> None:
        work = Forgetting(self.house.open(reader=True), self.house.executor, SilentProgress())
        found = work.amend(work.order({"crm": scope}, ORDER), {"crm": scope}, left=0)
        work.finish(found, work.carry_out(found), certificate="c")

    @rule(last=st.integers(1, 3))
    def prune(self, last: int) -> None:
        repo = self.house.open(reader=True)
        plan = plan_prune(repo.state, KeepPolicy(last=last, daily=0, weekly=0, monthly=0, yearly=0))
        Pruner(repo, SilentProgress()).prune(plan)
        self.model = {n: s for n, s in self.model.items() if n in sorted(self.model)[-last:]}

    @rule()
    def rotate(self) -> None:
        self.house.readers.append(RecipientPrivate.generate())
        rotation.open_epoch(
            self.house.open(reader=True), self.house.recipients(), self.house.private_halves()
        )
        repo = self.house.open(reader=True)
        rotation.reseal(repo, SilentProgress())
        rotation.close_old_epochs(repo)
        self.house.readers.pop(0)

    @rule()
    def checkpoint(self) -> None:
        self.house.open(reader=True).ledger.checkpoint(self.house.purge)

    @invariant()
    def every_snapshot_reads_as_the_model_says(self) -> None:
        repo = self.house.open(reader=True)
        assert set(repo.state.snapshots) == set(self.model)
        for number, seen in self.model.items():
            rows, balance = read_rows(repo, number, self.house.executor)
            assert rows == {k: (c, t) for k, (_, c, t) in seen.rows.items()}
            assert (balance.records, balance.forgotten) == (len(seen.rows), seen.lost)
            calls = read_calls(repo, number, self.house.executor)
            assert calls == {p: v[2] for p, v in seen.calls.items()}

    def teardown(self) -> None:
        if hasattr(self, "house"):
            assert_sound(self.house.open(reader=True), self.house)
            assert_nothing_unnamed_after_sweep(self.house, self.settle)
