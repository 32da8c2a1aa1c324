"""The pages: complete, escaped, self-contained, well-formed."""

from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from tenure.crypto.signing import SigningKey
from tenure.evidence.certificate import Certificate, sign_certificate
from tenure.evidence.drill_record import DrillOutcome, DrillRecord
from tenure.evidence.pages import certificate_page, drill_page, installation_page
from tenure.evidence.svg import Chart, Mark, bar_chart, line_chart
from tenure.evidence.units import Unit, in_words, ticks
from tenure.evidence.views import DrillView, StorageFigures
from unit.evidence.evidence_samples import ISSUER, NOON, certificate, drill, drills, installation

KEY = SigningKey.from_raw(bytes(range(32)))
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Reader(HTMLParser):
    """Checks nesting, and keeps ids, links and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.addresses += [found[n] or "" for n in ("src", "href") if n in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def certified(made: Certificate) -> str:
    return certificate_page(made, sign_certificate(made, KEY), ISSUER)


def drilled(record: DrillRecord) -> str:
    return drill_page(DrillView(installation="example", record=record, history=drills()))


@pytest.mark.parametrize(
    "page",
    [
        certified(certificate()),
        certified(certificate(stores=(), deferred=(), residue=(), approvers=(), recipients_to_notify=())),
        drilled(drill()),
        drilled(replace(drill(), checks=(), outcome=DrillOutcome.SKIPPED, seconds=0.0, bytes=0)),
        installation_page(installation()),
        installation_page(
            installation(
                snapshots=(),
                cohorts=(),
                rules=(),
                removals=(),
                holds=(),
                drills=(),
                cards=None,
                next_steps=(),
                storage=StorageFigures(plain=0, stored=0, snapshots=0, chunks=0, packs=0, key_pages=0),
            )
        ),
    ],
    ids=["certificate", "bare certificate", "drill", "bare drill", "installation", "empty installation"],
)
def test_a_page_is_well_formed_and_fetches_nothing(page: str) -> None:
    read = Reader(page)
    assert len(read.ids) == len(set(read.ids))
    assert not read.tags & {"script", "link", "img", "iframe", "object"}
    assert not [a for a in read.addresses if "//" in a]
    assert "default-src 'none'" in page
    assert "url(" not in page
    assert "@import" not in page


def test_the_certificate_says_what_a_person_must_know() -> None:
    page = certified(certificate())
    for words in (
        "The last copy will be gone for good on 23 March 2026.",
        "4 records are kept for now",
        "tax records are kept for 8 years",
        "31 December 2034",
        "write-ahead log",
        "Example Mailing Ltd",
        "DSR-2026-118",
        "dpo@example.com",
        "supervisory" if not ISSUER.complaints_to else ISSUER.complaints_to,
    ):
        assert words in page
    assert "snapshot of them. <strong>" in " ".join(page.split())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"one_person_mode": True}, "One person asked for this deletion and approved it."),
        ({"weak_forgetting": True}, "The keys of this installation are files on a disk."),
        ({"rescan": replace(certificate().rescan, found=2)}, "found 2 records again."),
        (
            {"stores": (replace(certificate().stores[0], final_on=None, pending="store b is down"),)},
            "no date for the last copy",
        ),
    ],
)
def test_the_certificate_says_loudly_what_weakens_it(changes: dict[str, object], words: str) -> None:
    assert words not in certified(certificate())
    assert words in certified(certificate(**changes))


def test_what_comes_from_outside_is_escaped() -> None:
    evil = "<script>alert(1)</script>\"'&"
    page = certified(certificate(set_in_words=evil, request=evil))
    assert "<script>" not in page
    view = installation(
        note=evil, name=evil, cohorts=tuple(replace(c, data_set=evil) for c in installation().cohorts)
    )
    snapshots = tuple(replace(s, source=evil) for s in view.snapshots)
    assert "<script>" not in installation_page(replace(view, snapshots=snapshots))


def test_the_same_input_draws_the_same_page() -> None:
    assert installation_page(installation()) == installation_page(installation())


def test_cohorts_that_are_gone_held_and_old_are_told_apart() -> None:
    view = installation()
    page = installation_page(view)
    assert page.count(">gone<") == sum(c.removed > 0 and c.held == 0 for c in view.cohorts)
    old = tuple(replace(c, month=f"19{c.month[2:]}" if c.month else "") for c in view.cohorts)
    many = tuple(
        replace(c, month=f"{year}{c.month[4:]}")
        for c in view.cohorts
        if c.month
        for year in (2023, 2024, 2025)
    )
    assert "earlier" not in installation_page(replace(view, cohorts=old))
    assert ">earlier</th>" in installation_page(replace(view, cohorts=many))


def test_a_failed_check_and_a_place_not_wiped_are_seen() -> None:
    failed = drills()[4]
    page = drill_page(
        DrillView(installation="example", record=replace(failed, wiped=False), history=drills()[:4])
    )
    assert "3 broken" in page
    assert 'class="dot failed"' in page
    assert "could not be wiped" in page


@pytest.mark.parametrize("draw", [bar_chart, line_chart])
@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [5.0, 1e12, 3.0], list(range(200))])
def test_a_chart_is_good_xml_with_title_description_and_every_mark_inside(
    draw: object, values: list[float]
) -> None:
    marks = [Mark(at=NOON, value=v) for v in values]
    chart = Chart(id="c", title="Size & age", unit=Unit.BYTES, marks=marks, limit=7.0, limit_name="objective")
    root = ET.fromstring(str(draw(chart)))  # type: ignore[operator]  # noqa: S314
    space = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{space}title") == "Size & age"
    assert "largest" in (root.findtext(f"{space}desc") or "")
    drawn = [e for e in root if "mark" in e.get("class", "")]
    assert len(drawn) == len(values)
    for element in drawn:
        assert 0 <= float(element.get("y") or element.get("cy") or -1) <= 220
        assert 0 <= float(element.get("x") or element.get("cx") or -1) <= 480


def test_a_chart_without_marks_says_so() -> None:
    assert "nothing yet" in bar_chart(Chart(id="c", title="Sizes", unit=Unit.BYTES, marks=()))


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0, Unit.BYTES, "0 B"),
        (1536, Unit.BYTES, "1.5 KiB"),
        (1024**2, Unit.BYTES, "1 MiB"),
        (90, Unit.SECONDS, "90 s"),
        (150, Unit.SECONDS, "2.5 min"),
        (0.25, Unit.SECONDS, "250 ms"),
        (0, Unit.SECONDS, "0 s"),
        (12345, Unit.COUNT, "12,345"),
    ],
)
def test_numbers_are_told_as_people_read_them(value: float, unit: Unit, words: str) -> None:
    assert in_words(value, unit) == words


@pytest.mark.parametrize("largest", [0.003, 1, 7, 59, 60, 999, 1e9])
def test_an_axis_has_few_round_steps_up_to_the_largest_value(largest: float) -> None:
    steps = ticks(largest)
    assert steps[0] == 0
    assert steps[-1] >= largest * (1 - 1e-9)
    assert 3 <= len(steps) <= 6


def test_the_last_copy_reads_as_gone_once_its_day_has_come() -> None:
    stores = tuple(replace(s, final_on=date(2026, 3, 9)) for s in certificate().stores)
    assert "The last copy was gone on 9 March 2026." in certified(certificate(stores=stores))
