"""rules check, test, words, explain, plan, approve, reject, schedule."""

from collections.abc import Mapping
from typing import Any

import click

from tenure.cards.cardrule import redact_text
from tenure.cli.frame import INCOMPLETE, Frame, common
from tenure.cli.plantext import show_plan
from tenure.control.approvals import ApprovalKind
from tenure.domain.errors import ConfigError, RuleError
from tenure.operations import approving, explaining, planning
from tenure.operations.planbody import as_document
from tenure.rules.examples import run_examples, unnoticed_slips
from tenure.rules.load import load_folder, uncovered_data_sets, unmatched_values
from tenure.rules.model import CardRule, Rule
from tenure.rules.sentence import sentence_of
from tenure.rules.words import words_in_lines, words_of


@click.group()
def rules() -> None:
    """Retention rules: check, test, preview, approve."""


@rules.command()
@common
def check(frame: Frame) -> int:
    """Read the rule files and compare them with the catalogue, and with the values that records have."""
    with frame.installation() as installation:
        loaded = load_folder(installation.place.rules, installation.catalogue)
        problems = unmatched_values(loaded, explaining.observed(installation, loaded.rules))
        open_sets = uncovered_data_sets(loaded.rules, installation.catalogue)
    count = len(loaded.rules.rules) + len(loaded.rules.card_rules)
    frame.say(f"{count} rules, rule set {loaded.rules.hash()[:12]}.")
    for problem in problems:
        frame.say(f"[red]{problem}[/]")
    for name in open_sets:
        frame.say(f"[yellow]{name}[/] holds personal data and no rule names it: it is kept and reported")
    found = {"rules": count, "rule_set": loaded.rules.hash(), "uncovered": list(open_sets)}
    frame.document({**found, "problems": [str(p) for p in problems]})
    if problems:
        raise RuleError(f"{len(problems)} values of conditions match no record")
    return INCOMPLETE if open_sets else 0


@rules.command()
@common
def test(frame: Frame) -> int:
    """Run the examples that stand in the rules, and look for slips of a day that none of them would notice."""
    with frame.installation() as installation:
        found = load_folder(installation.place.rules, installation.catalogue).rules
    results = run_examples(found, _redact)
    slips = unnoticed_slips(found)
    for result in results:
        frame.say(str(result) if result.passed else f"[red]{result}[/]")
    for slip in slips:
        frame.say(f"[yellow]{slip.rule}[/]: {slip.said}")
    failed = [r for r in results if not r.passed]
    frame.say(
        f"{len(results) - len(failed)} of {len(results)} examples passed; {len(slips)} lines are not pinned."
    )
    frame.document(
        {
            "examples": [{"rule": r.rule, "number": r.number, "passed": r.passed} for r in results],
            "unnoticed": [{"rule": s.rule, "said": s.said} for s in slips],
        }
    )
    if failed:
        raise RuleError(f"{len(failed)} examples are decided otherwise than they say")
    return INCOMPLETE if slips else 0


@rules.command()
@click.option("--values", is_flag=True, help="Count the values that records have, too.")
@common
def words(frame: Frame, values: bool) -> int:  # noqa: FBT001 - an option
    """List what a rule may say: data sets, starting points, attributes, columns."""
    with frame.installation() as installation:
        seen = explaining.observed(installation) if values else None
        lines = words_in_lines(words_of(installation.catalogue), seen)
    for line in lines:
        frame.out.print(line, markup=False, soft_wrap=True) if not frame.as_json else None
    frame.document({"words": list(lines)})
    return 0


@rules.command()
@click.argument("rule", required=False)
@click.option("--record", nargs=2, metavar="DATASET KEY", default=None, help="Why this record stays or goes.")
@common
def explain(frame: Frame, rule: str | None, record: tuple[str, str] | None) -> int:
    """Explain RULE in a sentence, or which rule wins for one record and why."""
    with frame.installation() as installation:
        if record is not None:
            told = explaining.explain_record(installation, *record)
        elif rule:
            loaded = load_folder(installation.place.rules, installation.catalogue).rules
            every: dict[str, Rule | CardRule] = {r.name: r for r in loaded.rules}
            every.update((r.name, r) for r in loaded.card_rules)
            if rule not in every:
                raise ConfigError(f"there is no rule {rule!r}", hint=f"there are: {', '.join(sorted(every))}")
            told = f"{sentence_of(every[rule])}\n{every[rule].why.purpose} ({every[rule].why.law})"
        else:
            raise click.UsageError("name a RULE, or a record with --record DATASET KEY")
    frame.out.print(told, markup=False, soft_wrap=True) if not frame.as_json else None
    frame.document({"explanation": told.splitlines()})
    return 0


