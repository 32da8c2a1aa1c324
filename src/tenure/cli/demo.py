"""`tenure demo`: a sample contact centre lives through some weeks, in the same code that a user runs."""

import importlib.resources
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click

from tenure.bootstrap.init import init as make
from tenure.bootstrap.simulated import SimulatedClock
from tenure.bootstrap.wiring import Machine, build
from tenure.cli.frame import Frame, common, number, size
from tenure.domain.errors import ConfigError, DrillMismatchError
from tenure.operations import approving, drilling, erasing, planning, purging, reporting
from tenure.operations import restore as restoring
from tenure.operations import snapshot as taking
from tenure.operations.drilling import Means
from tenure.operations.installation import Installation
from tenure.operations.sample import SampleCentre, generate
from tenure.operations.sample_edit import edit

SEED = 20_260_302
FIRST_DAY = date(2026, 3, 1)
WEEKS = 4
REQUEST = "DEMO-ERASURE-1"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("demo"))
@click.option("--seed", default=SEED, show_default=True, help="The same seed makes the same sample.")
@common
def demo(frame: Frame, folder: Path, seed: int) -> int:
    """Show everything once, in FOLDER: sample data, snapshots, purge, erasure, restore, drill, report."""
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(
            f"{folder} is not empty", hint="name another folder, or remove this one if it is an old demo"
        )
    clock = SimulatedClock(_noon(FIRST_DAY))
    frame.clock = clock
    show = _Show(frame, folder, seed, clock)
    report = show.run()
    frame.document({"folder": folder, "report": report, "simulated_until": clock.now().isoformat()})
    return 0


