"""Builds every object of an installation from its settings; nothing else in Tenure does."""

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tenure.bootstrap import keyfiles, passphrases
from tenure.bootstrap.keyservices import LOCAL, services_of
from tenure.bootstrap.places import place_of, readers_for, stores_of
from tenure.bootstrap.settings import Settings, catalogue_of, read
from tenure.bootstrap.stores import folder_of
from tenure.crypto.signing import VerifyKey
from tenure.domain.catalogue import Catalogue, Source, SourceKind
from tenure.domain.clock import Clock
from tenure.domain.errors import ConfigError
from tenure.domain.progress import Progress
from tenure.evidence.directory import EvidenceDirectory
from tenure.evidence.views import Issuer
from tenure.operations.installation import Installation, Objectives, OnDemand, Place, SourceAdapter
from tenure.repository import repository
from tenure.repository.headfile import HeadFile
from tenure.repository.keeping import Keeping, KeepPolicy, PruneBrake
from tenure.repository.repository import Pins, Repository, Rights, Writer
from tenure.sources.folder import FolderSource

if TYPE_CHECKING:
    from tenure.control.database import ControlDatabase

PROCESS_POOL_BYTES = 64 * 1024 * 1024
"""From this size of a database on, worker processes that read it are worth their start (about a second)."""

WAITING = 4
"""Threads beside one a core where a store is across a network: some wait for it while others work."""

CONTROL = "control.db"
"""The control database, below the folder `state`."""

MOST_THREADS = 6
"""Each holds some 40 MB at work: more of them would not stay below the 512 MB that snapshots and restores promise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What differs between a user's terminal, a simulation and a test."""

    clock: Clock
    progress: Progress
    passphrase: Callable[[], bytes] | None = None
    cpus: int = os.cpu_count() or 1


def build(config: Path, machine: Machine) -> Installation:
    """Return the installation that a configuration file describes.

    Raises:
        ConfigError: The file, or something it names, cannot be used.
    """
    settings = read(config)
    root = config.absolute().parent
    passphrase = passphrases.given(settings, root)
    machine = replace(machine, passphrase=passphrases.asking(passphrase, machine.passphrase))
    catalogue = catalogue_of(settings, root)
    place = _place(settings, root)
    place.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    pins = _pins(settings)
    threads, readers = _pools(settings, machine)
    stores = _Stores(settings, root, place, machine, passphrase=passphrase, readers=readers)
    evidence_key = keyfiles.evidence(place.keys, pins.repository, machine.passphrase)
    return Installation(
        name=settings.installation,
        place=place,
        catalogue=catalogue,
        sources=_sources(catalogue, place, machine, threads, settings.lock_wait_seconds),
        clock=machine.clock,
        progress=machine.progress,
        executor=threads,
        readers=readers,
        on_demand=OnDemand(partial(open_control, place.state / CONTROL, machine.clock)),
        evidence=EvidenceDirectory(place.state / "evidence", evidence_key),
        issuer=Issuer(**settings.issuer.model_dump()),
        pins=pins,
        where=stores.where,
        open_writing=lambda: stores.open_writing(pins),
        open_reading=lambda: stores.open(pins, stores.all_rights(pins)),
        admit=lambda source: stores.admit(pins, source),
        evidence_key=evidence_key,
        key_passphrase=passphrase,
        key_services=stores.services,
        reader_in_file=stores.reader_in_file,
        officer=settings.officer,
        session=timedelta(hours=settings.session_hours),
        objectives=_objectives(settings),
        keep=_keeping(settings),
        own=_own(settings, root, place),
        settings_text=_text_of(settings),
    )


def _text_of(settings: Settings) -> bytes:
    """Return the settings as snapshots keep them: nothing about where keys are."""
    without: Mapping[str, bool | set[str]] = {
        "repository": {"key_stores"},
        "key_passphrase": True,
        "key_services": True,
    }
    return settings.model_dump_json(exclude=without).encode()


def _pools(settings: Settings, machine: Machine) -> tuple[Executor, Executor | None]:
    stores = stores_of(settings)
    threads = ThreadPoolExecutor(threads_for(stores.addresses, machine), thread_name_prefix="tenure")
    return threads, readers_for(stores)


def threads_for(addresses: Iterable[str], machine: Machine) -> int:
    """Return how many threads work with the stores at these addresses."""
    waiting = WAITING if any(url.startswith("s3:") for url in addresses) else 0
    return min(machine.cpus + waiting, MOST_THREADS)


def _keeping(settings: Settings) -> Keeping:
    keep = settings.keep
    return Keeping(
        policy=KeepPolicy(**keep.model_dump(exclude={"brake_percent", "brake_least"})),
        sources={n: KeepPolicy(**s.keep.model_dump()) for n, s in settings.sources.items() if s.keep},
        brake=PruneBrake(percent=keep.brake_percent, least=keep.brake_least),
    )


def _pins(settings: Settings) -> Pins:
    return Pins(
        repository=bytes.fromhex(settings.repository.id),
        purge_key=VerifyKey(bytes.fromhex(settings.repository.purge_key)),
        least_epoch=settings.repository.least_epoch,
    )


