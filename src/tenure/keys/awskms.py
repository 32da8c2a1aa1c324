"""Keys in AWS KMS: a symmetric key that never leaves it wraps and unwraps, and CloudTrail says who asked, and for what.

The encryption context holds the whole purpose in words (repository, epoch, cohort tag, page), so that a policy can
tell them apart and an auditor can read them. Wrapping needs ``kms:Encrypt`` and nothing else, unwrapping
``kms:Decrypt``; retiring a key also ``kms:DescribeKey`` and ``kms:ScheduleKeyDeletion``.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import stamina
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    TokenRetrievalError,
)
from stamina.instrumentation import set_on_retry_hooks

from tenure.crypto.hashing import random_bytes
from tenure.domain.errors import (
    ConfigError,
    KeyDeniedError,
    KeyDestroyedError,
    KeyMismatchError,
    KeyProviderError,
    KeyUnavailableError,
    TenureError,
)
from tenure.keys.base import Purpose, ServiceKey
from tenure.keys.servicesettings import KmsSettings
from tenure.objectstore.s3client import S3Access, session_of
from tenure.objectstore.s3errors import Foreign, code_of, is_passing, retry_after, status_of

PROVIDER = "awskms"

TRIAL = Purpose(kind="trial")
"""What a secret is wrapped for that only shows that a key can be used."""

T = TypeVar("T")

_WAIT_FIRST, _WAIT_MOST = 0.1, 5.0  # seconds between tries, doubling, with jitter
_MIXED_UP = {"InvalidCiphertextException", "IncorrectKeyException"}
_UNKNOWN_WHO = {
    "UnrecognizedClientException", "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidSignatureException",
    "IncompleteSignature", "ExpiredToken", "ExpiredTokenException", "MissingAuthenticationToken",
}  # fmt: skip
_UNUSABLE = {
    "InvalidKeyUsageException",
    "UnsupportedOperationException",
    "ValidationException",
    "InvalidArnException",
}
_NO_CREDENTIALS = (
    CredentialRetrievalError, NoCredentialsError, PartialCredentialsError, ProfileNotFound, TokenRetrievalError,
)  # fmt: skip
_DYING = ("pending deletion", "PendingDeletion")
_GONE = ("PendingDeletion", "PendingReplicaDeletion")


class AwsKms:
    """One key of AWS KMS, as `KeyService`."""

    def __init__(self, settings: KmsSettings) -> None:
        """Get ready; nothing is asked of KMS yet.

        Raises:
            ConfigError: The settings name a file that is not there, or a profile that is none.
        """
        for path in (settings.ca_file, settings.token_file):
            if path and not Path(path).is_file():
                raise ConfigError(f"{path} is not there", hint="correct the path in `key_services`")
        self._settings = settings
        self._client = _client(settings)
        set_on_retry_hooks([])  # the command tells what failed in the end; each try is nobody's news

    def wrap(self, key: ServiceKey, secret: bytes, *, context: Purpose) -> bytes:
        """See `KeyService.wrap`."""
        return bytes(self._encrypted(key.address, secret, context)["CiphertextBlob"])

    def unwrap(self, key: ServiceKey, wrapped: bytes, *, context: Purpose) -> bytes:
        """See `KeyService.unwrap`."""
        if not wrapped:
            raise KeyMismatchError(f"what was wrapped for {key} is empty")
        answer = self._tried(
            lambda: self._client.decrypt(
                KeyId=key.address, CiphertextBlob=wrapped, EncryptionContext=context.readable()
            ),
            key.address,
            "unwrap",
        )
        return bytes(answer["Plaintext"])

    def fresh(self, used: Sequence[ServiceKey]) -> ServiceKey:  # noqa: ARG002 - KMS keeps its keys' versions to itself
        """See `KeyService.fresh`. The same key each time: KMS destroys whole keys only."""
        secret = random_bytes(32)
        answer = self._encrypted(self._settings.key, secret, TRIAL)
        key = ServiceKey(provider=PROVIDER, address=str(answer["KeyId"]))
        if self.unwrap(key, answer["CiphertextBlob"], context=TRIAL) != secret:
            raise KeyMismatchError(f"{key} does not give back what it wrapped")
        return key

    def ends(self, key: ServiceKey, *, now: datetime) -> datetime | None:
        """See `KeyService.ends`."""
        try:
            found = self._tried(lambda: self._client.describe_key(KeyId=key.address), key.address, "look at")
        except KeyDestroyedError:
            return now
        about = found["KeyMetadata"]
        return _utc(about["DeletionDate"]) if about["KeyState"] in _GONE else None

    def destroy(self, key: ServiceKey, *, kept: ServiceKey | None, now: datetime) -> datetime:
        """See `KeyService.destroy`. KMS destroys it after the days that settings give, and not before.

        Raises:
            KeyProviderError: It is the key that is kept.
        """
        if kept == key:
            raise KeyProviderError(f"{key} is in use: it is not destroyed")
        ends = self.ends(key, now=now)
        if ends is not None:
            return ends
        answer = self._tried(
            lambda: self._client.schedule_key_deletion(
                KeyId=key.address, PendingWindowInDays=self._settings.retire_days
            ),
            key.address,
            "schedule the deletion of",
        )
        return _utc(answer["DeletionDate"])

    def _encrypted(self, key: str, secret: bytes, context: Purpose) -> Any:
        return self._tried(
            lambda: self._client.encrypt(KeyId=key, Plaintext=secret, EncryptionContext=context.readable()),
            key,
            "wrap with",
        )

    def _tried(self, once: Callable[[], T], key: str, what: str) -> T:
        """Ask, and ask again while KMS or the way to it is busy."""

        def again(error: Exception) -> bool | float:
            asked = retry_after(error) if is_passing(error) else None
            return is_passing(error) if asked is None else asked

        patience = self._settings.patience
        try:
            for attempt in stamina.retry_context(
                on=again,
                attempts=patience.attempts,
                timeout=patience.give_up,
                wait_initial=_WAIT_FIRST,
                wait_max=_WAIT_MOST,
                wait_jitter=_WAIT_FIRST,
            ):
                with attempt:
                    return once()
        except Foreign as e:
            raise _translated(e, f"AWS KMS cannot {what} {key}", self._settings) from e
        raise AssertionError("a call ends with its result or with an error")


def _client(settings: KmsSettings) -> Any:
    """Return a client whose every request is tried once: there is one policy for trying again, and not two."""
    access = S3Access(
        profile=settings.profile,
        role_arn=settings.role_arn,
        external_id=settings.external_id,
        session_name=settings.session_name,
        token_file=settings.token_file,
    )
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=settings.patience.connect,
        read_timeout=settings.patience.read,
        max_pool_connections=settings.connections,
    )
    try:
        return session_of(access, settings.region).client(
            "kms",
            endpoint_url=settings.endpoint or None,
            config=config,
            verify=settings.ca_file or None,
            aws_access_key_id=settings.access_key or None,
            aws_secret_access_key=settings.secret_key or None,
        )
    except ProfileNotFound as e:
        hint = "correct `profile` in `key_services`"
        raise ConfigError(f"there is no AWS profile {settings.profile!r} here", hint=hint) from e


def _translated(error: Exception, what: str, settings: KmsSettings) -> TenureError:
    """Return the error of ours for one of boto3's."""
    if isinstance(error, ClientError):
        return _answered(error, what, settings)
    if isinstance(error, SSLError):
        hint = "set `ca_file` to the certificate authority of the endpoint"
        return KeyUnavailableError(f"{what}: its certificate is not trusted", hint=hint)
    if isinstance(error, _NO_CREDENTIALS):
        hint = "set the profile, the role or the environment of this process; see docs/keys.md"
        return KeyDeniedError(f"{what}: no credentials were found", hint=hint)
    if is_passing(error):
        return KeyUnavailableError(f"{what}: it did not answer ({type(error).__name__})")
    return KeyProviderError(f"{what}: {type(error).__name__}")


