"""An unchanged recording costs no reading, not even of its sidecar, wherever the base can speak for it; and only there."""

import json
import os
from pathlib import Path

import pytest

import tenure
from support.retention import CALLS, Centre, found
from tenure.operations import snapshot as snapshots
from tenure.sources.folder import FolderView
from tenure.sources.folderwalk import Entry

SIDECARS = {path.replace(".wav", ".json") for path, (customer, _) in CALLS.items() if customer}
FIRST = "2023/01/a-first.json"


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return found(tmp_path / "site")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    paths: list[str] = []
    original = FolderView._sidecar

    def counted(view: FolderView, entry: Entry) -> bytes | None:
        paths.append(entry.path.decode())
        return original(view, entry)

    monkeypatch.setattr(FolderView, "_sidecar", counted)
    return paths


def taken(centre: Centre, read: list[str]) -> tuple[dict[str, int], set[str]]:
    read.clear()
    return centre.snapshot(), set(read)


def test_sidecars_of_unchanged_recordings_are_not_read_and_come_back_all_the_same(
    centre: Centre, read: list[str], tmp_path: Path
) -> None:
    assert taken(centre, read)[1] == SIDECARS
    numbers, again = taken(centre, read)
    assert again == set()
    assert centre.restored(numbers, tmp_path / "back") == centre.ids()
    back = tmp_path / "back" / "calls" / FIRST
    assert back.read_bytes() == (centre.folder / "recordings" / FIRST).read_bytes()


def test_a_sidecar_that_changed_is_read_and_its_recording_falls_by_what_it_says_now(
    centre: Centre, read: list[str], tmp_path: Path
) -> None:
    taken(centre, read)
    sidecar = centre.folder / "recordings" / FIRST
    sidecar.write_text(json.dumps({"customer": "9", "ended": "2025-12-24T10:00:00"}), "utf-8")
    numbers, again = taken(centre, read)
    assert again == {FIRST}
    with centre.open() as installation:
        reader = installation.open_reading().read(numbers["calls"], installation.executor)
        spans = {tree.span for _, tree in reader.root("recordings").cohorts()}
    assert "2025-12" in spans
    assert "2023-01" not in spans
    centre.restored(numbers, tmp_path / "back")
    assert json.loads((tmp_path / "back" / "calls" / FIRST).read_text("utf-8"))["customer"] == "9"


def test_one_of_the_same_length_and_time_elsewhere_is_another(centre: Centre, read: list[str]) -> None:
    taken(centre, read)
    sidecar = centre.folder / "recordings" / FIRST
    before = sidecar.stat()
    os.utime(sidecar, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert taken(centre, read)[1] == {FIRST}


@pytest.mark.parametrize("what", ["catalogue", "program"])
def test_another_catalogue_or_program_looks_at_every_sidecar_again(
    centre: Centre, read: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    taken(centre, read)
    if what == "catalogue":
        config = centre.folder / "tenure.yaml"
        config.write_text(
            config.read_text("utf-8").replace("attributes: {advice: sidecar.advice}", "attributes: {}"),
            "utf-8",
        )
    else:
        monkeypatch.setattr(snapshots, "_TOOL", f"tenure {tenure.__version__}.1")
    assert taken(centre, read)[1] == SIDECARS
    assert taken(centre, read)[1] == set()


@pytest.mark.parametrize(
    "starting", ["{call ended: sidecar.ended}", "{call ended: modified}"], ids=["by sidecar", "by file"]
)
def test_a_sidecar_that_nobody_can_read_is_reported_by_every_snapshot(centre: Centre, starting: str) -> None:
    config = centre.folder / "tenure.yaml"
    config.write_text(config.read_text("utf-8").replace("{call ended: sidecar.ended}", starting), "utf-8")
    (centre.folder / "recordings" / FIRST).write_text("no JSON", "utf-8")
    for _ in range(3):
        with centre.open() as installation:
            (calls,) = (t for t in snapshots.take(installation, ["calls"]))
        assert [f.where.decode() for f in calls.findings] == [FIRST]
