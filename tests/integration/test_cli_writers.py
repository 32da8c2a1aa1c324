"""Many writers of one repository in buckets, at once and beside a purge; and writers that come and go."""

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from support.s3server import Server
from support.s3site import Installation, made

WRITERS = 8
PER = """
  {name}:
    kind: sqlite
    path: {name}.sqlite
    data_sets:
      people_{name}: {{table: customers, subjects: {{customer: id}}, starting_points: {{account closed: closed_at}}}}
"""
NAMES = [f"crm{i}" for i in range(WRITERS)]


def fill(here: Installation, name: str, ids: range) -> None:
    with closing(sqlite3.connect(here.folder / f"{name}.sqlite")) as database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS customers (id INTEGER PRIMARY KEY, name TEXT, closed_at TEXT)"
        )
        database.executemany(
            "INSERT INTO customers VALUES (?, ?, ?)", [(i, f"name {i}", "2015-01-01") for i in ids]
        )
        database.commit()


@pytest.fixture
def many(s3_server: Server, buckets: tuple[str, str], tmp_path: Path) -> Installation:
    here = made(s3_server, buckets, tmp_path, s3_server.endpoint)
    config = here.folder / "tenure.yaml"
    text = config.read_text()
    config.write_text(
        text[: text.index("\nsources:")] + "\nsources:" + "".join(PER.format(name=n) for n in NAMES)
    )
    for name in NAMES:
        fill(here, name, range(200))
    return here


def test_eight_writers_a_purge_and_a_prune_at_once_lose_nothing_and_bring_nothing_back(
    many: Installation,
) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:  # each admits its own writer first, all at once
        list(pool.map(lambda name: many.works("snapshot", name), NAMES))
    for name in NAMES:
        fill(many, name, range(200, 300))
    erase = ("erase", "--subject", "customer=7", "--request", "R-1", "--received", "2026-03-01", "--yes")
    with ThreadPoolExecutor(WRITERS + 2) as pool:
        snapshots = [pool.submit(many.run, "snapshot", name) for name in NAMES]
        erased, pruned = pool.submit(many.run, *erase), pool.submit(many.run, "prune")
        ended = [job.result() for job in (*snapshots, erased, pruned)]
    # A snapshot whose view was taken before the erasure is void when it commits after it; nothing else may fail.
    for done in ended[:WRITERS]:
        assert done.returncode in {0, 20}, done.stdout + done.stderr
    if ended[-2].returncode:
        many.works(*erase[:-1], "--yes")
    many.works("snapshot")
    assert "Nothing is damaged" in many.works("verify", "--read-data", "100%")
    for name in NAMES[:: WRITERS // 2]:
        many.works("restore", name, "--to", f"{name}-back.sqlite")
        assert many.customers(f"{name}-back.sqlite") == set(range(300)) - {7}


def test_a_renewed_writer_goes_on_and_the_old_key_adds_nothing(many: Installation) -> None:
    many.works("snapshot", "crm0")
    key = many.folder / "keys" / "writer-crm0.key"
    stolen = key.read_bytes()
    many.works("writers", "renew", "crm0", "--reason", "host replaced")
    assert key.read_bytes() != stolen
    assert not key.with_name("writer-crm0.key.old").exists()
    many.works("snapshot", "crm0")
    listed = many.works("snapshots", "crm0", "--json")
    thief = many.folder / "thief"
    shutil.copytree(many.folder, thief)
    (thief / "keys" / "writer-crm0.key").write_bytes(stolen)
    refused = Installation(folder=thief, environment=many.environment).run("snapshot", "crm0")
    assert refused.returncode, refused.stdout
    assert "next:" in refused.stderr
    assert many.works("snapshots", "crm0", "--json") == listed
    many.works("erase", "--subject", "customer=7", "--request", "R-1", "--received", "2026-03-01", "--yes")
    many.works("restore", "crm0", "--to", "new.sqlite")
    assert many.customers("new.sqlite") == set(range(200)) - {7}
    assert "Nothing is damaged" in many.works("verify", "--read-data", "100%")


def test_a_removed_writer_is_told_what_to_do(many: Installation) -> None:
    many.works("snapshot", "crm0")
    key = many.folder / "keys" / "writer-crm0.key"
    kept = key.read_bytes()
    many.works("writers", "remove", "crm0", "--reason", "retired")
    assert not key.exists()
    key.write_bytes(kept)
    refused = many.run("snapshot", "crm0")
    assert refused.returncode
    assert "remove" in refused.stderr
    key.unlink()
    for words, said in (
        (("admit", "crm9"), "did you mean 'crm"),
        (("renew", "crm1", "--reason", "x"), "never had a writer"),
        (("renew", "crm0", "--reason", " "), "a reason has 1 to"),
        (("remove", "crm0", "--reason", "x"), "no writer to remove"),
    ):
        done = many.run("writers", *words)
        assert done.returncode == 10, done.stderr
        assert said in done.stderr
    many.works("writers", "admit", "crm0")
    again = many.run("writers", "admit", "crm0")
    assert again.returncode == 10
    assert "renew" in again.stderr
    many.works("snapshot", "crm0")
    assert '"removed": true' in many.works("writers", "list", "--json")
