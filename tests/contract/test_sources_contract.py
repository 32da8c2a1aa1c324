"""What every source promises, run on each implementation."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.clock import FixedClock
from tenure.domain.catalogue import DataSet, DataSetKind, Source, SourceKind
from tenure.domain.errors import ConfigError
from tenure.domain.progress import SilentProgress
from tenure.rules.facts import Facts
from tenure.sources.base import LiveStore, Loader, View
from tenure.sources.folder import FolderSource
from tenure.sources.sqlite import SqliteSource


class SourceContract:
    """Three records with the subjects a, b and none."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Any:
        raise NotImplementedError

    @pytest.fixture
    def view(self, source: Any) -> Iterator[View]:
        opened: View = source.begin()
        yield opened
        opened.close()

    def facts(self, view: View) -> Facts:
        raise NotImplementedError

    def test_the_view_gives_as_many_records_as_it_counts_in_key_order(self, view: View) -> None:
        facts = self.facts(view)
        keys = facts.keys.to_pylist()
        assert len(facts) == view.count("d") == 3
        assert keys == sorted(keys)
        assert facts.subjects["who"].to_pylist() == ["a", "b", None]
        assert view.taken_at == FixedClock().now()

    def test_live_facts_equal_those_of_the_snapshot(self, source: Any, view: View) -> None:
        snapshot = self.facts(view)
        live: LiveStore = source.live()
        (found,) = live.facts("d")
        assert found.keys.to_pylist() == snapshot.keys.to_pylist()
        assert found.subjects["who"].to_pylist() == snapshot.subjects["who"].to_pylist()
        assert np.array_equal(found.starting["ended"], snapshot.starting["ended"], equal_nan=True)

    def test_a_judge_that_keeps_all_removes_nothing(self, source: Any, view: View) -> None:
        keys = self.facts(view).keys.to_pylist()
        live: LiveStore = source.live()
        removal = live.remove("d", keys, lambda f: np.zeros(len(f), bool))
        assert removal.gone == ()
        assert sorted(removal.left) == keys
        assert sum(map(len, live.facts("d"))) == 3

    def test_removal_leaves_the_open_view_as_it_was_counted_and_can_be_repeated(
        self, source: Any, view: View
    ) -> None:
        keys = self.facts(view).keys.to_pylist()
        live: LiveStore = source.live()
        assert live.remove("d", keys[:1], lambda f: np.ones(len(f), bool)).gone == (keys[0],)
        assert live.remove("d", keys[:1], lambda f: np.ones(len(f), bool)).absent == (keys[0],)
        assert [k for f in live.facts("d") for k in f.keys.to_pylist()] == keys[1:]
        assert view.count("d") == 3

    def test_an_abandoned_restore_leaves_nothing(self, source: Any, view: View, tmp_path: Path) -> None:
        before = sorted(tmp_path.iterdir())
        loader: Loader = source.loader()
        loader.begin(view.structure(), tmp_path / "restored", SilentProgress())
        loader.abandon()
        loader.abandon()
        assert sorted(tmp_path.iterdir()) == before

    def test_unknown_data_sets_are_refused(self, source: Any, view: View) -> None:
        with pytest.raises(ConfigError):
            view.count("unknown")
        with pytest.raises(ConfigError):
            list(source.live().facts("unknown"))


class TestSqlite(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> SqliteSource:
        with closing(sqlite3.connect(tmp_path / "a.db")) as made:
            made.executescript("CREATE TABLE d (k TEXT PRIMARY KEY, who, ended)")
            rows = [("k3", None, None), ("k1", "a", "2026-01-01"), ("k2", "b", 1_780_000_000)]
            made.executemany("INSERT INTO d VALUES (?, ?, ?)", rows)
            made.commit()
        data_set = DataSet(
            name="d",
            source="s",
            kind=DataSetKind.TABLE,
            table="d",
            subjects={"who": "who"},
            starting_points={"ended": "ended"},
        )
        described = Source(
            name="s", kind=SourceKind.SQLITE, path=str(tmp_path / "a.db"), data_sets={"d": data_set}
        )
        return SqliteSource(described, scratch=tmp_path / "scratch", clock=FixedClock())

    def facts(self, view: View) -> Facts:
        (batch,) = view.rows("d")
        assert batch.facts is not None
        return batch.facts


class TestFolder(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> FolderSource:
        (tmp_path / "rec").mkdir()
        for name, sidecar in (
            ("k1", '{"who": "a", "ended": "2026-01-01"}'),
            ("k2", '{"who": "b", "ended": 1780000000}'),
            ("k3", ""),
        ):
            (tmp_path / "rec" / f"{name}.wav").write_bytes(b"sound")
            if sidecar:
                (tmp_path / "rec" / f"{name}.wav.json").write_text(sidecar)
        data_set = DataSet(
            name="d", source="s", kind=DataSetKind.RECORDINGS, files="*.wav", sidecar="{name}.json",
            subjects={"who": "sidecar.who"}, starting_points={"ended": "sidecar.ended"},
        )  # fmt: skip
        described = Source(
            name="s", kind=SourceKind.FOLDER, path=str(tmp_path / "rec"), data_sets={"d": data_set}
        )
        return FolderSource(described, clock=FixedClock())

    def facts(self, view: View) -> Facts:
        (batch,) = view.recordings("d")
        return batch.facts
