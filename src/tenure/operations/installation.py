"""What every operation is given: one installation, its parts built by wiring and by nobody else."""

import difflib
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from tenure.crypto.signing import SigningKey
from tenure.domain.catalogue import Catalogue
from tenure.domain.clock import Clock
from tenure.domain.errors import ConfigError, LeasedError
from tenure.domain.progress import Progress
from tenure.evidence.directory import EvidenceDirectory
from tenure.evidence.views import Issuer
from tenure.keys.services import NO_SERVICES, KeyServices
from tenure.repository import founding
from tenure.repository.founding import Pins
from tenure.repository.keeping import Keeping
from tenure.repository.repository import Repository, Writer
from tenure.sources.base import LiveStore, Loader, Lookups, View

if TYPE_CHECKING:
    from tenure.control.database import ControlDatabase


class SourceAdapter(Protocol):
    """One source: its view, its live side, and a loader for its snapshots."""

    def begin(self, lookups: Lookups = ...) -> View:
        """Take a consistent view; `lookups` bring facts that stand in another source."""
        ...

    def live(self) -> LiveStore:
        """Return the live side."""
        ...

    def loader(self) -> Loader:
        """Return a loader."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """What a source's drill is measured against; None: no objective set."""

    restore: timedelta | None = None  # RTO
    age: timedelta | None = None  # RPO


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Directories of an installation."""

    root: Path
    state: Path
    keys: Path
    rules: Path
    scratch: Path


class OnDemand:
    """The control database, opened when something asks for it.

    A restore asks for nothing in it: it works where that database is damaged, and starts a third sooner.
    """

    def __init__(self, opens: "Callable[[], ControlDatabase]") -> None:
        """Take what opens it."""
        self._opens = opens
        self._lock = Lock()
        self._opened: ControlDatabase | None = None

    def opened(self) -> "ControlDatabase":
        """Return it.

        Raises:
            ConfigError: It cannot be used.
        """
        with self._lock:
            if self._opened is None:
                self._opened = self._opens()
            return self._opened

    def close(self) -> None:
        """Let go of it, where it was opened."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One installation, as a process sees it.

    `open_writing` opens the repository with writers' keys only; `open_reading` with the reading key, and the purge
    key where this process has it; `where` names its stores without opening it, for what must work on a damaged one,
    and `pins` whom this process trusts. `own`: folders of the installation, where nothing may be restored to.
    `officer`: who is at the keyboard, as evidence names them. `key_passphrase`: of key files, where settings give one.
    `readers`: ask for ranges of packs beside `executor`, where those are across a network.
    `key_services`: the ways to those that read, or did; `reader_in_file`: the reading key is (also) a key file.
    """

    name: str
    place: Place
    catalogue: Catalogue
    sources: Mapping[str, SourceAdapter]
    clock: Clock
    progress: Progress
    executor: Executor
    on_demand: OnDemand
    evidence: EvidenceDirectory
    issuer: Issuer
    pins: Pins
    where: Callable[[], founding.Place]
    open_writing: Callable[[], Repository]
    open_reading: Callable[[], Repository]
    admit: Callable[[str], Writer]
    evidence_key: SigningKey = field(repr=False)
    key_passphrase: bytes | None = field(default=None, repr=False)
    key_services: KeyServices = NO_SERVICES
    reader_in_file: bool = True
    officer: str = "operator"
    session: timedelta = timedelta(hours=24)
    objectives: Mapping[str, Objectives] = field(default_factory=dict)
    keep: Keeping = field(default_factory=Keeping)
    one_person: bool = True
    readers: Executor | None = None
    settings_text: bytes = b"{}"
    own: tuple[Path, ...] = ()

    @property
    def control(self) -> "ControlDatabase":
        """Return the control database.

        Raises:
            ConfigError: It cannot be used.
        """
        return self.on_demand.opened()

    def close(self) -> None:
        """Let go of threads and of the control database; what runs is waited for."""
        self.executor.shutdown(wait=True, cancel_futures=True)
        if self.readers is not None:
            self.readers.shutdown(wait=True, cancel_futures=True)
        self.on_demand.close()

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Hold the lock of `what` ("snapshot-crm", "forgetting") on this machine; a dead process holds none.

        Raises:
            LeasedError: Another process holds it.
        """
        path = self.place.state / "locks" / f"{what}.lock"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("a+", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                raise LeasedError(
                    f"another run is at work on this ({what.replace('-', ' of ', 1)}, process {holder})"
                ) from e
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield


def unknown_source(name: str, known: Iterable[str]) -> ConfigError:
    """Return the error that no source has this name, with what was probably meant."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return ConfigError(
        f"there is no source {name!r}{meant}", hint=f"configured are: {', '.join(names) or 'none'}"
    )
