"""An object store in an S3 bucket: AWS, SeaweedFS, Ceph, MinIO and their like, by boto3.

**Written once.** `put` sends ``If-None-Match: *``, and a random token with the object. An answer may be lost after the
put took effect, and the next try is then told that the name is taken: whose token stands there tells whether that was
us. **Dated by the store.** Every answer carries the store's time; `now` is this machine's clock put right by the last
one. Both the store's dates and that header count whole seconds.
"""

import base64
import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from tenure.crypto.hashing import random_bytes
from tenure.domain.clock import Clock
from tenure.domain.errors import (
    ObjectLockedError,
    ObjectNotFoundError,
    ObjectStoreError,
    PreconditionFailedError,
    StoreDeniedError,
    TruncatedError,
)
from tenure.objectstore.abilities import Abilities
from tenure.objectstore.base import Buffer, ObjectInfo, validate_name, validate_range
from tenure.objectstore.pacing import Pace
from tenure.objectstore.s3calls import S3Calls, date_of
from tenure.objectstore.s3client import S3Settings

_PART = 256 * 1024  # bytes of an answer that are read at once where there is a pace to keep
_TOKEN = "tenure-put"  # noqa: S105 - the name of an object's metadata


class _Body(io.RawIOBase):
    """Reads a buffer, without a copy; boto3 takes files, and begins again from the start when it has to."""

    def __init__(self, content: memoryview, pace: Pace) -> None:
        super().__init__()
        self._content, self._at, self._pace = content, 0, pace

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._content)}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._content[self._at : self._at + len(buffer)]
        self._pace.take(len(part))
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def __len__(self) -> int:
        return len(self._content)


