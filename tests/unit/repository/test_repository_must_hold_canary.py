"""Must hold: 128-bit canaries of what was erased are in no byte that any remaining key opens, anywhere."""

import secrets
from collections.abc import Iterator

from support.repo import Calls, House, Rows, identities, take, write_calls, write_rows
from support.ruins import assert_nothing_unnamed_after_sweep, assert_sound
from tenure.crypto.signing import VerifyKey
from tenure.domain.errors import KeyProviderError, TenureError
from tenure.domain.progress import SilentProgress
from tenure.keys.local import LocalKeyring
from tenure.repository import chunks, envelope, names
from tenure.repository.entries import Amended, Intent, Prune
from tenure.repository.forgetting import Forgetting, Order
from tenure.repository.manifest import parse_manifest
from tenure.repository.model import ChunkKind, ChunkRef, Cohort
from tenure.repository.page import PageBytes, open_index, open_secret, parse_page
from tenure.repository.repository import Repository
from tenure.repository.scopes import Scope, open_fingerprints
from tenure.repository.secrets import SourceKeys

MONTHS = ("2025-01", "2025-02")


class Canaries:
    """What is planted in each record, and which of it must go. Row keys are numbers, so their canary is decimal."""

    def __init__(self) -> None:
        self.rows: Rows = {secrets.randbits(127): (MONTHS[i % 2], self.new(), self.new()) for i in range(24)}
        self.calls: Calls = {
            self.new(): (MONTHS[i % 2], self.new(), self.new().encode() * 200) for i in range(6)
        }

    @staticmethod
    def new() -> str:
        return secrets.token_hex(16)

    def month(self, month: str) -> list[int]:
        return [k for k, v in self.rows.items() if v[0] == month]

    def of_row(self, key: int) -> set[bytes]:
        _, customer, text = self.rows[key]
        return {str(key).encode(), customer.encode(), text.encode()}

    def of_call(self, path: str) -> set[bytes]:
        _, customer, content = self.calls[path]
        return {path.encode(), customer.encode(), content[:32]}


def every_page(house: House) -> Iterator[PageBytes]:
    for store in house.key_stores:
        for info in store.list(""):
            yield parse_page(store.get(info.name), name=info.name)


def every_key(house: House, repo: Repository) -> tuple[LocalKeyring, list[SourceKeys]]:
    keys = [repo.keys_of(bytes.fromhex(w)) for w in repo.state.writers]
    return LocalKeyring([*house.readers, house.recovery]), keys


def what_pages_open(house: House, repo: Repository) -> Iterator[bytes]:
    """Yield all that pages hold, named by the ledger or not, and every chunk that one of their keys opens."""
    ring, all_keys = every_key(house, repo)
    for page in every_page(house):
        keys = next(k for k in all_keys if k.writer == page.header.writer)
        try:
            secret = open_secret(page, ring)
        except KeyProviderError:
            continue
        cohort, entries, gone = open_index(page, keys)
        yield from (secret, page.header_bytes, entries.tobytes(), gone.tobytes(), repr(cohort).encode())
        for i, row in enumerate(entries.tolist()):
            chunk_id, inc, _, _, offset, length, plain, pack, kind, coding = row
            ref = ChunkRef(chunk_id, inc)
            aad = chunks.bound_to(
                house.id, page.header.tag, ref, kind=ChunkKind(kind), coding=coding, plain=plain
            )
            dek = keys.structure_key(ref) if kind == ChunkKind.STRUCTURE else secret[32 * i : 32 * i + 32]
            assert house.objects is not None
            sealed = house.objects.get(names.pack(page.header.packs[pack]), offset=offset, length=length)
            yield chunks.open_chunk(sealed, dek, coding=coding, plain=plain, aad=aad)


def what_ledger_and_manifests_open(house: House, repo: Repository) -> Iterator[bytes]:
    assert house.objects is not None
    for info in house.objects.list(names.LEDGER):
        entry = envelope.parse(house.objects.get(info.name), number=names.ledger_number(info.name))
        body = entry.open(repo.secrets.ledger)
        yield from (entry.header_bytes, repr(body).encode())
        if isinstance(body, Intent | Amended):
            yield repr(open_fingerprints(body.fingerprints, repo.secrets.fingerprint)).encode()
    for info in house.objects.list(names.MANIFESTS):
        found = parse_manifest(house.objects.get(info.name), name=info.name)
        for keys in every_key(house, repo)[1]:
            if keys.writer == found.header.writer:
                key = repo.state.writers[keys.writer.hex()].admitted.public
                yield repr(found.open(keys, VerifyKey(key))).encode()


def raw_objects(house: House) -> Iterator[bytes]:
    assert house.objects is not None
    for store in (house.objects, *house.key_stores):
        for info in store.list(""):
            yield info.name.encode()
            yield store.get(info.name)


