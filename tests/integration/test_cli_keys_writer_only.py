"""A host that holds writers' keys alone: it takes snapshots, and gives nothing back."""

from pathlib import Path

from support.cli import site


def test_a_host_with_writers_keys_alone_takes_snapshots_and_restores_nothing(tmp_path: Path) -> None:
    centre = site(tmp_path)
    keys = centre.root / "keys"
    for name in ("epoch-1.key", "purge.key", "recovery.key"):
        (keys / name).rename(tmp_path / name)
    before = centre.numbers("crm")
    centre.run("snapshot", "crm").worked()
    assert len(centre.numbers("crm")) == len(before) + 1
    centre.run("restore", "crm", "--to", "out").refused(31, "no reading key", "recovery key")
    assert not (centre.root / "out").exists()
    (tmp_path / "epoch-1.key").rename(keys / "epoch-1.key")
    centre.run("restore", "crm", "--to", "out").worked()
