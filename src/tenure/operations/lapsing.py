"""Cuts likely card data that an officer said is some, or that nobody answered for: in live rows, then in quarantine.

Live rows change first. Whoever dies in between finds the rows in quarantine still due, and does both again.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import numpy as np

from tenure.cards.quarantine import Answers, TableAnswers
from tenure.cards.redact import Keep
from tenure.domain.errors import ConfigError
from tenure.operations.edits import QUARANTINE, edits_of_findings
from tenure.operations.planbody import Frozen, PlanBody, RuleCount
from tenure.operations.quarantine import Due, held
from tenure.operations.redaction import keeps_of
from tenure.operations.world import PRINT_BYTES, World, freeze, key_column, within
from tenure.repository.scopes import Recut, Scope
from tenure.rules.ruleset import RuleSet
from tenure.sources.base import Judge

LAW = "PCI DSS 3.3.1, 3.5.1"


def frozen_with(world: World, some: Due, frozen: Frozen) -> Frozen:
    """Return a data set's frozen records with those that lose likely card data among what is edited."""
    prints = freeze(world.prints(some.data_set, world.identities(key_column(list(some.keys)))))
    prints += frozen.edit.get(QUARANTINE, b"")  # of a data set of this name in another source
    every = freeze(np.frombuffer(prints, np.uint8).reshape(-1, PRINT_BYTES))
    return Frozen(delete=frozen.delete, linked=frozen.linked, edit=frozen.edit | {QUARANTINE: every})


def count_of(world: World, some: Due) -> RuleCount:
    """Return the line of a plan that says how many records lose likely card data, and how many of them are live."""
    live = 0
    with suppress(ConfigError):  # the table is not there any more
        live = sum(map(len, world.live[some.source].facts(some.data_set, list(some.keys))))
    return RuleCount(
        rule=QUARANTINE,
        data_set=some.data_set,
        action="cut cards",
        live=live,
        past=len(some.keys) - live,
        law=LAW,
    )


def planned(world: World, dues: Collection[Due], body: PlanBody) -> list[Due]:
    """Return what is due and in the plan."""
    found = []
    for some in dues:
        frozen = body.frozen.get(some.data_set, Frozen()).edit.get(QUARANTINE, b"")
        keys = list(some.keys)
        prints = world.prints(some.data_set, world.identities(key_column(keys)))
        mine = [k for k, m in zip(keys, within(frozen, prints).tolist(), strict=True) if m]
        found += [some.of(mine)] if mine else []
    return found


def cut_live(world: World, judge: Judge, dues: Collection[Due], rules: RuleSet) -> dict[str, int]:
    """Cut in live rows; return how many records of each data set that was. Cutting again changes nothing.

    `judge`: says of live records whether the plan means them.

    Raises:
        SourceUnavailableError: A store stayed locked.
        SchemaDriftError: An update trigger that the catalogue does not cover.
    """
    done: dict[str, int] = {}
    for some in dues:
        answers = Answers(key=_key(world, some.source), today="", cut=some.findings)
        waits = TableAnswers(answers=answers, data_set=some.data_set, columns=tuple(sorted(some.columns)))
        edits = edits_of_findings(waits, keeps_of(rules).get(some.data_set, Keep.LAST_4))
        store = cast("Any", world.live[some.source])
        with suppress(ConfigError):  # the table or the column is not there any more: nothing of it is live
            removal = store.rewrite(some.data_set, sorted(some.keys), judge, edits)
            done[some.data_set] = len(removal.gone)
    return {name: count for name, count in done.items() if count}


def with_recut(scopes: Mapping[str, Scope], dues: Collection[Due], rules: RuleSet) -> dict[str, Scope]:
    """Return what a forgetting takes, and what it cuts in quarantine."""
    found, keeps = dict(scopes), keeps_of(rules)
    for some in dues:
        scope = found.get(some.source, Scope())
        keep = keeps.get(some.data_set, Keep.LAST_4).value
        recut = Recut(findings=some.findings, keep=keep, records=len(some.keys))
        found[some.source] = replace(scope, recut={**scope.recut, some.data_set: recut})
    return found


def left_over(world: World, source: str, scope: Scope) -> int:
    """Return in how many rows in quarantine something is still found that was to be cut.

    Raises:
        IntegrityError: A page or chunk cannot be read.
    """
    if not scope.recut:
        return 0
    wanted = {name: some.findings for name, some in scope.recut.items()}
    return sum(one.name in wanted.get(one.data_set, ()) for one in held(world.repository, source))


def _key(world: World, source: str) -> bytes:
    """Return what names findings: all writers of a source derive the same."""
    writer = min(world.repository.state.writers_of(source))
    return world.repository.keys_of(writer).finding
