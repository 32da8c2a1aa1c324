"""An object store in an S3 bucket: AWS, SeaweedFS, Ceph, MinIO and their like, by boto3.

**Written once.** `put` sends ``If-None-Match: *``, and a random token with the object. An answer may be lost after the
put took effect, and the next try is then told that the name is taken: whose token stands there tells whether that was
us. **Dated by the store.** Every answer carries the store's time; `now` is this machine's clock put right by the last
one. Both the store's dates and that header count whole seconds.
"""

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import stamina
from botocore.exceptions import ClientError
from stamina.instrumentation import set_on_retry_hooks

from tenure.crypto.hashing import random_bytes
from tenure.domain.clock import Clock
from tenure.domain.errors import (
    ObjectLockedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreDeniedError,
    TruncatedError,
)
from tenure.objectstore.base import Buffer, ObjectInfo, validate_name, validate_range
from tenure.objectstore.s3client import S3Settings, make_client
from tenure.objectstore.s3errors import Foreign, code_of, is_passing, retry_after, translated

T = TypeVar("T")

_TOKEN = "tenure-put"  # noqa: S105 - the name of an object's metadata
_FRESH = timedelta(minutes=1)  # how long one answer's time is good for
_WAIT_FIRST, _WAIT_MOST = 0.2, 20.0  # seconds between tries, doubling, with jitter


class _Body(io.RawIOBase):
    """Reads a buffer, without a copy; boto3 takes files, and begins again from the start when it has to."""

    def __init__(self, content: memoryview) -> None:
        super().__init__()
        self._content, self._at = content, 0

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
        self._clock = clock
        self._client = make_client(settings)
        self._lock = Lock()
        self._ahead: tuple[datetime, timedelta] | None = None  # when it was asked; how far the store is ahead
        self._client.meta.events.register("after-call.s3", self._note_time)
        set_on_retry_hooks([])  # the command tells what failed in the end; each try is nobody's news

    @property
    def settings(self) -> S3Settings:
        """Return where it lies."""
        return self._settings

    def put(self, name: str, content: Buffer) -> ObjectInfo:
        """See `ObjectStore.put`."""
        key, view = self._key(name), memoryview(content).cast("B")
        token = random_bytes(16).hex()

        def once() -> dict[str, Any]:
            answer: dict[str, Any] = self._client.put_object(
                Bucket=self._settings.bucket,
                Key=key,
                Body=_Body(view),
                ContentLength=len(view),
                IfNoneMatch="*",
                Metadata={_TOKEN: token},
                **self._settings.extra(),
            )
            return answer

        try:
            answer = self._tried(once, f"{name} cannot be written")
        except PreconditionFailedError:
            if not self._is_mine(key, name, token):
                raise PreconditionFailedError(f"{name} exists already in {self._settings.where}") from None
            return self.stat(name)
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        return ObjectInfo(name=name, size=len(view), modified=_date(headers) or self.now())

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        validate_range(offset, length)
        key = self._key(name)
        if length == 0:
            return self._check_range(name, offset, length)
        wanted = {} if offset == 0 and length is None else {"Range": _range(offset, length)}

        def once() -> bytes:
            answer = self._client.get_object(Bucket=self._settings.bucket, Key=key, **wanted)
            with answer["Body"] as body:
                found: bytes = body.read()
            return found

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
        return ObjectInfo(
            name=name, size=answer["ContentLength"], modified=answer["LastModified"].astimezone(UTC)
        )

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`.

        Raises:
            ObjectLockedError: A version of it is under a lock; those that are not went.
        """
        key = self._key(name)
        what = f"{name} cannot be deleted"
        if not self._settings.all_versions:
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

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`.

        Sorted here: not every server lists in the order of characters. Some 200 bytes of memory for each object.
        """
        found: dict[str, ObjectInfo] = {}
        for one in self._listed(prefix):
            name = one["Key"][len(self._settings.prefix) :]
            # Others may share the bucket; and a server may take a prefix for a path.
            if name.startswith(prefix) and _is_name(name):
                modified = one["LastModified"].astimezone(UTC)
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
        known = self._ahead
        if known is None or not timedelta(0) <= self._clock.now() - known[0] < _FRESH:
            self._tried(
                lambda: self._client.head_bucket(Bucket=self._settings.bucket),
                "the store's time cannot be read",
            )
            known = self._ahead
        return self._clock.now() + (known[1] if known else timedelta(0))

    # Asking

    def _tried(self, once: Callable[[], T], what: str, *, passed: tuple[str, ...] = ()) -> T:
        """Ask, and ask again while the store or the way to it is busy; as long as the store said, where it did.

        `passed`: codes of answers that the caller wants to see as boto3 raises them.
        """

        def again(error: Exception) -> bool | float:
            asked = retry_after(error) if is_passing(error) else None
            return is_passing(error) if asked is None else asked

        try:
            for attempt in stamina.retry_context(
                on=again,
                attempts=self._settings.attempts,
                timeout=self._settings.give_up,
                wait_initial=_WAIT_FIRST,
                wait_max=_WAIT_MOST,
                wait_jitter=_WAIT_FIRST,
            ):
                with attempt:
                    return once()
        except Foreign as e:
            if code_of(e) in passed:
                raise
            raise translated(e, what, self._settings.where) from e
        raise AssertionError("a call ends with its result or with an error")

    def _head(self, key: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._tried(
            lambda: self._client.head_object(Bucket=self._settings.bucket, Key=key), f"{name} cannot be read"
        )
        return found

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
                lambda: self._client.head_object(Bucket=self._settings.bucket, Key=key, VersionId=version),
                what,
            )
            until = head.get("ObjectLockRetainUntilDate")
            if until is None and head.get("ObjectLockLegalHoldStatus") != "ON":
                raise
            return (None if until is None else until.astimezone(UTC),)
        return None

    def _note_time(self, parsed: dict[str, Any] | None = None, **_: Any) -> None:
        headers = (parsed or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
        date = _date(headers)
        if date is not None:
            with self._lock:
                self._ahead = (self._clock.now(), date - self._clock.now())

    def _key(self, name: str) -> str:
        return self._settings.prefix + validate_name(name)


def _date(headers: dict[str, str]) -> datetime | None:
    try:
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None


def _range(offset: int, length: int | None) -> str:
    return f"bytes={offset}-" if length is None else f"bytes={offset}-{offset + length - 1}"


def _is_name(name: str) -> bool:
    try:
        validate_name(name)
    except ValueError:
        return False
    return True
