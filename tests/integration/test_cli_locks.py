"""Locks, shred windows and what `init` makes of a bucket's settings, from the command line."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.s3server import Server
from support.s3site import SOURCES, Installation, below, environment


def rows(here: Installation, first: int, last: int) -> None:
    with closing(sqlite3.connect(here.folder / "crm.sqlite")) as database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS customers (id INTEGER PRIMARY KEY, name TEXT, closed_at TEXT)"
        )
        database.executemany(
            "INSERT INTO customers VALUES (?, ?, ?)",
            [(i, f"name {i}", "2015-01-01") for i in range(first, last)],
        )
        database.commit()


def founded(server: Server, folder: Path, data: str, keys: str, *more: str) -> Installation:
    here = Installation(folder=folder, environment=environment(server))
    ways = f"?endpoint={server.endpoint}&attempts=4"
    if not server.conditions and "--ledger-store" not in more:
        more += ("--ledger-store", f"s3://{server.bucket()}{ways}")
    here.works(
        "init", ".", "--object-store", f"s3://{data}{ways}", "--key-store", f"first=s3://{keys}{ways}", *more
    )
    config = folder / "tenure.yaml"
    text = config.read_text()
    config.write_text(text[: text.index("\nsources:")] + SOURCES)
    rows(here, 0, 300)
    return here


@pytest.fixture(scope="module")
def keys_with_a_lifecycle(s3_server: Server) -> str:
    bucket = s3_server.bucket(versioned=True)
    ends = {"ID": "shred", "Status": "Enabled", "Filter": {"Prefix": ""}}
    s3_server.admin.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={"Rules": [ends | {"NoncurrentVersionExpiration": {"NoncurrentDays": 14}}]},
    )
    return bucket


@pytest.fixture
def here(
    s3_server: Server, s3_locked_bucket: str, keys_with_a_lifecycle: str, tmp_path: Path
) -> Installation:
    name = below()
    return founded(
        s3_server, tmp_path, f"{s3_locked_bucket}/{name}", f"{keys_with_a_lifecycle}/{name}",
        "--lock", "governance", "--lock-days", "30", "--shred-window", "14",
    )  # fmt: skip


def told(done: str) -> Mapping[str, object]:
    found: Mapping[str, object] = json.loads(done)
    return found


def test_what_snapshots_need_cannot_be_deleted_and_customers_can_be_forgotten(
    s3_server: Server, s3_locked_bucket: str, here: Installation
) -> None:
    here.works("snapshot")
    place = json.loads(here.works("locks", "status", "--json"))
    assert (place["days"], place["legal_holds"]) == (30, {})
    prefix = next(
        line for line in (here.folder / "tenure.yaml").read_text().splitlines() if "object_store" in line
    ).split(f"{s3_locked_bucket}/")[1].split("?")[0]  # fmt: skip
    listed = s3_server.admin.list_objects_v2(Bucket=s3_locked_bucket, Prefix=f"{prefix}/")["Contents"]
    least = datetime.now(UTC) + timedelta(days=30)
    for one in listed:
        head = s3_server.admin.head_object(Bucket=s3_locked_bucket, Key=one["Key"])
        assert head["ObjectLockRetainUntilDate"] > least, one["Key"]
        assert head["ObjectLockMode"] == "GOVERNANCE"

    rows(here, 300, 320)
    here.works("snapshot")
    erased = here.works(
        "erase", "--subject", "customer=7", "--request", "R-1", "--received", "2026-03-01", "--yes", "--json"
    )
    assert told(erased)
    certificate = json.loads(next((here.folder / "state" / "evidence").rglob("erase-*.json")).read_text())
    ends = next(s["final_on"] for s in _found(certificate, "stores") if s["store"] == "snapshots")
    gone = datetime.fromisoformat(ends).date() - datetime.now(UTC).date()
    assert timedelta(days=14) <= gone <= timedelta(days=15), (
        "the bucket keeps old versions for the shred window"
    )

    pruned = json.loads(here.works("prune", "--json"))
    assert (pruned["packs"], pruned["pending"]) == (0, [])
    here.works("restore", "crm", "--to", "back.sqlite")
    assert here.customers("back.sqlite") == set(range(320)) - {7}
    assert "Nothing is damaged" in here.works("verify", "--read-data", "100%")


def _found(document: object, name: str) -> list[dict[str, str]]:
    """Return what stands under a name, wherever that is in a document."""
    if isinstance(document, dict):
        if name in document:
            found: list[dict[str, str]] = document[name]
            return found
        document = list(document.values())
    if isinstance(document, list):
        for one in document:
            if found := _found(one, name):
                return found
    return []


def test_locks_are_made_to_last_as_long_as_the_newest_snapshots(
    s3_server: Server, here: Installation
) -> None:
    here.works("snapshot")
    first = json.loads(here.works("locks", "extend", "--json"))
    assert first["objects"] > (3 if s3_server.conditions else 0), (
        "with the ledger, where that does not lie apart"
    )
    assert first["extended"] == 0, "what was just put is locked for long enough"
    config = here.folder / "tenure.yaml"
    config.write_text(config.read_text().replace("days: 30}", "days: 60}"))
    second = json.loads(here.works("locks", "extend", "--json"))
    assert second["extended"] >= first["objects"]
    assert json.loads(here.works("locks", "extend", "--json"))["extended"] == 0
    assert datetime.fromisoformat(second["locked_until"]) > datetime.now(UTC) + timedelta(days=59)


def test_a_snapshot_under_a_legal_hold_is_out_of_reach_until_it_is_lifted(
    s3_server: Server, here: Installation
) -> None:
    here.works("snapshot")
    number = json.loads(here.works("snapshots", "--json"))["snapshots"][0]["number"]
    held = json.loads(here.works("locks", "hold", str(number), "--reason", "case 7", "--json"))
    assert held["objects"] > (3 if s3_server.conditions else 1)
    assert json.loads(here.works("locks", "status", "--json"))["legal_holds"] == {str(number): "case 7"}
    lifted = json.loads(here.works("locks", "release", str(number), "--json"))
    assert lifted["objects"] >= held["objects"]
    again = here.run("locks", "release", str(number))
    assert (again.returncode, "is under no legal hold" in again.stderr) == (51, True)


def test_of_a_ledger_that_lies_apart_nothing_is_called_locked(
    s3_server: Server, s3_bucket: str, s3_locked_bucket: str, s3_versioned_bucket: str, tmp_path: Path
) -> None:
    name = below()
    here = founded(
        s3_server, tmp_path, f"{s3_locked_bucket}/{name}", f"{s3_versioned_bucket}/{name}",
        "--lock", "governance", "--lock-days", "30",
        "--ledger-store", f"s3://{s3_bucket}/{name}?endpoint={s3_server.endpoint}",
    )  # fmt: skip
    here.works("snapshot")
    done = json.loads(here.works("locks", "extend", "--json"))
    assert (done["extended"], done["missing"]) == (0, [])


def test_a_key_store_that_locks_keys_for_longer_is_refused_at_init(
    s3_server: Server, s3_bucket: str, tmp_path: Path
) -> None:
    bucket = s3_server.bucket(locked=True)
    s3_server.admin.put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 20}},
        },
    )
    done = refused(s3_server, tmp_path, s3_bucket, bucket)
    assert "the bucket locks every object for 20 days; keys must be gone after 0" in done


def test_a_shred_window_without_a_lifecycle_that_ends_it_is_refused(
    s3_server: Server, s3_bucket: str, s3_versioned_bucket: str, tmp_path: Path
) -> None:
    done = refused(s3_server, tmp_path, s3_bucket, s3_versioned_bucket, "--shred-window", "14")
    assert "a lifecycle rule has to end old versions after 14 days (shred_window_days); there is none" in done


def test_locks_on_a_bucket_that_has_none_are_refused(
    s3_server: Server, s3_bucket: str, s3_versioned_bucket: str, tmp_path: Path
) -> None:
    done = refused(
        s3_server, tmp_path, s3_bucket, s3_versioned_bucket, "--lock", "compliance", "--lock-days", "7"
    )
    assert "object store: locks" in done or "cannot be kept here" in done


def test_locks_in_a_folder_are_refused(s3_server: Server, tmp_path: Path) -> None:
    here = Installation(folder=tmp_path, environment=environment(s3_server))
    done = here.run("init", ".", "--lock", "governance", "--lock-days", "7")
    assert (done.returncode, "needs a store that locks objects" in done.stderr) == (10, True)
    assert not (tmp_path / "tenure.yaml").exists()


def refused(server: Server, folder: Path, data: str, keys: str, *more: str) -> str:
    here = Installation(folder=folder, environment=environment(server))
    ways = f"?endpoint={server.endpoint}&attempts=2"
    name = below()
    done = here.run(
        "init", ".", "--object-store", f"s3://{data}/{name}{ways}",
        "--key-store", f"first=s3://{keys}/{name}{ways}", *more,
    )  # fmt: skip
    assert done.returncode == 10, done.stdout + done.stderr
    assert "a repository cannot be kept here, and nothing was made" in done.stderr
    assert not (folder / "tenure.yaml").exists()
    return done.stderr


def test_marker_and_ledger_may_lie_apart(
    s3_server: Server, s3_bucket: str, s3_versioned_bucket: str, tmp_path: Path
) -> None:
    name = below()
    ways = f"?endpoint={s3_server.endpoint}"
    here = founded(
        s3_server, tmp_path, f"{s3_versioned_bucket}/{name}", f"{s3_bucket}/{name}/keys",
        "--ledger-store", f"s3://{s3_bucket}/{name}/ledger{ways}",
    )  # fmt: skip
    here.works("snapshot")
    assert "Nothing is damaged" in here.works("verify", "--read-data", "100%")
    here.works(
        "restore", "crm", "--to", "back.sqlite", "--recovery-key", "keys/recovery.key",
        "--repository", f"s3://{s3_versioned_bucket}/{name}{ways}", "--key-store", f"s3://{s3_bucket}/{name}/keys{ways}",
        "--ledger-store", f"s3://{s3_bucket}/{name}/ledger{ways}",
    )  # fmt: skip
    assert here.customers("back.sqlite") == set(range(300))
    alone = here.run(
        "restore", "crm", "--to", "again.sqlite", "--recovery-key", "keys/recovery.key",
        "--repository", f"s3://{s3_versioned_bucket}/{name}{ways}", "--key-store", f"s3://{s3_bucket}/{name}/keys{ways}",
    )  # fmt: skip
    assert (alone.returncode, "tenure.json is missing" in alone.stderr) == (51, True)
