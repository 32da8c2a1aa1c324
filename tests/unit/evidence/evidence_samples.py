"""Certificates, drills and an installation to write, sign and draw."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from tenure.evidence.certificate import (
    Approver,
    Certificate,
    CertificateKind,
    Deferred,
    DeferredBy,
    Rescan,
    Residue,
    StoreResult,
)
from tenure.evidence.drill_record import CheckOutcome, CheckResult, DrillOutcome, DrillRecord
from tenure.evidence.views import (
    CardFigures,
    CohortCell,
    EvidenceState,
    HoldLine,
    InstallationView,
    Issuer,
    NextStep,
    Removal,
    RuleLine,
    SnapshotPoint,
    StepWeight,
    StorageFigures,
)

NOON = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
ISSUER = Issuer(
    organisation="Example Contact Centre",
    contact="dpo@example.com",
    complaints_to="the data-protection authority of Hesse",
)


def certificate(**changes: object) -> Certificate:  # long: one value, read from top to bottom
    made = Certificate(
        id="erasure-2026-0007",
        kind=CertificateKind.ERASURE,
        issued_at=NOON,
        installation="example-centre",
        set_in_words="Everything about one customer, in every data set and every snapshot",
        subjects=("9f2c4d1e8a7b6053c1d2e3f405162738",),
        rule_set="5d41402abc4b2a76b9719d911017c592ae2f7d0a4f6c1b3e8d9f00112233445566"[:64],
        approvers=(
            Approver(name="officer@example.com", at=NOON - timedelta(hours=3), reason="request checked"),
        ),
        plan="c0ffee254729296a45a3885639ac7e10f9d54979cb4c1b3e8d9f001122334455",
        stores=(
            StoreResult(
                store="crm (live)",
                method="rows deleted, in order of the foreign keys",
                records=41,
                unreadable_since=NOON,
                final_on=date(2026, 3, 9),
            ),
            StoreResult(
                store="recordings (live)",
                method="files and sidecars deleted",
                records=6,
                objects=12,
                versions=12,
                unreadable_since=NOON,
                final_on=date(2026, 3, 9),
            ),
            StoreResult(
                store="snapshots 1 to 12",
                method="keys destroyed, other records sealed anew",
                records=47,
                key_pages=9,
                epoch=2,
                unreadable_since=NOON,
                final_on=date(2026, 3, 23),
            ),
        ),
        deferred=(
            Deferred(
                what="invoices",
                records=3,
                by=DeferredBy.DUTY,
                reason="tax records are kept for 8 years (AO § 147)",
                until=date(2034, 12, 31),
            ),
            Deferred(
                what="one call recording",
                records=1,
                by=DeferredBy.HOLD,
                reason="a dispute before court",
                until=None,
            ),
        ),
        residue=(Residue(what="write-ahead log of the CRM database", until="overwritten by 16 March 2026"),),
        recipients_to_notify=("Example Mailing Ltd",),
        ledger_number=214,
        ledger_hash="77e0c3b1a2d4f5968778695a4b3c2d1e0f9e8d7c6b5a49382716051423324150",
        rescan=Rescan(
            at=NOON + timedelta(minutes=1), searched=("crm", "recordings", "12 snapshots"), found=0
        ),
        request="DSR-2026-118",
        received=date(2026, 3, 2),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def drill(number: int = 12, **changes: object) -> DrillRecord:  # long: one value, read from top to bottom
    checks = (
        CheckResult(
            name="row counts",
            outcome=CheckOutcome.PASSED,
            expected="18,204",
            found="18,204",
            note="47 less by erasure, all in the ledger",
        ),
        CheckResult(
            name="content hashes", outcome=CheckOutcome.PASSED, expected="9 data sets", found="9 data sets"
        ),
        CheckResult(name="foreign keys", outcome=CheckOutcome.PASSED, expected="0 broken", found="0 broken"),
        CheckResult(
            name="live twins", outcome=CheckOutcome.PASSED, expected="200 sampled", found="200 equal"
        ),
        CheckResult(
            name="recordings decode", outcome=CheckOutcome.SKIPPED, note="no recordings in this source"
        ),
        CheckResult(
            name="forgotten stays forgotten",
            outcome=CheckOutcome.PASSED,
            expected="0 readable",
            found="0 readable",
        ),
        CheckResult(name="card data", outcome=CheckOutcome.PASSED, expected="0", found="0"),
    )
    made = DrillRecord(
        id=f"drill-{number:04d}",
        source="crm",
        snapshot=number,
        started=NOON + timedelta(days=7 * (number - 12)),
        outcome=DrillOutcome.PASSED,
        seconds=34.0 + (number * 7919) % 23,
        bytes=41_000_000 + number * 1_730_000,
        snapshot_age=3600.0 * (3 + (number * 31) % 9),
        checks=checks,
        restore_objective=60.0,
        age_objective=86_400.0,
        requests=118,
        seed="7319",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def drills() -> tuple[DrillRecord, ...]:
    missed = drill(8, outcome=DrillOutcome.MISSED, seconds=71.5)
    base = drill(5)
    broken = replace(
        base,
        outcome=DrillOutcome.FAILED,
        checks=tuple(
            replace(c, outcome=CheckOutcome.FAILED, found="3 broken") if c.name == "foreign keys" else c
            for c in base.checks
        ),
    )
    return tuple({5: broken, 8: missed}.get(n) or drill(n) for n in range(1, 13))


def cohorts() -> tuple[CohortCell, ...]:
    months = [f"2025-{m:02d}" for m in range(4, 13)] + [f"2026-{m:02d}" for m in range(1, 4)]
    sizes = {
        "customers": 140,
        "cases": 320,
        "case_notes": 910,
        "chat_messages": 640,
        "invoices": 180,
        "calls": 420,
        "call_recordings": 36,
    }
    cells = []
    for name, size in sizes.items():
        for i, month in enumerate(months):
            count = size // 2 + (i * 37 + size * 13) % size
            gone = name in {"calls", "call_recordings", "chat_messages"} and i < (
                8 if name != "chat_messages" else 5
            )
            some = 0 if i < 9 else 1 + (i + size) % 4
            kept = 3 if gone and name == "call_recordings" and i == 6 else 0
            cells.append(
                CohortCell(
                    data_set=name,
                    month=month,
                    held=kept if gone else count,
                    removed=count - kept if gone else some,
                    on_hold=kept or (5 if name == "cases" and i == 4 else 0),
                )
            )
        if name in {"customers", "cases"}:
            cells.append(CohortCell(data_set=name, month="", held=size * 3))
    return tuple(cells)


def installation(**changes: object) -> InstallationView:  # long: one value, read from top to bottom
    week = timedelta(days=7)
    made = InstallationView(
        name="Example Contact Centre",
        made_at=NOON + timedelta(minutes=4),
        version="0.1.0",
        note="Twelve simulated weeks of an invented contact centre. Nobody in it exists.",
        snapshots=tuple(
            SnapshotPoint(
                number=i + 1,
                source=("crm", "recordings")[i % 2],
                at=NOON - week * (11 - i // 2),
                records=17_000 + i * 210,
                plain=44_000_000 + i * 900_000,
                stored=31_000_000 if i < 2 else 900_000 + (i * 7907) % 2_400_000,
                redacted=31,
            )
            for i in range(24)
        ),
        cohorts=cohorts(),
        rules=(
            RuleLine(
                name="service-calls",
                sentence="Delete recordings of service and billing calls 90 days after the call ended.",
                data_sets=("call_recordings", "calls"),
                law="GDPR Art. 5(1)(e)",
            ),
            RuleLine(
                name="chats",
                sentence="Delete chat messages 6 months after the chat was closed.",
                data_sets=("chat_messages",),
                law="GDPR Art. 5(1)(e)",
            ),
            RuleLine(
                name="invoices",
                sentence="Keep invoices for 8 years from the end of the calendar year.",
                data_sets=("invoices",),
                law="AO § 147",
            ),
        ),
        removals=(
            Removal(
                at=NOON - week,
                kind=CertificateKind.PURGE,
                what="1,204 calls, 211 recordings",
                records=1415,
                snapshots=11,
                why="rule service-calls",
                certificate="certificates/purge-2026-0006.html",
                final_on=date(2026, 3, 16),
            ),
            Removal(
                at=NOON,
                kind=CertificateKind.ERASURE,
                what="one customer, everywhere",
                records=47,
                snapshots=12,
                why="request DSR-2026-118",
                certificate="certificates/erasure-2026-0007.html",
                final_on=date(2026, 3, 23),
            ),
        ),
        holds=(
            HoldLine(
                number=1,
                matter="Dispute 2025/44",
                scope="3 recordings of October 2025, 5 cases",
                placed_at=date(2026, 1, 12),
                review_by=date(2026, 7, 12),
                records=8,
            ),
        ),
        drills=drills(),
        storage=StorageFigures(
            plain=1_102_000_000,
            stored=71_400_000,
            snapshots=24,
            chunks=3120,
            packs=41,
            key_pages=118,
            forgotten_chunks=402,
        ),
        evidence=EvidenceState(
            is_sound=True,
            entries=187,
            head="1c" * 32,
            words="Every entry was checked: numbers without a gap, each bound to the one before, every signature right.",
        ),
        cards=CardFigures(numbers=62, security_codes=19, waiting=4),
        next_steps=(
            NextStep(
                command="tenure cards scan --backups",
                words="Answer the 4 likely card numbers that wait in quarantine.",
                weight=StepWeight.NOW,
            ),
            NextStep(
                command="tenure rules plan",
                words="See what falls due next, before it does.",
                weight=StepWeight.SOON,
            ),
            NextStep(
                command="tenure restore 12 --to scratch --masked",
                words="Bring a snapshot back and look at it.",
            ),
        ),
        weak_forgetting=True,
    )
    return replace(made, **changes)  # type: ignore[arg-type]
