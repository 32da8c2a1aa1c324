"""A record without a starting point lies in one cohort: of the month it was first seen in, whatever becomes of it."""

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.memsink import MemorySink
from tenure.repository import rows, tablereader
from tenure.repository.layering import TableResult, TableSettings
from tenure.repository.model import Cohort, Tree
from tenure.repository.openspans import fullest_open
from tenure.repository.rowcache import CacheStamp, RowCache, write
from tenure.repository.tablewriter import TableWriter

KEY = bytes(range(32))
SETTINGS = TableSettings(
    table="people", key_cells=1, identity_key=KEY, mix_key=11, row_seed=12, cut_key=13,
    target_bytes=256, open_target_bytes=64,
)  # fmt: skip
CLOSED = "2025-11"


def cohort(rule_class: str, span: str) -> Cohort:
    return Cohort(data_set="people", rule_class=rule_class, span=span)


def open_in(month: int) -> str:
    return f"open:{2026 + month // 12}-{1 + month % 12:02}"


@dataclass(frozen=True)
class Record:
    """`closed`: whether it has a starting point; `rule_class`: of its rule."""

    rule_class: str
    text: str
    closed: bool


@dataclass
class Table:
    """A table over its snapshots, its cache, and where each record must lie."""

    path: Path
    sink: MemorySink = field(default_factory=MemorySink)
    records: dict[int, Record] = field(default_factory=dict)
    spans: dict[int, str] = field(default_factory=dict)
    month: int = 0
    taken: int = 0
    trees: dict[Cohort, Tree] = field(default_factory=dict)

    def stamp(self, number: int) -> CacheStamp:
        return CacheStamp(snapshot=bytes([number]), table="people", layout=b"l", keys=SETTINGS.keys_check())

    def snapshot(self, *, cache_is_there: bool) -> TableResult:
        cache = RowCache.open(self.path, bytes([self.taken]) * 32, self.stamp(self.taken))
        known = cache if cache_is_there else None
        homes = fullest_open((c, t.rows) for c, t in self.trees.items())
        writer = TableWriter(self.sink, known, self.trees, SETTINGS, homes=homes)
        for key in sorted(self.records):
            one = self.records[key]
            span = CLOSED if one.closed else open_in(self.month)
            batch = rows.batch_of(f"i{key}\tt{one.text}\n".encode())
            writer.feed(batch, np.zeros(1, np.int32), [cohort(one.rule_class, span)])
        result = writer.end()
        self.taken += 1
        write(self.path, bytes([self.taken]) * 32, self.stamp(self.taken), result.cache)
        if cache is not None:
            cache.close()
        self.expect(homes, lost=known is None)
        self.trees = {tree.cohort: tree for tree in result.trees}
        return result

    def expect(self, homes: Mapping[str, Cohort], *, lost: bool) -> None:
        """Work out where every record must lie now."""
        before = self.spans
        self.spans = {}
        for key, one in self.records.items():
            now = open_in(self.month)
            if one.closed:
                self.spans[key] = CLOSED
            elif lost:
                self.spans[key] = homes[one.rule_class].span if one.rule_class in homes else now
            else:
                self.spans[key] = before[key] if before.get(key, CLOSED) != CLOSED else now

    def check(self) -> None:
        found: dict[int, tuple[Cohort, str]] = {}
        for tree in self.trees.values():
            for batch in tablereader.read_tree(tree, self.sink, 1, KEY):
                for line in bytes(batch.text).decode().splitlines():
                    key, text = line.split("\t")
                    assert int(key[1:]) not in found, "a record lies in two cohorts"
                    found[int(key[1:])] = tree.cohort, text[1:]
        assert found == {
            key: (cohort(one.rule_class, self.spans[key]), one.text) for key, one in self.records.items()
        }
        assert {c: t.rows for c, t in self.trees.items()} == Counter(c for c, _ in found.values())


EDITS = st.dictionaries(
    st.integers(0, 30),
    st.none() | st.builds(Record, st.sampled_from(["", "aa"]), st.text("xy", max_size=5), st.booleans()),
    max_size=10,
)
ROUNDS = st.lists(
    st.tuples(EDITS, st.sampled_from([0, 0, 1]), st.sampled_from([True, True, True, False])),
    min_size=1,
    max_size=10,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rounds=ROUNDS)
def test_a_record_stays_in_the_month_it_was_first_seen_in_until_it_has_a_starting_point(
    rounds: list[tuple[dict[int, Record | None], int, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder) / "cache")
        for edits, months, cache_is_there in rounds:
            table.month += months
            edited = table.records | edits
            table.records = {key: one for key, one in edited.items() if one is not None}
            table.snapshot(cache_is_there=cache_is_there)
            table.check()


def people(table: Table, *keys: int, text: str = "a") -> None:
    table.records |= {key: Record("", text, closed=False) for key in keys}


def test_a_new_month_writes_nothing_where_nothing_changed(tmp_path: Path) -> None:
    table = Table(tmp_path / "cache")
    people(table, *range(50))
    first = table.snapshot(cache_is_there=True)
    table.month, puts = 1, table.sink.puts
    assert table.snapshot(cache_is_there=True).trees == first.trees
    assert table.sink.puts == puts


def test_a_lost_cache_stores_no_chunk_again_though_the_month_is_another(tmp_path: Path) -> None:
    table = Table(tmp_path / "cache")
    people(table, *range(50))
    first = table.snapshot(cache_is_there=True)
    table.month, stored = 1, len(table.sink.chunks)
    assert table.snapshot(cache_is_there=False).trees == first.trees
    assert len(table.sink.chunks) == stored


def test_the_fullest_open_cohort_takes_what_nothing_is_known_of_and_the_oldest_of_equals() -> None:
    counts = {cohort("", "open:2026-02"): 5, cohort("", "open:2026-01"): 5, cohort("", "open:2026-03"): 4,
              cohort("", CLOSED): 9, cohort("aa", "open:2026-03"): 1}  # fmt: skip
    assert fullest_open(counts.items()) == {
        "": cohort("", "open:2026-01"),
        "aa": cohort("aa", "open:2026-03"),
    }


def test_a_record_that_reopens_is_of_the_month_it_reopened_in(tmp_path: Path) -> None:
    table = Table(tmp_path / "cache")
    people(table, 1)
    table.snapshot(cache_is_there=True)
    closed = replace(table.records[1], closed=True)
    table.records[1], table.month = closed, 1
    table.snapshot(cache_is_there=True)
    table.records[1], table.month = replace(closed, closed=False), 2
    (tree,) = table.snapshot(cache_is_there=True).trees
    assert tree.cohort.span == open_in(2)
