"""``tenure.yaml``: read once, checked whole, every mistake named with what was probably meant."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tenure.domain.catalogue import (
    Catalogue,
    ColumnClass,
    DataSet,
    DataSetKind,
    Link,
    Orphan,
    Source,
    SourceKind,
)
from tenure.domain.errors import ConfigError

FILE_NAME = "tenure.yaml"

MOST_SHRED_DAYS = 30
"""The longest that a deleted key page may be kept: GDPR art. 12(3) gives a month for an erasure to be complete."""

_SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST_SHOWN = 60  # characters of a wrong value that a message shows
_WANTED = {"^[0-9a-f]{32}$": "32 hex digits", "^[0-9a-f]{64}$": "64 hex digits"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LockSettings(_Strict):
    """For how long the store keeps what is put from everybody; see `repository.locks.LockPolicy`."""

    mode: Literal["governance", "compliance"] = "governance"
    days: float = Field(gt=0, le=36_500)
    data_sets: dict[str, Annotated[float, Field(gt=0, le=36_500)]] = {}
    key_page_days: float = Field(default=0, ge=0, le=MOST_SHRED_DAYS)


class RepositorySettings(_Strict):
    """Where the repository lies and whom this installation trusts. `id`, `purge_key`: hex, written by init.

    `ledger_store`: where marker and ledger lie, if elsewhere. `shred_window_days`: for how long key stores that keep
    versions keep those of deleted key pages; 0: Tenure deletes every version itself, at once.
    """

    id: str = Field(pattern="^[0-9a-f]{32}$")
    purge_key: str = Field(pattern="^[0-9a-f]{64}$")
    least_epoch: int = Field(default=1, ge=1)
    object_store: str
    key_stores: dict[str, str] = Field(min_length=1)
    ledger_store: str = ""
    shred_window_days: int = Field(default=0, ge=0, le=MOST_SHRED_DAYS)
    locks: LockSettings | None = None

    @model_validator(mode="after")
    def _pages_go_in_time(self) -> "RepositorySettings":
        if self.locks is not None and self.locks.key_page_days > self.shred_window_days:
            raise ValueError(
                f"locks.key_page_days is {self.locks.key_page_days:g}, more than shred_window_days"
                f" ({self.shred_window_days}): key pages could not be forgotten in time"
            )
        return self


class LinkSettings(_Strict):
    """A reference to the key of another data set."""

    to: str
    by: list[str] = Field(min_length=1)
    columns: list[str] = []
    orphan: Orphan = Orphan.STUB


class DataSetSettings(_Strict):
    """A data set; see `domain.catalogue.DataSet`."""

    table: str = ""
    files: str = ""
    sidecar: str = ""
    key: list[str] = []
    subjects: dict[str, str] = {}
    starting_points: dict[str, str] = {}
    attributes: dict[str, str] = {}
    columns: dict[str, list[ColumnClass]] = {}
    links: list[LinkSettings] = []


class PeriodSettings(_Strict):
    """How many snapshots of a source stay; `verified`: at least so many that were read back whole."""

    last: int = Field(default=3, ge=1)
    hourly: int = Field(default=0, ge=0)
    daily: int = Field(default=7, ge=0)
    weekly: int = Field(default=5, ge=0)
    monthly: int = Field(default=12, ge=0)
    yearly: int = Field(default=3, ge=0)
    verified: int = Field(default=1, ge=0)


class KeepSettings(PeriodSettings):
    """Rotation of snapshots; a prune that takes more than both brakes let has to be confirmed."""

    brake_percent: float = Field(default=50, gt=0, le=100)
    brake_least: int = Field(default=10, ge=0)


class SourceSettings(_Strict):
    """A source; `path` relative to the configuration file."""

    kind: SourceKind
    path: str
    time_zone: str = "UTC"
    data_sets: dict[str, DataSetSettings] = {}
    also_held_in: list[str] = []
    keep: PeriodSettings | None = None  # in place of the installation's

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError):
            known = available_timezones()
            raise ValueError(f"{name!r} is no time zone{_near(name, known)}") from None
        return name


class ObjectiveSettings(_Strict):
    """What drills measure against."""

    restore_minutes: float | None = Field(default=None, gt=0)
    age_hours: float | None = Field(default=None, gt=0)


class IssuerSettings(_Strict):
    """Who stands behind certificates."""

    organisation: str = "(organisation not set)"
    contact: str = ""
    complaints_to: str = ""


class Settings(BaseSettings):
    """The whole configuration. A value can be overridden by the environment: ``TENURE_STATE=/var/lib/tenure``."""

    model_config = SettingsConfigDict(
        extra="forbid", env_prefix="TENURE_", env_nested_delimiter="__", env_ignore_empty=True
    )

    version: int = Field(default=1, ge=1, le=1)
    installation: str = "tenure"
    officer: str = "operator"
    issuer: IssuerSettings = IssuerSettings()
    repository: RepositorySettings
    keys: str = "keys"
    key_services: list[str] = []  # who reads in place of a key file; addresses as in `bootstrap.keyservices`
    key_passphrase: SecretStr | None = None  # from the environment alone: see `read`
    key_passphrase_file: str = ""
    state: str = "state"
    rules: str = "retention_rules"
    scratch: str = ""
    session_hours: float = Field(default=24, gt=0)
    lock_wait_seconds: float = Field(default=30, ge=0)
    sources: dict[str, SourceSettings] = {}
    objectives: dict[str, ObjectiveSettings] = {}
    keep: KeepSettings = KeepSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the base's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file."""
        return (env_settings, init_settings)


