"""Carries one ordered forgetting to its end: live deletion, judging, pages, re-scan, certificate, done.

Every step reads from the ledger where the run before it stopped, so a rerun after a death anywhere ends alike.
"""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tenure.control.plans import Plans
from tenure.control.requests import Requests, RequestState
from tenure.domain.errors import IntegrityError, LeasedError, StalePlanError
from tenure.operations import certifying, planbody
from tenure.operations.certifying import Findings
from tenure.operations.holdsinpages import held_in_pages
from tenure.operations.judging import Judging
from tenure.operations.lapsing import left_over
from tenure.operations.livedeletion import LiveDeletion, LiveResult, still_due
from tenure.operations.pagewalk import count_of, walk
from tenure.operations.planbody import PlanBody
from tenure.operations.planning import PURGE, holds_now
from tenure.operations.proving import identities_of_source, prove
from tenure.operations.world import World
from tenure.repository.carrying import Went
from tenure.repository.forgetting import Forgetting
from tenure.repository.rows import Bytes
from tenure.repository.scopes import Scope
from tenure.repository.state import ForgetState


@dataclass(slots=True, kw_only=True)
class Forgotten:
    """What a forgetting came to. `resumed`: an earlier run had begun it; `found`: records the re-scan found again."""

    kind: str
    plan: str
    number: int
    certificate: str
    page: Path
    records: int = 0
    live: LiveResult = field(default_factory=LiveResult)
    went: Went = field(default_factory=Went)
    found: int = 0
    resumed: bool = False
    request: str = ""


