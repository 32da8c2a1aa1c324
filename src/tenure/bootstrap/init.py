"""`tenure init`: keys, repository, a commented configuration and starter rules. Asks nothing that has a good default."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from tenure.bootstrap import keyfiles
from tenure.bootstrap.places import Stores, place_of
from tenure.bootstrap.wiring import CONTROL, open_control
from tenure.crypto.hashing import random_bytes
from tenure.crypto.hpke import RecipientPrivate
from tenure.crypto.signing import SigningKey
from tenure.domain.clock import Clock
from tenure.domain.errors import ConfigError, KeyMismatchError, KeyUnavailableError, PreconditionFailedError
from tenure.keys.local import KeyFile, KeyKind, read_key_file
from tenure.operations import probing
from tenure.repository import names, repository
from tenure.repository.entries import Recipient
from tenure.repository.headfile import HeadFile
from tenure.repository.marker import Marker, Parameters

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
{more}
keys: keys                    # epoch-1.key reads, purge.key deletes, writer-*.key writes; take recovery.key elsewhere
state: state                  # control database, evidence, caches
rules: retention_rules        # what the compliance officer edits

keep: {{last: 3, daily: 7, weekly: 5, monthly: 12, yearly: 3, verified: 1}}   # snapshots that stay

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


HERE = Stores()


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What `init` made."""

    config: Path
    recovery: Path
    rules: int


