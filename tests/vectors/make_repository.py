"""Makes the golden repository of the format in force, and the list of damage that readers must refuse.

Run once for each format version and keep the result for ever: ``python tests/vectors/make_repository.py``. The keys in
it are published: they protect nothing but this example.
"""

import base64
import json
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent / "src")]

from support.repo import Calls, House, Rows, finding, identities, take  # noqa: E402
from tenure.crypto.hpke import RecipientPrivate  # noqa: E402
from tenure.domain.progress import SilentProgress  # noqa: E402
from tenure.objectstore.memory import MemoryStore  # noqa: E402
from tenure.repository import names, rotation  # noqa: E402
from tenure.repository.entries import Answer  # noqa: E402
from tenure.repository.forgetting import Forgetting, Order  # noqa: E402
from tenure.repository.marker import FORMAT  # noqa: E402
from tenure.repository.model import ChunkKind, Cohort  # noqa: E402
from tenure.repository.page import open_index  # noqa: E402
from tenure.repository.scopes import Recut, Scope  # noqa: E402

ROWS: Rows = {k: (f"2025-0{k % 3 + 1}", f"customer {k % 4}", f"note {k} \N{SNOWMAN}") for k in range(30)}
LATER: Rows = {k: v for k, v in ROWS.items() if k % 7} | {40: ("open:2026-03", "customer 9", "still open")}
CALLS: Calls = {
    f"2025/{k}.wav": (f"2025-0{k % 2 + 1}", f"customer {k}", bytes(range(256)) * 5 * k) for k in range(4)
}
SURELY, HARDLY = "order 5425 2334 3010 9903 arrived", "order 4012 8888 8888 1881 arrived"
WAITING: Rows = {
    51: ("quarantine:2026-03-01", "customer 1", SURELY),
    52: ("quarantine:2026-03-01", "customer 2", HARDLY),
}
ANSWERED: Rows = {**WAITING, 51: ("quarantine:2026-03-01", "customer 1", "order **** **** **** 9903 arrived")}


GONE_AT = (4, 6)
"""Ledger numbers at which the two notes that are forgotten were seen to be gone; of the recording none is known."""
MEANT = {0: 3, 4: 3, 5: 2, 6: 2, 7: 1}
"""By a snapshot's view: how many of the first forgetting's fingerprints apply to it."""


def forget(house: House, scope: Scope) -> None:
    work = Forgetting(house.open(reader=True), house.executor, SilentProgress())
    order = Order(kind="erase", plan=bytes(32), rules=bytes(32), approvals=("example",))
    found = work.amend(work.order({"crm": scope}, order), {"crm": scope}, left=0)
    work.finish(found, work.carry_out(found), certificate="example")


def make() -> tuple[House, dict[str, object]]:
    """Return an installation that has met every kind of entry but a prune's, and what its snapshots must read as."""
    house = House()
    house.create("crm")
    likely = [finding(house, text) for text in (SURELY, HARDLY)]
    first = take(house, {**ROWS, **WAITING}, CALLS, findings=frozenset(likely))
    for name, answer in zip(likely, ("redact", "keep"), strict=True):
        entry = Answer(source="crm", findings=(name,), answer=answer, by="example")
        house.open(reader=True).ledger.append(entry, house.purge)
    house.clock.advance(days=1)
    repo = house.open(reader=True)
    records = {
        "notes": identities(repo, "crm", [b"i3", b"i4"]),
        "calls": identities(repo, "crm", [b"2025/2.wav"]),
    }
    forget(house, Scope(records=records, gone={"notes": np.array(GONE_AT, np.uint64)}))
    recut = Recut(findings=frozenset(likely[:1]), keep="keep last 4", records=1)
    forget(house, Scope(recut={"notes": recut}))
    forget(house, Scope(cohorts=(Cohort(data_set="notes", rule_class="", span="2025-03"),)))
    house.readers.append(RecipientPrivate.generate())
    rotation.open_epoch(house.open(reader=True), house.recipients(), house.private_halves())
    rotation.reseal(house.open(reader=True), SilentProgress())
    rotation.close_old_epochs(house.open(reader=True))
    house.readers.pop(0)
    house.open(reader=True).ledger.checkpoint(house.purge)
    house.clock.advance(days=1)
    second = take(house, LATER, CALLS)
    gone = {3, 4} | {k for k in ROWS if k % 3 == 2}
    model: dict[str, object] = {
        str(first): [
            {k: v[1:] for k, v in {**ROWS, **ANSWERED}.items() if k not in gone},
            sorted(set(CALLS) - {"2025/2.wav"}),
        ],
        str(second): [{k: v[1:] for k, v in LATER.items()}, sorted(CALLS)],
    }
    return house, model