class ForgetRun:
    """One forgetting on its way. `body` None: its plan is lost; what is live then stays."""

    def __init__(
        self, world: World, forget: ForgetState, keys: Mapping[str, Sequence[bytes]] | None = None
    ) -> None:
        """Take it up. `keys`: what it takes, by data set, where that is known; a run after a death has identities only."""
        self._world = world
        self._keys = keys
        self._forget = forget
        self._body = body_of(world, forget)
        self._work = Forgetting(world.repository, world.installation.executor, world.installation.progress)
        self._judging = Judging(world, self._body)
        self._live = LiveResult()

    def run(self, *, resumed: bool) -> Forgotten:
        """Carry on to the end.

        Raises:
            IntegrityError: Something of it is still found in a key page; it is not called done then.
            SourceUnavailableError: A live store stayed locked; run it again.
        """
        if self._forget.carried:
            return self._finish(Went(), {}, 0, resumed=resumed)
        scopes = self._work.scopes(self._forget)
        if not self._forget.judged:
            scopes = self._judge(scopes)
            self._forget = self._amend(scopes)
        scopes = self._work.scopes(self._forget)
        # Live rows are gone; their file is rewritten while snapshots lose theirs.
        vacuumed = self._world.installation.executor.submit(self._vacuum, scopes)
        try:
            went = self._work.carry_out(self._forget)
            drop_row_caches(self._world, self._forget.intent.sources)
            self._search(scopes)
        finally:
            wait([vacuumed])
        residue, found = vacuumed.result(), self._search_live(scopes)
        return self._finish(went, scopes, found, resumed=resumed, residue=residue)

    def _judge(self, scopes: Mapping[str, Scope]) -> dict[str, Scope]:
        """Delete live records, and take out of the scopes what stays."""
        deletion = LiveDeletion(self._world, self._judging, scopes, self._keys)
        self._live = deletion.run()
        scopes = deletion.gone_at.into(scopes)
        left: dict[str, dict[str, Bytes]] = {}
        for name, keys in self._live.left.items():
            source = self._world.source_of(name).name
            left.setdefault(source, {})[name] = identities_of_source(self._world, source, keys)
        scopes = {s: scope.without(left.get(s, {})) for s, scope in scopes.items()}
        before = set(self._body.holds) if self._body is not None else set()
        if set(holds_now(self._world)) - before:
            kept = held_in_pages(self._world, self._judging, scopes, self._forget)
            scopes = {s: scope.without(kept.get(s, {})) for s, scope in scopes.items()}
        return scopes

    def _amend(self, scopes: Mapping[str, Scope]) -> ForgetState:
        """Record the judging. Cohorts go whole only while no snapshot of their source can commit."""
        installation, repository = self._world.installation, self._world.repository
        left = self._live.count_left()
        body = self._body
        if body is not None and body.kind != PURGE and not any(line.whole for line in body.cohorts):
            # One person's records seldom are all of a cohort, and the plan looked: they go one by one, as surely.
            return self._work.amend(self._forget, scopes, left=left)
        with ExitStack() as locks:
            try:
                for source in sorted(scopes):
                    locks.enter_context(installation.alone(f"snapshot-{source}"))
            except LeasedError:
                return self._work.amend(self._forget, scopes, left=left)
            if any(s.source in scopes for s in repository.refresh().sessions.values()):
                return self._work.amend(self._forget, scopes, left=left)
            # Another machine may take a snapshot meanwhile, which these locks do not stop.
            head = repository.state.number
            whole = {s: self._with_whole_cohorts(s, scope) for s, scope in scopes.items()}
            return self._work.amend(self._forget, whole, left=left, head=head)

    def _with_whole_cohorts(self, source: str, scope: Scope) -> Scope:
        proofs = prove(self._world, source, scope, self._world.installation.clock.now(), self._forget)
        return replace(scope, cohorts=tuple(p.cohort for p in proofs if p.whole))

    def _search(self, scopes: Mapping[str, Scope]) -> None:
        """Look for everything of the scopes in snapshots again.

        Raises:
            IntegrityError: A key page still holds some.
        """
        for source, scope in scopes.items():
            repository, judged = self._world.repository, self._forget.judged
            for pages in walk(repository, source, scope.records, written_after=judged, forget=self._forget):
                count = count_of(pages, scope.seen_by(pages.cohort.data_set, pages.view))
                if count:
                    raise IntegrityError(
                        f"{count} records that were to be forgotten are still in the key pages of source {source!r}",
                        hint="run `tenure purge` again; if it stays so, run `tenure verify`",
                    )
            if left_over(self._world, source, scope):
                raise IntegrityError(
                    f"card data that was to be cut is still in quarantine cohorts of source {source!r}",
                    hint="run `tenure purge` again; if it stays so, run `tenure verify`",
                )

    def _search_live(self, scopes: Mapping[str, Scope]) -> int:
        """Look for it in live stores again; return how many records are there and should not be."""
        deletion = LiveDeletion(self._world, self._judging, scopes, self._keys)
        names = [d for scope in scopes.values() for d in scope.records]
        return sum(still_due(self._world, self._judging, deletion, name) for name in names)

    def _vacuum(self, scopes: Mapping[str, Scope]) -> tuple[str, ...]:
        residue: list[str] = []
        for source in sorted(scopes):
            vacuum = getattr(self._world.live[source], "vacuum", None)
            if vacuum is not None:
                residue += [f"{source}: {what}" for what in vacuum()]
        return tuple(residue)

    def _finish(
        self,
        went: Went,
        scopes: Mapping[str, Scope],
        found: int,
        *,
        resumed: bool,
        residue: tuple[str, ...] = (),
    ) -> Forgotten:
        if self._forget.carried:  # the certificate was written before the scopes were let go
            went = self._work.carry_out(self._forget)
        findings = Findings(
            forget=self._forget,
            body=self._body,
            scopes=scopes,
            live=self._live,
            went=went,
            found=found,
            residue=residue,
        )
        certificate, page = certifying.certify(self._world, findings)
        answer(self._world, self._body, certificate.id)
        self._work.finish(self._forget, went, certificate=certificate.id)
        return Forgotten(
            kind=self._forget.intent.kind,
            plan=self._forget.intent.plan.hex(),
            number=self._world.repository.state.number,
            certificate=certificate.id,
            page=page,
            records=certificate.records,
            live=self._live,
            went=went,
            found=certificate.rescan.found,
            resumed=resumed,
            request=certificate.request,
        )


def answer(world: World, body: PlanBody | None, certificate: str, *, refused: bool = False) -> None:
    """Record the answer to the request behind an erasure; where it is answered already nothing changes."""
    if body is None or not body.request:
        return
    deferred = [k for k in body.kept if k.by in {"hold", "duty"}]
    ground = "; ".join(f"{k.records} records of {k.data_set}: {k.why}" for k in deferred)
    state = RequestState.REFUSED if refused and ground else RequestState.DONE
    with suppress(ValueError):
        Requests(world.installation.control).close(
            body.request, state=state, at=world.installation.clock.now(), note=ground, certificate=certificate
        )


def body_of(world: World, forget: ForgetState) -> PlanBody | None:
    """Return the plan that a forgetting carries out; None where the control database does not know it any more."""
    try:
        return planbody.decode(Plans(world.installation.control).get(forget.intent.plan.hex()).body)
    except StalePlanError:
        return None


def drop_row_caches(world: World, sources: tuple[str, ...]) -> None:
    """Delete what the next snapshots of these sources would know rows by: it names keys that are gone."""
    for source in sources:
        for writer in world.repository.state.writers_of(source):
            folder = world.installation.place.state / "rows" / writer.hex()
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
