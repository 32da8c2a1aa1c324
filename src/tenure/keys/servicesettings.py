"""How key services are reached. Loads none of their client libraries."""

import re
from dataclasses import dataclass, field
from typing import Literal

_WRAPPED_BY_VAULT = re.compile(rb"vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/=]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for a service, in seconds, and how often to ask.

    `connect` and `read`: of one request; `give_up`: of all tries of one call together. `attempts`: tries of one call.
    """

    connect: float = 5
    read: float = 10
    attempts: int = 6
    give_up: float = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsSettings:
    """One key of AWS KMS: symmetric, for encryption. Who asks, as `objectstore.s3client.S3Access` says.

    `key`: its ARN; or what names it to `fresh`, which finds the ARN: an alias (``alias/NAME``) or the id alone.
    `retire_days`: 7 to 30, the time KMS gives to think again before it destroys a key.
    """

    key: str
    endpoint: str = ""
    region: str = ""
    ca_file: str = ""
    profile: str = ""
    role_arn: str = ""
    external_id: str = ""
    session_name: str = "tenure"
    token_file: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    retire_days: int = 7
    connections: int = 16
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """One key of the transit engine of HashiCorp Vault or OpenBao.

    `auth`: "token", taken from `token_file`, which an agent may keep fresh, or `token`; or "kubernetes", by the service
    account's token in `jwt_file`, for `role`, at the auth method mounted at `auth_mount`.
    """

    mount: str
    key: str
    address: str
    namespace: str = ""
    ca_file: str = ""
    auth: Literal["token", "kubernetes"] = "token"
    token: str = field(default="", repr=False)
    token_file: str = ""
    role: str = ""
    auth_mount: str = "kubernetes"
    jwt_file: str = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    connections: int = 16
    patience: Patience = field(default_factory=Patience)

    @property
    def name(self) -> str:
        """Return the key's address without a version."""
        return f"{self.mount}/{self.key}"


def vault_version(wrapped: bytes) -> str:
    """Return the version of the transit key that something was wrapped with; "0", which no key has, for other bytes."""
    found = _WRAPPED_BY_VAULT.fullmatch(wrapped)
    return found[1].decode("ascii") if found else "0"
