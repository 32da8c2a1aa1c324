"""`tenure init`: keys, repository, a commented configuration and starter rules. Asks nothing that has a good default."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from tenure.bootstrap import keyfiles
from tenure.bootstrap.keyservices import LOCAL, named, services_of, way_of
from tenure.bootstrap.places import Stores, place_of
from tenure.bootstrap.wiring import CONTROL, open_control
from tenure.crypto.hashing import random_bytes
from tenure.crypto.hpke import RecipientPrivate
from tenure.crypto.signing import SigningKey
from tenure.domain.clock import Clock
from tenure.domain.errors import ConfigError, KeyMismatchError, KeyUnavailableError, PreconditionFailedError
from tenure.keys.base import ServiceKey
from tenure.keys.local import PROVIDER, KeyFile, KeyKind, read_key_file
from tenure.keys.services import NO_SERVICES, KeyServices
from tenure.operations import probing
from tenure.repository import names, repository
from tenure.repository.entries import Recipient
from tenure.repository.founding import recipient_of
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
keys: keys                    # {reads}purge.key deletes, writer-*.key writes; take recovery.key elsewhere
{key_services}state: state                  # control database, evidence, caches
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
    reader_keys: Sequence[str] = (),
) -> Made:
    """Make a new installation in a folder, or complete one whose making was cut short.

    Keys first, then the repository that trusts them, `tenure.yaml` last: where it is, there is an installation;
    where it is not, nobody can have used what is there, and running this again completes it.

    Args:
        folder: Where.
        clock: This machine's.
        name: Of the installation.
        officer: Who is at the keyboard.
        sources: The configuration's part about them.
        stores: Where the repository goes.
        reader_keys: Addresses of key services that read (`bootstrap.keyservices`), in place of a key file; with
            ``local`` among them, beside one.

    Raises:
        ConfigError: There is one already, or something else; nothing was changed.
        KeyProviderError: A key service does not wrap and unwrap for this process; nothing was changed.
    """
    config, keys, state = folder / "tenure.yaml", folder / "keys", folder / "state"
    _refuse_what_is_there(folder)
    there = _services(reader_keys, folder)
    _make_folders(folder, keys, state)
    secrets = _secrets(keys, clock, _kinds(reader_keys))
    try:
        memory = HeadFile(state / "head")
        place = place_of(stores, folder, clock, memory, create=True)
        probed = probing.probe(place, clock)
        probed.require()
        marker = repository.create(place, _founding(secrets, clock, probed.told, there))
    except PreconditionFailedError as e:
        raise ConfigError(f"{folder}: {e}", hint=e.hint) from e
    open_control(
        state / CONTROL, clock
    ).close()  # its tables are made here, not in the first night's snapshot
    rules = copy_starter_rules(folder / "retention_rules")
    keys_say = {
        "reads": "epoch-1.key reads, " if secrets.reader else "",
        "key_services": _lines(reader_keys, there),
    }
    _write_whole(
        config, _configuration(marker, stores, name=name, officer=officer, sources=sources, **keys_say)
    )
    return Made(config=config, recovery=keys / "recovery.key", rules=rules)


def _make_folders(folder: Path, keys: Path, state: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        keys.mkdir(mode=0o700, exist_ok=True)
        state.mkdir(mode=0o700, exist_ok=True)
    except OSError as e:
        hint = "choose a folder that you may write to, with room"
        raise ConfigError(f"{folder} cannot be made into an installation: {e.strerror}", hint=hint) from e


def _write_whole(config: Path, text: str) -> None:
    unfinished = config.with_name(f".{config.name}.unfinished")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(config)  # whole or not at all


def _configuration(found: Marker, stores: Stores, **said: str) -> str:
    return TEMPLATE.format(
        repository=found.repository,
        purge_key=found.purge_key,
        object_store=_quoted(stores.objects),
        key_stores="\n".join(f"    {n}: {_quoted(url)}" for n, url in stores.keys.items()),
        more=_more(stores),
        **said,
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


KINDS = {
    "purge": KeyKind.PURGE,
    "epoch-1": KeyKind.READER,
    "recovery": KeyKind.RECOVERY,
    "evidence": KeyKind.EVIDENCE,
}
"""Key files of a new installation, in the order in which they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Secrets:
    repository: bytes
    purge: SigningKey = field(repr=False)
    reader: RecipientPrivate | None = field(repr=False)
    recovery: RecipientPrivate = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Services:
    """Key services that read: the ways, and the key at the end of each."""

    ways: KeyServices = NO_SERVICES
    keys: tuple[ServiceKey, ...] = ()


_NONE = _Services()


def _services(addresses: Sequence[str], folder: Path) -> _Services:
    """Go to each service once: whoever cannot wrap and unwrap there had better know before anything is made."""
    found = [way_of(url, folder, aliases=True) for url in addresses if url != LOCAL]
    keys = tuple(way.make().fresh(()) for way in found)
    urls = [url for url in addresses if url != LOCAL]
    ways = services_of([named(url, key) for url, key in zip(urls, keys, strict=True)], folder)
    return _Services(ways=ways, keys=keys)


def _lines(addresses: Sequence[str], there: _Services) -> str:
    """Return the configuration's lines about key services; none where there are none."""
    if not there.keys:
        return ""
    keys = iter(there.keys)
    urls = [url if url == LOCAL else named(url, next(keys)) for url in addresses]
    lines = ["key_services:                 # who reads; the keys that make data readable are wrapped there"]
    return "".join(f"{line}\n" for line in (*lines, *(f"  - {json.dumps(url)}" for url in urls)))


def _kinds(reader_keys: Sequence[str]) -> Mapping[str, KeyKind]:
    """Return the key files of a new installation: none that reads where services do."""
    without = {"epoch-1"} if reader_keys and LOCAL not in reader_keys else set()
    return {name: kind for name, kind in KINDS.items() if name not in without}


def _secrets(folder: Path, clock: Clock, kinds: Mapping[str, KeyKind] = KINDS) -> _Secrets:
    """Return the keys of a new installation, all in files; those that a run before this one wrote are kept."""
    found = {name: _kept(folder / f"{name}.key", kind) for name, kind in kinds.items()}
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
    for name, kind in kinds.items():
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
        reader=RecipientPrivate.from_raw(raw["epoch-1"]) if "epoch-1" in raw else None,
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


def _founding(
    secrets: _Secrets, clock: Clock, found: Mapping[str, dict[str, str]], there: _Services = _NONE
) -> repository.Founding:
    private = (("reader", secrets.reader), ("recovery", secrets.recovery))
    publics = [(role, key.public()) for role, key in private if key is not None]
    local = [Recipient(role=role, provider=PROVIDER, key_id=k.key_id, public=k.raw) for role, k in publics]
    return repository.Founding(
        repository=secrets.repository,
        purge=secrets.purge,
        recipients=(*(recipient_of(key) for key in there.keys), *local),
        created=clock.now(),
        one_person=True,
        parameters=Parameters(),
        found=found,
        services=there.ways,
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
