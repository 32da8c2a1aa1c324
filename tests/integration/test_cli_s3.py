"""An installation whose repository and key stores are buckets, from the command line."""

import itertools
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.s3proxy import between, cut_after, cut_before, none
from support.seaweed import Server

SOURCES = """
sources:
  crm:
    kind: sqlite
    path: crm.sqlite
    data_sets:
      customers: {subjects: {customer: id}, starting_points: {account closed: closed_at}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", "from tenure.cli.main import run; run()", *arguments],
            cwd=self.folder, env=self.environment | environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def works(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def customers(self, path: str = "crm.sqlite") -> set[int]:
        with closing(sqlite3.connect(self.folder / path)) as database:
            return {row[0] for row in database.execute("SELECT id FROM customers")}


def environment(server: Server) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_ACCESS_KEY_ID": server.access.access_key,
        "AWS_SECRET_ACCESS_KEY": server.access.secret_key,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture
def buckets(s3_bucket: str, s3_versioned_bucket: str) -> tuple[str, str]:
    """Return buckets that tests share, each below a folder of its own: a server takes seconds to make room for one."""
    below = f"site-{next(_numbers)}"
    return f"{s3_bucket}/{below}", f"{s3_versioned_bucket}/{below}"


_numbers = itertools.count(1)


def made(server: Server, buckets: tuple[str, str], folder: Path, endpoint: str) -> Installation:
    data, keys = buckets
    installation = Installation(folder=folder, environment=environment(server))
    ways = f"?endpoint={endpoint}&attempts=4"
    installation.works(
        "init", ".", "--object-store", f"s3://{data}/tenure{ways}",
        "--key-store", f"first=s3://{keys}/one{ways}", "--key-store", f"second=s3://{keys}/two{ways}",
    )  # fmt: skip
    config = folder / "tenure.yaml"
    text = config.read_text()
    config.write_text(text[: text.index("\nsources:")] + SOURCES)
    with closing(sqlite3.connect(folder / "crm.sqlite")) as database:
        database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, closed_at TEXT)")
        database.executemany(
            "INSERT INTO customers VALUES (?, ?, ?)", [(i, f"name {i}", "2015-01-01") for i in range(500)]
        )
        database.commit()
    return installation


def test_a_whole_life_in_buckets(s3_server: Server, buckets: tuple[str, str], tmp_path: Path) -> None:
    here = made(s3_server, buckets, tmp_path, s3_server.endpoint)
    here.works("snapshot")
    assert '"kept": false' not in here.works("status", "--probe", "--json")
    here.works("erase", "--subject", "customer=7", "--request", "R-1", "--received", "2026-03-01", "--yes")
    here.works("prune")
    assert "Nothing is damaged" in here.works("verify", "--read-data", "100%")
    here.works("restore", "crm", "--to", "back.sqlite")
    assert here.customers("back.sqlite") == here.customers() == set(range(500)) - {7}


def test_nothing_is_lost_on_a_line_that_loses_answers(
    s3_server: Server, buckets: tuple[str, str], tmp_path: Path
) -> None:
    with between(s3_server.endpoint) as proxy:
        here = made(s3_server, buckets, tmp_path, proxy.endpoint)
        proxy.harm("PUT", *[cut_after, none, cut_before, none] * 3)
        proxy.harm("GET", *[cut_before, none] * 4)
        here.works("snapshot")
        assert proxy.harms == []
        proxy.harm("PUT", *[cut_after, none, cut_before, none] * 3)
        proxy.harm("DELETE", cut_after, none, cut_before)
        here.works(
            "erase", "--subject", "customer=7", "--request", "R-1", "--received", "2026-03-01", "--yes"
        )
        assert proxy.harms == []
        assert "Nothing is damaged" in here.works("verify", "--read-data", "100%")
        here.works("restore", "crm", "--to", "back.sqlite")
    assert here.customers("back.sqlite") == set(range(500)) - {7}


def test_credentials_that_are_wrong_or_missing_are_told_in_words(
    s3_server: Server, buckets: tuple[str, str], tmp_path: Path
) -> None:
    here = made(s3_server, buckets, tmp_path, s3_server.endpoint)
    wrong = here.run("snapshot", AWS_SECRET_ACCESS_KEY="x" * 40)
    assert wrong.returncode == 23
    assert "the secret key does not match the access key" in wrong.stderr
    assert "xxxx" not in wrong.stderr
    none = here.run("snapshot", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert none.returncode == 23
    assert "no credentials for bucket" in none.stderr


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        ("s3://nowhere-to-be-found/x?endpoint={endpoint}", 22, "there is no bucket nowhere-to-be-found"),
        ("s3://?endpoint={endpoint}", 10, "is no object store"),
        ("s3://b?endpiont={endpoint}", 10, "did you mean 'endpoint'?"),
        ("s3://b?path_style=perhaps", 10, "path_style is yes or no"),
        ("s3://b?attempts=many", 10, "attempts is a number above zero"),
        ("s3://b?encryption=rot13", 10, "encryption is AES256 or aws:kms"),
        ("s3://b?region=a&region=b", 10, "says something twice"),
        ("s3://key:secret@b", 10, "is no object store"),
        ("ftp://b", 10, "is no object store"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_at_init(
    s3_server: Server, tmp_path: Path, address: str, code: int, words: str
) -> None:
    here = Installation(folder=tmp_path, environment=environment(s3_server))
    done = here.run("init", ".", "--object-store", address.format(endpoint=s3_server.endpoint))
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "tenure.yaml").exists()
