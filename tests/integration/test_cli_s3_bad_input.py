"""What a bucket, its server and whoever shares it may do to an installation: told in words, and nothing is lost."""

from pathlib import Path

from support.certificates import authority
from support.s3proxy import between, none, refusing
from support.s3server import Server
from support.s3site import Installation, environment, made

ERASE = ("erase", "--subject", "customer=7", "--request", "R-1", "--received", "2026-03-01", "--yes")


def test_a_server_is_trusted_by_its_own_authority_and_by_no_other(
    s3_server: Server, buckets: tuple[str, str], tmp_path: Path
) -> None:
    trusted, served = authority(tmp_path)
    other, _ = authority(tmp_path, "other")
    site = tmp_path / "site"
    site.mkdir()
    with between(s3_server.endpoint, certificate=served) as proxy:
        stranger = Installation(folder=site, environment=environment(s3_server))
        for more in ("", f"&ca_file={other}"):
            done = stranger.run(
                "init",
                ".",
                "--object-store",
                f"s3://{buckets[0]}/x?endpoint={proxy.endpoint}&attempts=2{more}",
            )
            assert done.returncode == 22, done.stderr
            assert "certificate" in done.stderr
            assert "`ca_file`" in done.stderr
            assert not (site / "tenure.yaml").exists()
        assert proxy.seen == [], "nothing was said to a server that is not trusted"
        here = made(s3_server, buckets, site, proxy.endpoint, more=f"&ca_file={trusted}")
        here.works("snapshot")
        here.works(*ERASE)
        here.works("restore", "crm", "--to", "back.sqlite")
        assert here.customers("back.sqlite") == set(range(500)) - {7}


def test_a_token_that_expires_in_the_middle_stops_the_run_and_a_rerun_completes_it(
    s3_server: Server, buckets: tuple[str, str], tmp_path: Path
) -> None:
    with between(s3_server.endpoint) as proxy:
        here = made(s3_server, buckets, tmp_path, proxy.endpoint)
        here.works("snapshot")
        for words in (ERASE, ("snapshot",)):
            proxy.harm("PUT", none, *[refusing(403, "ExpiredToken")] * 8)
            stopped = here.run(*words)
            assert stopped.returncode == 23, (words, stopped.stdout, stopped.stderr)
            assert "has expired" in stopped.stderr
            assert "renew" in stopped.stderr
            proxy.harms.clear()
        here.works(*ERASE)
        here.works("snapshot")
        here.works("prune")
        assert "Nothing is damaged" in here.works("verify", "--read-data", "100%")
        here.works("restore", "crm", "--to", "back.sqlite")
    assert here.customers("back.sqlite") == here.customers() == set(range(500)) - {7}


def test_a_bucket_in_another_region_is_told_and_nothing_is_made(
    s3_server: Server, buckets: tuple[str, str], tmp_path: Path
) -> None:
    with between(s3_server.endpoint) as proxy:
        for method in ("PUT", "GET", "HEAD"):
            proxy.harm(method, *[refusing(301, "PermanentRedirect")] * 20)
        here = Installation(folder=tmp_path, environment=environment(s3_server))
        done = here.run(
            "init", ".", "--object-store", f"s3://{buckets[0]}/x?endpoint={proxy.endpoint}&attempts=2"
        )
    assert done.returncode == 10, done.stderr
    assert "another region" in done.stderr
    assert "`region`" in done.stderr
    assert not (tmp_path / "tenure.yaml").exists()


def test_two_repositories_in_one_bucket_leave_each_other_alone(
    s3_server: Server, buckets: tuple[str, str], tmp_path: Path
) -> None:
    sites = []
    for name in ("north", "south"):
        folder = tmp_path / name
        folder.mkdir()
        places = (f"{buckets[0]}/{name}", f"{buckets[1]}/{name}")
        sites.append(made(s3_server, places, folder, s3_server.endpoint))
        sites[-1].works("snapshot")
    north, south = sites
    north.works(*ERASE)
    north.works("keys", "rotate")
    north.works("prune")
    for site, gone in ((north, {7}), (south, set[int]())):
        assert "Nothing is damaged" in site.works("verify", "--read-data", "100%")
        site.works("restore", "crm", "--to", "back.sqlite")
        assert site.customers("back.sqlite") == set(range(500)) - gone


def test_a_repository_below_which_another_one_lies_is_refused(
    s3_server: Server, buckets: tuple[str, str], tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    made(s3_server, buckets, first, s3_server.endpoint)
    there = f"s3://{buckets[0]}/tenure?endpoint={s3_server.endpoint}"
    keys = f"first=s3://{buckets[1]}/elsewhere?endpoint={s3_server.endpoint}"
    other = Installation(folder=second, environment=environment(s3_server))
    refused = other.run("init", ".", "--object-store", there, "--key-store", keys)
    assert refused.returncode == 10
    assert "another purge key" in refused.stderr
