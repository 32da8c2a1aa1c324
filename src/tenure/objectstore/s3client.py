"""Where an S3 store lies and how it is reached; makes the client."""

import base64
import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    AssumeRoleWithWebIdentityCredentialFetcher,
    DeferredRefreshableCredentials,
)

from tenure.domain.errors import ConfigError

Encryption = Literal["", "AES256", "aws:kms"]
LockMode = Literal["", "GOVERNANCE", "COMPLIANCE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """Who asks. Without anything: what the environment, the profile or the machine's role gives.

    `role_arn`: a role to take on, with `external_id` where its owner asks for one; with `token_file`, which a
    cluster keeps fresh, by web identity. Keys given here are for tests and for stores that know no roles.
    """

    profile: str = ""
    role_arn: str = ""
    external_id: str = ""
    session_name: str = "tenure"
    token_file: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """One bucket, or a part of it, and the ways to it.

    `prefix` ends in a slash or is empty. Times in seconds: `connect` and `read` of one request; `give_up`: of all
    tries of one call together. `attempts`: tries of one call. `connections`: kept open, one for each worker at least.
    `all_versions`: `delete` removes every version of a name (True), leaves old ones to the bucket's lifecycle (False),
    or does as the bucket does: every one where it keeps versions (None). `lock`: how objects are locked that are put
    with a time. `customer_key`: 32 bytes that the server encrypts with and forgets (SSE-C). `up`, `down`: bytes a
    second at most, 0 for no limit.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    path_style: bool = True
    ca_file: str = ""
    access: S3Access = field(default_factory=S3Access)
    encryption: Encryption = ""
    kms_key: str = ""
    storage_class: str = ""
    all_versions: bool | None = None
    lock: LockMode = ""
    customer_key: bytes = field(default=b"", repr=False)
    up: float = 0
    down: float = 0
    connect: float = 10
    read: float = 60
    attempts: int = 8
    give_up: float = 300
    connections: int = 32

    @property
    def where(self) -> str:
        """Return what messages call this store."""
        at = f" at {self.endpoint}" if self.endpoint else ""
        return f"bucket {self.bucket}{at}"

    def extra(self) -> dict[str, str]:
        """Return what goes with every put."""
        wanted = {
            "ServerSideEncryption": self.encryption,
            "SSEKMSKeyId": self.kms_key,
            "StorageClass": self.storage_class,
        }
        return {name: value for name, value in wanted.items() if value} | self.opening()

    def opening(self) -> dict[str, str]:
        """Return what goes with every put and get of what the server encrypts with our key (SSE-C)."""
        if not self.customer_key:
            return {}
        digest = hashlib.md5(
            self.customer_key, usedforsecurity=False
        ).digest()  # as S3 wants it, beside the key
        return {
            "SSECustomerAlgorithm": "AES256",
            "SSECustomerKey": base64.b64encode(self.customer_key).decode(),
            "SSECustomerKeyMD5": base64.b64encode(digest).decode(),
        }


def make_client(settings: S3Settings) -> Any:
    """Return a client whose every request is tried once: the store has one policy for trying again, and not two.

    Raises:
        ConfigError: The CA file or the token file is not there.
    """
    access = settings.access
    for path in (settings.ca_file, access.token_file):
        if path and not Path(path).is_file():
            raise ConfigError(f"{path} is not there", hint="correct the path in the settings of the store")
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if settings.path_style else "virtual"},
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=settings.connect,
        read_timeout=settings.read,
        max_pool_connections=settings.connections,
        # Servers other than AWS refuse the checksums that newer clients add by themselves.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session_of(access, settings.region).client(
        "s3",
        endpoint_url=settings.endpoint or None,
        config=config,
        verify=settings.ca_file or None,
        aws_access_key_id=access.access_key or None,
        aws_secret_access_key=access.secret_key or None,
    )


def make_backup_client(settings: S3Settings) -> Any | None:
    """Return a client of AWS Backup, which keeps copies of buckets; None for servers that are not AWS."""
    if settings.endpoint:
        return None
    config = Config(
        retries={"total_max_attempts": 2, "mode": "standard"},
        connect_timeout=settings.connect,
        read_timeout=settings.read,
    )
    return session_of(settings.access, settings.region).client("backup", config=config)


@lru_cache(maxsize=16)  # each reads boto3's description of S3 anew, which takes longer than many a request
def session_of(access: S3Access, wanted: str) -> boto3.Session:
    """Return a session for whoever asks; of AWS where nothing names a region, the first one there was."""
    session = boto3.Session(profile_name=access.profile or None, region_name=wanted or None)
    if not access.role_arn:
        # Servers other than AWS have no regions, and signatures need the name of one.
        return (
            session
            if session.region_name
            else boto3.Session(profile_name=access.profile or None, region_name="us-east-1")
        )
    inner = session._session  # noqa: SLF001 - boto3 has no other way to credentials that renew themselves
    extra = {"RoleSessionName": access.session_name}
    fetcher: Any
    if access.token_file:
        fetcher = AssumeRoleWithWebIdentityCredentialFetcher(
            client_creator=inner.create_client,
            web_identity_token_loader=lambda: Path(access.token_file).read_text("utf-8"),
            role_arn=access.role_arn,
            extra_args=extra,
        )
    else:
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=inner.create_client,
            source_credentials=inner.get_credentials(),
            role_arn=access.role_arn,
            extra_args=extra | ({"ExternalId": access.external_id} if access.external_id else {}),
        )
    renewed = botocore.session.get_session()
    renewed._credentials = DeferredRefreshableCredentials(  # noqa: SLF001 - see above
        method="assume-role", refresh_using=fetcher.fetch_credentials
    )
    return boto3.Session(botocore_session=renewed, region_name=session.region_name or "us-east-1")
