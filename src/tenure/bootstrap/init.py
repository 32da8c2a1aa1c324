"""`tenure init`: keys, repository, a commented configuration and starter rules. Asks nothing that has a good default."""

import shutil
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from tenure.bootstrap import keyfiles
from tenure.bootstrap.wiring import create_store
from tenure.crypto.hpke import RecipientPrivate
from tenure.crypto.signing import SigningKey
from tenure.domain.clock import Clock
from tenure.domain.errors import ConfigError
from tenure.keys.local import KeyKind
from tenure.repository import repository
from tenure.repository.entries import Recipient
from tenure.repository.headfile import HeadFile
from tenure.repository.keystores import KeyStores, NamedStore
from tenure.repository.marker import Parameters

KEY_STORES = {"first": "file:key-store-1", "second": "file:key-store-2"}
OBJECT_STORE = "file:repository"

TEMPLATE = """\
# Tenure. Every setting that is not here has the default that `tenure status` shows.
version: 1
installation: {name}
officer: {officer}            # who is at the keyboard, as evidence names them

issuer:                       # who stands behind certificates
  organisation: "(your organisation)"
  contact: ""
  complaints_to: ""           # the supervisory authority

repository:
  id: {repository}
  purge_key: {purge_key}  # pinned: nothing else may order deletion
  object_store: {object_store}    # sealed data; may be locked for years
  key_stores:                     # the keys that make it readable; deleting one is forgetting
{key_stores}

keys: keys                    # epoch-1.key reads, purge.key deletes, writer-*.key writes; take recovery.key elsewhere
state: state                  # control database, evidence, caches
rules: retention_rules        # what the compliance officer edits

keep: {{last: 3, daily: 7, weekly: 5, monthly: 12, yearly: 3}}   # snapshots that stay

# What is backed up. A database needs no more than kind and path; data sets tell rules what its columns mean.
sources:{sources}
"""

EXAMPLE_SOURCES = """ {}
#  crm:
#    kind: sqlite
#    path: /srv/crm/crm.sqlite
#    time_zone: Europe/Berlin
#    data_sets:
#      customers:
#        subjects: {customer: id}
#        starting_points: {account closed: closed_at}
#        attributes: {country: country}
#        columns: {name: [personal], email: [personal]}
#      case_notes:
#        subjects: {customer: cases.customer_id}
#        starting_points: {case closed: cases.closed_at}
#        columns: {body: [free text, card]}
#        links: [{to: cases, by: [case_id]}]
#  calls:
#    kind: folder
#    path: /srv/recordings
#    data_sets:
#      call_recordings:
#        files: "**/*.wav"
#        sidecar: "{stem}.json"
#        subjects: {customer: sidecar.customer_id}
#        starting_points: {call ended: sidecar.ended_at}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What `init` made."""

    config: Path
    recovery: Path
    rules: int


def init(folder: Path, *, clock: Clock, name: str, officer: str, sources: str = EXAMPLE_SOURCES) -> Made:
    """Make a new installation in a folder.

    Raises:
        ConfigError: There is one already; nothing was changed.
    """
    config = folder / "tenure.yaml"
    for taken in (config, folder / "repository", folder / "keys"):
        if taken.exists():
            raise ConfigError(f"{taken} is there already: nothing was changed", hint="choose an empty folder")
    keys, state = folder / "keys", folder / "state"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        keys.mkdir(mode=0o700)
        state.mkdir(mode=0o700, exist_ok=True)
    except OSError as e:
        hint = "choose a folder that you may write to, with room"
        raise ConfigError(f"{folder} cannot be made into an installation: {e.strerror}", hint=hint) from e
    secrets = _Secrets(SigningKey.generate(), RecipientPrivate.generate(), RecipientPrivate.generate())
    marker, _ = repository.create(_place(folder, clock), _founding(secrets, clock))
    recovery = _keep_keys(keys, marker.repository_id, secrets, clock)
    text = TEMPLATE.format(
        name=name,
        officer=officer,
        repository=marker.repository,
        purge_key=marker.purge_key,
        object_store=OBJECT_STORE,
        key_stores="\n".join(f"    {n}: {url}" for n, url in KEY_STORES.items()),
        sources=sources,
    )
    config.write_text(text, "utf-8")
    return Made(config=config, recovery=recovery, rules=copy_starter_rules(folder / "retention_rules"))


@dataclass(frozen=True, slots=True)
class _Secrets:
    purge: SigningKey = field(repr=False)
    reader: RecipientPrivate = field(repr=False)
    recovery: RecipientPrivate = field(repr=False)


def _place(folder: Path, clock: Clock) -> repository.Place:
    stores = (NamedStore(name=n, store=create_store(url, folder, clock)) for n, url in KEY_STORES.items())
    objects = create_store(OBJECT_STORE, folder, clock)
    return repository.Place(
        objects=objects, key_stores=KeyStores(stores), memory=HeadFile(folder / "state" / "head")
    )


def _founding(secrets: _Secrets, clock: Clock) -> repository.Founding:
    publics = (("reader", secrets.reader.public()), ("recovery", secrets.recovery.public()))
    return repository.Founding(
        purge=secrets.purge,
        recipients=tuple(
            Recipient(role=role, provider="local", key_id=k.key_id, public=k.raw) for role, k in publics
        ),
        created=clock.now(),
        one_person=True,
        parameters=Parameters(),
    )


def _keep_keys(folder: Path, found: bytes, secrets: _Secrets, clock: Clock) -> Path:
    """Write the key files; return the recovery key's."""
    at = clock.now()
    reader, purge = {"private": secrets.reader.raw}, {"private": secrets.purge.raw}
    recovery = {"private": secrets.recovery.raw, "purge_public": secrets.purge.public().raw}
    keyfiles.keep(folder, "epoch-1", kind=KeyKind.READER, repository=found, at=at, fields=reader)
    keyfiles.keep(folder, "purge", kind=KeyKind.PURGE, repository=found, at=at, fields=purge)
    evidence = {"private": SigningKey.generate().raw}
    keyfiles.keep(folder, "evidence", kind=KeyKind.EVIDENCE, repository=found, at=at, fields=evidence)
    return keyfiles.keep(folder, "recovery", kind=KeyKind.RECOVERY, repository=found, at=at, fields=recovery)


def starter_rules() -> Path:
    """Return the folder with the rules that `init` copies: packaged, or beside the sources in a checkout."""
    packaged = Path(str(resources.files("tenure"))) / "starter_rules"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "retention_rules"


def copy_starter_rules(target: Path) -> int:
    """Copy the starter rules where there are none yet; return how many files."""
    if target.exists():
        return 0
    target.mkdir(parents=True)
    files = sorted(starter_rules().glob("*.yaml"))
    for file in files:
        shutil.copyfile(file, target / file.name)
    return len(files)
