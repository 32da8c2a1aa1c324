"""A key store that is down: what goes on without it, what waits for it, and what is certified once it is back."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.s3proxy import Proxy, between
from support.s3server import Server
from support.s3site import Installation, made

ERASE = ("erase", "--subject", "customer=7", "--request", "R-1", "--received", "2026-03-01", "--yes")


@pytest.fixture
def proxy(s3_server: Server) -> Iterator[Proxy]:
    with between(s3_server.endpoint) as found:
        yield found


@pytest.fixture
def here(s3_server: Server, proxy: Proxy, buckets: tuple[str, str], tmp_path: Path) -> Installation:
    installation = made(s3_server, buckets, tmp_path, s3_server.endpoint, second=proxy.endpoint)
    installation.works("snapshot")
    return installation


def last_copies_gone(here: Installation) -> dict[str, str | None]:
    listed = json.loads(here.works("evidence", "list", "--json"))["certificates"]
    return {one["id"]: one["last_copy_gone_on"] for one in listed}


def assert_counted_once(here: Installation, certificate: str) -> None:
    """A certificate and its supplement are two documents about one erasure."""
    assert "see its supplement" in here.works("evidence", "list")
    assert "pending" in here.works("evidence", "show", certificate)
    assert f"Supplement to {certificate}" in here.works("evidence", "show", f"{certificate}-confirmed")
    here.works("report", "--to", "report.html")
    page = (here.folder / "report.html").read_text("utf-8")
    assert f"{certificate}-confirmed.html" in page
    assert f"{certificate}.html" not in page, "one erasure counts once"
    assert "1 erasure on request" in page


def test_an_erasure_goes_on_without_a_store_and_is_certified_when_that_has_confirmed(
    here: Installation, proxy: Proxy
) -> None:
    proxy.away = True
    erased = here.run(*ERASE)
    assert erased.returncode == 3, erased.stderr
    assert "Not confirmed by key stores: second" in erased.stdout
    assert "run `tenure prune`" in erased.stdout
    ((certificate, gone),) = last_copies_gone(here).items()
    assert gone is None
    here.works("restore", "crm", "--to", "back.sqlite")
    assert here.customers("back.sqlite") == set(range(500)) - {7}

    for words in (("snapshot",), ("prune",), ("keys", "rotate")):
        refused = here.run(*words)
        assert refused.returncode == 22, (words, refused.stdout, refused.stderr)
        assert "did not answer" in refused.stderr
    told = here.run("keys", "status")
    assert told.returncode == 3
    assert "second: bring it back" in told.stdout
    assert last_copies_gone(here) == {certificate: None}

    proxy.away = False
    pruned = json.loads(here.works("prune", "--json"))
    assert (pruned["pending"], pruned["confirmed"]) == ([], [f"{certificate}-confirmed"])
    found = last_copies_gone(here)
    assert found[certificate] is None, "what was signed stays as it was"
    assert found[f"{certificate}-confirmed"] is not None
    assert_counted_once(here, certificate)
    assert json.loads(here.works("prune", "--json"))["confirmed"] == []
    here.works("keys", "status")
    here.works("evidence", "verify")
    here.works("keys", "rotate")
    here.works("snapshot")
    assert "Nothing is damaged" in here.works("verify", "--read-data", "100%")


def test_a_rotation_that_lost_a_store_on_its_way_goes_on_when_it_is_back(
    here: Installation, proxy: Proxy
) -> None:
    gone = [0]

    def goes_away(_: object) -> None:
        gone[0] += 1
        proxy.away = True

    proxy.harm("PUT", goes_away)
    cut = here.run("keys", "rotate")
    assert gone == [1]
    assert cut.returncode == 22, (cut.stdout, cut.stderr)
    assert "next:" in cut.stderr
    proxy.away = False
    here.works("keys", "rotate")
    assert "closed" in here.works("keys", "status")
    here.works("restore", "crm", "--to", "back.sqlite")
    assert here.customers("back.sqlite") == set(range(500))
