"""What a bucket's settings mean, as AWS answers them: a server of that kind is not at hand for all of them."""

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tenure.domain.errors import StoreDeniedError
from tenure.objectstore import s3probe
from tenure.objectstore.abilities import Abilities
from tenure.objectstore.s3calls import S3Calls
from tenure.objectstore.s3client import S3Settings, make_backup_client


class Calls:
    """Answers as a server would; `answers`: operation -> what it returns, or the code of an error."""

    def __init__(self, prefix: str = "", **answers: Any) -> None:
        self.settings = S3Settings(bucket="b", prefix=prefix, endpoint="https://s3.example")
        names = ("get_bucket_versioning", "get_object_lock_configuration", "get_bucket_lifecycle_configuration",
                 "get_bucket_replication")  # fmt: skip
        self.client = SimpleNamespace(**{n: self._answering(answers.get(n, {}), n) for n in names})

    def tried(self, once: Any, what: str, *, passed: tuple[str, ...] = ()) -> Any:
        try:
            return once()
        except ClientError as e:
            if e.response["Error"]["Code"] in passed:
                raise
            raise StoreDeniedError(what) from e

    def _answering(self, answer: Any, name: str) -> Any:
        def call(Bucket: str) -> Any:  # noqa: N803 - boto3's spelling
            if isinstance(answer, str):
                raise ClientError({"Error": {"Code": answer}}, name)
            return answer

        return call


def look(calls: Calls) -> Abilities:
    stand_in: S3Calls = calls  # type: ignore[assignment]
    return s3probe.look(stand_in)


def lifecycle(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"Rules": [{"ID": "r", "Status": "Enabled", **r} for r in rules]}


def test_where_copies_of_keys_go_is_found() -> None:
    rules = [
        {"Status": "Enabled", "Filter": {"Prefix": "keys/"}, "Destination": {"Bucket": "arn:aws:s3:::copy"}},
        {"Status": "Disabled", "Filter": {}, "Destination": {"Bucket": "arn:aws:s3:::off"}},
        {"Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Destination": {"Bucket": "arn:aws:s3:::logs"}},
    ]
    answer = {"ReplicationConfiguration": {"Role": "r", "Rules": rules}}
    assert look(Calls("keys/one/", get_bucket_replication=answer)).copied_to == ("arn:aws:s3:::copy",)
    assert look(Calls("", get_bucket_replication=answer)).copied_to == (
        "arn:aws:s3:::copy",
        "arn:aws:s3:::logs",
    )


@pytest.mark.parametrize(
    ("rule", "ends", "moves", "old"),
    [
        ({"Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}, 30, None, None),
        ({"Prefix": "tenure/", "Expiration": {"Days": 30}}, 30, None, None),
        ({"Filter": {"And": {"Prefix": "tenure/data/", "ObjectSizeGreaterThan": 1}}, "Expiration": {"Days": 4}}, 4,
         None, None),
        ({"Filter": {}, "Expiration": {"Date": "2030-01-01"}}, 0, None, None),
        ({"Filter": {}, "Expiration": {"ExpiredObjectDeleteMarker": True}}, None, None, None),
        ({"Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Expiration": {"Days": 30}}, None, None, None),
        ({"Filter": {"Prefix": "other/"}, "Expiration": {"Days": 30}}, None, None, None),
        ({"Filter": {}, "Status": "Disabled", "Expiration": {"Days": 30}}, None, None, None),
        ({"Filter": {}, "Transitions": [{"Days": 90, "StorageClass": "GLACIER"}]}, None, 90, None),
        ({"Filter": {}, "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}]}, None, None, None),
        ({"Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 14}}, None, None, 14),
    ],
)  # fmt: skip
def test_a_lifecycle_rule_counts_where_it_reaches_objects_of_ours(
    rule: dict[str, Any], ends: int | None, moves: int | None, old: int | None
) -> None:
    found = look(Calls("tenure/", get_bucket_lifecycle_configuration=lifecycle(rule)))
    assert (found.ends_days, found.moves_days, found.ends_old_days) == (ends, moves, old)


def test_what_is_not_set_and_what_may_not_be_seen_are_told_apart() -> None:
    found = look(
        Calls(
            get_bucket_versioning="AccessDenied",
            get_object_lock_configuration="ObjectLockConfigurationNotFoundError",
            get_bucket_replication="NotImplemented",
        )
    )
    assert found.versions is None
    assert found.locks is False
    assert found.untold == ("versioning: not allowed to look",)


@pytest.mark.parametrize(
    ("answer", "copies", "untold"),
    [
        ({"RecoveryPoints": [{"BackupVaultName": "nightly"}, {"BackupVaultName": "nightly"}]},
         ("AWS Backup (nightly)",), ()),
        ({"RecoveryPoints": []}, (), ()),
        ("AccessDeniedException", (), ("backups: not allowed to look",)),
    ],
)  # fmt: skip
def test_backups_of_a_bucket_are_copies_of_keys(
    monkeypatch: pytest.MonkeyPatch, answer: Any, copies: tuple[str, ...], untold: tuple[str, ...]
) -> None:
    def listed(ResourceArn: str) -> Any:  # noqa: N803 - boto3's spelling
        assert ResourceArn == "arn:aws:s3:::b"
        if isinstance(answer, str):
            raise ClientError({"Error": {"Code": answer}}, "ListRecoveryPointsByResource")
        return answer

    client = SimpleNamespace(list_recovery_points_by_resource=listed)
    monkeypatch.setattr(s3probe, "make_backup_client", lambda _: client)
    found = look(Calls(get_bucket_versioning={"Status": "Enabled"}))
    assert (found.copied_to, found.untold) == (copies, untold)


def test_only_aws_is_asked_about_its_backups() -> None:
    assert make_backup_client(S3Settings(bucket="b", endpoint="https://s3.example")) is None
    assert make_backup_client(S3Settings(bucket="b", region="eu-central-1")) is not None


def test_years_of_a_default_lock_are_days() -> None:
    retention = {"Mode": "COMPLIANCE", "Years": 7}
    answer = {
        "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}
    }
    found = look(Calls(get_object_lock_configuration=answer, get_bucket_versioning={"Status": "Enabled"}))
    assert found.in_words() == {"versions": "yes", "locks": "yes", "default_lock": "2555 days"}
