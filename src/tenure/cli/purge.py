"""purge, erase, subject."""

import sys
from typing import Any

import click

from tenure.cli.frame import INCOMPLETE, Frame, common, number
from tenure.cli.plantext import show_plan
from tenure.domain.errors import ConfigError
from tenure.operations import erasing, purging, subjects
from tenure.operations.forgetrun import Forgotten
from tenure.operations.planbody import as_document
from tenure.operations.subjects import Subject


@click.command()
@click.argument("plan", default="")
@common
def purge(frame: Frame, plan: str) -> int:
    """Execute an approved PLAN (default: the newest approved one, else the rules with a standing approval)."""
    with frame.installation() as installation:
        done = purging.purge(installation, plan)
    for finished in done.finished:
        frame.say("An earlier run had not finished; that is done now:")
        tell(frame, finished)
    for name, count in done.cut.items():
        frame.say(f"{name}: card data was cut in {number(count)} live records.")
    if done.done is not None:
        tell(frame, done.done)
    elif done.plan and not done.cut:
        frame.say(f"Plan {done.plan[:12]}: nothing of it is due any more; nothing was touched.")
    if done.skipped:
        frame.say(f"{number(done.skipped)} records of the plan are not due any more, or are held, and stay.")
    every = [*done.finished, *([done.done] if done.done else [])]
    frame.document(
        {
            "plan": done.plan,
            "skipped": done.skipped,
            "cut": done.cut,
            "certificates": [document_of(f) for f in every],
        }
    )
    return INCOMPLETE if any(f.went.pending or f.found for f in every) else 0


def tell(frame: Frame, done: Forgotten) -> None:
    """Say what a forgetting came to."""
    live = done.live
    rows = [
        [
            name,
            number(live.gone.get(name, 0)),
            number(live.edited.get(name, 0)),
            number(live.stubs.get(name, 0)),
            number(len(live.left.get(name, ()))),
        ]
        for name in sorted({*live.gone, *live.edited, *live.stubs, *live.left})
    ]
    frame.table(
        "Live stores", ["data set", "deleted", "edited", "kept as keys", "stay"], rows, numbers=(1, 2, 3, 4)
    )
    went = done.went
    frame.say(
        f"Snapshots: {number(went.records)} records forgotten, {went.cohorts} cohorts whole, {number(went.chunks)} chunks,"
        f" {number(went.pages)} key pages."
    )
    if went.pending:
        frame.say(f"[yellow]Not confirmed by key stores: {', '.join(went.pending_in_words())}[/]")
        frame.say(
            "Whoever holds these stores can still read it. Once they are back, or their locks ended, run `tenure prune`: it"
            " deletes there what is left and issues a supplement to the certificate."
        )
    if done.found:
        frame.say(f"[yellow]{number(done.found)} records were found live again; see the certificate.[/]")
    frame.say(f"Certificate [bold]{done.certificate}[/]: {done.page.with_suffix('.html')}")


def document_of(done: Forgotten) -> dict[str, Any]:
    """Return a forgetting for --json."""
    live = done.live
    return {
        "kind": done.kind,
        "certificate": done.certificate,
        "page": str(done.page.with_suffix(".html")),
        "deleted": live.gone,
        "edited": live.edited,
        "stubs": live.stubs,
        "left": {name: len(keys) for name, keys in live.left.items()},
        "forgotten": {
            "records": done.went.records,
            "chunks": done.went.chunks,
            "key_pages": done.went.pages,
            "cohorts": done.went.cohorts,
        },
        "pending": sorted(done.went.pending),
        "found_again": done.found,
        "resumed": done.resumed,
    }


@click.command()
@click.option("--subject", required=True, help="KIND=ID, for example customer=1234.")
@click.option("--request", "reference", required=True, help="The request's reference.")
@click.option(
    "--received", required=True, type=click.DateTime(["%Y-%m-%d"]), help="When it came in: 2026-03-01."
)
@click.option("--plan", "only_plan", is_flag=True, help="Show what would go; touch nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for the reference to be typed.")
@common
def erase(frame: Frame, subject: str, reference: str, received: Any, only_plan: bool, yes: bool) -> int:  # noqa: FBT001 - options
    """Erase one person everywhere: live stores and every snapshot; holds and duties of law come first."""
    who = subject_of(subject)
    asked: dict[str, Any] = {
        "subject": (who.kind, who.value),
        "request": reference,
        "received": received.date(),
    }
    with frame.installation() as installation:
        plan = erasing.erase_plan(installation, **asked)
        show_plan(frame, plan)
        due = erasing.due_on(received.date())
        frame.say(f"Request {reference} is to be answered by {due}.")
        for line in erasing.words_of(plan.body.kept):
            frame.say(line)
        if only_plan:
            frame.document({"plan": plan.hash, "due": due.isoformat(), **as_document(plan.body)})
            return 0
        _confirm(reference, yes=yes)
        done = erasing.erase(installation, **asked, plan=plan)
    if done.done is not None:
        tell(frame, done.done)
    else:
        frame.say(f"Nothing is held that may be erased. Certificate [bold]{done.certificate}[/].")
    frame.document(
        {
            "plan": done.plan.hash,
            "request": reference,
            "due": due.isoformat(),
            "certificate": done.certificate,
            "deferred": erasing.words_of(done.plan.body.kept),
            "erased": document_of(done.done) if done.done else None,
        }
    )
    return INCOMPLETE if done.done is not None and (done.done.went.pending or done.done.found) else 0


def _confirm(reference: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("nobody is here to confirm the erasure", hint="run it in a terminal, or say --yes")
    typed = click.prompt(f"This cannot be undone. Type the request's reference ({reference})", err=True)
    if typed != reference:
        raise ConfigError("the reference was typed differently; nothing was erased")


@click.command()
@click.argument("subject")
@common
def subject(frame: Frame, subject: str) -> int:
    """Show what is held about SUBJECT (KIND=ID), where, under which rule and until when."""
    with frame.installation() as installation:
        lines = subjects.report(installation, subject_of(subject))
    rows = [
        [x.data_set, number(x.live), number(x.snapshots), x.rule, x.words, str(x.until or "")] for x in lines
    ]
    columns = ["data set", "live", "in snapshots", "rule", "", "due"]
    frame.table("", columns, rows, numbers=(1, 2))
    if not lines:
        frame.say("Nothing is held about this subject.")
    frame.document(
        {
            "held": [
                {
                    "data_set": x.data_set,
                    "live": x.live,
                    "in_snapshots": x.snapshots,
                    "rule": x.rule,
                    "outcome": x.words,
                    "due": x.until,
                }
                for x in lines
            ]
        }
    )
    return 0


def subject_of(word: str) -> Subject:
    """Return the subject that is written KIND=ID."""
    kind, _, value = word.partition("=")
    if not kind or not value:
        raise click.UsageError("a subject is written KIND=ID, for example customer=1234")
    return Subject(kind=kind, value=value)


COMMANDS = (purge, erase, subject)
