"""A folder of recordings as a source, its loader and its live side."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from support.clock import FixedClock
from tenure.domain.catalogue import DataSet, DataSetKind, Link, Source, SourceKind
from tenure.domain.errors import (
    ConfigError,
    IncompleteSnapshotError,
    IntegrityError,
    SchemaDriftError,
    SourceUnavailableError,
)
from tenure.domain.progress import SilentProgress
from tenure.rules.facts import Facts
from tenure.sources.base import Recording
from tenure.sources.folder import FolderSource, FolderView
from tenure.sources.folderload import FolderLoader
from tenure.sources.sqlite import SqliteSource

CALLS = DataSet(
    name="calls", source="rec", kind=DataSetKind.RECORDINGS, files="**/*.wav", sidecar="{stem}.json",
    subjects={"customer": "sidecar.customer_id"}, starting_points={"ended": "sidecar.call.ended"},
    attributes={"queue": "sidecar.queue", "file": "name"},
)  # fmt: skip


def folder(root: Path, data_set: DataSet = CALLS) -> FolderSource:
    source = Source(name="rec", kind=SourceKind.FOLDER, path=str(root), data_sets={data_set.name: data_set})
    return FolderSource(source, clock=FixedClock())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "rec"
    (made / "2026" / "03").mkdir(parents=True)
    for n, queue in ((1, "service"), (2, "billing")):
        base = made / "2026" / "03" / f"call{n}"
        base.with_suffix(".wav").write_bytes(b"RIFF" + bytes([n]) * 5000)
        fields = {"customer_id": n, "queue": queue, "call": {"ended": f"2026-03-0{n}T10:00:00"}}
        base.with_suffix(".json").write_text(json.dumps(fields, indent=2))
        os.utime(base.with_suffix(".wav"), ns=(n * 10**18 + 123, n * 10**18 + 123))
    base.with_suffix(".wav").chmod(0o640)
    return made


def all_fall(facts: Facts) -> NDArray[np.bool_]:
    return np.ones(len(facts), bool)


def listed(view: FolderView) -> dict[bytes, Recording]:
    return {r.path: r for batch in view.recordings("calls") for r in batch.recordings}


def pieces(view: FolderView, recording: Recording) -> Iterator[bytes]:
    with view.open(recording) as file:
        while piece := file.read(1000):
            yield piece


def tree(root: Path) -> dict[str, tuple[bytes, int, int]]:
    files = (p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): (p.read_bytes(), p.stat().st_mode, p.stat().st_mtime_ns) for p in files}


def test_facts_come_from_sidecars_and_paths(root: Path) -> None:
    view = folder(root).begin()
    (batch,) = view.recordings("calls")
    assert view.count("calls") == 2
    assert batch.facts.keys.to_pylist() == [b"2026/03/call1.wav", b"2026/03/call2.wav"]
    assert batch.facts.subjects["customer"].to_pylist() == ["1", "2"]
    assert batch.facts.attributes["queue"].to_pylist() == ["service", "billing"]
    assert batch.facts.attributes["file"].to_pylist() == ["call1.wav", "call2.wav"]
    assert str(batch.facts.starting["ended"][1]) == "2026-03-02T10:00:00"
    view.close()


def test_a_restored_folder_equals_the_original_to_byte_mode_and_time(root: Path, tmp_path: Path) -> None:
    (root / "empty.wav").write_bytes(b"")
    odd = os.fsencode(root) + b"/\xff new\nline \xc3\xbc.wav"
    Path(os.fsdecode(odd)).write_bytes(b"odd")
    view = folder(root).begin()
    loader = folder(root).loader()
    loader.begin(view.structure(), tmp_path / "back", SilentProgress())
    for recording in listed(view).values():
        loader.recording(recording, pieces(view, recording))
    assert not (tmp_path / "back").exists()
    loader.end()
    view.close()
    assert tree(tmp_path / "back") == tree(root)
    assert len(tree(root)) == 6
    assert view.findings == []


def test_links_and_pipes_are_not_followed_and_reported(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(b"x")
    (root / "link.wav").symlink_to(tmp_path / "secret.wav")
    (root / "dirlink").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.wav")
    view = folder(root).begin()
    assert set(listed(view)) == {b"2026/03/call1.wav", b"2026/03/call2.wav"}
    assert sorted(f.where for f in view.findings) == [b"dirlink", b"link.wav", b"pipe.wav"]
    view.close()


def test_an_unreadable_sidecar_keeps_the_recording_without_facts(root: Path) -> None:
    (root / "2026/03/call1.json").write_text("{not json")
    view = folder(root).begin()
    (batch,) = view.recordings("calls")
    assert batch.recordings[0].sidecar == b"{not json"
    assert batch.facts.subjects["customer"].to_pylist() == [None, "2"]
    assert np.isnat(batch.facts.starting["ended"][0])
    assert [f.where for f in view.findings] == [b"2026/03/call1.json"]
    view.close()


def test_what_changed_since_it_was_listed_is_refused(root: Path) -> None:
    path = root / "2026/03/call1.wav"
    view = folder(root).begin()
    recording = listed(view)[b"2026/03/call1.wav"]
    os.utime(path, ns=(5, 5))
    with pytest.raises(IncompleteSnapshotError):
        view.open(recording)
    os.utime(path, ns=(recording.mtime_ns, recording.mtime_ns))
    with view.open(recording) as file:
        file.read(10)
        with path.open("ab") as more:
            more.write(b"grown")
        with pytest.raises(IncompleteSnapshotError):
            file.read()
    path.unlink()
    with pytest.raises(IncompleteSnapshotError, match="vanished"):
        view.open(recording)
    path.mkdir()
    with pytest.raises(IncompleteSnapshotError):
        view.open(recording)
    view.close()


def test_a_directory_swapped_for_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    view = folder(root).begin()
    recording = listed(view)[b"2026/03/call1.wav"]
    (root / "2026").rename(tmp_path / "moved")
    (root / "2026").symlink_to(tmp_path / "moved")
    with pytest.raises(IncompleteSnapshotError):
        view.open(recording)
    view.close()


def test_facts_come_from_a_row_of_the_crm(root: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "crm.db")) as made:
        made.executescript(
            "CREATE TABLE interactions (id TEXT PRIMARY KEY, customer_id INT, ended TEXT);"
            "INSERT INTO interactions VALUES ('call2', 77, '2026-01-31 09:00:00')"
        )
    crm = Source(name="crm", kind=SourceKind.SQLITE, path=str(tmp_path / "crm.db"))
    rows = SqliteSource(crm, scratch=tmp_path / "s", clock=FixedClock()).begin()
    linked = DataSet(
        name="calls", source="rec", kind=DataSetKind.RECORDINGS, files="**/*.wav",
        subjects={"customer": "interactions.customer_id"}, starting_points={"ended": "interactions.ended"},
        links=(Link(to="interactions", by=("stem",), columns=()),),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="not at hand"):
        folder(root, linked).begin()
    view = folder(root, linked).begin(rows.lookups())
    (batch,) = view.recordings("calls")
    assert batch.facts.subjects["customer"].to_pylist() == [None, "77"]
    assert str(batch.facts.starting["ended"][1]) == "2026-01-31T09:00:00"
    view.close()
    rows.close()


def test_references_that_lead_nowhere_and_folders_that_are_not_there_are_errors(
    root: Path, tmp_path: Path
) -> None:
    wrong = DataSet(name="calls", source="rec", kind=DataSetKind.RECORDINGS, subjects={"x": "customer_id"})
    with pytest.raises(SchemaDriftError, match="customer_id"):
        folder(root, wrong).begin()
    with pytest.raises(SourceUnavailableError):
        folder(tmp_path / "nowhere").begin()


def test_removal_takes_recording_and_sidecar_and_judges_the_sidecar_of_now(root: Path) -> None:
    def billing(facts: Facts) -> NDArray[np.bool_]:
        return np.array([q == "billing" for q in facts.attributes["queue"].to_pylist()])

    live = folder(root).live()
    keys = [b"2026/03/call1.wav", b"2026/03/call2.wav", b"2026/03/none.wav", b"gone/x.wav"]
    removal = live.remove("calls", keys, billing)
    assert removal.gone == (b"2026/03/call2.wav",)
    assert removal.left == (b"2026/03/call1.wav",)
    assert removal.absent == (b"2026/03/none.wav", b"gone/x.wav")
    assert sorted(tree(root)) == ["2026/03/call1.json", "2026/03/call1.wav"]


def test_a_run_cut_short_between_recording_and_sidecar_is_finished_by_the_next(root: Path) -> None:
    (root / "2026/03/call1.wav").unlink()
    assert folder(root).live().remove("calls", [b"2026/03/call1.wav"], all_fall).gone == (
        b"2026/03/call1.wav",
    )
    assert sorted(tree(root)) == ["2026/03/call2.json", "2026/03/call2.wav"]


def test_a_sidecar_that_two_recordings_share_stays_with_the_other(root: Path) -> None:
    both = DataSet(
        name="calls", source="rec", kind=DataSetKind.RECORDINGS, files="**/*", sidecar="{stem}.json"
    )
    (root / "2026/03/call1.mp3").write_bytes(b"mp3")
    live = folder(root, both).live()
    assert live.remove("calls", [b"2026/03/call1.wav"], all_fall).gone == (b"2026/03/call1.wav",)
    assert (root / "2026/03/call1.json").exists()
    live.remove("calls", [b"2026/03/call1.mp3"], all_fall)
    assert not (root / "2026/03/call1.json").exists()


@pytest.mark.parametrize("path", [b"../out.wav", b"/etc/x.wav", b"a//b.wav", b"", b"a/./b.wav", b"a\0.wav"])
def test_paths_that_lead_out_are_refused_everywhere(root: Path, tmp_path: Path, path: bytes) -> None:
    with pytest.raises(ConfigError, match="leads out"):
        folder(root).live().remove("calls", [path], all_fall)
    loader = FolderLoader()
    loader.begin(b'{"kind":"folder"}', tmp_path / "back", SilentProgress())
    with pytest.raises(ConfigError, match="leads out"):
        loader.recording(Recording(path=path, size=1, mtime_ns=0, mode=0o600), iter([b"x"]))
    loader.abandon()
    assert not (tmp_path / "out.wav").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["rec"]


def test_rewriting_changes_fields_of_the_sidecar_only(root: Path) -> None:
    before = tree(root)
    edits = {"sidecar.call.ended": lambda old: old[:10], "sidecar.missing": lambda _: "x"}
    live = folder(root).live()
    assert live.rewrite("calls", [b"2026/03/call1.wav"], all_fall, edits).gone == (b"2026/03/call1.wav",)
    fields = json.loads((root / "2026/03/call1.json").read_text())
    assert fields == {"customer_id": 1, "queue": "service", "call": {"ended": "2026-03-01"}}
    after = tree(root)
    assert {k for k in before if before[k] != after[k]} == {"2026/03/call1.json"}
    with pytest.raises(ConfigError, match="sidecar"):
        live.rewrite("calls", [b"2026/03/call1.wav"], all_fall, {"queue": lambda _: ""})


def test_live_facts_come_for_all_or_for_those_asked(root: Path) -> None:
    live = folder(root).live()
    (every,) = live.facts("calls")
    assert every.subjects["customer"].to_pylist() == ["1", "2"]
    (one,) = live.facts("calls", [b"2026/03/call2.wav", b"no.wav"])
    assert one.keys.to_pylist() == [b"2026/03/call2.wav"]


def test_a_loader_refuses_what_is_there_and_leaves_nothing_of_a_short_recording(
    root: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="live store"):
        folder(root).loader().begin(b'{"kind":"folder"}', root / "in", SilentProgress())
    with pytest.raises(ConfigError, match="exists already"):
        FolderLoader().begin(b'{"kind":"folder"}', root, SilentProgress())
    with pytest.raises(IntegrityError):
        FolderLoader().begin(b'{"kind":"sqlite"}', tmp_path / "b", SilentProgress())
    loader = FolderLoader()
    loader.begin(b'{"kind":"folder"}', tmp_path / "b", SilentProgress())
    with pytest.raises(IncompleteSnapshotError):
        loader.recording(Recording(path=b"d/short.wav", size=9, mtime_ns=0, mode=0o600), iter([b"x"]))
    loader.end()
    assert tree(tmp_path / "b") == {}
