"""evidence list, show, verify; ledger list."""

from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from tenure.cli.frame import INCOMPLETE, Frame, common, number
from tenure.domain.errors import ConfigError, TamperedError
from tenure.evidence.certificate import SUPPLEMENT, Certificate, completed, verify_certificate
from tenure.evidence.directory import Severity
from tenure.operations.installation import Installation


@click.group()
def evidence() -> None:
    """Certificates, drills and the audit log, and the proof that nobody changed them."""


@evidence.command("list")
@common
def list_(frame: Frame) -> int:
    """List certificates."""
    with frame.installation() as installation:
        found = _certificates(installation)
    counting = completed(found)
    rows = [
        [
            c.id,
            c.kind.value,
            f"{c.issued_at:%Y-%m-%d %H:%M}",
            number(c.records),
            c.request,
            str(c.last_copy_gone_on or ("pending" if c in counting else "see its supplement")),
        ]
        for c in found
    ]
    frame.table(
        "",
        ["certificate", "kind", "issued (UTC)", "records", "request", "last copy gone"],
        rows,
        numbers=(3,),
    )
    if not found:
        frame.say("There is no certificate yet.")
    frame.document(
        {
            "certificates": [
                {
                    "id": c.id,
                    "kind": c.kind.value,
                    "issued_at": c.issued_at.isoformat(),
                    "records": c.records,
                    "request": c.request,
                    "last_copy_gone_on": c.last_copy_gone_on,
                    "supplement": c.id + SUPPLEMENT if c not in counting else None,
                }
                for c in found
            ]
        }
    )
    return 0


@evidence.command()
@click.argument("certificate")
@common
def show(frame: Frame, certificate: str) -> int:
    """Show CERTIFICATE, its signature checked, and where its page lies."""
    with frame.installation() as installation:
        every = _certificates(installation)
        found = [c for c in every if c.id == certificate] or [
            c for c in every if c.id.startswith(certificate)
        ]
        page = installation.place.state / "evidence" / "certificates"
    if len(found) != 1:
        raise ConfigError(
            f"{len(found)} certificates begin with {certificate!r}", hint="see `tenure evidence list`"
        )
    one = found[0]
    frame.say(f"[bold]{one.id}[/]: {one.set_in_words}.")
    rows = [[s.store, s.method, number(s.records), str(s.final_on or "pending")] for s in one.stores]
    frame.table("", ["where", "how", "records", "final on"], rows, numbers=(2,))
    for d in one.deferred:
        frame.say(
            f"{number(d.records)} records of {d.what} stay: {d.reason}{f', until {d.until}' if d.until else ''}"
        )
    for r in one.residue:
        frame.say(f"Not covered: {r.what} ({r.until})")
    frame.say(f"Page: {page / f'{one.id}.html'}")
    frame.document(_plain(one))
    return 0


@evidence.command()
@common
def verify(frame: Frame) -> int:
    """Check the audit log's chain and every certificate and drill record."""
    with frame.installation() as installation:
        found = installation.evidence.check()
    for finding in found.findings:
        colour = "red" if finding.severity is Severity.ERROR else "yellow"
        frame.say(f"[{colour}]{finding.severity.value}[/] {finding.where}: {finding.what}")
    frame.say(f"{number(found.log.entries)} log entries and {number(found.documents)} documents are sound.")
    frame.document(
        {
            "sound": found.is_sound,
            "entries": found.log.entries,
            "documents": found.documents,
            "findings": [
                {"severity": f.severity.value, "where": f.where, "what": f.what} for f in found.findings
            ],
        }
    )
    if not found.is_sound:
        raise TamperedError(
            "the evidence is not what was written",
            hint="leave the files as they are; find out who changed them",
        )
    return INCOMPLETE if found.findings else 0


@click.group()
def ledger() -> None:
    """The one signed list of everything that was ordered."""


@ledger.command("list")
@common
def list_ledger(frame: Frame) -> int:
    """List what was forgotten."""
    with frame.installation() as installation:
        state = installation.open_writing().state
    rows: list[dict[str, Any]] = []
    for f in sorted(state.forgets.values(), key=lambda f: f.number):
        stands = "done" if f.done else "judged" if f.judged else "ordered"
        rows.append(
            {
                "entry": f.number,
                "at": datetime.fromtimestamp(f.at, UTC).isoformat(timespec="minutes"),
                "kind": f.intent.kind,
                "sources": list(f.intent.sources),
                "plan": f.intent.plan.hex()[:12],
                "chunks": f.chunks,
                "key_pages": f.pages,
                "state": stands,
            }
        )
    table = [
        [
            str(r["entry"]),
            r["at"],
            r["kind"],
            ", ".join(r["sources"]),
            r["plan"],
            number(r["chunks"]),
            number(r["key_pages"]),
            r["state"],
        ]
        for r in rows
    ]
    columns = ["entry", "at", "kind", "sources", "plan", "chunks", "key pages", "state"]
    frame.table("", columns, table, numbers=(0, 5, 6))
    if not rows:
        frame.say("Nothing was forgotten yet.")
    frame.document({"head": state.number, "forgettings": rows})
    return INCOMPLETE if any(r["state"] != "done" for r in rows) else 0


def _certificates(installation: Installation) -> list[Certificate]:
    key = installation.evidence_key.public()
    found = []
    for _, document in installation.evidence.certificates():
        found.append(verify_certificate(document, key))
    return sorted(found, key=lambda c: c.issued_at)


def _plain(certificate: Certificate) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(certificate)
    return found


COMMANDS = (evidence, ledger)
