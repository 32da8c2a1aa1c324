"""Writers: who may add snapshots of a source. Admitted, renewed and removed by entries that the purge key signs."""

from dataclasses import dataclass
from pathlib import Path

from tenure.domain.errors import ConfigError
from tenure.keys.local import destroy_key_file
from tenure.operations.installation import Installation, unknown_source
from tenure.repository.repository import Repository

MOST_REASON = 500
"""Characters of a reason, which stands in the ledger for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterState:
    """One writer. `snapshots`: how many of its are there; `last_at`: when the newest was taken, 0 for none.

    `here`: whether its key file is on this machine.
    """

    source: str
    writer: bytes
    removed: bool
    snapshots: int
    last_at: float
    here: bool


def listed(installation: Installation) -> list[WriterState]:
    """Return every writer there ever was, by source, the newest of a source last."""
    repository = installation.open_writing()
    mine = {w.secrets.writer for w in repository.rights.writers.values()}
    taken: dict[bytes, list[float]] = {}
    for snapshot in repository.state.snapshots.values():
        taken.setdefault(snapshot.entry.writer, []).append(snapshot.entry.taken_at)
    states = [
        WriterState(
            source=writer.source,
            writer=bytes.fromhex(writer_id),
            removed=writer.removed,
            snapshots=len(taken.get(bytes.fromhex(writer_id), [])),
            last_at=max(taken.get(bytes.fromhex(writer_id), []), default=0.0),
            here=bytes.fromhex(writer_id) in mine,
        )
        for writer_id, writer in repository.state.writers.items()
    ]
    return sorted(states, key=lambda s: (s.source, not s.removed))


def admit(installation: Installation, source: str) -> Path:
    """Admit a source's first writer; return its key file, which belongs on the host that takes the snapshots.

    Raises:
        ConfigError: There is no such source, or it has a writer.
        KeyMismatchError: This process has not the purge key, or not the reading key although one was here before.
    """
    if source not in installation.catalogue.sources:
        raise unknown_source(source, installation.catalogue.sources)
    if _live(installation.open_reading(), source):
        raise ConfigError(
            f"source {source!r} has a writer already",
            hint=f"its key file is writer-{source}.key; where that is lost or stolen: `tenure writers renew {source}`",
        )
    return _admitted(installation, source, "admitted")


def renew(installation: Installation, source: str, reason: str) -> Path:
    """Replace a source's writer: the old one is removed first, so that a stolen key is worth nothing from then on.

    Run again after a crash, it goes on: at worst, one more writer without snapshots is removed.

    Raises:
        ConfigError: The source never had a writer.
        LeasedError: A snapshot of it is under way here.
    """
    _check(reason)
    with installation.alone(f"snapshot-{source}"):
        repository = installation.open_reading()
        if source not in {w.source for w in repository.state.writers.values()}:
            raise ConfigError(
                f"source {source!r} never had a writer", hint=f"admit one: `tenure writers admit {source}`"
            )
        old = installation.place.keys / f"writer-{source}.key"
        aside = old.with_name(
            f"{old.name}.old"
        )  # not among the writers' files any more, whatever happens now
        if old.exists():
            old.replace(aside)
        if _live(repository, source):
            repository.remove(source, reason)
        made = _admitted(installation, source, "renewed")
        if aside.exists():
            destroy_key_file(aside)
        return made


def remove(installation: Installation, source: str, reason: str) -> None:
    """Remove a source's writer, and destroy its key file where that is here. Its snapshots stay.

    Raises:
        ConfigError: It has none.
    """
    _check(reason)
    installation.open_reading().remove(source, reason)
    _attest(installation, source, "removed")
    path = installation.place.keys / f"writer-{source}.key"
    if path.exists():
        destroy_key_file(path)


def _check(reason: str) -> None:
    if not reason.strip() or len(reason) > MOST_REASON:
        raise ConfigError(
            f"a reason has 1 to {MOST_REASON} characters", hint="say why; it stands in the ledger for good"
        )


def _live(repository: Repository, source: str) -> bool:
    return any(w.source == source and not w.removed for w in repository.state.writers.values())


def _admitted(installation: Installation, source: str, outcome: str) -> Path:
    installation.admit(source)
    _attest(installation, source, outcome)
    return installation.place.keys / f"writer-{source}.key"


def _attest(installation: Installation, source: str, outcome: str) -> None:
    installation.evidence.log.append(
        "writer",
        who=installation.officer,
        at=installation.clock.now(),
        subject_of_entry=f"writer of {source}",
        outcome=outcome,
        details={},
    )
