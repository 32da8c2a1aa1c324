"""Which key service an address means: ``awskms:ARN?...`` or ``vault:MOUNT/KEY?address=...``; see docs/keys.md.

Addresses hold no secret: who asks comes from a profile, a role, a file or the environment.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from tenure.domain.errors import ConfigError
from tenure.keys.base import KeyService, ServiceKey
from tenure.keys.services import KeyServices, Way
from tenure.keys.servicesettings import KmsSettings, Patience, VaultSettings, vault_version

LOCAL = "local"
"""Stands for a reading key in a file, beside services."""

_EXAMPLES = "write awskms:KEY-ARN?region=REGION, or vault:MOUNT/KEY?address=https://HOST:8200"
_FLAGS = {"yes": True, "no": False}
_ARN = re.compile(r"arn:[a-z0-9-]+:kms:([a-z0-9-]+):[0-9]*:key/[A-Za-z0-9-]+")
_KMS_DAYS = range(7, 31)  # what ScheduleKeyDeletion takes (AWS KMS API reference, PendingWindowInDays)
_FILES = ("ca_file", "token_file", "jwt_file")


class _Environment(BaseSettings):
    """What the environment says. `vault_token`: TENURE_VAULT_TOKEN."""

    model_config = SettingsConfigDict(env_prefix="TENURE_", env_ignore_empty=True)

    vault_token: SecretStr = SecretStr("")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parsed:
    """An address taken apart: what stands before the question mark, and the parameters behind it."""

    url: str
    kind: str
    name: str
    given: Mapping[str, str]


def _flag(word: str) -> bool:
    return _FLAGS[word]


def _some(word: str) -> float:
    number = float(word)
    if number <= 0:
        raise ValueError("not above zero")
    return number


def _count(word: str) -> int:
    return int(_some(word))


def _days(word: str) -> int:
    if int(word) not in _KMS_DAYS:
        raise ValueError("out of range")
    return int(word)


_READ: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "leaving": (_flag, "yes or no"),
    "retire": (_flag, "yes or no"),
    "retire_days": (_days, "a number of days, 7 to 30"),
    "connect": (_some, "a number above zero"),
    "read": (_some, "a number above zero"),
    "attempts": (_count, "a number above zero"),
    "give_up": (_some, "a number above zero"),
    "connections": (_count, "a number above zero"),
}
"""How parameters that are no plain text are read, and what they are."""

_WAITING = tuple(f.name for f in fields(Patience))
_OURS = ("leaving", "retire")
_KMS = ("endpoint", "region", "ca_file", "profile", "role_arn", "external_id", "session_name", "token_file",
        "retire_days", "connections")  # fmt: skip
_VAULT = (
    "address",
    "namespace",
    "ca_file",
    "auth",
    "token_file",
    "role",
    "auth_mount",
    "jwt_file",
    "connections",
)


def services_of(addresses: Sequence[str], root: Path) -> KeyServices:
    """Return the services that addresses lead to; `LOCAL` is passed over. Relative paths are meant from `root`.

    Raises:
        ConfigError: One is no address, names a key by an alias, or two name one key.
    """
    return KeyServices([way_of(url, root) for url in addresses if url != LOCAL])


def way_of(url: str, root: Path, *, aliases: bool = False) -> Way:
    """Return the way that an address describes; `aliases`: an AWS key may be named by its alias or its id alone.

    Raises:
        ConfigError: It is no address, or says what cannot be used.
    """
    parsed = _parsed(url)
    if parsed.kind == "awskms":
        return _awskms(parsed, root, aliases=aliases)
    if parsed.kind == "vault":
        return _vault(parsed, root)
    raise ConfigError(f"{url!r} is no key service", hint=_EXAMPLES)


def named(url: str, key: ServiceKey) -> str:
    """Return an address with the key named as a repository names it: what an alias stands for may change."""
    if key.provider != "awskms":
        return url
    _, mark, parameters = url.partition("?")
    return f"awskms:{key.address}{mark}{parameters}"


def _parsed(url: str) -> _Parsed:
    before, _, behind = url.partition("?")
    kind, _, name = before.partition(":")
    if not name or "#" in url or "@" in name:
        raise ConfigError(f"{url!r} is no key service", hint=_EXAMPLES)
    try:
        given = parse_qsl(behind, keep_blank_values=True, strict_parsing=bool(behind))
    except ValueError as e:
        raise ConfigError(f"{url!r}: what follows the question mark is not NAME=VALUE&NAME=VALUE") from e
    if len(dict(given)) != len(given):
        raise ConfigError(f"{url!r} says something twice")
    return _Parsed(url=url, kind=kind, name=name, given=dict(given))


def _values(parsed: _Parsed, own: Sequence[str], root: Path) -> dict[str, Any]:
    """Read the parameters; unknown ones are refused."""
    known = (*own, *_WAITING, *_OURS)
    values: dict[str, Any] = {}
    for name, word in parsed.given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"the address of key {parsed.name} has an unknown parameter {name!r}{meant}")
        read, wanted = _READ.get(name, (str, "text"))
        try:
            values[name] = read(word)
        except (ValueError, KeyError) as e:
            raise ConfigError(f"key {parsed.name}: {name} is {wanted}, not {word!r}") from e
    for name in _FILES:
        if values.get(name):
            values[name] = str(root / Path(values[name]).expanduser())
    waiting = {name: values.pop(name) for name in _WAITING if name in values}
    return {**values, "patience": replace(Patience(), **waiting)}


def _awskms(parsed: _Parsed, root: Path, *, aliases: bool) -> Way:
    values = _values(parsed, _KMS, root)
    arn = _ARN.fullmatch(parsed.name)
    if arn is None and not aliases:
        raise ConfigError(
            f"key {parsed.name} is not named by its ARN",
            hint="an alias can be pointed elsewhere: write the ARN that `aws kms describe-key` shows",
        )
    if arn is not None:
        values.setdefault("region", arn[1])
    leaving, retire = values.pop("leaving", False), values.pop("retire", False)
    settings = KmsSettings(key=parsed.name, **values)

    def make() -> KeyService:
        from tenure.keys.awskms import AwsKms  # noqa: PLC0415 - boto3 takes long to load

        return AwsKms(settings)

    return Way(provider="awskms", name=parsed.name, make=make, leaving=leaving, retire=retire)


def _vault(parsed: _Parsed, root: Path) -> Way:
    values = _values(parsed, _VAULT, root)
    mount, _, key = parsed.name.strip("/").rpartition("/")
    if not mount or not re.fullmatch(r"[\w./-]+", parsed.name):
        raise ConfigError(
            f"{parsed.url!r} names no key", hint="write vault:MOUNT/KEY, as in vault:transit/tenure?..."
        )
    _check_server(parsed, values)
    leaving, retire = values.pop("leaving", False), values.pop("retire", True)
    token = "" if values.get("token_file") else _Environment().vault_token.get_secret_value()
    settings = VaultSettings(mount=mount, key=key, token=token, **values)

    def make() -> KeyService:
        from tenure.keys.vault import VaultTransit  # noqa: PLC0415 - hvac takes long to load

        return VaultTransit(settings)

    return Way(
        provider="vault",
        name=settings.name,
        make=make,
        versions=vault_version,
        leaving=leaving,
        retire=retire,
    )


def _check_server(parsed: _Parsed, values: Mapping[str, Any]) -> None:
    server = urlsplit(values.get("address", ""))
    loopback = server.hostname in {"localhost", "127.0.0.1", "::1"}
    if server.scheme not in {"https", "http"} or not server.hostname or server.username:
        raise ConfigError(f"key {parsed.name}: `address` is the server's URL", hint=_EXAMPLES)
    if server.scheme == "http" and not loopback:
        raise ConfigError(
            f"key {parsed.name}: keys would go over the network unprotected", hint="use an address with https"
        )
    if values.get("auth", "token") not in {"token", "kubernetes"}:
        raise ConfigError(f"key {parsed.name}: auth is token or kubernetes, not {values['auth']!r}")
    if values.get("auth") == "kubernetes" and not values.get("role"):
        raise ConfigError(f"key {parsed.name}: auth=kubernetes needs the role to log in for (role=...)")
