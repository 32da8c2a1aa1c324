from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tenure.repository import rows
from tenure.repository.cachecontents import ROW, STEP, Rows
from tenure.repository.model import Cohort
from tenure.repository.rowcache import (
    UNKNOWN,
    UNUSABLE,
    CacheContents,
    CacheStamp,
    Deleted,
    KnownCohort,
    RowCache,
    write,
)

KEY = bytes(range(32))
STAMP = CacheStamp(snapshot=b"s1", table="contacts", layout=b"l", keys=b"k")
COHORTS = [Cohort(data_set="contacts", rule_class="", span=span) for span in ("2026-01", "2026-02")]
MIX = 99


@dataclass
class Sorted:
    """Rows that are in order already, given piece by piece."""

    rows: Rows
    step: int = 1 << 30

    def __len__(self) -> int:
        return len(self.rows)

    def pieces(self) -> Iterator[Rows]:
        for start in range(0, len(self.rows), self.step):
            yield self.rows[start : start + self.step]


def contents(ids: rows.Bytes, mixed: rows.Words | None = None, *, step: int = 1 << 30) -> CacheContents:
    mixed = rows.mix(ids, MIX) if mixed is None else mixed
    order = np.argsort(mixed)
    count = np.arange(len(ids))
    table = np.empty(len(ids), ROW)
    table["mixed"], table["hash"], table["identity"] = mixed, count, ids
    table["cohort"], table["layer"] = count % 2, count % 3
    return CacheContents(
        known=tuple(KnownCohort(cohort=c, token=bytes(16)) for c in COHORTS),
        rows=Sorted(table[order], step),
        deleted=Deleted.join([Deleted.of(ids[:2], 0, 1), Deleted.of(ids[2:3], 1, 2)]),
    )


def random_ids(count: int) -> rows.Bytes:
    return np.frombuffer(np.random.default_rng(2).bytes(16 * count), np.uint8).reshape(-1, 16)


def opened(path: Path, stamp: CacheStamp = STAMP, key: bytes = KEY) -> RowCache:
    cache = RowCache.open(path, key, stamp)
    assert cache is not None
    return cache


def test_a_cache_finds_what_was_written_and_nothing_else(tmp_path: Path) -> None:
    count = STEP + 1000
    ids, path = random_ids(count), tmp_path / "cache"
    write(path, KEY, STAMP, contents(ids))
    cache = opened(path)
    asked = np.concatenate((ids[::7], random_ids(count + 50)[count:]))
    hashes = np.concatenate((np.arange(count, dtype=np.uint64)[::7], np.zeros(50, np.uint64)))
    found = cache.find(asked, rows.mix(asked, MIX), hashes)
    assert (found[-50:] == UNKNOWN).all()
    assert (cache.identities_at(found[:-50]) == ids[::7]).all()
    assert (cache.hashes[found[:-50]] == hashes[:-50]).all()
    changed = cache.find(ids[::7], rows.mix(ids[::7], MIX), np.full(len(ids[::7]), 1 << 60, np.uint64))
    assert (changed == found[:-50]).all()
    assert len(cache.deleted) == 3
    cache.close()
    assert [found.name for found in tmp_path.iterdir()] == ["cache"]
    assert path.stat().st_mode & 0o077 == 0


def test_keys_that_share_a_mixed_identity_are_told_apart(tmp_path: Path) -> None:
    ids, path = random_ids(6), tmp_path / "cache"
    mixed = np.array([5, 5, 5, 9, 9, 1], np.uint64)
    write(path, KEY, STAMP, contents(ids[:5], mixed[:5]))
    cache = opened(path)
    found = cache.find(ids, mixed, np.arange(6, dtype=np.uint64))
    assert (cache.identities_at(found[:5]) == ids[:5]).all()
    assert found[5] == UNKNOWN
    stranger = cache.find(ids[5:], np.array([5], np.uint64), np.array([0], np.uint64))
    assert stranger.tolist() == [UNKNOWN]
    cache.close()


