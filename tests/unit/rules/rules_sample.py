"""The catalogue, rules and facts that tests of rules speak of."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from tenure.domain.catalogue import Catalogue, ColumnClass, DataSet, DataSetKind, Link, Source, SourceKind
from tenure.rules.decide import Decisions, decide
from tenure.rules.facts import Facts
from tenure.rules.holds import Holds
from tenure.rules.load import Loaded, load
from tenure.rules.ruleset import RuleSet

STARTER = Path(__file__).parents[3] / "retention_rules"

PERSONAL = frozenset({ColumnClass.PERSONAL})


def _table(name: str, **fields: object) -> DataSet:
    return DataSet(name=name, source="crm", kind=DataSetKind.TABLE, table=name, key=("id",), **fields)  # type: ignore[arg-type]


def catalogue(time_zone: str = "Europe/Berlin") -> Catalogue:  # long: one value, read from top to bottom
    """What a contact centre has."""
    customer = Link(to="customers", by=("customer_id",), columns=())
    tables = [
        _table(
            "customers",
            subjects={"customer": "id"},
            starting_points={"account closed": "closed_at", "last invoice paid": "paid_at"},
            attributes={"country": "country", "status": "status"},
            columns={"email": PERSONAL, "phone": PERSONAL, "card": frozenset({ColumnClass.CARD})},
        ),
        _table(
            "cases",
            subjects={"customer": "customer_id"},
            starting_points={"case closed": "closed_at"},
            attributes={"topic": "topic", "country": "customers.country"},
            links=(customer,),
        ),
        _table(
            "interactions",
            subjects={"customer": "customer_id", "agent": "agent_id"},
            starting_points={"call ended": "ended_at"},
            attributes={"queue": "queue", "country": "country", "channel": "channel"},
            links=(customer,),
        ),
        _table(
            "case_notes",
            subjects={"customer": "cases.customer_id", "agent": "agent_id"},
            starting_points={"case closed": "cases.closed_at"},
            columns={"body": frozenset({ColumnClass.CARD, ColumnClass.FREE_TEXT})},
            links=(Link(to="cases", by=("case_id",), columns=()),),
        ),
        _table(
            "call_transcripts",
            subjects={"customer": "customer_id"},
            starting_points={"call ended": "ended_at"},
            attributes={"queue": "queue", "country": "country", "advice": "advice"},
        ),
        _table("chat_messages", starting_points={"call ended": "ended_at"}),
    ]
    recordings = DataSet(
        name="call_recordings",
        source="recordings",
        kind=DataSetKind.RECORDINGS,
        files="**/*.wav",
        sidecar="{stem}.json",
        subjects={"customer": "sidecar.customer_id", "agent": "sidecar.agent_id"},
        starting_points={"call ended": "sidecar.ended_at"},
        attributes={"queue": "sidecar.queue", "country": "sidecar.country", "advice": "sidecar.advice"},
    )
    crm = {table.name: table for table in tables}
    return Catalogue(
        sources={
            "crm": Source(
                name="crm", kind=SourceKind.SQLITE, path="crm.sqlite", time_zone=time_zone, data_sets=crm
            ),
            "recordings": Source(
                name="recordings",
                kind=SourceKind.FOLDER,
                path="recordings",
                time_zone=time_zone,
                data_sets={recordings.name: recordings},
            ),
        }
    )


def load_text(*texts: str, time_zone: str = "Europe/Berlin") -> Loaded:
    """Load rule files `1.yaml`, `2.yaml` ... with these contents."""
    files = {f"{i}.yaml": text.encode() for i, text in enumerate(texts, 1)}
    return load(files, catalogue(time_zone))


WHY = 'why: {purpose: p, law: "GDPR Art. 5(1)(e)", owner: dpo@example.com, review_by: 2027-01-31}\n'

DESIGN = """\
language: 1
rule: service-calls-de
sentence: Delete recordings and transcripts of German service and billing calls 90 days after the call ended; keep calls flagged as investment advice for 5 years.
why: {purpose: complaint handling, law: "GDPR Art. 5(1)(e)", owner: dpo@example.com, review_by: 2027-01-31}
data: [call_recordings, call_transcripts]
only_if: {country: DE, queue: [service, billing]}
delete after: 90 days
starting_from: call ended
unless:
  - only_if: {advice: investment}
    keep at least: 5 years
    law: "MiFID II Art. 16(7)"
examples:
  - {country: DE, queue: service, call ended: 2026-01-01, as of: 2026-04-01, expect: keep}
  - {country: DE, queue: service, call ended: 2026-01-01, as of: 2026-04-02, expect: delete}
  - {country: DE, queue: service, advice: investment, call ended: 2026-01-01, as of: 2026-04-02, expect: keep}
---
language: 1
rule: card-numbers-in-notes
sentence: Cut card numbers in case notes, chats, transcripts and recordings to the last four digits, and remove security codes.
why: {purpose: must not be there, law: "PCI DSS 3.2.1, 3.3.1, 3.5.1", owner: pci@example.com, review_by: 2026-12-31}
find: card numbers
in: [case_notes, chat_messages, call_transcripts, call_recordings]
expected_in: []                     # a sure hit anywhere else, and every security code, opens an incident (PCI DSS 12.10.7)
then: {card number: keep last 4, security code: remove}
when_likely: ask                    # quarantined, redacted after 7 days without an answer
examples:
  - {text: "card 4111 1111 1111 1111 cvv 123", expect: "card **** **** **** 1111 cvv ***"}
  - {text: "IMEI 356938035643809",             expect: unchanged}
"""


def facts(
    data_set: str,
    starting: Mapping[str, Sequence[str | None]],
    attributes: Mapping[str, Sequence[str | None]] | None = None,
    subjects: Mapping[str, Sequence[str | None]] | None = None,
) -> Facts:
    """Facts of a few records; their keys are their numbers."""
    n = len(next(iter(starting.values())))
    return Facts(
        data_set=data_set,
        keys=pa.array([str(i).encode() for i in range(n)], pa.large_binary()),
        subjects={k: pa.array(v, pa.large_string()) for k, v in (subjects or {}).items()},
        starting={k: np.array([x or "NaT" for x in v], "datetime64[s]") for k, v in starting.items()},
        attributes={k: pa.array(v, pa.large_string()) for k, v in (attributes or {}).items()},
    )


def decide_at(
    known: Facts, rules: RuleSet, at: str, holds: Holds | None = None, time_zone: str = "Europe/Berlin"
) -> Decisions:
    """Decide at a UTC instant."""
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    return decide(known, rules, holds or Holds(), moment, time_zone)