@rules.command()
@click.argument("sources", nargs=-1)
@common
def plan(frame: Frame, sources: tuple[str, ...]) -> int:
    """Show what would go if the rule files were in force now, and freeze it as a plan; nothing is touched."""
    with frame.installation() as installation:
        made = planning.plan(installation, sources=sources)
        zone_names = {s.name: s.time_zone for s in installation.catalogue.sources.values()}
    show_plan(frame, made)
    if made.body.records or made.body.changes:
        frame.say(
            f"Next: [bold]tenure rules approve {made.hash[:12]} --reason ...[/], then [bold]tenure purge[/]."
        )
    document: Mapping[str, Any] = {"plan": made.hash, "time_zones": zone_names, **as_document(made.body)}
    frame.document(document)
    return 0


@rules.command()
@click.argument("plan", default="")
@click.option("--reason", required=True, help="Kept with the approval.")
@click.option("--each-run", is_flag=True, help="This run only; no standing approval of the rules.")
@common
def approve(frame: Frame, plan: str, reason: str, each_run: bool) -> int:  # noqa: FBT001 - an option
    """Approve PLAN (default: the newest proposed); its rules take force."""
    kind = ApprovalKind.EACH_RUN if each_run else None
    with frame.installation() as installation:
        done = approving.approve(installation, plan, reason=reason, kind=kind)
    frame.say(f"Approved plan [bold]{done.plan.hash[:12]}[/] until {done.approval.lapses:%Y-%m-%d}.")
    if done.approval.kind is ApprovalKind.ONCE:
        frame.say(
            "The approval is standing: later runs of these rules need none while they stay in their forecast."
        )
    if done.in_force:
        frame.say(f"Rule set {done.in_force[:12]} is in force now.")
    if done.approval.one_person:
        frame.say(
            "[bold yellow]ONE-PERSON MODE: you approved your own plan. Every certificate will say so.[/]"
        )
    frame.document(
        {
            "plan": done.plan.hash,
            "approved_by": done.approval.by,
            "lapses": done.approval.lapses.isoformat(),
            "kind": done.approval.kind.value,
            "one_person": done.approval.one_person,
            "rule_set_in_force": done.in_force,
        }
    )
    return 0


@rules.command()
@click.argument("plan", default="")
@click.option("--reason", required=True, help="Kept with the rejection.")
@common
def reject(frame: Frame, plan: str, reason: str) -> int:
    """Reject PLAN (default: the newest proposed), with a reason."""
    with frame.installation() as installation:
        done = approving.reject(installation, plan, reason=reason)
    frame.say(f"Rejected plan [bold]{done.hash[:12]}[/]; nothing was touched.")
    frame.document({"plan": done.hash, "rejected": True, "reason": reason})
    return 0


@rules.command()
@common
def schedule(frame: Frame) -> int:
    """Print the retention schedule of the rules in force: one table for the record of processing (GDPR 30(1)(f))."""
    with frame.installation() as installation:
        found, digest = explaining.in_force_now(installation)
    every: list[Rule | CardRule] = [*found.rules, *found.card_rules]
    rows = [[r.name, ", ".join(r.data), sentence_of(r), r.why.purpose, r.why.law] for r in every]
    frame.table("", ["rule", "data", "what happens", "purpose", "ground"], rows)
    if not rows:
        frame.say("No rules are in force yet. Run [bold]tenure rules plan[/] and approve it.")
    names = ("rule", "data", "what_happens", "purpose", "law")
    frame.document({"rule_set": digest, "schedule": [dict(zip(names, row, strict=True)) for row in rows]})
    return 0


def _redact(text: str, rule: CardRule) -> str:
    return redact_text(text, number=rule.truncation.value, code="remove")


COMMANDS = (rules,)
