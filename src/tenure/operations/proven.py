"""Which snapshots are verified: read back whole since they were committed, by verifications or by a drill."""

from tenure.control.checks import Checks
from tenure.control.drills import Drills
from tenure.evidence.drill_record import DrillOutcome
from tenure.operations.installation import Installation
from tenure.repository.state import State

_DRILLS = 100  # of a source, newest first; older snapshots are proven by verifications, or by nothing


def verified(installation: Installation, state: State) -> frozenset[int]:
    """Return the numbers of live snapshots of which every chunk was read back and found sound.

    A chunk that was sound may rot later: this says that a snapshot was once whole in its store, not that it is now.
    """
    checks = Checks(installation.control).all()
    proven: dict[bytes, int] = {}
    for writer in {s.entry.writer for s in state.snapshots.values()}:
        tags = {page.ref.tag for page in state.live_pages(frozenset({writer}))}
        proven[writer] = min((checks[t].proven if t in checks else 0 for t in tags), default=0)
    found = {n for n, s in state.snapshots.items() if n <= proven[s.entry.writer]}
    for source in {s.entry.source for s in state.snapshots.values()}:
        drills = Drills(installation.control).history(source, limit=_DRILLS)
        found |= {d.snapshot for d in drills if d.outcome is DrillOutcome.PASSED} & set(state.snapshots)
    return frozenset(found)
