"""Turns what boto3 raises into errors of ours: what failed, on what, what to do next. Nothing of boto3 leaves the room."""

from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
    TokenRetrievalError,
)
from urllib3.exceptions import HTTPError

from tenure.domain.errors import (
    ConfigError,
    ObjectNotFoundError,
    ObjectStoreError,
    PreconditionFailedError,
    StoreDeniedError,
    StoreUnavailableError,
    TenureError,
)

_ABSENT = {"NoSuchKey", "404", "NotFound"}
_TAKEN = {"PreconditionFailed", "412"}
_BUSY = {
    "SlowDown", "503", "ServiceUnavailable", "InternalError", "500", "502", "504", "429", "TooManyRequests",
    "RequestTimeout", "Throttling", "ThrottlingException", "RequestLimitExceeded", "BandwidthLimitExceeded",
    "ConditionalRequestConflict", "409", "OperationAborted",
}  # fmt: skip
_CREDENTIALS = {
    "InvalidAccessKeyId": "the access key is unknown to it",
    "SignatureDoesNotMatch": "the secret key does not match the access key",
    "ExpiredToken": "the session token has expired",
    "ExpiredTokenException": "the session token has expired",
    "InvalidToken": "the session token is not one of its own",
    "TokenRefreshRequired": "the session token has expired",
    "AuthorizationHeaderMalformed": "it lies in another region than the settings say",
}
_FORBIDDEN = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled"}
_SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
_ELSEWHERE = {"PermanentRedirect", "301", "IllegalLocationConstraintException", "TemporaryRedirect", "307"}

# HTTPError: what breaks while a body is read comes through as urllib3 raises it.
_NETWORK = (
    HTTPError, ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError, HTTPClientError, IncompleteReadError,
    ReadTimeoutError, ResponseStreamingError,
)  # fmt: skip
_UNKNOWN_WHO = (
    CredentialRetrievalError, NoCredentialsError, PartialCredentialsError, ProfileNotFound, TokenRetrievalError,
)  # fmt: skip
Foreign = (BotoCoreError, ClientError, HTTPError)
"""All that boto3 raises of its own."""


def code_of(error: Exception) -> str:
    """Return the store's word for what went wrong; "" where it was not the store that said so."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def status_of(error: Exception) -> int:
    """Return the HTTP status; 0 where there was no answer."""
    return int(_meta(error).get("HTTPStatusCode", 0))


def retry_after(error: Exception) -> float | None:
    """Return how many seconds the store asked to be left alone for, at most a minute; None where it did not say."""
    said = _meta(error).get("HTTPHeaders", {}).get("retry-after", "")
    try:
        return min(max(float(said), 0.0), 60.0)
    except ValueError:
        return None  # the other form is a date, which servers of this kind do not send


def is_passing(error: Exception) -> bool:
    """Whether trying again may help."""
    if isinstance(error, SSLError):
        return False
    if isinstance(error, ClientError):
        return code_of(error) in _BUSY or status_of(error) in {429, 500, 502, 503, 504}
    return isinstance(error, _NETWORK)


def translated(error: Exception, what: str, where: str) -> TenureError:
    """Return the error of ours for one of boto3's.

    Args:
        error: What was raised.
        what: What was being done and on which object: "data/ab/1 cannot be read".
        where: The store, as messages call it.
    """
    if isinstance(error, ClientError):
        return _answered(error, what, where)
    if isinstance(error, SSLError):
        return StoreUnavailableError(
            f"{what}: the certificate of {where} is not trusted",
            hint="set `ca_file` to the certificate authority of the store",
        )
    if isinstance(error, _UNKNOWN_WHO):
        return StoreDeniedError(
            f"{what}: no credentials for {where} were found",
            hint="set the profile, the role or the environment of this process; see docs/object-storage.md",
        )
    if isinstance(error, _NETWORK):
        return StoreUnavailableError(f"{what}: {where} did not answer ({type(error).__name__})")
    return ObjectStoreError(f"{what}: {where}: {type(error).__name__}")


def _answered(error: ClientError, what: str, where: str) -> TenureError:
    code, status = code_of(error), status_of(error)
    if code in _ABSENT:
        return ObjectNotFoundError(f"{what}: it is not in {where}")
    if code in _TAKEN or status == 412:
        return PreconditionFailedError(f"{what}: it exists already in {where}")
    if code in _CREDENTIALS or code in _SKEWED or code in _FORBIDDEN or status == 403:
        return _refused(code, what, where)
    if code == "NoSuchBucket" or code in _ELSEWHERE:
        return _misplaced(code, what, where)
    if is_passing(error):
        return StoreUnavailableError(f"{what}: {where} asks to be called later ({code or status})")
    return ObjectStoreError(f"{what}: {where} answered {code or status}")


def _misplaced(code: str, what: str, where: str) -> TenureError:
    if code == "NoSuchBucket":
        return StoreUnavailableError(
            f"{what}: there is no {where}", hint="make the bucket, or correct its name and the endpoint"
        )
    return ConfigError(
        f"{what}: {where} lies in another region", hint="set `region` to the one that the bucket is in"
    )


def _refused(code: str, what: str, where: str) -> TenureError:
    if code in _SKEWED:
        return StoreDeniedError(
            f"{what}: {where} refused, because the clock of this machine is too far from its own",
            hint="set the clock of this machine (chrony, ntpd), then run the command again",
        )
    if code not in _CREDENTIALS:
        return StoreDeniedError(f"{what}: {where} refused ({code or 403})")
    hint = (
        "correct `region`" if code == "AuthorizationHeaderMalformed" else "renew or correct the credentials"
    )
    return StoreDeniedError(f"{what}: {where} refused: {_CREDENTIALS[code]}", hint=hint)


def _meta(error: Exception) -> dict[str, Any]:
    return error.response.get("ResponseMetadata", {}) if isinstance(error, ClientError) else {}