@dataclass(slots=True)
class _Show:
    """The demo, step by step."""

    frame: Frame
    folder: Path
    seed: int
    clock: SimulatedClock
    step: int = 0

    def run(self) -> Path:
        """Run every step; return the report."""
        centre = self._sample()
        self._init()
        first = self._weeks(centre)
        self._purge()
        customer = self._erase(centre)
        self._look_back(first, customer)
        self._drill()
        return self._report()

    def _title(self, text: str) -> None:
        self.step += 1
        self.frame.say(f"\n[bold cyan]{self.step}. {text}[/]  [dim]{self.clock.now():%Y-%m-%d}[/]")

    @contextmanager
    def _open(self) -> Iterator[Installation]:
        with self.frame.progress() as progress:
            installation = build(self.folder / "tenure.yaml", Machine(clock=self.clock, progress=progress))
            try:
                yield installation
            finally:
                installation.close()

    def _sample(self) -> SampleCentre:
        self._title("A sample contact centre, all invented")
        with self.frame.progress() as progress:
            centre = generate(self.folder, seed=self.seed, until=FIRST_DAY, progress=progress)
        hidden = ", ".join(f"{n} x {kind}" for kind, n in sorted(centre.planted_counts().items()))
        self.frame.say(f"A CRM database and {centre.recording_count} recordings; hidden in them: {hidden}.")
        return centre

    def _init(self) -> None:
        self._title("tenure init")
        sources = (
            importlib.resources.files("tenure.bootstrap").joinpath("sample_sources.yaml").read_text("utf-8")
        )
        made = make(
            self.folder, clock=self.clock, name="demo contact centre", officer="demo officer", sources=sources
        )
        self.frame.say(f"Keys, repository, two key stores, {made.rules} rule files, {made.config}.")
        self.frame.say(
            "[yellow]One-person mode[/]: whoever runs this approves its own deletions; certificates say so."
        )

    def _weeks(self, centre: SampleCentre) -> dict[str, int]:
        self._title(f"Snapshots over {WEEKS} weeks, with a week's work between them")
        first: dict[str, int] = {}
        rows = []
        for week in range(WEEKS):
            day = FIRST_DAY + timedelta(days=7 * week + 1)
            self.clock.move_to(_noon(day))
            if week:
                edit(centre, day=day, seed=self.seed)
            with self._open() as installation:
                if week and week % 2 == 0:
                    self._drill_all(installation)
                for taken in taking.take(installation):
                    first.setdefault(taken.source, taken.number)
                    redacted = sum(taken.redacted.values())
                    counts = [number(taken.records), size(taken.plain), size(taken.stored), number(redacted)]
                    rows.append([f"{day}", str(taken.number), taken.source, *counts])
        columns = ["taken", "snapshot", "source", "records", "size", "added", "redacted"]
        self.frame.table("", columns, rows, numbers=(1, 3, 4, 5, 6))
        return first

    def _purge(self) -> None:
        self._title("tenure rules plan, approve, and tenure purge")
        self.clock.move_to(self.clock.now() + timedelta(days=1))
        with self._open() as installation:
            plan = planning.plan(installation)
            rows = [[c.rule, c.data_set, c.action, number(c.live), number(c.past)] for c in plan.body.counts]
            self.frame.table("", ["rule", "data set", "action", "live", "past only"], rows, numbers=(3, 4))
            kept = [[k.data_set, number(k.records), k.why] for k in plan.body.kept]
            self.frame.table("Kept, and why", ["data set", "records", "why"], kept, numbers=(1,))
            self.frame.say(
                f"It touches {plan.body.snapshots} snapshots and {number(plan.body.chunks)} chunks."
            )
            approving.approve(installation, plan.hash, reason="looked at the demo's plan")
            purged = purging.purge(installation)
        if purged.done is not None:
            self.frame.say(
                f"[green]Purged {number(purged.done.records)} records[/] from the live stores and every snapshot."
            )
            self.frame.say(f"Certificate: {purged.done.page}")

    def _erase(self, centre: SampleCentre) -> str:
        customer = _a_customer(centre)
        self._title(f"tenure erase --subject customer={customer}: one person, everywhere")
        received = self.clock.now().date()
        self.clock.move_to(self.clock.now() + timedelta(days=2))
        with self._open() as installation:
            erased = erasing.erase(
                installation, subject=("customer", customer), request=REQUEST, received=received
            )
        if erased.done is not None:
            self.frame.say(f"[green]Erased {number(erased.done.records)} records[/] of customer {customer}.")
            self.frame.say(f"Certificate: {erased.done.page}")
        return customer

    def _look_back(self, first: dict[str, int], customer: str) -> None:
        self._title("tenure restore: the oldest snapshot, taken before all that")
        target = self.folder / "restored-crm.sqlite"
        with self._open() as installation:
            restored = restoring.restore(installation, first["crm"], target)
        self.frame.say(
            f"Snapshot {restored.snapshot} came back with {number(restored.records)} records;"
            f" {number(restored.forgotten)} were forgotten since."
        )
        with closing(sqlite3.connect(target)) as database:
            found = database.execute("SELECT count(*) FROM customers WHERE id = ?", (customer,)).fetchone()[0]
        if found:
            raise DrillMismatchError("the erased customer is in the restored snapshot")
        self.frame.say(f"[green]Customer {customer} is not in it[/], and neither is anything that was due.")

    def _drill(self) -> None:
        self._title("tenure drill: can it be restored, all of it, right?")
        with self._open() as installation:
            rows = self._drill_all(installation)
        self.frame.table("", ["source", "check", "outcome", "found"], rows)

    def _drill_all(self, installation: Installation) -> list[list[str]]:
        """Drill every source; return a row for each check."""
        rows = []
        for source in installation.catalogue.sources:
            record = drilling.drill(installation, source, Means(timer=time.monotonic, seed=self.seed))
            rows += [[source, c.name, c.outcome.value, c.found] for c in record.checks]
        return rows

    def _report(self) -> Path:
        self._title("The report")
        with self._open() as installation:
            report = reporting.report(installation, self.folder / "report.html")
        self.frame.say(f"[bold green]Done.[/] Open [bold]{report.absolute()}[/] in a browser.")
        self.frame.say("What to type next:")
        # The command as this shell can find it: after `make demo` it is in a folder of its own.
        tenure = "tenure" if shutil.which("tenure") else str(Path(sys.argv[0]).absolute())
        for words in ("snapshots", "rules explain closed-customers", "verify", "evidence verify"):
            self.frame.say(f"  cd {self.folder} && {tenure} {words}")
        return report


def _a_customer(centre: SampleCentre) -> str:
    """Return a customer with an open account, recordings and many calls: somebody there is much to forget of."""
    query = """SELECT customer_id FROM interactions JOIN customers ON customers.id = customer_id
        WHERE recording IS NOT NULL AND customers.closed_at IS NULL GROUP BY customer_id
        ORDER BY count(*) DESC, customer_id LIMIT 1"""
    with closing(sqlite3.connect(centre.crm)) as database:
        return str(database.execute(query).fetchone()[0])


def _noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


COMMANDS = (demo,)
