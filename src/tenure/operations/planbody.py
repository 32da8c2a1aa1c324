"""What a frozen plan holds: fingerprints, counts, forecast and masked samples. Nothing in it names a person.

Its hash is its id. The body stands in the control database; whoever executes it decides everything anew and acts on
what is both in the plan and due then.
"""

from datetime import date, datetime
from typing import Any

import msgspec

from tenure.crypto.hashing import content_hash
from tenure.domain.errors import StalePlanError

VERSION = 1


class RuleCount(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule does in one data set. `past`: records that only snapshots hold; `newly`: due by the change."""

    rule: str
    data_set: str
    action: str
    live: int = 0
    past: int = 0
    newly: int = 0
    law: str = ""


class KeptCount(msgspec.Struct, frozen=True, kw_only=True):
    """Records that stay though a limit has passed, or that nothing is known of. `why` in words."""

    data_set: str
    records: int
    why: str
    until: date | None = None
    by: str = ""  # "hold", "duty", "doubt" or "child"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One record, its key masked. `which`: oldest, newest, nearest deleted, nearest kept; `due`: its local day."""

    data_set: str
    which: str
    record: str
    due: date | None


class CohortLine(msgspec.Struct, frozen=True, kw_only=True):
    """A cohort that snapshots hold and that loses records. `whole`: every record of it goes."""

    source: str
    data_set: str
    span: str
    records: int
    whole: bool


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """How many records fall due in the week that begins on `start`."""

    start: date
    records: int


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """One data set's records by fingerprint: sorted, joined, 16 bytes each.

    `delete`: due by a rule, or the subject's own. `linked`: fall with a parent. `edit`: rule -> records to change.
    """

    delete: bytes = b""
    linked: bytes = b""
    edit: dict[str, bytes] = {}

    def count(self) -> int:
        """Return how many records it names; one that two rules edit counts for each."""
        return (len(self.delete) + len(self.linked) + sum(map(len, self.edit.values()))) // 16


class PlanBody(msgspec.Struct, frozen=True, kw_only=True):
    """A plan. `rules`: the rule set as bytes; `holds`: ids of those in force when it was made.

    `subject_kind`, `subject_print`, `request`, `received`: of an erasure. `total`: records of each data set in scope,
    for limits in percent.
    """

    version: int = VERSION
    kind: str
    moment: datetime
    made_by: str
    rule_set: str
    rules: bytes
    in_force: str
    sources: tuple[str, ...]
    changes: tuple[str, ...] = ()
    frozen: dict[str, Frozen] = {}
    counts: tuple[RuleCount, ...] = ()
    kept: tuple[KeptCount, ...] = ()
    samples: tuple[Sample, ...] = ()
    forecast: tuple[Week, ...] = ()
    cohorts: tuple[CohortLine, ...] = ()
    holds: tuple[str, ...] = ()
    snapshots: int = 0
    chunks: int = 0
    total: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    subject_kind: str = ""
    subject_print: bytes = b""
    request: str = ""
    received: date | None = None
    salt: bytes = b""

    @property
    def records(self) -> int:
        """Return how many records go or change."""
        return sum(f.count() for f in self.frozen.values())


def encode(body: PlanBody) -> bytes:
    """Return the body as it is kept: canonical JSON, so that equal plans have one hash."""
    return msgspec.json.encode(body, order="deterministic")


def hash_of(raw: bytes) -> str:
    """Return a plan's id, 64 hex digits."""
    return content_hash(b"tenure plan\0", raw).hex()


def decode(raw: bytes) -> PlanBody:
    """Return the body of a plan.

    Raises:
        StalePlanError: Another version made it.
    """
    try:
        found = msgspec.json.decode(raw, type=PlanBody)
    except (msgspec.MsgspecError, ValueError) as e:
        raise StalePlanError("this plan was made by another version of Tenure") from e
    if found.version != VERSION:
        raise StalePlanError("this plan was made by another version of Tenure")
    return found


def masked(key: bytes, *, recording: bool) -> str:
    """Return a record key with all but its end hidden, for people who look at samples."""
    if recording:
        stem = key.rpartition(b"/")[2].rpartition(b".")[0] or key
        return "***" + stem[-3:].decode("utf-8", "replace")
    cells = [cell[1:] for cell in key.split(b"\t")]
    return " ".join("*" * max(len(c) - 2, 1) + c[-2:].decode("utf-8", "replace") for c in cells)


def as_document(body: PlanBody) -> dict[str, Any]:
    """Return what `--json` prints of a plan: everything but fingerprints."""
    found: dict[str, Any] = msgspec.to_builtins(body)
    for name in ("frozen", "rules", "salt", "subject_print"):
        del found[name]
    return found