def readable(house: House) -> bytes:
    """Return every byte that every key left in this house opens, end to end."""
    repo = house.open(reader=True)
    parts = [*what_pages_open(house, repo), *what_ledger_and_manifests_open(house, repo), *raw_objects(house)]
    return b"\n".join(parts)


def planted() -> tuple[House, Canaries]:
    """Two snapshots, the first pruned but its pages not yet written anew, and a writer that died with its pages put."""
    house, canaries = House(), Canaries()
    house.create("crm")
    first = take(house, canaries.rows, canaries.calls)
    changed = {k: (m, c, f"{t} again") for k, (m, c, t) in canaries.rows.items()}
    take(house, changed, canaries.calls)
    repo = house.open(reader=True)
    repo.ledger.append(Prune(snapshots=(first,), reasons=("test",)), house.purge)
    writer = house.open(reader=False)
    dead = writer.begin("crm", house.executor, expires=3600, alone=True)
    write_rows(writer, dead, {k: (m, c, f"{t} orphaned") for k, (m, c, t) in canaries.rows.items()})
    write_calls(dead, canaries.calls)
    for page in dead.chunks.end():
        dead._put_page(page)
    return house, canaries


def forget(house: House, scope: Scope) -> None:
    work = Forgetting(house.open(reader=True), house.executor, SilentProgress())
    order = Order(kind="erase", plan=b"p" * 32, rules=b"r" * 32, approvals=("officer",))
    found = work.amend(work.order({"crm": scope}, order), {"crm": scope}, left=0)
    work.finish(found, work.carry_out(found), certificate="c")


def scope(house: House, rows: list[int], calls: list[str]) -> Scope:
    repo = house.open(reader=True)
    return Scope(
        records={
            "notes": identities(repo, "crm", [f"i{k}".encode() for k in rows]),
            "calls": identities(repo, "crm", [p.encode() for p in calls]),
        }
    )


def assert_gone_and_kept(house: House, gone: set[bytes], kept: set[bytes]) -> None:
    everything = readable(house)
    assert [c for c in gone if c in everything] == []
    assert [c for c in kept if c not in everything] == []


def test_everything_planted_is_found_before_it_is_forgotten() -> None:
    house, canaries = planted()
    planted_ones = set().union(*map(canaries.of_row, canaries.rows), *map(canaries.of_call, canaries.calls))
    assert_gone_and_kept(house, set(), planted_ones)
    assert b"orphaned" in readable(house)


def test_no_remaining_key_opens_a_byte_of_an_erased_record() -> None:
    house, canaries = planted()
    # The first and last keys of cohorts stand in companions, too.
    rows = [end for m in MONTHS for end in (min(canaries.month(m)), max(canaries.month(m)))]
    calls = list(canaries.calls)[:2]
    forget(house, scope(house, rows, calls))
    gone = set().union(*map(canaries.of_row, rows), *map(canaries.of_call, calls))
    kept = set().union(
        *map(canaries.of_row, [k for k in canaries.rows if k not in rows]),
        *map(canaries.of_call, list(canaries.calls)[2:]),
    )
    assert_gone_and_kept(house, gone, kept)
    assert_sound(house.open(reader=True), house)
    assert_nothing_unnamed_after_sweep(house)
    assert_gone_and_kept(house, gone, kept)


def test_no_remaining_key_opens_a_byte_of_a_forgotten_cohort() -> None:
    house, canaries = planted()
    cohorts = tuple(Cohort(data_set=d, rule_class="", span=MONTHS[0]) for d in ("notes", "calls"))
    forget(house, Scope(cohorts=cohorts))
    gone = [k for k, v in canaries.rows.items() if v[0] == MONTHS[0]]
    kept = [k for k in canaries.rows if k not in gone]
    gone_calls = [p for p, v in canaries.calls.items() if v[0] == MONTHS[0]]
    kept_calls = [p for p in canaries.calls if p not in gone_calls]
    assert_gone_and_kept(
        house,
        set().union(*map(canaries.of_row, gone), *map(canaries.of_call, gone_calls)),
        set().union(*map(canaries.of_row, kept), *map(canaries.of_call, kept_calls)),
    )
    assert_sound(house.open(reader=True), house)


def test_no_object_in_the_clear_and_no_name_holds_anything_planted() -> None:
    house, canaries = planted()
    clear = b"\n".join(raw_objects(house))
    planted_ones = set().union(*map(canaries.of_row, canaries.rows), *map(canaries.of_call, canaries.calls))
    assert [c for c in planted_ones if c in clear] == []
    for word in (b"notes", b"calls", b"2025-01"):  # longer than what ciphertext holds by chance
        assert word not in clear


def test_a_key_that_was_taken_away_opens_nothing_here() -> None:
    house, _ = planted()
    repo = house.open(reader=True)
    ring, _ = every_key(house, repo)
    page = next(every_page(house))
    assert open_secret(page, ring)
    try:
        open_secret(page, LocalKeyring([]))
    except (TenureError, ValueError):
        return
    raise AssertionError("a page opened without a key")