def test_a_new_key_that_meets_one_mixed_identity_is_not_taken_for_the_old_key(tmp_path: Path) -> None:
    ids, path = random_ids(2), tmp_path / "cache"
    write(path, KEY, STAMP, contents(ids[:1], np.array([7], np.uint64)))
    cache = opened(path)
    assert cache.find(ids[1:], np.array([7], np.uint64), np.array([123], np.uint64)).tolist() == [UNKNOWN]
    assert cache.find(ids[:1], np.array([7], np.uint64), np.array([123], np.uint64)).tolist() == [0]
    cache.close()


@pytest.mark.parametrize(
    "stamp",
    [
        CacheStamp(snapshot=b"s2", table="contacts", layout=b"l", keys=b"k"),
        CacheStamp(snapshot=b"s1", table="calls", layout=b"l", keys=b"k"),
        CacheStamp(snapshot=b"s1", table="contacts", layout=b"m", keys=b"k"),
        CacheStamp(snapshot=b"s1", table="contacts", layout=b"l", keys=b"o"),
    ],
)
def test_a_cache_made_for_something_else_is_none(tmp_path: Path, stamp: CacheStamp) -> None:
    path = tmp_path / "cache"
    write(path, KEY, STAMP, contents(random_ids(10)))
    assert RowCache.open(path, KEY, stamp) is None
    assert RowCache.open(path, bytes(32), STAMP) is None
    assert RowCache.open(tmp_path / "absent", KEY, STAMP) is None


def test_a_damaged_cache_is_none_wherever_the_damage_is(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    write(path, KEY, STAMP, contents(random_ids(40)))
    good = path.read_bytes()
    for place in range(0, len(good), 5):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert RowCache.open(path, KEY, STAMP) is None
        path.write_bytes(good[:place])
        assert RowCache.open(path, KEY, STAMP) is None
    path.write_bytes(good + b"\0")
    assert RowCache.open(path, KEY, STAMP) is None


def test_a_cache_does_not_depend_on_the_pieces_its_rows_came_in(tmp_path: Path) -> None:
    ids = random_ids(2 * STEP + 3)
    write(tmp_path / "one", KEY, STAMP, contents(ids))
    write(tmp_path / "many", KEY, STAMP, contents(ids, step=STEP // 3 + 1))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "many").read_bytes()


def test_layers_beyond_the_255th_are_kept(tmp_path: Path) -> None:
    ids, path = random_ids(4), tmp_path / "cache"
    made = contents(ids)
    assert isinstance(made.rows, Sorted)
    made.rows.rows["layer"] = [1, 300, 2, 65_000]
    write(path, KEY, STAMP, made)
    cache = opened(path)
    assert cache.layers.tolist() == [1, 300, 2, 65_000]
    cache.close()


def test_in_memory_a_cached_row_has_nineteen_bytes(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    write(path, KEY, STAMP, contents(random_ids(100)))
    cache = opened(path)
    columns = (cache.mixed, cache.hashes, cache.cohorts, cache.layers)
    assert sum(column.itemsize for column in columns) == 19
    cache.close()


def test_invalid_cohorts_and_forgotten_keys_count_as_never_seen(tmp_path: Path) -> None:
    ids, path = random_ids(30), tmp_path / "cache"
    write(path, KEY, STAMP, contents(ids))
    cache = opened(path)
    cache.forget(ids[[0, 5]])
    assert len(cache.deleted) == 2
    places = cache.find(ids, rows.mix(ids, MIX), np.arange(30, dtype=np.uint64))
    assert np.flatnonzero(cache.cohorts[places] == UNUSABLE).tolist() == [0, 5]
    cache.invalidate([COHORTS[1]])
    assert cache.usable == [True, False]
    assert set(np.flatnonzero(cache.cohorts[places] == UNUSABLE).tolist()) == {0, *range(1, 30, 2)}
    assert cache.deleted.cohorts.tolist() == [0]
    cache.close()