def objects_of(store: object) -> dict[str, list[str]]:
    assert isinstance(store, MemoryStore)
    found = sorted(store._objects.items())
    return {n: [i.modified.isoformat(), base64.b64encode(raw).decode()] for n, (raw, i) in found}


def bad_ones(house: House) -> list[dict[str, object]]:
    """Return damage, and the error that opening ("open") or reading everything ("read") must give."""
    assert house.objects is not None
    state = house.open(reader=True).state
    snapshot = min(state.snapshots.values(), key=lambda s: s.number)
    page = names.page(*_parts(state.pages[min(state.pages)].ref))
    pack, inside = _in_a_row_chunk(house)
    head = names.ledger_entry(state.number)
    cases = [
        (names.MARKER, "flip", 60, "open", "TamperedError"),
        (names.MARKER, "keep", 50, "open", "TamperedError"),
        (names.MARKER, "lose", 0, "open", "RepositoryNotFoundError"),
        (head, "flip", -1, "open", "TamperedError"),
        (head, "flip", -70, "open", "TamperedError"),
        (head, "flip", 40, "open", "TamperedError"),
        (head, "keep", 100, "open", "TruncatedError"),
        (head, "version", 2, "open", "UnsupportedFormatError"),
        (names.ledger_entry(state.checkpoint), "flip", -1, "open", "TamperedError"),
        (names.ledger_entry(state.checkpoint + 1), "lose", 0, "open", "TamperedError"),
        (snapshot.entry.manifest, "flip", -1, "read", "TamperedError"),
        (snapshot.entry.manifest, "keep", 80, "read", "TruncatedError"),
        (snapshot.entry.manifest, "version", 2, "read", "TamperedError"),
        (snapshot.entry.manifest, "lose", 0, "read", "IntegrityError"),
        (page, "lose", 0, "read", "IntegrityError"),
        (page, "flip", -1, "read", "IntegrityError"),
        (page, "keep", 90, "read", "IntegrityError"),
        (page, "version", 2, "read", "IntegrityError"),
        (pack, "flip", inside, "read", "TamperedError"),
        (pack, "keep", 20, "read", "TruncatedError"),
        (pack, "lose", 0, "read", "IntegrityError"),
    ]
    keys = ("object", "change", "at", "when", "error")
    return [dict(zip(keys, case, strict=True)) for case in cases]


def _in_a_row_chunk(house: House) -> tuple[str, int]:
    """Return a pack and a place in it that reading the newest snapshot meets."""
    repo = house.open(reader=True)
    keys, newest = repo.keys_of(house.writers["crm"].secrets.writer), max(repo.state.snapshots)
    for page in repo.state.pages.values():
        found = repo.place.key_stores.get(page.ref)
        entries = open_index(found, keys)[1]
        rows = entries[entries["kind"] == ChunkKind.ROWS]
        if page.number == newest and len(rows):
            return names.pack(found.header.packs[int(rows["pack"][0])]), int(rows["offset"][0]) + 5
    raise RuntimeError("the newest snapshot has no rows")


def _parts(ref: object) -> tuple[int, bytes, bytes]:
    return ref.epoch, ref.tag, ref.page  # type: ignore[attr-defined]


def main() -> None:
    house, model = make()
    golden = {
        "note": "A published example. Its keys protect nothing.",
        "format": FORMAT,
        "now": (house.clock.now() + timedelta(hours=1)).isoformat(),
        "repository": house.id.hex(),
        "purge_private": house.purge.raw.hex(),
        "reader_private": house.readers[-1].raw.hex(),
        "recovery_private": house.recovery.raw.hex(),
        "objects": objects_of(house.objects),
        "keys": objects_of(house.key_stores[0]),
        "snapshots": model,
        "fingerprints": MEANT,
        "calls": {p: base64.b64encode(v[2]).decode() for p, v in CALLS.items()},
    }
    (HERE / f"repository-{FORMAT}.json").write_text(json.dumps(golden, indent=0) + "\n", "ascii")
    (HERE / f"repository-{FORMAT}-bad.json").write_text(json.dumps(bad_ones(house), indent=1) + "\n", "ascii")


if __name__ == "__main__":
    main()