def read(path: Path) -> Settings:
    """Return the configuration in a file.

    Raises:
        ConfigError: It is missing, no YAML, or says something unknown; the message lists every mistake.
    """
    try:
        loaded = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as e:
        raise ConfigError(
            f"there is no {path}", hint="run `tenure init`, or name the file with --config"
        ) from e
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path} is not text in UTF-8 (byte {e.start + 1})") from e
    except OSError as e:
        raise ConfigError(
            f"{path} cannot be read: {e.strerror}", hint="check its path and permissions"
        ) from e
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where} is not YAML: {getattr(e, 'problem', e)}") from e
    if not isinstance(loaded, Mapping):
        raise ConfigError(f"{path} holds no settings", hint="run `tenure init` for a commented example")
    if (
        "key_passphrase" in loaded
    ):  # whoever copies the folder would have both the keys and what protects them
        raise ConfigError(
            f"{path} holds a passphrase: `key_passphrase` is no setting of the file",
            hint="set TENURE_KEY_PASSPHRASE, or name a file outside with `key_passphrase_file`",
        )
    try:
        return Settings(**{str(k): v for k, v in loaded.items()})
    except ValidationError as e:
        raise ConfigError(f"{path} cannot be used:\n" + "\n".join(_sentence(x) for x in e.errors())) from e


def catalogue_of(settings: Settings, root: Path) -> Catalogue:
    """Return the catalogue; relative paths are meant from `root`.

    Raises:
        ConfigError: Two sources have a data set of one name, or a link leads nowhere.
    """
    for name in settings.sources:
        if not _SOURCE_NAME.fullmatch(name):  # it becomes part of file names
            raise ConfigError(
                f"{name!r} cannot be the name of a source",
                hint="use letters, digits, and - _ . within; `path` may be anything",
            )
    sources = {name: _source(name, s, root) for name, s in settings.sources.items()}
    owners: dict[str, str] = {}
    for source in sources.values():
        for data_set in source.data_sets:
            other = owners.setdefault(data_set, source.name)
            if other != source.name:
                raise ConfigError(
                    f"data set {data_set!r} stands in sources {other!r} and {source.name!r}",
                    hint="give one of them another name; `table` says which table it is",
                )
    for source in sources.values():
        for data_set, found in source.data_sets.items():
            for link in found.links:
                if link.to not in owners:
                    raise ConfigError(
                        f"data set {data_set!r} links to {link.to!r}, which is no data set{_near(link.to, owners)}"
                    )
    return Catalogue(sources=sources)


def _source(name: str, s: SourceSettings, root: Path) -> Source:
    declared = s.data_sets
    if s.kind is SourceKind.FOLDER and not declared:
        declared = {name: DataSetSettings()}  # a folder that nobody described is one set of recordings
    return Source(
        name=name,
        kind=s.kind,
        path=str((root / Path(s.path).expanduser()).absolute()),
        time_zone=s.time_zone,
        data_sets={d: _data_set(d, name, s.kind, found) for d, found in declared.items()},
        also_held_in=tuple(s.also_held_in),
    )


def _data_set(name: str, source: str, kind: SourceKind, s: DataSetSettings) -> DataSet:
    recordings = kind is SourceKind.FOLDER
    return DataSet(
        name=name,
        source=source,
        kind=DataSetKind.RECORDINGS if recordings else DataSetKind.TABLE,
        table="" if recordings else s.table or name,
        files=s.files or "**/*" if recordings else "",
        sidecar=s.sidecar,
        key=tuple(s.key),
        subjects=s.subjects,
        starting_points=s.starting_points,
        attributes=s.attributes,
        columns={c: frozenset(classes) for c, classes in s.columns.items()},
        links=tuple(
            Link(to=link.to, by=tuple(link.by), columns=tuple(link.columns), orphan=link.orphan)
            for link in s.links
        ),
    )


def _sentence(error: Any) -> str:
    place, kind, context = ".".join(str(p) for p in error["loc"]), error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"  {place}: there is no such setting{_near(str(error['loc'][-1]), _known())}"
    if kind == "missing":
        return f"  {place}: this setting is missing"
    if kind == "value_error":
        return f"  {place}: {context['error']}"
    given = repr(error["input"])
    given = given if len(given) <= _MOST_SHOWN else f"{given[:_MOST_SHOWN]}..."
    wanted = _WANTED.get(str(context.get("pattern")), error["msg"].removeprefix("Input should be "))
    near = _near(str(error["input"]), re.findall("'([^']+)'", wanted)) if kind == "enum" else ""
    return f"  {place}: should be {wanted}, and is {given}{near}"


def _known() -> list[str]:
    models: list[type[BaseModel]] = [Settings]
    for model in models:  # grows meanwhile
        models += _Strict.__subclasses__() if model is Settings else model.__subclasses__()
    return sorted({field for model in models for field in model.model_fields})


def _near(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
