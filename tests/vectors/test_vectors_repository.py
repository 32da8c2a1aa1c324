"""Golden repositories of every format version read for ever; damaged ones give the error they must."""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from support.clock import FixedClock
from support.repo import House, read_calls, read_rows
from support.ruins import assert_sound
from tenure.crypto.hpke import RecipientPrivate
from tenure.crypto.signing import SigningKey
from tenure.domain import errors
from tenure.objectstore.base import ObjectInfo
from tenure.objectstore.memory import MemoryStore
from tenure.repository.scopes import open_fingerprints

HERE = Path(__file__).parent
VERSIONS = ("1-draft",)
BAD = [(v, case) for v in VERSIONS for case in json.loads((HERE / f"repository-{v}-bad.json").read_text())]


def golden(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / f"repository-{version}.json").read_text())
    return found


def store_of(objects: dict[str, list[str]], clock: FixedClock) -> MemoryStore:
    store = MemoryStore(clock)
    for name, (modified, encoded) in objects.items():
        raw = base64.b64decode(encoded)
        info = ObjectInfo(name=name, size=len(raw), modified=datetime.fromisoformat(modified))
        store._objects[name] = (raw, info)
    return store


def house_of(found: dict[str, Any], key: str = "reader_private") -> House:
    clock = FixedClock(datetime.fromisoformat(found["now"]))
    return House(
        clock=clock,
        objects=store_of(found["objects"], clock),
        key_stores=[store_of(found["keys"], clock), store_of(found["keys"], clock)],
        purge=SigningKey.from_raw(bytes.fromhex(found["purge_private"])),
        readers=[RecipientPrivate.from_raw(bytes.fromhex(found[key]))],
        id=bytes.fromhex(found["repository"]),
    )


def read_everything(house: House) -> dict[str, list[Any]]:
    repo = house.open(reader=True)
    return {
        str(n): [read_rows(repo, n, house.executor)[0], read_calls(repo, n, house.executor)]
        for n in sorted(repo.state.snapshots)
    }


@pytest.mark.parametrize("key", ["reader_private", "recovery_private"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_repository_reads_for_ever(version: str, key: str) -> None:
    found = golden(version)
    house = house_of(found, key)
    expected = {
        number: [
            {int(k): tuple(v) for k, v in rows.items()},
            {p: base64.b64decode(found["calls"][p]) for p in calls},
        ]
        for number, (rows, calls) in found["snapshots"].items()
    }
    assert read_everything(house) == expected
    assert_sound(house.open(reader=True), house)


@pytest.mark.parametrize("version", VERSIONS)
def test_fingerprints_of_a_golden_forgetting_apply_to_the_views_they_say(version: str) -> None:
    found = golden(version)
    repo = house_of(found).open(reader=True)
    first = min(repo.state.forgets.values(), key=lambda f: f.number)
    key = repo.secrets.fingerprint
    for view, count in found["fingerprints"].items():
        prints = open_fingerprints(first.fingerprints, key, "crm", view=int(view))
        assert sum(map(len, prints.values())) == count


def open_it(house: House) -> dict[str, list[Any]]:
    house.open(reader=True)
    return {}


def damage(store: MemoryStore, case: dict[str, Any]) -> None:
    if case["object"] not in store._objects:
        return
    raw, info = store._objects[case["object"]]
    at = int(case["at"])
    if case["change"] == "lose":
        del store._objects[case["object"]]
        return
    changed = bytearray(raw)
    if case["change"] == "keep":
        del changed[at:]
    else:
        place = 4 if case["change"] == "version" else at
        changed[place] = at if case["change"] == "version" else changed[place] ^ 1
    store._objects[case["object"]] = (
        bytes(changed), ObjectInfo(name=info.name, size=len(changed), modified=info.modified)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("version", "case"), BAD, ids=[f"{c['object'][:12]} {c['change']} {c['at']}" for _, c in BAD]
)
def test_a_damaged_one_gives_the_error_it_must(version: str, case: dict[str, Any]) -> None:
    house = house_of(golden(version))
    for store in (house.objects, *house.key_stores):
        assert isinstance(store, MemoryStore)
        damage(store, case)
    work = read_everything
    if case["when"] == "open":
        work = open_it
    else:
        open_it(house)  # opening is not touched by this damage
    with pytest.raises(getattr(errors, case["error"])) as raised:
        work(house)
    assert type(raised.value).__name__ == case["error"]
