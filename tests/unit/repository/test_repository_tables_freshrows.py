"""Fresh rows come back sorted and whole, from memory or from a scratch file that nobody else can read or keep."""

import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tenure.domain.errors import IncompleteSnapshotError, IntegrityError, SchemaDriftError
from tenure.repository import rows
from tenure.repository.cachecontents import STEP, Rows
from tenure.repository.freshrows import FreshRows, Scratch, limits_for
from tenure.repository.layering import TableResult, TableSettings
from tenure.repository.model import ChunkKind, ChunkRef, Cohort
from tenure.repository.rowcache import CacheStamp, RowCache, write
from tenure.repository.tablewriter import TableWriter

COHORT = Cohort(data_set="calls", rule_class="", span="2026-01")
SETTINGS = TableSettings(
    table="calls", key_cells=1, identity_key=bytes(32), mix_key=1, row_seed=2, cut_key=3, target_bytes=1 << 16
)
STAMP = CacheStamp(snapshot=b"s", table="calls", layout=b"l", keys=b"k")
FEW, MANY = 2 * STEP, 4 * STEP  # whole steps: what is sorted together is then of one size in both
FIRST_BYTES_A_ROW = 4
NEXT_BYTES_A_ROW = 21
"""A snapshot with one before it holds 19 bytes of every row of that and a mark, 20 together; and a line a chunk."""

Plain = bytes | bytearray | memoryview


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    made = Scratch(tmp_path)
    yield made
    made.close()


def random_rows(count: int) -> tuple[rows.Bytes, rows.Words, rows.Words]:
    rng = np.random.default_rng(count)
    ids = np.frombuffer(rng.bytes(16 * count), np.uint8).reshape(-1, 16)
    return ids, rows.mix(ids, 5), rng.integers(0, 1 << 63, count).astype(np.uint64)


def add(fresh: FreshRows, ids: rows.Bytes, mixed: rows.Words, hashes: rows.Words) -> None:
    count = len(ids)
    fresh.add(ids, mixed, hashes, np.arange(count, dtype=np.int32), np.arange(count) % 5)


def everything(fresh: FreshRows) -> Rows:
    found = list(fresh.stretches(limits_for(len(fresh))))
    highest = [part["mixed"].max() for part in found if len(part)]
    lowest = [part["mixed"].min() for part in found if len(part)]
    assert all(a < b for a, b in zip(highest, lowest[1:], strict=False))
    joined = np.concatenate(found)
    return joined[np.argsort(joined["mixed"])]


@pytest.mark.parametrize("spilled", [True, False])
def test_rows_come_back_whole_whatever_the_runs(scratch: Scratch, *, spilled: bool) -> None:
    ids, mixed, hashes = random_rows(30_000)
    fresh = FreshRows(scratch if spilled else None, run_rows=7_000)
    for start in range(0, len(ids), 2_500):
        part = slice(start, start + 2_500)
        add(fresh, ids[part], mixed[part], hashes[part])
    fresh.end()
    for _ in range(2):  # asked for more than once: first for twins, then for the cache
        found, order = everything(fresh), np.argsort(mixed)
        assert (found["identity"] == ids[order]).all()
        assert (found["hash"] == hashes[order]).all()
        assert (found["cohort"] == (np.arange(30_000) % 2_500)[order]).all()
        assert (found["layer"] == (np.arange(30_000) % 2_500 % 5)[order]).all()