def open_control(path: Path, clock: Clock) -> "ControlDatabase":
    """Open the control database, made where it is missing; runs whose process is gone are closed as interrupted.

    Raises:
        ConfigError: It cannot be used.
    """
    from tenure.control.database import ControlDatabase  # noqa: PLC0415 - SQLAlchemy takes a third of a start
    from tenure.control.runs import Runs  # noqa: PLC0415

    try:
        database = ControlDatabase.open(f"sqlite:///{path}")
        Runs(database).close_interrupted(at=clock.now())
    except ConfigError as e:
        hint = f"check who owns {path.parent}, and that its disk is not full or read-only"
        if "not a database" in str(e):
            hint = "move the file away and run `tenure control rebuild`: it comes back from the repository"
        raise ConfigError(f"{path}: {e}", hint=hint) from e
    return database


class _Stores:
    """Opens a repository, each time with the rights asked for."""

    def __init__(
        self,
        settings: Settings,
        root: Path,
        place: Place,
        machine: Machine,
        *,
        passphrase: bytes | None,
        readers: Executor | None,
    ) -> None:
        self._settings = settings
        self._readers = readers
        self._root = root
        self._place = place
        self._machine = machine
        self._passphrase = passphrase
        self.services = services_of(settings.key_services, root)
        active = [way for way in self.services.ways if not way.leaving]
        self.reader_in_file = not active or LOCAL in settings.key_services

    def where(self) -> repository.Place:
        """Return the repository's place."""
        memory = HeadFile(self._place.state / "head")
        stores = stores_of(self._settings)
        return place_of(
            stores,
            self._root,
            self._machine.clock,
            memory,
            readers=self._readers,
            cache=self._place.state / "structure",
        )

    def open(self, pins: Pins, rights: Rights) -> Repository:
        """Open the repository."""
        return Repository.open(self.where(), pins, rights)

    def open_writing(self, pins: Pins) -> Repository:
        """Open with writers' keys only; before the first writer is admitted, with whatever is here."""
        writers = self.writers(pins)
        if not writers:
            return self.open(pins, self.all_rights(pins))
        return self.open(pins, Rights(writers=writers, services=self.services))

    def writers(self, pins: Pins) -> Mapping[str, Writer]:
        """Return the writers whose key files are here."""
        return keyfiles.writers(self._place.keys, pins.repository, self._machine.passphrase)

    def all_rights(self, pins: Pins) -> Rights:
        """Return everything this process was given."""
        return Rights(
            writers=self.writers(pins),
            unwrapper=keyfiles.keyring(
                self._place.keys, pins.repository, self._machine.passphrase, self.services
            ),
            purge=keyfiles.purge(self._place.keys, pins.repository, self._machine.passphrase),
            services=self.services,
        )

    def admit(self, pins: Pins, source: str) -> Writer:
        """Admit a source's writer and keep its key file; callers made sure that one admitted before took no snapshot."""
        opened = self.open(pins, self.all_rights(pins))
        if any(w.source == source and not w.removed for w in opened.state.writers.values()):
            opened.remove(source, "its key file is missing and it took no snapshot")
        writer = opened.admit(source)
        keyfiles.keep_writer(
            self._place.keys, opened.id, writer, self._machine.clock.now(), passphrase=self._passphrase
        )
        return writer


def _place(settings: Settings, root: Path) -> Place:
    state = root / settings.state
    return Place(
        root=root,
        state=state,
        keys=root / settings.keys,
        rules=root / settings.rules,
        scratch=root / settings.scratch if settings.scratch else state / "scratch",
    )


def _own(settings: Settings, root: Path, place: Place) -> tuple[Path, ...]:
    """Return every folder that belongs to the installation itself."""
    folders = (folder_of(url, root) for url in stores_of(settings).addresses if url.startswith("file:"))
    return (place.keys, place.state, place.rules, place.scratch, *folders)


def _sources(
    catalogue: Catalogue, place: Place, machine: Machine, threads: Executor, lock_wait: float
) -> dict[str, SourceAdapter]:
    return {
        name: _adapter(source, place, machine, threads, lock_wait)
        for name, source in catalogue.sources.items()
    }


def _adapter(
    source: Source, place: Place, machine: Machine, threads: Executor, lock_wait: float
) -> SourceAdapter:
    if source.kind is SourceKind.FOLDER:
        return FolderSource(source, clock=machine.clock)
    from tenure.sources.sqlite import SqliteSource  # noqa: PLC0415 - a folder of recordings needs none of it

    return SqliteSource(
        source,
        scratch=place.scratch,
        clock=machine.clock,
        workers=_workers(source, machine),
        threads=threads if machine.cpus > 1 else None,
        lock_wait=lock_wait,
    )


def _workers(source: Source, machine: Machine) -> Executor | None:
    path = Path(source.path)
    if machine.cpus < 2 or not path.is_file() or path.stat().st_size < PROCESS_POOL_BYTES:
        return None
    # Imported here: a tenth of what a command takes to start, and few have a use for it.
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415
    from multiprocessing import get_context  # noqa: PLC0415

    # "forkserver": a fork of this process would copy its threads' locks in whatever state they are.
    return ProcessPoolExecutor(max_workers=machine.cpus, mp_context=get_context("forkserver"))


def _objectives(settings: Settings) -> dict[str, Objectives]:
    return {
        name: Objectives(
            restore=timedelta(minutes=o.restore_minutes) if o.restore_minutes else None,
            age=timedelta(hours=o.age_hours) if o.age_hours else None,
        )
        for name, o in settings.objectives.items()
    }
