"""Verification: what is damaged is listed with the snapshots it touches, and ends with the right code."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.retention import Centre, found
from tenure.domain.errors import ConfigError
from tenure.operations.pruning import pruned
from tenure.operations.verifying import Depth, Verified, share_of, verified
from tenure.repository import pruning as repository_pruning

ALL, NO_KEYS = Depth(share=1.0), Depth(keys=False)


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    made = found(tmp_path / "site")
    made.snapshot()
    return made


def verify(centre: Centre, depth: Depth = ALL) -> Verified:
    with centre.open() as installation:
        return verified(installation, depth)


def objects(centre: Centre, store: str, under: str) -> list[Path]:
    return sorted(p for p in (centre.folder / store / under).rglob("*") if p.is_file())


def flip(path: Path, at: int = 100) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0xFF
    path.write_bytes(raw)


def flip_last(path: Path) -> None:
    flip(path, -1)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def test_a_sound_repository_has_no_damage(centre: Centre) -> None:
    found_ = verify(centre)
    assert found_.damage == []
    assert found_.exit_code == 0
    assert found_.sealed is not None
    assert found_.sealed.snapshots == 2
    assert found_.sealed.chunks > 0


def test_without_keys_nothing_is_unsealed(centre: Centre) -> None:
    for key in (centre.folder / "keys").glob("epoch-*.key"):
        key.unlink()
    found_ = verify(centre, NO_KEYS)
    assert found_.sealed is None
    assert found_.exit_code == 0
    assert found_.plain.packs > 0


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
def test_a_damaged_pack_is_named_with_the_snapshots_it_touches(
    centre: Centre, harm: Callable[[Path], None]
) -> None:
    for pack in objects(centre, "repository", "data"):
        harm(pack)
    found_ = verify(centre)
    assert found_.exit_code == 40
    touched = {n for d in found_.damage for n in d.snapshots}
    with centre.open() as installation:
        assert touched == set(installation.open_writing().state.snapshots)


@pytest.mark.parametrize("harm", [flip, cut])
def test_a_damaged_pack_is_found_without_keys(centre: Centre, harm: Callable[[Path], None]) -> None:
    harm(objects(centre, "repository", "data")[0])
    assert verify(centre, NO_KEYS).exit_code == 40


@pytest.mark.parametrize("harm", [flip_last, cut, Path.unlink])
def test_a_key_page_that_another_key_store_has_is_mended_by_a_prune(
    centre: Centre, harm: Callable[[Path], None]
) -> None:
    harm(objects(centre, "key-store-1", "keys")[0])
    found_ = verify(centre)
    assert found_.damage
    assert found_.mendable
    assert found_.exit_code == 3
    with centre.open() as installation:
        assert pruned(installation).freed.mended == 1
    assert verify(centre).exit_code == 0


@pytest.mark.parametrize(("harm", "surely"), [(flip_last, False), (cut, False), (Path.unlink, True)])
def test_of_many_pages_a_damaged_one_is_mended_for_sure_when_every_page_is_read(
    centre: Centre, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None], *, surely: bool
) -> None:
    monkeypatch.setattr(repository_pruning, "LOOKED_AT", 0)
    harm(objects(centre, "key-store-1", "keys")[0])
    with centre.open() as installation:
        assert pruned(installation).freed.mended == surely
        assert pruned(installation, every_page=True).freed.mended == (not surely)
    assert verify(centre).exit_code == 0


def test_a_key_page_that_no_key_store_has_is_damage(centre: Centre) -> None:
    page = objects(centre, "key-store-1", "keys")[0]
    for store in ("key-store-1", "key-store-2"):
        (centre.folder / store / page.relative_to(centre.folder / "key-store-1")).unlink()
    found_ = verify(centre)
    assert not found_.mendable
    assert found_.exit_code == 40


def test_a_forged_ledger_entry_stops_nothing_else_from_being_checked(centre: Centre) -> None:
    flip(objects(centre, "repository", "ledger")[-1], -1)
    flip(objects(centre, "repository", "data")[0])
    found_ = verify(centre)
    assert found_.exit_code == 40
    assert any(d.where.startswith("ledger/") for d in found_.damage)
    assert any(d.where.startswith("data/") for d in found_.damage)


def test_the_same_finding_is_listed_once(centre: Centre) -> None:
    objects(centre, "repository", "snapshots")[0].unlink()
    found_ = verify(centre)
    assert len({(d.what, d.where) for d in found_.damage}) == len(found_.damage)


def test_what_was_found_stands_in_evidence(centre: Centre) -> None:
    verify(centre)
    flip(objects(centre, "repository", "data")[0])
    verify(centre)
    with centre.open() as installation:
        entries = list(installation.evidence.log.entries(kind="verification"))
    assert [e.outcome for e in entries] == ["sound", "damage found"]
    assert entries[1].details["findings"] > 0


@pytest.mark.parametrize(("words", "share"), [("5%", 0.05), ("100", 1.0), (" 0 % ", 0.0), ("12.5%", 0.125)])
def test_a_percentage_is_understood(words: str, share: float) -> None:
    assert share_of(words.replace(" %", "%")) == pytest.approx(share)


@pytest.mark.parametrize("words", ["", "half", "101%", "-1%", "nan"])
def test_what_is_no_percentage_is_refused(words: str) -> None:
    with pytest.raises(ConfigError, match="no share of the data"):
        share_of(words)
