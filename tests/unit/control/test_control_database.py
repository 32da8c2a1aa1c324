"""Opening, upgrading and sharing the control database."""

import multiprocessing
import sqlite3
from datetime import UTC, datetime, timedelta
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tenure.control.approvals import ApprovalKind, Approvals
from tenure.control.database import ControlDatabase
from tenure.control.plans import Plan, Plans
from tenure.control.processes import this_process
from tenure.control.runs import Runs
from tenure.control.schema import metadata
from tenure.domain.errors import ConfigError, StalePlanError, UnsupportedFormatError

NOW = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)


def test_the_migrations_make_exactly_the_schema() -> None:
    with ControlDatabase.open("sqlite://") as database, database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_opening_again_keeps_what_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'c.sqlite'}"
    with ControlDatabase.open(url) as database:
        run = Runs(database).begin("snapshot", source="crm", at=NOW, process=this_process())
    with ControlDatabase.open(url) as database:
        assert [r.id for r in Runs(database).recent(5)] == [run]


def test_the_file_is_in_wal_mode(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    ControlDatabase.open(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    ControlDatabase.open(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UnsupportedFormatError, match="9999"):
        ControlDatabase.open(f"sqlite:///{path}")
    assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    connection.close()


@pytest.mark.parametrize("address", ["nonsense", "strange://x", "sqlite:////nowhere/at/all/c.sqlite"])
def test_an_address_that_cannot_be_opened_is_a_configuration_error(address: str) -> None:
    with pytest.raises(ConfigError):
        ControlDatabase.open(address)


def test_a_file_that_is_no_database_is_a_configuration_error(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"a letter, not a database " * 99)
    with pytest.raises(ConfigError):
        ControlDatabase.open(f"sqlite:///{path}")


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with ControlDatabase.open(f"sqlite:///{tmp_path / 'c.sqlite'}") as database:

        def fail_halfway() -> None:
            with database.writing() as connection:
                connection.exec_driver_sql("INSERT INTO heads VALUES ('ledger', 1, x'00')")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail_halfway()
        with database.reading() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM heads").scalar() == 0


def _open_and_take(url: str, plan: str, results: "Queue[str]") -> None:
    with ControlDatabase.open(url) as database:
        try:
            Plans(database).take(plan, at=NOW + timedelta(hours=1))
            results.put("taken")
        except StalePlanError:
            results.put("stale")


def test_of_two_processes_one_takes_the_plan(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'c.sqlite'}"
    plan = Plan(
        hash="a" * 64,
        kind="purge",
        made_at=NOW,
        made_by="service",
        rule_set="f" * 64,
        judged_at=NOW,
        expires=NOW + timedelta(days=9),
        body=b"",
    )
    with ControlDatabase.open(url) as database:
        Plans(database).propose(plan)
        Approvals(database).approve(plan.hash, by="dpo", at=NOW, reason="right", kind=ApprovalKind.EACH_RUN)
    assert sorted(_together(_open_and_take, url, plan.hash)) == ["stale", "taken"]


def _open_and_begin(url: str, source: str, results: "Queue[str]") -> None:
    with ControlDatabase.open(url) as database:
        for _ in range(20):
            Runs(database).begin("snapshot", source=source, at=NOW, process=this_process())
        results.put("done")


def test_two_processes_create_one_database_and_write_to_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'c.sqlite'}"
    assert _together(_open_and_begin, url, "crm") == ["done", "done"]
    with ControlDatabase.open(url) as database:
        assert len(Runs(database).recent(99)) == 40


def _together(work: object, url: str, argument: str) -> list[str]:
    context = multiprocessing.get_context("spawn")
    results: Queue[str] = context.Queue()
    both = [context.Process(target=work, args=(url, argument, results)) for _ in range(2)]  # type: ignore[arg-type]
    for one in both:
        one.start()
    found = [results.get(timeout=300) for _ in both]
    for one in both:
        one.join()
    return found