def test_the_scratch_file_has_no_name_and_does_not_show_what_is_in_it(
    tmp_path: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    real = os.pwrite

    def pwrite(fd: int, data: memoryview, at: int) -> int:
        assert os.fstat(fd).st_mode & 0o077 == 0
        written.append(bytes(data))
        return real(fd, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    ids, mixed, hashes = random_rows(9_000)
    fresh = FreshRows(scratch)
    add(fresh, ids, mixed, hashes)
    fresh.end()
    assert list(tmp_path.iterdir()) == []
    raw = b"".join(written)
    assert len(raw) > 38 * 9_000
    assert not any(ids[i].tobytes() in raw for i in range(0, 9_000, 100))


def test_rows_stay_in_memory_where_the_disk_takes_no_more(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwrite(_fd: int, _data: memoryview, _at: int) -> int:
        raise OSError(28, "No space left on device")

    ids, mixed, hashes = random_rows(12_000)
    fresh = FreshRows(scratch, run_rows=5_000)
    add(fresh, ids[:6_000], mixed[:6_000], hashes[:6_000])
    monkeypatch.setattr(os, "pwrite", pwrite)
    add(fresh, ids[6_000:], mixed[6_000:], hashes[6_000:])
    fresh.end()
    assert (everything(fresh)["hash"] == hashes[np.argsort(mixed)]).all()


def test_a_changed_scratch_file_is_noticed(scratch: Scratch) -> None:
    number = scratch.append(b"x" * 100)
    assert number == 0
    assert scratch.read(0) == b"x" * 100
    os.pwrite(scratch._file.fileno(), b"?", 7)
    with pytest.raises(IntegrityError):
        scratch.read(0)
    os.ftruncate(scratch._file.fileno(), 3)
    with pytest.raises(IntegrityError):
        scratch.read(0)


def test_a_scratch_file_that_cannot_be_read_ends_the_snapshot_with_what_to_do(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pread(_fd: int, _size: int, _at: int) -> bytes:
        raise OSError(5, "Input/output error")

    scratch.append(b"x")
    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(IncompleteSnapshotError, match="nothing was committed"):
        scratch.read(0)


class Nowhere:
    """A sink that keeps nothing: what it would keep is not what is measured."""

    def put(
        self, _cohort: Cohort, _kind: ChunkKind, _plain: Plain, _companion: Callable[[], bytes] | None
    ) -> tuple[ChunkRef, ChunkRef | None]:
        return ChunkRef(bytes(16), bytes(8)), None


def snapshot(
    count: int, base: TableResult | None, scratch: Scratch, path: Path, *, twin: int = -1
) -> TableResult:
    """Write a table of `count` rows in batches, and its cache; row `twin` once more at the end."""
    trees = {} if base is None else {tree.cohort: tree for tree in base.trees}
    cache = None if base is None else RowCache.open(path, bytes(32), STAMP)
    assert (cache is None) == (base is None)
    writer = TableWriter(Nowhere(), cache, trees, SETTINGS, scratch=scratch)
    try:
        for start in range(0, count, 8_192):
            keys = range(start, min(start + 8_192, count))
            text = b"".join(b"i%d\ta\n" % k for k in keys)
            writer.feed(rows.batch_of(text), np.zeros(len(keys), np.int32), [COHORT])
        if twin >= 0:
            writer.feed(rows.batch_of(b"i%d\tb\n" % twin), np.zeros(1, np.int32), [COHORT])
        result = writer.end()
        write(path, bytes(32), STAMP, result.cache)
        return result
    finally:
        if cache is not None:
            cache.close()


def measured(count: int, base: TableResult | None, scratch: Scratch, path: Path) -> tuple[int, TableResult]:
    """Return the most bytes that a snapshot of `count` rows held at once, and its result."""
    tracemalloc.start()
    try:
        result = snapshot(count, base, scratch, path)
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def test_memory_grows_by_no_more_than_is_promised_for_each_row(tmp_path: Path, scratch: Scratch) -> None:
    peaks = []
    for count in (FEW, MANY):
        first, result = measured(count, None, scratch, tmp_path / str(count))
        again, other = measured(count, result, scratch, tmp_path / str(count))
        assert (other.changes.new, other.changes.unknown) == (0, 0)
        peaks.append((first, again))
    assert (peaks[1][0] - peaks[0][0]) / (MANY - FEW) < FIRST_BYTES_A_ROW
    assert (peaks[1][1] - peaks[0][1]) / (MANY - FEW) < NEXT_BYTES_A_ROW


@pytest.mark.parametrize("twin", [0, 149_999])
def test_two_rows_with_one_key_are_refused_however_far_apart_they_came(
    tmp_path: Path, scratch: Scratch, twin: int
) -> None:
    with pytest.raises(SchemaDriftError, match="same key"):
        snapshot(150_000, None, scratch, tmp_path / "cache", twin=twin)
    first = snapshot(150_000, None, scratch, tmp_path / "cache")
    with pytest.raises(SchemaDriftError, match="same key"):
        snapshot(150_000, first, scratch, tmp_path / "cache", twin=twin)
