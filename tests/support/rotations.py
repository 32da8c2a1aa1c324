"""Rotating the keys of a small centre, with nobody at the terminal."""

from support.retention import Centre
from tenure.operations.rotating import Rotated, Secrecy, rotate

NOBODY = Secrecy()


def rotated(centre: Centre, secrecy: Secrecy = NOBODY) -> Rotated:
    with centre.open() as installation:
        return rotate(installation, secrecy)


def key_files(centre: Centre) -> set[str]:
    return {p.name for p in (centre.folder / "keys").iterdir() if not p.name.startswith("writer-")}