class S3Store:
    """A bucket, or the part of it below a prefix, as `ObjectStore`."""

    def __init__(self, settings: S3Settings, clock: Clock) -> None:
        """Get ready; nothing is asked of the store yet. `clock`: this machine's.

        Raises:
            ConfigError: The settings name a file that is not there.
        """
        self._settings = settings
        self._calls = S3Calls(settings, clock)
        self._client, self._tried = self._calls.client, self._calls.tried
        self._up, self._down = Pace(settings.up), Pace(settings.down)
        self._keeps_versions: bool | None = settings.all_versions

    @property
    def settings(self) -> S3Settings:
        """Return where it lies."""
        return self._settings

    @property
    def calls(self) -> S3Calls:
        """Return how it is asked, for whoever looks at the bucket itself."""
        return self._calls

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        """See `ObjectStore.put`."""
        key, view = self._key(name), memoryview(content).cast("B")
        token = random_bytes(16).hex()
        lock = {} if until is None else self._lock_of(name, view, until)

        def once() -> dict[str, Any]:
            answer: dict[str, Any] = self._client.put_object(
                Bucket=self._settings.bucket,
                Key=key,
                Body=_Body(view, self._up),
                ContentLength=len(view),
                IfNoneMatch="*",
                Metadata={_TOKEN: token},
                **self._settings.extra(),
                **lock,
            )
            return answer

        try:
            answer = self._tried(once, f"{name} cannot be written")
        except PreconditionFailedError:
            if not self._is_mine(key, name, token):
                raise PreconditionFailedError(f"{name} exists already in {self._settings.where}") from None
            return self.stat(name)
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        return ObjectInfo(name=name, size=len(view), modified=date_of(headers) or self.now())

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        validate_range(offset, length)
        key = self._key(name)
        if length == 0:
            return self._check_range(name, offset, length)
        wanted = {} if offset == 0 and length is None else {"Range": _range(offset, length)}

        def once() -> bytes:
            answer = self._client.get_object(
                Bucket=self._settings.bucket, Key=key, **wanted, **self._settings.opening()
            )
            with answer["Body"] as body:
                return self._read(body)

        try:
            found = self._tried(once, f"{name} cannot be read", passed=("InvalidRange", "416"))
        except ClientError:
            return self._check_range(name, offset, length)
        if length is not None and len(found) != length:
            return self._check_range(name, offset, length)
        return found

    def stat(self, name: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        answer = self._head(self._key(name), name)
        until = answer.get("ObjectLockRetainUntilDate")
        return ObjectInfo(
            name=name,
            size=answer["ContentLength"],
            modified=answer["LastModified"].astimezone(UTC),
            until=None if until is None else until.astimezone(UTC),
        )

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`.

        Raises:
            ObjectLockedError: A version of it is under a lock; those that are not went.
        """
        key = self._key(name)
        what = f"{name} cannot be deleted"
        if not self.keeps_versions():
            self._tried(lambda: self._client.delete_object(Bucket=self._settings.bucket, Key=key), what)
            return
        locked: list[datetime | None] = []
        for version in tuple(self._versions(key, what)):
            until = self._delete_version(key, version, what)
            locked += [] if until is None else [until[0]]
        if locked:
            last = max((u for u in locked if u is not None), default=None)
            told = f" until {last:%Y-%m-%d %H:%M} UTC" if last else ""
            raise ObjectLockedError(f"{name} is under a lock in {self._settings.where}{told}", until=last)

    def lock(self, name: str, until: datetime) -> None:
        """See `LockingStore.lock`; `until` counts whole seconds here."""
        known = self.stat(name).until
        if known is not None and known >= until.replace(microsecond=0):
            return
        wanted = {"Mode": self._mode(name), "RetainUntilDate": _whole(until)}
        self._tried(
            lambda: self._client.put_object_retention(
                Bucket=self._settings.bucket, Key=self._key(name), Retention=wanted
            ),
            f"{name} cannot be locked",
        )

    def hold(self, name: str, *, on: bool) -> None:
        """See `LockingStore.hold`."""
        self.stat(name)  # some servers answer with an error of their own for what is not there
        self._tried(
            lambda: self._client.put_object_legal_hold(
                Bucket=self._settings.bucket,
                Key=self._key(name),
                LegalHold={"Status": "ON" if on else "OFF"},
            ),
            f"the legal hold on {name} cannot be {'placed' if on else 'lifted'}",
        )

    def keeps_versions(self) -> bool:
        """Whether `delete` has to remove versions one by one; asked of the bucket once where settings leave it open."""
        if self._keeps_versions is None:
            what = f"whether {self._settings.where} keeps versions cannot be read"
            try:
                answer = self._tried(
                    lambda: self._client.get_bucket_versioning(Bucket=self._settings.bucket), what
                )
                self._keeps_versions = "Status" in answer
            except StoreDeniedError:
                # Without that right, a plain delete: what it leaves is the bucket's lifecycle's to end.
                self._keeps_versions = False
        return self._keeps_versions

    def abilities(self) -> Abilities:
        """See `TellingStore.abilities`."""
        from tenure.objectstore.s3probe import look  # noqa: PLC0415 - asked for at init and by hand

        return look(self._calls)

    def left_of(self, name: str) -> int:
        """See `TellingStore.left_of`."""
        return sum(1 for _ in self._versions(self._key(name), f"the versions of {name} cannot be listed"))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`.

        Sorted here: not every server lists in the order of characters. Some 200 bytes of memory for each object.
        """
        found: dict[str, ObjectInfo] = {}
        for one in self._listed(prefix):
            name = one["Key"][len(self._settings.prefix) :]
            # Others may share the bucket; and a server may take a prefix for a path.
            if name.startswith(prefix) and _is_name(name):
                # To the second, as `stat` knows it: whoever asks either way has to come to the same.
                modified = one["LastModified"].astimezone(UTC).replace(microsecond=0)
                found[name] = ObjectInfo(name=name, size=one["Size"], modified=modified)
        yield from (found[name] for name in sorted(found))

    def _listed(self, prefix: str) -> Iterator[dict[str, Any]]:
        ask = partial(
            self._client.list_objects_v2,
            Bucket=self._settings.bucket,
            Prefix=self._settings.prefix + prefix,
        )
        token: dict[str, str] = {}
        while True:
            page = self._tried(
                partial(ask, **token), f"the objects below {prefix or 'the root'} cannot be listed"
            )
            yield from page.get("Contents", ())
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def now(self) -> datetime:
        """See `ObjectStore.now`; off by up to a second, as the store's own dates are."""
        return self._calls.now()

    def _head(self, key: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._tried(
            lambda: self._client.head_object(
                Bucket=self._settings.bucket, Key=key, **self._settings.opening()
            ),
            f"{name} cannot be read",
        )
        return found

    def _read(self, body: Any) -> bytes:
        """Read an answer's body; in parts where it has to be paced."""
        if not self._settings.down:
            found: bytes = body.read()
            return found
        parts = []
        while part := body.read(_PART):
            self._down.take(len(part))
            parts.append(part)
        return b"".join(parts)

    def _mode(self, name: str) -> str:
        """Return how objects are locked here.

        Raises:
            ObjectStoreError: Nobody said how.
        """
        if not self._settings.lock:
            raise ObjectStoreError(
                f"{name} cannot be locked: no mode of locks is set for {self._settings.where}"
            )
        return self._settings.lock

    def _lock_of(self, name: str, view: memoryview, until: datetime) -> dict[str, Any]:
        """Return what puts an object under a lock. S3 wants a digest with that; MD5 is the one that every server knows."""
        digest = hashlib.md5(view, usedforsecurity=False).digest()
        return {
            "ObjectLockMode": self._mode(name),
            "ObjectLockRetainUntilDate": _whole(until),
            "ContentMD5": base64.b64encode(digest).decode(),
        }

    def _is_mine(self, key: str, name: str, token: str) -> bool:
        try:
            return bool(self._head(key, name)["Metadata"].get(_TOKEN) == token)
        except ObjectNotFoundError:
            return False  # taken, and gone again: not by us

    def _check_range(self, name: str, offset: int, length: int | None) -> bytes:
        """Return b"" where nothing was asked for, and say what is missing otherwise."""
        size = self.stat(name).size
        end = size if length is None else offset + length
        if offset > size or end > size:
            raise TruncatedError(f"{name} has {size} bytes, bytes {offset} to {end} were asked for")
        if end > offset:
            raise TruncatedError(
                f"{name} has {size} bytes, and {self._settings.where} sent other than was asked for"
            )
        return b""

    def _versions(self, key: str, what: str) -> Iterator[str]:
        """Yield the id of every version of a key, delete markers too."""
        ask = partial(self._client.list_object_versions, Bucket=self._settings.bucket, Prefix=key)
        after: dict[str, str] = {}
        while True:
            page = self._tried(partial(ask, **after), what)
            entries = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            yield from (one["VersionId"] for one in entries if one["Key"] == key)
            if not page.get("IsTruncated") or any(one["Key"] > key for one in entries):
                return
            after = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def _delete_version(self, key: str, version: str, what: str) -> tuple[datetime | None] | None:
        """Delete one version; where a lock forbids that, return when it ends."""
        try:
            self._tried(
                lambda: self._client.delete_object(Bucket=self._settings.bucket, Key=key, VersionId=version),
                what,
            )
        except StoreDeniedError:
            head = self._tried(
                lambda: self._client.head_object(
                    Bucket=self._settings.bucket, Key=key, VersionId=version, **self._settings.opening()
                ),
                what,
            )
            until = head.get("ObjectLockRetainUntilDate")
            if until is None and head.get("ObjectLockLegalHoldStatus") != "ON":
                raise
            return (None if until is None else until.astimezone(UTC),)
        return None

    def _key(self, name: str) -> str:
        return self._settings.prefix + validate_name(name)


def _whole(until: datetime) -> datetime:
    """Return a time in whole seconds, rounded up: a lock never ends before what was asked for."""
    whole = until.replace(microsecond=0)
    return whole if whole == until else whole + timedelta(seconds=1)


def _range(offset: int, length: int | None) -> str:
    return f"bytes={offset}-" if length is None else f"bytes={offset}-{offset + length - 1}"


def _is_name(name: str) -> bool:
    try:
        validate_name(name)
    except ValueError:
        return False
    return True
