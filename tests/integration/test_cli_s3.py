"""An installation whose repository and key stores are buckets, from the command line."""

import json
from pathlib import Path

import pytest

from support.s3proxy import between, cut_after, cut_before, none
from support.s3server import Server
from support.s3site import Installation, environment, made


def test_a_whole_life_in_buckets(s3_server: Server, buckets: tuple[str, str], tmp_path: Path) -> None:
    here = made(s3_server, buckets, tmp_path, s3_server.endpoint)
    here.works("snapshot")
    broken = [p for p in json.loads(here.works("status", "--probe", "--json"))["probe"] if not p["kept"]]
    # Of keys it is no matter: each page has a random name.
    expected = [] if s3_server.conditions else [("first", "written once"), ("second", "written once")]
    assert [(p["store"], p["what"]) for p in broken] == expected
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
