"""The control database back from what is signed: rules in force and holds from the ledger, drills from evidence.

What is in the control database only (approvals of plans never executed, runs) is lost with it, and said to be.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime

from tenure.control.drills import Drills
from tenure.control.mirrors import Head, Heads, Holds, MirroredHold
from tenure.control.rule_sets import RuleSets
from tenure.evidence.documents import read_document
from tenure.evidence.drill_record import DrillRecord, verify_drill
from tenure.operations.approving import approvers
from tenure.operations.installation import Installation
from tenure.repository.entries import Hold
from tenure.repository.ledger import envelopes
from tenure.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What was put back. `rules`: hash of the set in force, empty for none."""

    rules: str
    holds: int
    drills: int


def rebuilt(installation: Installation) -> Rebuilt:
    """Fill a new control database; what it has already stays as it is, so running it twice changes nothing.

    Raises:
        TamperedError: The ledger, or a drill record in evidence, was changed.
        KeyMismatchError: This process was given no reading key.
    """
    repository = installation.open_reading()
    result = Rebuilt(
        rules=_rules(installation, repository),
        holds=_holds(installation, repository),
        drills=_drills(installation),
    )
    heads = Heads(installation.control)
    heads.remember("ledger", Head(number=repository.state.number, hash=repository.state.hash))
    installation.evidence.log.append(
        "control-rebuilt",
        who=installation.officer,
        at=installation.clock.now(),
        subject_of_entry="control database",
        outcome="done",
        details={"rules": result.rules, "holds": result.holds, "drills": result.drills},
    )
    return result


def _rules(installation: Installation, repository: Repository) -> str:
    entry = repository.state.rules
    if entry is None:
        return ""
    sets, digest = RuleSets(installation.control), entry.hash.hex()
    known = sets.in_force(installation.clock.now())
    if known is None or known.hash != digest:
        who, _ = approvers(entry.approvals)
        since = max((a.at for a in who), default=datetime.fromtimestamp(repository.state.at, UTC))
        names = [a.name for a in who] or ["(named in no approval)"]
        sets.put_in_force(digest, entry.content, in_force_from=since, approved_by=names)
    return digest


def _holds(installation: Installation, repository: Repository) -> int:
    """Mirror the holds in force under the numbers they were placed at."""
    mirror = Holds(installation.control)
    placed = placed_holds(installation, repository)
    for number, hold, _ in placed:
        mirror.mirror(
            MirroredHold(number=number, matter=hold.matter, review_by=date.fromisoformat(hold.review_by))
        )
    return len(placed)


def placed_holds(installation: Installation, repository: Repository) -> list[tuple[int, Hold, datetime]]:
    """Return the holds in force, each with number and time of the entry that placed it, in the order of these.

    Raises:
        TamperedError: The ledger was changed.
        KeyMismatchError: This process was given no reading key.
    """
    in_force = {i: h for i, h in repository.state.holds.items() if not h.released}
    found: dict[str, tuple[int, datetime]] = {}
    purge = installation.pins.purge_key
    for info, entry in envelopes(repository.place.objects) if in_force else ():
        if entry.header.signer != purge.key_id:
            continue
        entry.verify(purge)
        body = entry.open(repository.secrets.ledger)
        if isinstance(body, Hold) and not body.released:
            found.setdefault(body.hold, (entry.header.number, info.modified))
    placed = [(*found[i], h) for i, h in in_force.items() if i in found]
    return [(number, h, at) for number, at, h in sorted(placed, key=lambda p: p[0])]


def drill_records(installation: Installation) -> list[DrillRecord]:
    """Return every drill in evidence, oldest first.

    Raises:
        TamperedError: One was changed.
    """
    folder = installation.evidence.log.directory.parent / "drills"
    key = installation.evidence_key.public()
    found = [verify_drill(read_document(path), key) for path in folder.glob("*.json")]
    return sorted(found, key=lambda d: (d.started, d.id))


def _drills(installation: Installation) -> int:
    drills, found = Drills(installation.control), drill_records(installation)
    for record in found:
        drills.record(record, seconds=record.seconds)
    return len(found)