def init(
    folder: Path,
    *,
    clock: Clock,
    name: str,
    officer: str,
    sources: str = EXAMPLE_SOURCES,
    stores: Stores = HERE,
) -> Made:
    """Make a new installation in a folder, or complete one whose making was cut short.

    Keys first, then the repository that trusts them, `tenure.yaml` last: where it is, there is an installation;
    where it is not, nobody can have used what is there, and running this again completes it.

    Raises:
        ConfigError: There is one already, or something else; nothing was changed.
    """
    config, keys, state = folder / "tenure.yaml", folder / "keys", folder / "state"
    _refuse_what_is_there(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        keys.mkdir(mode=0o700, exist_ok=True)
        state.mkdir(mode=0o700, exist_ok=True)
    except OSError as e:
        hint = "choose a folder that you may write to, with room"
        raise ConfigError(f"{folder} cannot be made into an installation: {e.strerror}", hint=hint) from e
    secrets = _secrets(keys, clock)
    try:
        memory = HeadFile(state / "head")
        place = place_of(stores, folder, clock, memory, create=True)
        probed = probing.probe(place, clock)
        probed.require()
        marker = repository.create(place, _founding(secrets, clock, probed.told))
    except PreconditionFailedError as e:
        raise ConfigError(f"{folder}: {e}", hint=e.hint) from e
    open_control(
        state / CONTROL, clock
    ).close()  # its tables are made here, not in the first night's snapshot
    rules = copy_starter_rules(folder / "retention_rules")
    text = _configuration(marker, stores, name=name, officer=officer, sources=sources)
    unfinished = folder / ".tenure.yaml.unfinished"
    unfinished.write_text(text, "utf-8")
    unfinished.replace(config)  # whole or not at all
    return Made(config=config, recovery=keys / "recovery.key", rules=rules)


def _configuration(found: Marker, stores: Stores, *, name: str, officer: str, sources: str) -> str:
    return TEMPLATE.format(
        name=name,
        officer=officer,
        repository=found.repository,
        purge_key=found.purge_key,
        object_store=_quoted(stores.objects),
        key_stores="\n".join(f"    {n}: {_quoted(url)}" for n, url in stores.keys.items()),
        more=_more(stores),
        sources=sources,
    )


def _refuse_what_is_there(folder: Path) -> None:
    """Refuse a folder in use. Keys of a making that was cut short are known by their names and their number."""
    config, keys = folder / "tenure.yaml", folder / "keys"
    if config.exists():
        raise ConfigError(f"{config} is there already: nothing was changed", hint="choose an empty folder")
    mine = {f"{name}.key" for name in KINDS}
    there = {p.name for p in keys.iterdir()} if keys.is_dir() else set[str]()
    if there - mine or (keys.exists() and not keys.is_dir()):
        raise ConfigError(
            f"{keys} is there already: nothing was changed",
            hint=f"choose an empty folder; if this is an installation, put its {config.name} back",
        )
    if there:
        return
    for taken in (folder / "repository", folder / "state" / "head"):
        if taken.exists():
            raise ConfigError(
                f"{taken} is there already, and no keys that belong to it: nothing was changed",
                hint=f"choose an empty folder; put the keys back, or remove {taken} if nothing in it is needed",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Secrets:
    repository: bytes
    purge: SigningKey = field(repr=False)
    reader: RecipientPrivate = field(repr=False)
    recovery: RecipientPrivate = field(repr=False)


KINDS = {
    "purge": KeyKind.PURGE,
    "epoch-1": KeyKind.READER,
    "recovery": KeyKind.RECOVERY,
    "evidence": KeyKind.EVIDENCE,
}
"""Key files of a new installation, in the order in which they are written."""


def _secrets(folder: Path, clock: Clock) -> _Secrets:
    """Return the keys of a new installation, all in files; those that a run before this one wrote are kept."""
    found = {name: _kept(folder / f"{name}.key", kind) for name, kind in KINDS.items()}
    lost = [name for name, key in found.items() if key is None]
    if lost and (folder.parent / "repository" / names.MARKER).exists():
        raise ConfigError(
            f"{folder / lost[0]}.key is not here, and the repository was made with it: nothing was changed",
            hint="put the key file back, then run `tenure init` again",
        )
    ids = {key.repository for key in found.values() if key is not None}
    if len(ids) > 1:
        raise ConfigError(
            f"the keys in {folder} belong to several repositories: nothing was changed",
            hint="choose an empty folder",
        )
    repository_id = bytes.fromhex(ids.pop()) if ids else random_bytes(16)
    raw: dict[str, bytes] = {}
    for name, kind in KINDS.items():
        key = found[name]
        fresh = SigningKey if kind in {KeyKind.PURGE, KeyKind.EVIDENCE} else RecipientPrivate
        raw[name] = fresh.generate().raw if key is None else key.fields["private"]
        fields = {"private": raw[name]}
        if kind is KeyKind.RECOVERY:
            fields["purge_public"] = SigningKey.from_raw(raw["purge"]).public().raw
        if key is None:
            keyfiles.keep(folder, name, kind=kind, repository=repository_id, at=clock.now(), fields=fields)
        elif key.fields != fields:
            raise ConfigError(
                f"the keys in {folder} do not belong together: nothing was changed",
                hint="choose an empty folder",
            )
    return _Secrets(
        repository=repository_id,
        purge=SigningKey.from_raw(raw["purge"]),
        reader=RecipientPrivate.from_raw(raw["epoch-1"]),
        recovery=RecipientPrivate.from_raw(raw["recovery"]),
    )


def _kept(path: Path, kind: KeyKind) -> KeyFile | None:
    """Return a key file that an earlier run wrote, None where it did not get so far."""
    if not path.exists():
        return None
    try:
        return read_key_file(path, passphrase=None, kind=kind)
    except (KeyMismatchError, KeyUnavailableError) as e:
        raise ConfigError(
            f"{path} is there and cannot be used ({e}): nothing was changed",
            hint=f"if it is what a run of `tenure init` left that was cut short, remove {path}, then run it again",
        ) from e


def _more(stores: Stores) -> str:
    """Return what of the repository's settings is not as by default, as YAML."""
    lines = []
    if stores.ledger:
        lines.append(f"  ledger_store: {_quoted(stores.ledger)}    # marker and ledger lie apart")
    if stores.shred_days:
        lines.append(
            f"  shred_window_days: {stores.shred_days}    # key stores keep versions of deleted pages so long"
        )
    if stores.mode:
        pages = f", key_page_days: {stores.locks.page_days:g}" if stores.locks.page_days else ""
        lines.append(f"  locks: {{mode: {stores.mode.lower()}, days: {stores.locks.days:g}{pages}}}")
    return "".join(f"{line}\n" for line in lines)


def _quoted(url: str) -> str:
    """Return an address as YAML: quoted where it is more than a plain word."""
    return url if re.fullmatch(r"file:[\w./-]+", url) else json.dumps(url)


def _founding(secrets: _Secrets, clock: Clock, found: Mapping[str, dict[str, str]]) -> repository.Founding:
    publics = (("reader", secrets.reader.public()), ("recovery", secrets.recovery.public()))
    return repository.Founding(
        repository=secrets.repository,
        purge=secrets.purge,
        recipients=tuple(
            Recipient(role=role, provider="local", key_id=k.key_id, public=k.raw) for role, k in publics
        ),
        created=clock.now(),
        one_person=True,
        parameters=Parameters(),
        found=found,
    )


def starter_rules() -> Path:
    """Return the folder with the rules that `init` copies: packaged, or beside the sources in a checkout."""
    packaged = Path(str(resources.files("tenure"))) / "starter_rules"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "retention_rules"


def copy_starter_rules(target: Path) -> int:
    """Copy the starter rules where there are none yet; return how many files."""
    if target.exists():
        return 0
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    files = sorted(starter_rules().glob("*.yaml"))
    for file in files:
        shutil.copyfile(file, unfinished / file.name)
    unfinished.replace(target)  # whole or not at all
    return len(files)
