"""Looks at a bucket's own settings: versions, locks, lifecycle, replication, and at backups of it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from tenure.domain.errors import ObjectStoreError, StoreDeniedError
from tenure.objectstore.abilities import Abilities
from tenure.objectstore.s3calls import S3Calls
from tenure.objectstore.s3client import make_backup_client

_NOT_SET = (
    "NoSuchLifecycleConfiguration", "ReplicationConfigurationNotFoundError", "ObjectLockConfigurationNotFoundError",
    "NoSuchObjectLockConfiguration", "NoSuchReplicationConfiguration", "404", "NoSuchKey",
)  # fmt: skip
"""What servers say where a bucket has no such setting."""

_NOT_KNOWN = ("NotImplemented", "501", "MethodNotAllowed", "405", "InvalidRequest", "XNotImplemented")
"""What servers say that have no such thing at all."""

_COLD = {"GLACIER", "DEEP_ARCHIVE"}  # classes that have to be asked for hours before they can be read
_DAYS_PER_YEAR = 365


def look(calls: S3Calls) -> Abilities:
    """Return what a bucket's settings say; a server that has no such setting does nothing of the kind to a bucket.

    Raises:
        StoreUnavailableError: The server did not answer; retryable.
    """
    client, untold = calls.client, list[str]()

    def asked(what: str, call: Any) -> dict[str, Any] | None:
        """Return an answer: {} for not set, None for not told."""
        try:
            return dict(
                calls.tried(
                    lambda: call(Bucket=calls.settings.bucket),
                    f"the {what} of {calls.settings.where} cannot be read",
                    passed=(*_NOT_SET, *_NOT_KNOWN),
                )
            )
        except ClientError:
            return {}
        except StoreDeniedError:
            untold.append(f"{what}: not allowed to look")
            return None

    versioning = asked("versioning", client.get_bucket_versioning)
    lock = asked("lock settings", client.get_object_lock_configuration)
    lifecycle = asked("lifecycle", client.get_bucket_lifecycle_configuration)
    replication = asked("replication", client.get_bucket_replication)
    backups = _backups(calls, untold)
    rules = list(_rules(lifecycle or {}, calls.settings.prefix))
    locking = (lock or {}).get("ObjectLockConfiguration", {})
    return Abilities(
        versions=None if versioning is None else "Status" in versioning,
        locks=None if lock is None else locking.get("ObjectLockEnabled") == "Enabled",
        default_lock=_default(locking),
        ends_old_days=_least(r.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays") for r in rules),
        ends_days=_least(_ending(r) for r in rules),
        moves_days=_least(t.get("Days", 0) for r in rules for t in r.get("Transitions", ()) if _is_cold(t)),
        copied_to=(*_targets(replication or {}, calls.settings.prefix), *backups),
        untold=tuple(untold),
    )


def _backups(calls: S3Calls, untold: list[str]) -> tuple[str, ...]:
    """Return the vaults of AWS Backup that hold copies of a bucket."""
    client = make_backup_client(calls.settings)
    if client is None:
        return ()
    try:
        found = calls.tried(
            lambda: client.list_recovery_points_by_resource(
                ResourceArn=f"arn:aws:s3:::{calls.settings.bucket}"
            ),
            f"the backups of {calls.settings.where} cannot be listed",
        )
    except ObjectStoreError as e:
        untold.append(
            "backups: not allowed to look" if isinstance(e, StoreDeniedError) else "backups: no answer"
        )
        return ()
    vaults = {str(p.get("BackupVaultName", "a vault")) for p in found.get("RecoveryPoints", ())}
    return tuple(f"AWS Backup ({vault})" for vault in sorted(vaults))


def _is_cold(transition: dict[str, Any]) -> bool:
    return transition.get("StorageClass") in _COLD


def _default(locking: dict[str, Any]) -> timedelta | None:
    wanted = locking.get("Rule", {}).get("DefaultRetention", {})
    days = wanted.get("Days", 0) + wanted.get("Years", 0) * _DAYS_PER_YEAR
    return timedelta(days=days) if days else None


def _rules(lifecycle: dict[str, Any], prefix: str) -> Iterator[dict[str, Any]]:
    """Yield the rules in force that reach objects of ours; those for tags do not, for we put none."""
    for rule in lifecycle.get("Rules", ()):
        chosen = rule.get("Filter", {})
        tagged = "Tag" in chosen or "Tags" in chosen.get("And", {})
        below = rule.get("Prefix") or chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or ""
        if rule.get("Status") == "Enabled" and not tagged and _meet(below, prefix):
            yield rule


def _ending(rule: dict[str, Any]) -> int | None:
    ends = rule.get("Expiration", {})
    days = ends.get("Days")
    return 0 if days is None and "Date" in ends else days


def _targets(replication: dict[str, Any], prefix: str) -> Iterator[str]:
    for rule in replication.get("ReplicationConfiguration", {}).get("Rules", ()):
        below = rule.get("Prefix") or rule.get("Filter", {}).get("Prefix") or ""
        if rule.get("Status") == "Enabled" and _meet(below, prefix):
            yield str(rule.get("Destination", {}).get("Bucket", "elsewhere"))


def _meet(one: str, other: str) -> bool:
    """Whether objects may lie below both prefixes."""
    return one.startswith(other) or other.startswith(one)


def _least(days: Iterator[int | None]) -> int | None:
    return min((d for d in days if d is not None), default=None)