def _answered(error: ClientError, what: str, settings: KmsSettings) -> TenureError:
    code = code_of(error)
    if code in _MIXED_UP:
        return KeyMismatchError(f"{what}: it does not open in this place, or was changed")
    if code in {"NotFoundException", "KMSInvalidStateException", "DisabledException"}:
        return _without_key(error, what, settings)
    if code in _UNUSABLE:
        hint = "use a symmetric key for encryption and decryption, named by its ARN"
        return ConfigError(f"{what}: it is no key that wraps ({code})", hint=hint)
    if code.startswith("AccessDenied") or code in _UNKNOWN_WHO or status_of(error) == 403:
        return _refused(error, what)
    if is_passing(error):
        return KeyUnavailableError(f"{what}: it asks to be called later ({code})")
    return KeyProviderError(f"{what}: it answered {code or status_of(error)}")


def _refused(error: ClientError, what: str) -> KeyDeniedError:
    if any(word in str(error) for word in _UNKNOWN_WHO):
        hint = "renew or correct the credentials, and check the clock of this machine"
        return KeyDeniedError(f"{what}: the credentials are not accepted", hint=hint)
    hint = "grant this process the right on this key; docs/keys.md lists the least rights"
    return KeyDeniedError(f"{what}: this process may not", hint=hint)


def _without_key(error: ClientError, what: str, settings: KmsSettings) -> TenureError:
    """Return the error for a key that is gone, going, or switched off."""
    code = code_of(error)
    if code == "DisabledException":
        hint = "enable the key (aws kms enable-key), then run the command again: nothing is lost"
        return KeyDeniedError(f"{what}: the key is disabled", hint=hint)
    if code == "NotFoundException":
        where = settings.region or "this region"
        hint = "check the region and the account of `key_services`; a key that was deleted is gone for good"
        return KeyDestroyedError(f"{what}: there is no such key in {where}", hint=hint)
    if any(word in str(error) for word in _DYING):
        hint = (
            "stop it (aws kms cancel-key-deletion, then enable-key) while that can be done;"
            " then rotate to another key if it has to go"
        )
        return KeyDestroyedError(f"{what}: the key is about to be deleted", hint=hint)
    return KeyUnavailableError(f"{what}: the key is not ready ({code})")


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)
