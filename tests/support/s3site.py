"""An installation in buckets, driven as its own processes from the command line."""

import itertools
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from support.s3server import Server

SOURCES = """
sources:
  crm:
    kind: sqlite
    path: crm.sqlite
    data_sets:
      customers: {subjects: {customer: id}, starting_points: {account closed: closed_at}}
"""


_numbers = itertools.count(1)


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


def below() -> str:
    """Return a folder's name that no other test of this process uses: a server takes seconds to make a bucket."""
    return f"site-{next(_numbers)}"


def made(
    server: Server, buckets: tuple[str, str], folder: Path, endpoint: str, *, second: str = "", more: str = ""
) -> Installation:
    """Make an installation with a small CRM.

    `second`: where its second key store is reached, if elsewhere; `more`: for every address.
    """
    data, keys = buckets
    installation = Installation(folder=folder, environment=environment(server))
    ways = f"?endpoint={endpoint}&attempts=4{more}"
    installation.works(
        "init", ".", "--object-store", f"s3://{data}/tenure{ways}",
        "--key-store", f"first=s3://{keys}/one{ways}", "--key-store", f"second=s3://{keys}/two{ways.replace(endpoint, second or endpoint)}",
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
