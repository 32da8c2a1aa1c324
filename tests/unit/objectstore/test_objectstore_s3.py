"""What an S3 store does when the way to it, the server or the credentials fail: on a real server, behind a proxy that harms."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from support.clock import FixedClock
from support.s3proxy import Answer, Asked, Proxy, between, busy, cut_after, cut_before, refusing, shortened
from support.s3server import Server
from tenure.bootstrap.clock import SystemClock
from tenure.domain.errors import (
    ConfigError,
    ObjectLockedError,
    ObjectNotFoundError,
    ObjectStoreError,
    PreconditionFailedError,
    StoreDeniedError,
    StoreUnavailableError,
    TenureError,
)
from tenure.objectstore.s3 import S3Store
from tenure.objectstore.s3client import S3Access


@pytest.fixture
def proxy(s3_server: Server) -> Iterator[Proxy]:
    with between(s3_server.endpoint) as found:
        yield found


@pytest.fixture
def store(s3_server: Server, s3_bucket: str, proxy: Proxy, request: pytest.FixtureRequest) -> S3Store:
    prefix = f"harm-{abs(hash(request.node.nodeid))}/"
    return S3Store(s3_server.settings(s3_bucket, prefix=prefix, endpoint=proxy.endpoint), SystemClock())


def test_a_put_whose_answer_was_lost_is_known_to_be_ours(store: S3Store, proxy: Proxy) -> None:
    proxy.harm("PUT", cut_after)
    info = store.put("ledger/1", b"mine")
    assert (info.name, info.size) == ("ledger/1", 4)
    assert [line.split()[0] for line in proxy.seen] == ["PUT", "PUT", "HEAD", "HEAD"]
    assert store.get("ledger/1") == b"mine"


def test_a_put_that_never_arrived_is_tried_again(store: S3Store, proxy: Proxy) -> None:
    proxy.harm("PUT", cut_before, busy())
    store.put("a", b"content")
    assert [line.split()[0] for line in proxy.seen] == ["PUT"] * 3
    assert store.get("a") == b"content"


def test_another_writers_object_is_not_taken_for_ours_after_a_lost_answer(
    store: S3Store, proxy: Proxy
) -> None:
    S3Store(store.settings, SystemClock()).put("ledger/1", b"theirs")
    proxy.harm("PUT", cut_before)
    with pytest.raises(PreconditionFailedError, match="ledger/1 exists already"):
        store.put("ledger/1", b"theirs")  # the same bytes, and still not this put
    assert store.get("ledger/1") == b"theirs"


def test_of_many_writers_behind_a_line_that_loses_answers_one_wins(store: S3Store, proxy: Proxy) -> None:
    proxy.harm("PUT", *[cut_after, cut_before, busy()] * 3)

    def put(number: int) -> int | None:
        try:
            store.put("ledger/7", b"%d" % number)
        except PreconditionFailedError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        won = [n for n in pool.map(put, range(8)) if n is not None]
    assert len(won) == 1
    assert store.get("ledger/7") == b"%d" % won[0]


def test_a_storm_ends_in_words_after_as_many_tries_as_were_set(store: S3Store, proxy: Proxy) -> None:
    proxy.harm("GET", *[busy()] * 5)
    with pytest.raises(
        StoreUnavailableError, match=r"a cannot be read: bucket .* asks to be called later \(SlowDown\)"
    ):
        store.get("a")
    assert len(proxy.seen) == store.settings.attempts == 3


def test_it_waits_as_long_as_the_store_asks(store: S3Store, proxy: Proxy) -> None:
    store.put("a", b"content")
    proxy.harm("GET", busy(after="1"))
    begun = time.monotonic()
    assert store.get("a") == b"content"
    assert time.monotonic() - begun >= 1


def test_a_body_cut_short_is_read_again(store: S3Store, proxy: Proxy) -> None:
    content = bytes(range(256)) * 1000
    store.put("a", content)
    proxy.harm("GET", shortened, cut_before)
    assert store.get("a") == content
    proxy.harm("GET", shortened)
    assert store.get("a", offset=1000, length=200_000) == content[1000:201_000]
    proxy.harm("GET", *[shortened] * 3)
    with pytest.raises(StoreUnavailableError, match="did not answer"):
        store.get("a")


def test_a_server_that_hangs_is_given_up(store: S3Store, proxy: Proxy) -> None:
    hasty = S3Store(replace(store.settings, read=0.3, attempts=2), SystemClock())

    def hangs(asked: Asked) -> Answer:
        time.sleep(1.5)
        return asked.answer()

    proxy.harm("HEAD", hangs, hangs)
    with pytest.raises(StoreUnavailableError, match=r"did not answer \(ReadTimeoutError\)"):
        hasty.stat("a")


@pytest.mark.parametrize(
    ("answer", "error", "words", "hint"),
    [
        ((403, "ExpiredToken"), StoreDeniedError, "the session token has expired", "renew"),
        ((403, "InvalidAccessKeyId"), StoreDeniedError, "the access key is unknown", "renew or correct"),
        ((403, "RequestTimeTooSkewed"), StoreDeniedError, "the clock of this machine", "set the clock"),
        ((403, "AccessDenied"), StoreDeniedError, "refused (AccessDenied)", "permissions"),
        ((400, "AuthorizationHeaderMalformed"), StoreDeniedError, "another region", "`region`"),
        ((301, "PermanentRedirect"), ConfigError, "lies in another region", "`region`"),
        ((404, "NoSuchBucket"), StoreUnavailableError, "there is no bucket", "make the bucket"),
        ((418, "Teapot"), ObjectStoreError, "answered Teapot", "--probe"),
    ],
)
def test_a_refusal_says_why_and_what_to_do_and_is_not_tried_again(  # noqa: PLR0917 - a row of the table
    store: S3Store, proxy: Proxy, answer: tuple[int, str], error: type[TenureError], words: str, hint: str
) -> None:
    proxy.harm("GET", refusing(*answer))
    with pytest.raises(error) as told:
        store.get("data/1")
    assert type(told.value) is error
    assert words in str(told.value)
    assert "data/1 cannot be read" in str(told.value)
    assert hint in told.value.hint
    assert [line.split()[0] for line in proxy.seen].count(
        "GET"
    ) == 1  # and a HEAD, by which boto3 looks for a region


def test_wrong_keys_and_no_bucket_are_told_by_a_real_server(s3_server: Server, s3_bucket: str) -> None:
    wrong = S3Access(access_key=s3_server.access.access_key, secret_key="x" * 40)
    with pytest.raises(StoreDeniedError, match="the secret key does not match the access key"):
        S3Store(s3_server.settings(s3_bucket, access=wrong), SystemClock()).get("a")
    unknown = S3Access(access_key="NOBODY", secret_key="x" * 40)
    with pytest.raises(StoreDeniedError, match="the access key is unknown to it"):
        S3Store(s3_server.settings(s3_bucket, access=unknown), SystemClock()).put("a", b"")
    with pytest.raises(
        StoreUnavailableError, match="there is no bucket nowhere at all".replace(" at all", "")
    ):
        S3Store(s3_server.settings("nowhere"), SystemClock()).put("a", b"")


def test_a_server_that_is_not_there_is_unavailable(s3_server: Server, s3_bucket: str) -> None:
    away = s3_server.settings(s3_bucket, endpoint="http://127.0.0.1:9", attempts=2)
    with pytest.raises(StoreUnavailableError, match="did not answer"):
        list(S3Store(away, SystemClock()).list(""))


def test_a_file_that_the_settings_name_has_to_be_there(s3_server: Server, s3_bucket: str) -> None:
    with pytest.raises(ConfigError, match=r"/no/such/ca.pem is not there"):
        S3Store(s3_server.settings(s3_bucket, ca_file="/no/such/ca.pem"), SystemClock())


def test_a_key_stores_deletion_leaves_no_version(s3_server: Server, s3_versioned_bucket: str) -> None:
    store = S3Store(s3_server.settings(s3_versioned_bucket, prefix="gone/", all_versions=True), SystemClock())
    for content in (b"one", b"two"):
        store.put("keys/1", content)
        s3_server.admin.delete_object(
            Bucket=s3_versioned_bucket, Key="gone/keys/1"
        )  # a marker; the version stays
    store.put("keys/10", b"a name that begins alike")
    store.delete("keys/1")
    left = s3_server.admin.list_object_versions(Bucket=s3_versioned_bucket, Prefix="gone/")
    assert [v["Key"] for v in left.get("Versions", [])] == ["gone/keys/10"]
    assert left.get("DeleteMarkers", []) == []


def test_a_version_under_a_lock_stays_and_says_until_when(s3_server: Server) -> None:
    bucket = s3_server.bucket(locked=True)
    store = S3Store(s3_server.settings(bucket, all_versions=True), SystemClock())
    store.put("keys/1", b"locked")
    until = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    s3_server.admin.put_object_retention(
        Bucket=bucket, Key="keys/1", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until}
    )
    with pytest.raises(ObjectLockedError, match="keys/1 is under a lock in bucket") as told:
        store.delete("keys/1")
    assert told.value.until == until
    assert store.get("keys/1") == b"locked"


def test_the_time_is_the_servers_whatever_this_machine_says(s3_server: Server, s3_bucket: str) -> None:
    clock = FixedClock(datetime(1999, 1, 1, tzinfo=UTC))
    store = S3Store(s3_server.settings(s3_bucket, prefix="time/"), clock)
    assert abs(store.now() - datetime.now(UTC)) < timedelta(seconds=5)
    clock.advance(seconds=30)
    assert timedelta(seconds=24) < store.now() - datetime.now(UTC) < timedelta(seconds=35), (
        "trusted for a minute"
    )
    clock.advance(hours=2)
    assert abs(store.now() - datetime.now(UTC)) < timedelta(seconds=5), "and then asked again"


def test_what_is_not_there_is_no_damage(store: S3Store) -> None:
    with pytest.raises(ObjectNotFoundError, match="a/b cannot be read: it is not in bucket"):
        store.get("a/b")


def test_a_versioned_bucket_is_freed_of_every_version_without_being_told(
    s3_server: Server, s3_versioned_bucket: str
) -> None:
    store = S3Store(s3_server.settings(s3_versioned_bucket, prefix="freed/"), SystemClock())
    store.put("data/1", b"sealed")
    store.delete("data/1")
    assert store.left_of("data/1") == 0


def test_within_a_shred_window_a_deletion_leaves_the_version_to_the_lifecycle(
    s3_server: Server, s3_versioned_bucket: str
) -> None:
    settings = s3_server.settings(s3_versioned_bucket, prefix="window/", all_versions=False)
    store = S3Store(settings, SystemClock())
    store.put("keys/1", b"page")
    store.delete("keys/1")
    with pytest.raises(ObjectNotFoundError):
        store.get("keys/1")
    assert store.left_of("keys/1") == 2, "the version, and what says that it was deleted"


def test_a_lock_cannot_be_asked_for_where_nobody_said_how(s3_server: Server, s3_locked_bucket: str) -> None:
    store = S3Store(s3_server.settings(s3_locked_bucket, prefix="modeless/"), SystemClock())
    with pytest.raises(ObjectStoreError, match="no mode of locks is set"):
        store.put("data/1", b"", until=store.now() + timedelta(days=1))


def test_what_a_key_of_ours_encrypts_is_read_with_that_key_alone(s3_server: Server, s3_bucket: str) -> None:
    settings = s3_server.settings(s3_bucket, prefix="ssec/", customer_key=bytes(range(32)))
    mine = S3Store(settings, SystemClock())
    mine.put("data/1", b"0123456789")
    assert mine.get("data/1", offset=3, length=4) == b"3456"
    assert mine.stat("data/1").size == 10
    for other in (b"", b"x" * 32):
        theirs = S3Store(replace(settings, customer_key=other), SystemClock())
        with pytest.raises(ObjectStoreError):
            theirs.get("data/1")
    assert "customer_key" not in repr(settings)


def test_bytes_are_held_to_a_rate_both_ways(s3_server: Server, s3_bucket: str) -> None:
    content = random.Random(7).randbytes(600_000)
    settings = s3_server.settings(s3_bucket, prefix="pace/", up=1e6, down=1e6)
    store = S3Store(settings, SystemClock())
    begun = time.monotonic()
    store.put("data/1", content)
    up = time.monotonic()
    assert store.get("data/1") == content
    down = time.monotonic()
    # Never faster than the rate allows, less what goes at once; how much slower is the machine's affair.
    assert up - begun >= 0.3
    assert down - up >= 0.3


def test_a_bucket_tells_what_it_does_with_objects(s3_server: Server) -> None:
    bucket = s3_server.bucket(locked=True)
    s3_server.admin.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={
            "Rules": [
                rule("old", "tenure/", NoncurrentVersionExpiration={"NoncurrentDays": 9}),
                rule("elsewhere", "logs/", Expiration={"Days": 3}),
            ]
        },
    )
    s3_server.admin.put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 20}},
        },
    )
    found = S3Store(s3_server.settings(bucket, prefix="tenure/"), SystemClock()).abilities()
    assert found.in_words() == {
        "versions": "yes",
        "locks": "yes",
        "default_lock": "20 days",
        "ends_old_days": "9",
    }
    below = S3Store(s3_server.settings(bucket, prefix="logs/of/"), SystemClock()).abilities()
    assert below.ends_days == 3


def test_a_plain_bucket_tells_that_it_does_nothing_of_the_kind(s3_server: Server, s3_bucket: str) -> None:
    found = S3Store(s3_server.settings(s3_bucket), SystemClock()).abilities()
    assert found.in_words() == {"versions": "no", "locks": "no"}


def rule(name: str, prefix: str, **what: object) -> dict[str, object]:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, **what}
